use std::collections::{BTreeMap, BTreeSet};

use resources::{Limits, Quantities, Resource, Resources, Value};

/// What a top-level role and all below it may and shall have. Mesos: `Quota`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// So much is kept for it.
    pub guarantees: Quantities,
    /// More than this it never gets.
    pub limits: Limits,
}

impl Quota {
    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}

/// What a top-level role has of its quota.
#[derive(Debug, Default)]
struct Account {
    quota: Quota,
    /// Reservations, in use or not, and what is unreserved and allocated.
    consumed: Quantities,
    /// What is guaranteed but not consumed.
    deficit: Quantities,
}

/// Who has how much of what quotas promise, kept up with each change. Mesos recomputes it in each run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<Box<str>, Account>,
    /// What is free of all agents and could satisfy a guarantee.
    free: Quantities,
    /// The sum of all deficits.
    required: Quantities,
    /// Roles with a deficit.
    unsatisfied: BTreeSet<Box<str>>,
    /// How many roles have a quota.
    quotas: usize,
}

/// Whether a resource counts against quotas when it is allocated, and satisfies guarantees.
pub(crate) fn is_counted(resource: &Resource) -> bool {
    let identity = resource.identity();
    identity.reservations.is_empty() && !identity.revocable && matches!(resource.value(), Value::Scalar(_))
}

/// The role at the top of the tree that `role` is in: quotas are its.
pub(crate) fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}

fn add_counted(amounts: &mut Quantities, resources: &Resources) {
    for resource in resources.iter().filter(|resource| is_counted(resource)) {
        amounts.add_amount(resource.name(), resource.value().quantity());
    }
}

fn subtract_counted(amounts: &mut Quantities, resources: &Resources) {
    for resource in resources.iter().filter(|resource| is_counted(resource)) {
        amounts.add_amount(resource.name(), resources::Scalar::ZERO.minus(resource.value().quantity()));
    }
}

impl Ledger {
    /// `None` and a quota that says nothing are the same.
    pub(crate) fn set_quota(&mut self, role: &str, quota: Option<Quota>) {
        let quota = quota.unwrap_or_default();
        let account = self.accounts.entry(role.into()).or_default();
        self.quotas -= usize::from(!account.quota.is_default());
        self.quotas += usize::from(!quota.is_default());
        account.quota = quota;
        self.settle(role);
    }

    /// Whether any role has a quota.
    pub(crate) fn has_quotas(&self) -> bool {
        self.quotas > 0
    }

    pub(crate) fn add_reservations(&mut self, total: &Resources) {
        for resource in reserved(total) {
            self.change(top(resource.identity().reservation_role()), |consumed| {
                consumed.add_amount(resource.name(), resource.value().quantity());
            });
        }
    }

    pub(crate) fn remove_reservations(&mut self, total: &Resources) {
        for resource in reserved(total) {
            self.change(top(resource.identity().reservation_role()), |consumed| {
                consumed
                    .add_amount(resource.name(), resources::Scalar::ZERO.minus(resource.value().quantity()));
            });
        }
    }

    pub(crate) fn charge(&mut self, role: &str, resources: &Resources) {
        self.change(top(role), |consumed| add_counted(consumed, resources));
    }

    pub(crate) fn refund(&mut self, role: &str, resources: &Resources) {
        self.change(top(role), |consumed| subtract_counted(consumed, resources));
    }

    pub(crate) fn add_free(&mut self, free: &Resources) {
        add_counted(&mut self.free, free);
    }

    pub(crate) fn remove_free(&mut self, free: &Resources) {
        subtract_counted(&mut self.free, free);
    }

    fn change(&mut self, role: &str, change: impl FnOnce(&mut Quantities)) {
        match self.accounts.get_mut(role) {
            Some(account) => change(&mut account.consumed),
            None => change(&mut self.accounts.entry(role.into()).or_default().consumed),
        }
        self.settle(role);
    }

    /// Makes sums of what a role lacks true again, and forgets a role that has nothing.
    fn settle(&mut self, role: &str) {
        let Some(account) = self.accounts.get_mut(role) else { return };
        if !account.quota.guarantees.is_empty() || !account.deficit.is_empty() {
            self.required.subtract(&account.deficit);
            account.deficit = account.quota.guarantees.clone();
            account.deficit.subtract(&account.consumed);
            self.required.add(&account.deficit);
            if account.deficit.is_empty() {
                self.unsatisfied.remove(role);
            } else if !self.unsatisfied.contains(role) {
                self.unsatisfied.insert(role.into());
            }
        }
        if account.quota.is_default() && account.consumed.is_empty() {
            self.accounts.remove(role);
        }
    }

    /// Whether there is a guarantee that is not met.
    pub(crate) fn has_unsatisfied(&self) -> bool {
        !self.unsatisfied.is_empty()
    }

    /// What is guaranteed to a top-level role but not consumed; `None` for nothing.
    pub(crate) fn deficit(&self, role: &str) -> Option<&Quantities> {
        if self.unsatisfied.is_empty() {
            return None;
        }
        self.accounts.get(role).map(|account| &account.deficit).filter(|deficit| !deficit.is_empty())
    }

    /// How much more a top-level role may have; `None` if it has no limits.
    pub(crate) fn left(&self, role: &str) -> Option<Limits> {
        if self.quotas == 0 {
            return None;
        }
        let account = self.accounts.get(role)?;
        (!account.quota.limits.is_empty()).then(|| account.quota.limits.left(&account.consumed))
    }

    /// What may be handed out while the guarantees of others can still be met; `None` if nobody is short of
    /// anything. Mesos: available headroom less required headroom.
    pub(crate) fn surplus(&self) -> Option<Limits> {
        if self.required.is_empty() {
            return None;
        }
        let mut surplus = Limits::new();
        for (name, required) in self.required.iter() {
            surplus.set(name, self.free.get(name).minus(required).max(resources::Scalar::ZERO));
        }
        Some(surplus)
    }

    /// What a top-level role consumes of a quota.
    pub(crate) fn consumed(&self, role: &str) -> Quantities {
        self.accounts.get(role).map(|account| account.consumed.clone()).unwrap_or_default()
    }

    /// Panics unless the sums are what they say, `free` being all that is free of the agents.
    pub(crate) fn check<'a>(&self, free: impl Iterator<Item = &'a Resources>) {
        let mut sum = Quantities::new();
        free.for_each(|free| add_counted(&mut sum, free));
        assert_eq!(sum, self.free, "the ledger knows what is free");
        let mut required = Quantities::new();
        for (role, account) in &self.accounts {
            let mut deficit = account.quota.guarantees.clone();
            deficit.subtract(&account.consumed);
            assert_eq!(deficit, account.deficit, "what role {role} is short of");
            assert_eq!(self.unsatisfied.contains(role), !deficit.is_empty());
            required.add(&deficit);
        }
        assert_eq!(required, self.required, "the headroom is the sum of what roles are short of");
        let quotas = self.accounts.values().filter(|account| !account.quota.is_default()).count();
        assert_eq!(quotas, self.quotas);
    }
}

fn reserved(total: &Resources) -> impl Iterator<Item = &Resource> {
    total.iter().filter(|resource| {
        !resource.identity().reservations.is_empty() && matches!(resource.value(), Value::Scalar(_))
    })
}
