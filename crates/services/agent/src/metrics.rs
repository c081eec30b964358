//! `/metrics/snapshot`, GET_METRICS and `/system/stats.json`.

use std::collections::BTreeMap;

use agent_core::{Agent, ExecutorState, Framework};
use api_mesos::json::document;
use mesos_proto::v1::TaskState;
use resources::Resources;
use runtime::Clock;

use crate::http::Api;
use crate::mailbox::Stopping;
use crate::state::allocated;

/// Names and values, sorted by name.
pub(crate) type Metrics = BTreeMap<&'static str, f64>;

/// All metrics.
pub(crate) async fn collect(api: &Api) -> Result<Metrics, Stopping> {
    let uptime = Clock::mono().since(api.started).as_secs_f64();
    let recovery_time = api.recovery_time;
    let mut all = api.mailbox.read(of_agent).await?;
    let destroy_errors = api.destroy_errors.load(std::sync::atomic::Ordering::Relaxed);
    all.insert("containerizer/mesos/container_destroy_errors", destroy_errors as f64);
    all.insert("slave/recovery_errors", api.recovery_errors as f64);
    all.insert("slave/uptime_secs", uptime);
    all.insert("slave/recovery_time_secs", recovery_time);
    all.insert("slave/executor_directory_max_allowed_age_secs", api.config.gc_delay.as_secs_f64());
    of_system(&mut all);
    Ok(all)
}

/// `/metrics/snapshot`
pub(crate) async fn snapshot(api: &Api) -> Result<Vec<u8>, Stopping> {
    let all = collect(api).await?;
    Ok(document(|o| {
        all.iter().for_each(|(name, value)| {
            o.field(name, *value);
        })
    }))
}

fn of_agent(agent: &Agent) -> Metrics {
    let mut all = Metrics::new();
    let count = |wanted: ExecutorState| {
        let executors = agent.frameworks().flat_map(Framework::executors);
        executors.filter(|executor| executor.state() == wanted).count() as f64
    };
    let counters = agent.counters();
    all.extend([
        ("slave/container_launch_errors", counters.container_launch_errors as f64),
        ("slave/executors_registering", count(ExecutorState::Registering)),
        ("slave/executors_running", count(ExecutorState::Running)),
        ("slave/executors_terminating", count(ExecutorState::Terminating)),
        ("slave/executors_terminated", counters.executors_terminated as f64),
        ("slave/executors_preempted", 0.0),
        ("slave/frameworks_active", agent.frameworks().count() as f64),
        ("slave/invalid_framework_messages", counters.invalid_framework_messages as f64),
        ("slave/valid_framework_messages", counters.valid_framework_messages as f64),
        ("slave/invalid_status_updates", counters.invalid_status_updates as f64),
        ("slave/valid_status_updates", counters.valid_status_updates as f64),
        ("slave/registered", f64::from(u8::from(agent.is_registered()))),
    ]);
    let mut living = BTreeMap::<i32, f64>::new();
    agent.living_tasks().for_each(|state| *living.entry(state as i32).or_default() += 1.0);
    for (name, state) in [
        ("slave/tasks_staging", TaskState::TaskStaging),
        ("slave/tasks_starting", TaskState::TaskStarting),
        ("slave/tasks_running", TaskState::TaskRunning),
        ("slave/tasks_killing", TaskState::TaskKilling),
    ] {
        all.insert(name, living.get(&(state as i32)).copied().unwrap_or(0.0));
    }
    for (name, state) in [
        ("slave/tasks_failed", TaskState::TaskFailed),
        ("slave/tasks_finished", TaskState::TaskFinished),
        ("slave/tasks_gone", TaskState::TaskGone),
        ("slave/tasks_killed", TaskState::TaskKilled),
        ("slave/tasks_lost", TaskState::TaskLost),
    ] {
        all.insert(name, counters.tasks.get(&(state as i32)).copied().unwrap_or(0) as f64);
    }
    of_resources(&mut all, agent.total(), &allocated(agent));
    all
}

/// For each resource its five names: all, given out, the share; and the same of what can be taken back.
const NAMES: [(&str, [&str; 3], [&str; 3]); 4] = [
    (
        "cpus",
        ["slave/cpus_total", "slave/cpus_used", "slave/cpus_percent"],
        ["slave/cpus_revocable_total", "slave/cpus_revocable_used", "slave/cpus_revocable_percent"],
    ),
    (
        "gpus",
        ["slave/gpus_total", "slave/gpus_used", "slave/gpus_percent"],
        ["slave/gpus_revocable_total", "slave/gpus_revocable_used", "slave/gpus_revocable_percent"],
    ),
    (
        "mem",
        ["slave/mem_total", "slave/mem_used", "slave/mem_percent"],
        ["slave/mem_revocable_total", "slave/mem_revocable_used", "slave/mem_revocable_percent"],
    ),
    (
        "disk",
        ["slave/disk_total", "slave/disk_used", "slave/disk_percent"],
        ["slave/disk_revocable_total", "slave/disk_revocable_used", "slave/disk_revocable_percent"],
    ),
];

fn of_resources(all: &mut Metrics, total: &Resources, used: &Resources) {
    for (name, plain, revocable) in NAMES {
        let parts = [
            (plain, total.non_revocable(), used.non_revocable()),
            (revocable, total.revocable(), used.revocable()),
        ];
        for ([total_name, used_name, percent_name], total, used) in parts {
            let (total, used) = (total.scalar(name).to_f64(), used.scalar(name).to_f64());
            all.insert(total_name, total);
            all.insert(used_name, used);
            all.insert(percent_name, if total > 0.0 { used / total } else { 0.0 });
        }
    }
}

fn of_system(all: &mut Metrics) {
    let [one, five, fifteen] = load();
    let (total, free) = memory();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    all.extend([
        ("system/cpus_total", cpus as f64),
        ("system/load_1min", one),
        ("system/load_5min", five),
        ("system/load_15min", fifteen),
        ("system/mem_total_bytes", total as f64),
        ("system/mem_free_bytes", free as f64),
    ]);
}

/// `/system/stats.json`
pub(crate) fn system() -> Vec<u8> {
    let [one, five, fifteen] = load();
    let (total, free) = memory();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    document(|o| {
        o.field("avg_load_15min", fifteen)
            .field("avg_load_1min", one)
            .field("avg_load_5min", five)
            .field("cpus_total", cpus)
            .field("mem_free_bytes", free)
            .field("mem_total_bytes", total);
    })
}

/// proc_loadavg(5); zeros where procfs does not say.
fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0.0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0.0))
}

/// Bytes of memory, all and free; proc_meminfo(5).
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    (value("MemTotal:").unwrap_or(0) * 1024, value("MemFree:").unwrap_or(0) * 1024)
}
