use std::collections::BTreeMap;

use mesos_proto::v1::TaskState;
use mesos_proto::v1::offer::operation;
use mesos_proto::v1::scheduler::{call, event};

/// Numbers by their names in `/metrics/snapshot`.
pub type Metrics = BTreeMap<String, f64>;

/// What is counted for a framework since it first subscribed with this master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameworkMetrics {
    /// Calls by type.
    pub calls: Counts<call::Type>,
    /// Events by type.
    pub events: Counts<event::Type>,
    /// Operations in accepted offers by type.
    pub operations: Counts<operation::Type>,
    /// Tasks that ended, by state.
    pub terminal_tasks: Counts<TaskState>,
    /// Offers made to it.
    pub offers_sent: u64,
    /// Offers it used.
    pub offers_accepted: u64,
    /// Offers it did not want.
    pub offers_declined: u64,
    /// Offers that were taken back.
    pub offers_rescinded: u64,
}

/// How often each of a few things happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts<K: Ord>(BTreeMap<K, u64>);

impl<K: Ord> Default for Counts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Counts<K> {
    /// How often `what` happened.
    pub fn of(&self, what: K) -> u64 {
        self.0.get(&what).copied().unwrap_or(0)
    }

    /// How often anything happened.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn count(&mut self, what: K) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// The master's own counters, all since its start; names as in `/metrics/snapshot`, without `master/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}
