//! Figures of a whole cluster.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Cluster, Options, descendants, eventually, pss_kib};

use crate::table::{Table, millis};

const STARTS: usize = 11;
const IDLE: Duration = Duration::from_secs(60);
const APPS: usize = 15;
const TASKS: u64 = 50;

pub(crate) fn binary_size(program: &Path, table: &mut Table) {
    let bytes = fs::metadata(program).map(|found| found.len()).unwrap_or_default();
    table.figure("size of the program", "MB", bytes as f64 / 1e6, "< 40 MB");
}

pub(crate) fn start_to_ready(program: &Path, table: &mut Table) {
    let samples =
        (0..STARTS).map(|_| millis(Cluster::start(program, Options::default()).ready_after())).collect();
    table.samples("dcos up to READY", "ms", samples, "< 1000 ms");
}

pub(crate) fn idle(program: &Path, table: &mut Table) {
    let cluster = Cluster::start(program, Options::default());
    rest(Duration::from_secs(3));
    let (cpu_before, from) = (cpu_seconds(cluster.pid()), Instant::now());
    let mut memory = Vec::new();
    while from.elapsed() < IDLE {
        memory.extend(pss_kib(cluster.pid()).map(|kib| kib as f64 / 1024.0));
        rest(Duration::from_secs(5));
    }
    let cpu = (cpu_seconds(cluster.pid()) - cpu_before) / from.elapsed().as_secs_f64() * 100.0;
    table.samples("memory (PSS) of the idle cluster", "MiB", memory, "< 60 MB");
    table.figure("cpu of the idle cluster over a minute", "% of a core", cpu, "< 0.5 %");
}

pub(crate) fn post_to_healthy(program: &Path, table: &mut Table) {
    let cluster = Cluster::start(program, Options::default());
    let mut samples = Vec::new();
    for number in 0..APPS {
        let id = format!("/app-{number}");
        let events = cluster.events();
        let from = Instant::now();
        cluster.create_app(&json!({
            "id": id, "cpus": 0.1, "mem": 32, "cmd": "exec python3 -m http.server $PORT0 --bind $HOST",
            "healthChecks": [{"protocol": "TCP", "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 30}],
        }));
        let healthy = events.next(Duration::from_secs(30), |name, event| {
            name == "instance_health_changed_event"
                && event["runSpecId"] == id.as_str()
                && event["healthy"] == true
        });
        if healthy.is_some() {
            samples.push(millis(from.elapsed()));
        }
        cluster.request("DELETE", &format!("/marathon/v2/apps{id}"), None);
    }
    table.samples("POST /v2/apps to healthy (python http.server)", "ms", samples, "");
}

pub(crate) fn memory_per_task(program: &Path, table: &mut Table) {
    let cluster = Cluster::start(program, Options::default());
    rest(Duration::from_secs(3));
    let before = pss_kib(cluster.pid()).unwrap_or_default();
    cluster.create_app(&json!({
        "id": "/sleepers", "cpus": 0.01, "mem": 32, "instances": TASKS, "cmd": "exec sleep 3600",
    }));
    eventually("all tasks run", || {
        (cluster.get("/marathon/v2/apps//sleepers")["app"]["tasksRunning"] == TASKS).then_some(())
    });
    rest(Duration::from_secs(3));
    let below = descendants(cluster.pid());
    let executors: u64 = below
        .iter()
        .filter(|process| !process.command.starts_with("sleep"))
        .filter_map(|process| pss_kib(process.pid))
        .sum();
    let control = pss_kib(cluster.pid()).unwrap_or_default().saturating_sub(before);
    table.figure("memory (PSS) of the executor, a task", "MiB", executors as f64 / 1024.0 / TASKS as f64, "");
    table.figure(
        "memory (PSS) beyond the task itself, a task",
        "MiB",
        (executors + control) as f64 / 1024.0 / TASKS as f64,
        "<= 3 MB",
    );
    table.figure("processes that dcos up has below itself", "", below.len() as f64, "");
}

/// The time that the threads of a process have run, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = |thread: fs::DirEntry| -> Option<f64> {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse().ok()
    };
    threads.filter_map(nanoseconds).sum::<f64>() / 1e9
}

#[allow(clippy::disallowed_methods, reason = "the measured time is meant to pass")]
fn rest(duration: Duration) {
    std::thread::sleep(duration);
}
