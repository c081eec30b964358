//! Tasks outlive the control plane, however it ends.

use std::collections::BTreeSet;
use std::process::Command;

use rustix::process::Signal;
use testkit::{Cluster, Options, Process, running};

use crate::apps::{DCOS, executor_of, settled, sleepers, task_ids};

/// The processes of the sleeping tasks of this cluster: their sandboxes lie in its directory.
fn sleeping(cluster: &Cluster) -> BTreeSet<Process> {
    let ours = |process: &Process| {
        let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(cluster.dir().to_str().unwrap())
    };
    let mut found: BTreeSet<Process> = running("sleep 3600").into_iter().filter(ours).collect();
    found.retain(|process| process.command == "sleep 3600");
    // A parent that dies changes the parent, not the process.
    found.into_iter().map(|process| Process { parent: 0, ..process }).collect()
}

#[test]
fn killed_and_started_again_the_same_processes_run_known_and_undoubled() {
    let options = Options { resources: Some("cpus:4;mem:4096;disk:1024".into()), ..Options::default() };
    let mut cluster = Cluster::start(DCOS, options);
    cluster.create_app(&sleepers("sleepers", 20));
    let tasks = task_ids(&settled(&cluster, "sleepers", 20));
    let processes = sleeping(&cluster);
    assert_eq!(processes.len(), 20);
    for round in 1..=3 {
        cluster.kill();
        assert_eq!(sleeping(&cluster), processes, "round {round}: with the control plane dead");
        cluster.up_again();
        assert_eq!(task_ids(&settled(&cluster, "sleepers", 20)), tasks, "round {round}");
        assert_eq!(sleeping(&cluster), processes, "round {round}");
    }
}

#[test]
fn ended_by_a_signal_tasks_go_on_and_down_ends_them() {
    let mut cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&sleepers("sleepers", 3));
    settled(&cluster, "sleepers", 3);
    let processes = sleeping(&cluster);
    cluster.signal(Signal::TERM);
    let status = cluster.wait().expect("up ends by itself");
    assert!(status.success(), "{status}");
    let dir = cluster.dir().canonicalize().unwrap();
    let dir = dir.display();
    let farewell = format!(
        "Stopped. 3 tasks go on running. To take the cluster up again with them: dcos up --dir {dir}. To end it \
         with them: dcos down --dir {dir}"
    );
    assert_eq!(cluster.lines().last(), Some(&farewell));
    for process in &processes {
        assert_eq!(executor_of(process.pid), "dcos executor");
    }
    assert_eq!(sleeping(&cluster), processes);
    let down = || {
        let down = Command::new(DCOS).arg("down").arg("--dir").arg(cluster.dir()).output().unwrap();
        assert!(down.status.success(), "{down:?}");
        String::from_utf8(down.stdout).unwrap()
    };
    assert_eq!(down(), "Stopped, and ended 3 tasks.\n");
    assert_eq!(sleeping(&cluster), BTreeSet::new());
    assert_eq!(down(), format!("There is no cluster in {dir} (it has no cluster.json).\n"));
}

#[test]
fn with_kill_tasks_they_end_first() {
    let options = Options { arguments: vec!["--kill-tasks".into()], ..Options::default() };
    let mut cluster = Cluster::start(DCOS, options);
    cluster.create_app(&sleepers("sleepers", 3));
    settled(&cluster, "sleepers", 3);
    cluster.signal(Signal::INT);
    assert!(cluster.wait().expect("up ends by itself").success());
    assert_eq!(cluster.lines().last().map(String::as_str), Some("Stopped, and ended 3 tasks."));
    assert_eq!(sleeping(&cluster), BTreeSet::new());
}
