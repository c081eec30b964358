use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use crate::{Identity, Kind, Ranges, Scalar, Value};

/// Some amount of one kind of resource. Cheap to clone except for long ranges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    identity: Arc<Identity>,
    value: Value,
}

impl Resource {
    /// So much of what `identity` names; the identity takes the value's kind.
    pub fn new(mut identity: Identity, value: Value) -> Self {
        identity.kind = value.kind();
        Self { identity: Arc::new(identity), value }
    }

    /// An unreserved scalar.
    pub fn scalar(name: &str, amount: Scalar) -> Self {
        Self::new(Identity::plain(name, Kind::Scalar), Value::Scalar(amount))
    }

    /// Unreserved ranges.
    pub fn ranges(name: &str, ranges: Ranges) -> Self {
        Self::new(Identity::plain(name, Kind::Ranges), Value::Ranges(ranges))
    }

    /// What kind of resource this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The resource's name.
    pub fn name(&self) -> &str {
        self.identity.name.as_str()
    }

    /// How much there is.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The same amount under another identity.
    fn reidentified(&self, change: impl FnOnce(&mut Identity)) -> Resource {
        let mut identity = Identity::clone(&self.identity);
        change(&mut identity);
        Resource { identity: Arc::new(identity), value: self.value.clone() }
    }

    /// So much of the same kind; `value` is of the same kind of value.
    pub(crate) fn of_value(&self, value: Value) -> Resource {
        Resource { identity: Arc::clone(&self.identity), value }
    }

    pub(crate) fn is_indivisible(&self) -> bool {
        self.identity.shared || self.identity.disk.as_ref().is_some_and(|disk| disk.is_indivisible())
    }
}

/// As Mesos prints it: `cpus(allocated: dev):4`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.identity, self.value)
    }
}

/// A bag of resources: at most one entry per identity, none of them empty, sorted by identity, so that
/// equal bags are equal values whatever order they were put together in.
///
/// The few entries (an agent has four or five) lie in one vector: sums and comparisons are merges
/// without allocation where identities are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources(Vec<Resource>);

/// Something was to be taken from resources that do not contain it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{have} does not contain {want}")]
pub struct NotContained {
    /// What there was.
    pub have: Resources,
    /// What was to be taken.
    pub want: Resources,
}

impl Resources {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, by identity.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.0.iter()
    }

    /// Adds one resource. Numbers and items that are there already are not doubled.
    pub fn push(&mut self, resource: Resource) {
        if resource.value.is_empty() {
            return;
        }
        match self.find(&resource) {
            Ok(at) => self.0[at].value.add(&resource.value),
            Err(at) => self.0.insert(at, resource),
        }
    }

    /// Whether `other` is part of these. What cannot be divided is only contained whole.
    pub fn contains(&self, other: &Resources) -> bool {
        other.0.iter().all(|want| {
            self.find(want).is_ok_and(|at| {
                let have = &self.0[at];
                if want.is_indivisible() {
                    have.value == want.value
                } else {
                    have.value.contains(&want.value)
                }
            })
        })
    }

    /// Takes `other` away.
    ///
    /// # Errors
    /// Changes nothing if these do not contain all of it.
    pub fn subtract(&mut self, other: &Resources) -> Result<(), NotContained> {
        if !self.contains(other) {
            return Err(NotContained { have: self.clone(), want: other.clone() });
        }
        self.subtract_available(other);
        Ok(())
    }

    /// Takes away as much of `other` as there is.
    pub fn subtract_available(&mut self, other: &Resources) {
        for resource in &other.0 {
            if let Ok(at) = self.find(resource) {
                self.0[at].value.subtract(&resource.value);
                if self.0[at].value.is_empty() {
                    self.0.remove(at);
                }
            }
        }
    }

    /// The entries whose identity passes.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Identity) -> bool) -> Resources {
        Resources(self.0.iter().filter(|resource| keep(&resource.identity)).cloned().collect())
    }

    /// What is reserved to nobody.
    #[must_use]
    pub fn unreserved(&self) -> Resources {
        self.filter(|identity| identity.reservations.is_empty())
    }

    /// What is reserved to exactly `role`.
    #[must_use]
    pub fn reserved_to(&self, role: &str) -> Resources {
        self.filter(|identity| identity.reservations.last().is_some_and(|last| *last.role == *role))
    }

    /// What frameworks of `role` may get: the unreserved, and what is reserved to the role or above it.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Resources {
        self.filter(|identity| identity.is_allocatable_to(role))
    }

    /// What may be taken back at any time.
    #[must_use]
    pub fn revocable(&self) -> Resources {
        self.filter(|identity| identity.revocable)
    }

    /// What may not be taken back.
    #[must_use]
    pub fn non_revocable(&self) -> Resources {
        self.filter(|identity| !identity.revocable)
    }

    /// The same amounts without reservations (Mesos: `Resources::toUnreserved`).
    #[must_use]
    pub fn to_unreserved(&self) -> Resources {
        self.map(|identity| !identity.reservations.is_empty(), |identity| identity.reservations.clear())
    }

    /// The same amounts, allocated to `role`.
    #[must_use]
    pub fn allocated_to(&self, role: &str) -> Resources {
        self.map(
            |identity| identity.allocation.as_deref() != Some(role),
            |identity| identity.allocation = Some(Arc::from(role)),
        )
    }

    /// The same amounts, allocated to nobody.
    #[must_use]
    pub fn unallocated(&self) -> Resources {
        self.map(|identity| identity.allocation.is_some(), |identity| identity.allocation = None)
    }

    /// The one role that all of these are allocated to; `None` if some are not allocated, or to another role.
    pub fn allocation_role(&self) -> Option<&Arc<str>> {
        let role = self.0.first()?.identity.allocation.as_ref()?;
        self.0.iter().all(|resource| resource.identity.allocation.as_ref() == Some(role)).then_some(role)
    }

    /// The sum of the scalars called `name`, over all identities; zero if there is none.
    pub fn scalar(&self, name: &str) -> Scalar {
        self.named(name).fold(Scalar::ZERO, |sum, resource| match &resource.value {
            Value::Scalar(amount) => sum.plus(*amount),
            _ => sum,
        })
    }

    /// The union of the ranges called `name`, over all identities.
    pub fn ranges(&self, name: &str) -> Ranges {
        Ranges::from_intervals(
            self.named(name)
                .filter_map(|resource| match &resource.value {
                    Value::Ranges(ranges) => Some(ranges.intervals()),
                    _ => None,
                })
                .flatten()
                .copied(),
        )
    }

    /// Cores.
    pub fn cpus(&self) -> Scalar {
        self.scalar("cpus")
    }

    /// Mebibytes.
    pub fn mem(&self) -> Scalar {
        self.scalar("mem")
    }

    /// Mebibytes.
    pub fn disk(&self) -> Scalar {
        self.scalar("disk")
    }

    /// Devices.
    pub fn gpus(&self) -> Scalar {
        self.scalar("gpus")
    }

    /// Ports, whoever they are reserved to.
    pub fn ports(&self) -> Ranges {
        self.ranges("ports")
    }

    /// The amounts of the scalars by name, whatever else their identity says. What fairness compares.
    pub fn scalar_quantities(&self) -> impl Iterator<Item = (&str, Scalar)> {
        self.0.iter().filter_map(|resource| match &resource.value {
            Value::Scalar(amount) => Some((resource.name(), *amount)),
            _ => None,
        })
    }

    /// How much there is by name: amounts of scalars, numbers of ports and items.
    pub fn quantities(&self) -> BTreeMap<&str, Scalar> {
        let mut sums = BTreeMap::<&str, Scalar>::new();
        for resource in &self.0 {
            let sum = sums.entry(resource.name()).or_default();
            *sum = sum.plus(resource.value.quantity());
        }
        sums
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.0.iter().filter(move |resource| resource.name() == name)
    }

    fn find(&self, like: &Resource) -> Result<usize, usize> {
        // Identities that come from one another are one allocation: the pointer settles most comparisons.
        self.0.binary_search_by(|have| {
            if Arc::ptr_eq(&have.identity, &like.identity) {
                std::cmp::Ordering::Equal
            } else {
                have.identity.cmp(&like.identity)
            }
        })
    }

    pub(crate) fn map(
        &self,
        affects: impl Fn(&Identity) -> bool,
        change: impl Fn(&mut Identity),
    ) -> Resources {
        self.0
            .iter()
            .map(
                |resource| {
                    if affects(&resource.identity) {
                        resource.reidentified(&change)
                    } else {
                        resource.clone()
                    }
                },
            )
            .collect()
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut all = Resources::new();
        resources.into_iter().for_each(|resource| all.push(resource));
        all
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Adds all of `other`. Numbers and items that are there already are not doubled.
impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        for resource in &other.0 {
            match self.find(resource) {
                Ok(at) => self.0[at].value.add(&resource.value),
                Err(at) => self.0.insert(at, resource.clone()),
            }
        }
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;
    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

/// As Mesos prints it: `cpus:4; mem:1024`, and `{}` for nothing.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("{}");
        }
        for (i, resource) in self.0.iter().enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}{resource}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
