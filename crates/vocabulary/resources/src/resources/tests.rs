use super::*;
use crate::{Reservation, ReservationKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn parse(text: &str) -> Resources {
    Resources::parse(text).unwrap()
}

/// The naive model: per identity either an amount or a set of units.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    amounts: BTreeMap<Identity, i64>,
    units: BTreeMap<Identity, BTreeSet<String>>,
}

impl Model {
    fn of(resources: &Resources) -> Model {
        let mut model = Model::default();
        for resource in resources {
            let identity = resource.identity().clone();
            match resource.value() {
                Value::Scalar(amount) => {
                    assert!(model.amounts.insert(identity, amount.thousandths()).is_none())
                }
                Value::Ranges(ranges) => {
                    let units = ranges.numbers().map(|number| number.to_string()).collect();
                    assert!(model.units.insert(identity, units).is_none());
                }
                Value::Set(items) => {
                    let units = items.iter().map(|item| item.to_string()).collect();
                    assert!(model.units.insert(identity, units).is_none());
                }
            }
        }
        model
    }

    fn plus(mut self, other: &Model) -> Model {
        for (identity, amount) in &other.amounts {
            *self.amounts.entry(identity.clone()).or_default() += amount;
        }
        for (identity, units) in &other.units {
            self.units.entry(identity.clone()).or_default().extend(units.iter().cloned());
        }
        self
    }

    fn contains(&self, other: &Model) -> bool {
        other.amounts.iter().all(|(identity, amount)| self.amounts.get(identity).unwrap_or(&0) >= amount)
            && other
                .units
                .iter()
                .all(|(identity, units)| self.units.get(identity).is_some_and(|have| have.is_superset(units)))
    }

    fn minus(mut self, other: &Model) -> Model {
        for (identity, amount) in &other.amounts {
            let have = self.amounts.entry(identity.clone()).or_default();
            *have = (*have - amount).max(0);
        }
        for (identity, units) in &other.units {
            if let Some(have) = self.units.get_mut(identity) {
                *have = &*have - units;
            }
        }
        self.amounts.retain(|_, amount| *amount > 0);
        self.units.retain(|_, units| !units.is_empty());
        self
    }
}

fn identity() -> impl Strategy<Value = Identity> {
    (0..3usize, proptest::option::of(0..2usize), proptest::option::of(0..2usize), any::<bool>()).prop_map(
        |(name, reserved, allocated, revocable)| {
            let mut identity = Identity::plain(["cpus", "ports", "zones"][name], Kind::Scalar);
            identity.reservations = reserved
                .map(|role| Reservation {
                    kind: ReservationKind::Static,
                    role: Arc::from(["a", "a/b"][role]),
                    principal: None,
                    labels: None,
                })
                .into_iter()
                .collect();
            identity.allocation = allocated.map(|role| Arc::from(["a", "b"][role]));
            identity.revocable = revocable;
            identity
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0i64..3000).prop_map(|amount| Value::Scalar(Scalar::from_thousandths(amount))),
        proptest::collection::vec(0u64..12, 0..8).prop_map(|list| Value::Ranges(list.into_iter().collect())),
        proptest::collection::btree_set(0u8..6, 0..4).prop_map(|list| Value::Set(
            list.into_iter().map(|item| Arc::from(format!("i{item}"))).collect()
        )),
    ]
}

fn resources() -> impl Strategy<Value = Resources> {
    proptest::collection::vec((identity(), value()), 0..7)
        .prop_map(|list| list.into_iter().map(|(identity, value)| Resource::new(identity, value)).collect())
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model(a in resources(), b in resources()) {
        let (x, y) = (Model::of(&a), Model::of(&b));
        let sum = a.clone() + &b;
        prop_assert_eq!(Model::of(&sum), x.clone().plus(&y));
        prop_assert_eq!(sum.clone(), b.clone() + &a);
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        prop_assert_eq!(a.contains(&b), x.contains(&y));

        let mut rest = a.clone();
        rest.subtract_available(&b);
        prop_assert_eq!(Model::of(&rest), x.clone().minus(&y));

        let mut rest = a.clone();
        match rest.subtract(&b) {
            Ok(()) => prop_assert_eq!(Model::of(&rest), x.minus(&y)),
            Err(error) => {
                prop_assert!(!x.contains(&y));
                prop_assert_eq!(error, NotContained { have: a.clone(), want: b });
                prop_assert_eq!(&rest, &a);
            }
        }
    }

    #[test]
    fn what_is_taken_apart_by_role_adds_up(all in resources()) {
        let all = all.unallocated();
        let mut sum = all.unreserved();
        sum += &all.reserved_to("a");
        sum += &all.reserved_to("a/b");
        prop_assert_eq!(&sum, &all);
        prop_assert_eq!(all.allocatable_to("a/b"), all.clone());
        let mut without = all.clone();
        without.subtract(&all.reserved_to("a/b")).unwrap();
        prop_assert_eq!(all.allocatable_to("a"), without);
        prop_assert_eq!(all.allocatable_to("ab"), all.unreserved());
        prop_assert_eq!(all.allocated_to("x").unallocated(), all);
    }
}

#[test]
fn sums_by_name_go_over_identities() {
    let all = parse("cpus:1.5;cpus(slave_public):2;mem:10;ports:[1-2];ports(slave_public):[4-4];zones:{a,b}");
    assert_eq!(all.cpus(), Scalar::from_thousandths(3500));
    assert_eq!(all.gpus(), Scalar::ZERO);
    assert_eq!(all.ports().intervals(), [(1, 2), (4, 4)]);
    let quantities: Vec<_> =
        all.quantities().into_iter().map(|(name, sum)| format!("{name} {sum}")).collect();
    assert_eq!(quantities, ["cpus 3.5", "mem 10", "ports 3", "zones 2"]);
    assert_eq!(all.scalar_quantities().count(), 3);
}

#[test]
fn prints_as_the_real_master_does() {
    let offered = parse("cpus:4;mem:4096;disk:10240;ports:[31000-32000]").allocated_to("golden");
    assert_eq!(
        offered.to_string(),
        "ports(allocated: golden):[31000-32000]; cpus(allocated: golden):4; \
         mem(allocated: golden):4096; disk(allocated: golden):10240"
    );
    assert_eq!(parse("cpus(dev):0.1").to_string(), "cpus(reservations: [(STATIC,dev)]):0.1");
    assert_eq!(Resources::new().to_string(), "{}");
}

#[test]
fn the_role_of_an_allocation() {
    let some = parse("cpus:4;mem:1");
    assert_eq!(some.allocation_role(), None);
    assert_eq!(some.allocated_to("a").allocation_role().map(|role| &**role), Some("a"));
    assert_eq!((some.allocated_to("a") + &some.allocated_to("b")).allocation_role(), None);
}
