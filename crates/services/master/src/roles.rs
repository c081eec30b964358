//! Resources by role, as `/roles` and GET_ROLES show them. A role has what the roles below it have.

use std::collections::BTreeMap;

use base::FrameworkId;
use master_core::Master;
use resources::{Resource, Scalar, role};

use api_mesos::json::Object;

/// Amounts by the resource's name; of ranges and sets the number of items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quantities(BTreeMap<String, Scalar>);

impl Quantities {
    fn add(&mut self, name: &str, amount: Scalar) {
        match self.0.get_mut(name) {
            Some(sum) => *sum = sum.plus(amount),
            None => {
                self.0.insert(name.to_owned(), amount);
            }
        }
    }

    fn plus(&self, other: &Quantities) -> Quantities {
        let mut sum = self.clone();
        other.0.iter().for_each(|(name, amount)| sum.add(name, *amount));
        sum
    }

    /// Names and amounts of what there is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Scalar)> {
        let some = self.0.iter().filter(|(_, amount)| **amount > Scalar::ZERO);
        some.map(|(name, amount)| (name.as_str(), *amount))
    }

    /// The amounts as members.
    pub(crate) fn write(&self, o: &mut Object<'_>) {
        for (name, amount) in self.iter() {
            o.field(name, amount.to_f64());
        }
    }
}

/// What a role has.
#[derive(Debug, Default)]
pub(crate) struct RoleView<'m> {
    /// The frameworks that are subscribed to it.
    pub(crate) frameworks: Vec<&'m FrameworkId>,
    /// What is in use.
    pub(crate) allocated: Quantities,
    /// What is offered.
    pub(crate) offered: Quantities,
    /// What agents have reserved for it, in use or not.
    pub(crate) reserved: Quantities,
    /// Reservations that nobody uses.
    idle: Quantities,
}

impl RoleView<'_> {
    /// In use or offered.
    pub(crate) fn resources(&self) -> Quantities {
        self.allocated.plus(&self.offered)
    }

    /// What counts against a quota: in use, or reserved and so kept from others.
    pub(crate) fn consumed(&self) -> Quantities {
        self.allocated.plus(&self.idle)
    }
}

/// The known roles by name: those of frameworks, of what is in use, of reservations, and all above
/// them. One pass over agents and frameworks. Mesos: Master::knownRoles, RoleResourceBreakdown.
pub(crate) fn role_views(master: &Master) -> BTreeMap<&str, RoleView<'_>> {
    let mut views = BTreeMap::<&str, RoleView<'_>>::new();
    for framework in master.frameworks() {
        for role in subscribed_roles(framework) {
            views.entry(role).or_default().frameworks.push(&framework.id);
            role::ancestors(role).for_each(|above| {
                views.entry(above).or_default();
            });
        }
    }
    for agent in master.agents() {
        for resource in agent.used.values().flat_map(|used| used.iter()) {
            let amount = resource.value().quantity();
            if let Some(role) = allocation(resource) {
                subtree(&mut views, role, |view| view.allocated.add(resource.name(), amount));
            }
            if let Some(role) = reservation(resource) {
                let used = Scalar::ZERO.minus(amount);
                subtree(&mut views, role, |view| view.idle.add(resource.name(), used));
            }
        }
        for resource in agent.offered.iter() {
            let amount = resource.value().quantity();
            if let Some(role) = allocation(resource) {
                subtree(&mut views, role, |view| view.offered.add(resource.name(), amount));
            }
        }
        for resource in agent.total.iter() {
            let amount = resource.value().quantity();
            if let Some(role) = reservation(resource) {
                subtree(&mut views, role, |view| {
                    view.reserved.add(resource.name(), amount);
                    view.idle.add(resource.name(), amount);
                });
            }
        }
    }
    views
}

/// The roles that a framework named, borrowed from it.
#[allow(deprecated, reason = "frameworks without MULTI_ROLE have one role")]
fn subscribed_roles(framework: &master_core::Framework) -> Vec<&str> {
    let info = &framework.info;
    if framework.has_capability(mesos_proto::v1::framework_info::capability::Type::MultiRole) {
        return info.roles.iter().map(String::as_str).collect();
    }
    vec![info.role.as_deref().unwrap_or("*")]
}

fn allocation(resource: &Resource) -> Option<&str> {
    resource.identity().allocation.as_deref()
}

fn reservation(resource: &Resource) -> Option<&str> {
    resource.identity().reservations.last().map(|reservation| &*reservation.role)
}

fn subtree<'m>(
    views: &mut BTreeMap<&'m str, RoleView<'m>>,
    role: &'m str,
    mut change: impl FnMut(&mut RoleView<'m>),
) {
    change(views.entry(role).or_default());
    for above in role::ancestors(role) {
        change(views.entry(above).or_default());
    }
}
