use std::time::Duration;

use allocator::Options;
use mesos_proto::v1;

/// What the master is told at its start. The defaults are those of Mesos.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this master is, as frameworks are told: id (a UUID, new for every start), address, version,
    /// capabilities. Agent, framework and offer ids begin with its id.
    pub info: v1::MasterInfo,
    /// Seeds the order in which agents are offered.
    pub seed: u64,
    /// How often agents' free resources are offered again after filters expired. Mesos: `--allocation_interval`.
    pub allocation_interval: Duration,
    /// How else it is decided who is offered what; seed and interval are those of above.
    pub allocator: Options,
    /// Takes an unanswered offer back after this time; never if `None`. Mesos: `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// How often subscribed frameworks get a HEARTBEAT.
    pub heartbeat_interval: Duration,
    /// How long an agent may be silent, together with `max_agent_ping_timeouts`. Mesos: `--agent_ping_timeout`.
    pub agent_ping_timeout: Duration,
    /// After this many `agent_ping_timeout`s of silence an agent is unreachable. Mesos: `--max_agent_ping_timeouts`.
    pub max_agent_ping_timeouts: u32,
    /// After a failover of the master, an agent that has not come back in this time is unreachable.
    /// Mesos: `--agent_reregister_timeout`.
    pub agent_reregister_timeout: Duration,
    /// How many completed frameworks are remembered. Mesos: `--max_completed_frameworks`.
    pub max_completed_frameworks: usize,
    /// How many completed tasks of each framework are remembered. Mesos: `--max_completed_tasks_per_framework`.
    pub max_completed_tasks_per_framework: usize,
    /// How many unreachable tasks of each framework are remembered. Mesos:
    /// `--max_unreachable_tasks_per_framework`.
    pub max_unreachable_tasks_per_framework: usize,
    /// How many unreachable agents the registry remembers, and how many that are gone.
    /// Mesos: `--registry_max_agent_count`.
    pub max_unreachable_agents: usize,
    /// How long the registry remembers them. Mesos: `--registry_max_agent_age`.
    pub registry_max_agent_age: Duration,
    /// How often the registry is swept of them. Mesos: `--registry_gc_interval`.
    pub registry_gc_interval: Duration,
    /// Which part of the agents of the registry may be given up because they did not come back after a
    /// failover; 1 is all. Mesos: `--recovery_agent_removal_limit`.
    pub recovery_agent_removal_limit: f64,
    /// The least time between two agents that are given up because they are silent; none without it.
    /// Mesos: `--agent_removal_rate_limit`.
    pub agent_removal_interval: Option<Duration>,
}

impl Config {
    /// The defaults of Mesos for the master that `info` describes.
    pub fn new(info: v1::MasterInfo, seed: u64) -> Self {
        Self {
            info,
            seed,
            allocation_interval: Duration::from_secs(1),
            allocator: Options::new(seed, Duration::from_secs(1)),
            offer_timeout: None,
            heartbeat_interval: Duration::from_secs(15),
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            max_completed_frameworks: 50,
            max_completed_tasks_per_framework: 1000,
            max_unreachable_tasks_per_framework: 1000,
            max_unreachable_agents: 100 * 1024,
            registry_max_agent_age: Duration::from_secs(14 * 24 * 3600),
            registry_gc_interval: Duration::from_secs(15 * 60),
            recovery_agent_removal_limit: 1.0,
            agent_removal_interval: None,
        }
    }

    /// How long an agent may be silent before it is unreachable.
    pub fn agent_silence(&self) -> Duration {
        self.agent_ping_timeout.saturating_mul(self.max_agent_ping_timeouts)
    }
}
