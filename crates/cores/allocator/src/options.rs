use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use resources::{Quantities, Resources, Scalar};

use crate::sorter::SorterKind;

/// Less than this is not worth an offer: an offer has at least so many cpus or so much memory.
/// Mesos: `MIN_CPUS` and `MIN_MEM`.
pub const MIN_CPUS: Scalar = Scalar::from_thousandths(10);
/// In mebibytes.
pub const MIN_MEM: Scalar = Scalar::from_units(32);

/// How an allocator decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides the order in which agents are offered.
    pub seed: u64,
    /// The shortest and the unit of the time that declined resources stay away. Mesos: `--allocation_interval`.
    pub interval: Duration,
    /// An offer holds at least one of these; anything is worth an offer if there is none. Mesos:
    /// `--min_allocatable_resources`.
    pub min_allocatable: Vec<Quantities>,
    /// Resources that do not count for fairness. Mesos: `--fair_sharing_excluded_resource_names`.
    pub excluded: BTreeSet<String>,
    /// The order of roles. Mesos: `--role_sorter`.
    pub role_sorter: SorterKind,
    /// The order of frameworks in a role. Mesos: `--framework_sorter`.
    pub framework_sorter: SorterKind,
    /// Keeps agents that have GPUs from frameworks that do not know GPUs. Mesos: `--filter_gpu_resources`.
    pub filter_gpus: bool,
    /// The region of the master: agents of others are remote. Mesos: `--domain`.
    pub region: Option<Arc<str>>,
}

impl Options {
    /// The defaults of Mesos.
    pub fn new(seed: u64, interval: Duration) -> Self {
        let least = |name: &str, amount: Scalar| {
            let mut least = Quantities::new();
            least.add_amount(name, amount);
            least
        };
        Self {
            seed,
            interval,
            min_allocatable: vec![least("cpus", MIN_CPUS), least("mem", MIN_MEM)],
            excluded: BTreeSet::new(),
            role_sorter: SorterKind::Drf,
            framework_sorter: SorterKind::Drf,
            filter_gpus: true,
            region: None,
        }
    }
}

/// Whether `resources` hold at least one of `least`; anything but nothing will do if there is none.
pub(crate) fn is_worth_an_offer(resources: &Resources, least: &[Quantities]) -> bool {
    let holds = |least: &Quantities| least.iter().all(|(name, amount)| resources.scalar(name) >= amount);
    !resources.is_empty() && (least.is_empty() || least.iter().any(holds))
}

/// What a framework can deal with; what it cannot deal with is not offered to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Resources that may be taken back at any time.
    pub revocable: bool,
    /// Agents that have GPUs at all: others would fill them with work that needs none.
    pub gpus: bool,
    /// Resources with more than one layer of reservation.
    pub refined_reservations: bool,
    /// Agents of other regions than the master's.
    pub regions: bool,
}

/// What is said of an agent beside its resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentTerms {
    /// The name of its host.
    pub hostname: String,
    /// The region of its fault domain; without one it is local.
    pub region: Option<String>,
}
