use std::time::Duration;

use mesos_proto::v1::AgentInfo;

/// What an agent is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agent's description without an id: hostname, port, resources, attributes.
    pub info: AgentInfo,
    /// The address that tasks on the host's network are reached at; told in their status.
    pub ip: String,
    /// The kernel's boot id. Another one than at the last run means that every process is gone.
    pub boot_id: String,
    /// The program that runs command tasks, as told in their `ExecutorInfo`.
    pub executor_program: String,
    /// How long a started executor may take to subscribe (Mesos: `executor_registration_timeout`, 1 min).
    pub executor_registration_timeout: Duration,
    /// How long executors may take to subscribe again after the agent restarted
    /// (Mesos: `executor_reregistration_timeout`, 2 s there).
    pub executor_reregistration_timeout: Duration,
    /// How long an executor may take to end after it was told to, unless its `ExecutorInfo` says else
    /// (Mesos: `executor_shutdown_grace_period`, 5 s).
    pub executor_shutdown_grace_period: Duration,
    /// The first and the longest wait for an update's acknowledgement (Mesos: 10 s, 10 min).
    pub update_retry: (Duration, Duration),
    /// How long a sandbox is kept after its executor ended (Mesos: `gc_delay`, 7 days).
    pub gc_delay: Duration,
    /// Executors at one time; a task that would need one more is refused.
    pub max_executors: usize,
    /// Frameworks without executors that are remembered (Mesos: `MAX_COMPLETED_FRAMEWORKS`, 50).
    pub max_completed_frameworks: usize,
    /// Ended executors remembered for each framework (Mesos: `max_completed_executors_per_framework`, 150).
    pub max_completed_executors: usize,
    /// Ended tasks remembered for each executor (Mesos: `MAX_COMPLETED_TASKS_PER_EXECUTOR`, 200).
    pub max_completed_tasks: usize,
}

impl Config {
    /// Mesos' defaults for an agent described by `info`, reached at `ip`, on a machine up since `boot_id`.
    pub fn new(info: AgentInfo, ip: impl Into<String>, boot_id: impl Into<String>) -> Config {
        Config {
            info,
            ip: ip.into(),
            boot_id: boot_id.into(),
            executor_program: "dcos".into(),
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(10),
            executor_shutdown_grace_period: Duration::from_secs(5),
            update_retry: (Duration::from_secs(10), Duration::from_secs(600)),
            gc_delay: Duration::from_secs(7 * 24 * 3600),
            max_executors: 5000,
            max_completed_frameworks: 50,
            max_completed_executors: 150,
            max_completed_tasks: 200,
        }
    }
}
