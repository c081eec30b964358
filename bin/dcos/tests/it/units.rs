//! The components as systemd units: the death of the agent touches no task.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::{Machine, eventually};

use crate::apps::{DCOS, sleepers};

const TASKS: usize = 50;

fn unit(arguments: &str) -> String {
    format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/usr/local/bin/dcos {arguments}\nRestart=always\nRestartSec=100ms\nDelegate=yes\n\
         KillMode=process\n"
    )
}

fn ask(machine: &Machine, arguments: &[&str], path: &str) -> Option<Value> {
    let url = format!("http://127.0.0.1{path}");
    let mut all = vec!["-sS", "--max-time", "5"];
    all.extend(arguments);
    all.push(&url);
    serde_json::from_slice(&machine.run("curl", &all).stdout).ok()
}

/// The tasks' processes by pid and start time.
fn sleeping(machine: &Machine) -> BTreeSet<String> {
    let found = machine.run("ps", &["-C", "sleep", "-o", "pid=,lstart=,args="]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    text.lines().filter(|line| line.trim_end().ends_with("sleep 3600")).map(str::to_owned).collect()
}

#[test]
fn the_agent_killed_as_a_unit_comes_back_to_the_same_tasks() {
    let machine = match Machine::boot("units") {
        Ok(machine) => machine,
        Err(reason) => {
            eprintln!("SKIP the agent as a systemd unit: {reason}");
            return;
        }
    };
    // Where a temporary file system of the machine does not hide it.
    std::fs::copy(DCOS, machine.root().join("usr/local/bin/dcos")).unwrap();
    let agent = "agent --master 127.0.0.1 --ip 127.0.0.2 --dir /srv/dcos/agent \
                 --resources cpus:4;mem:4096;disk:1024;ports:[31000-31999]";
    machine.start_unit("dcos-master.service", &unit("master --ip 127.0.0.1 --dir /srv/dcos/master"));
    machine.start_unit("dcos-agent.service", &unit(agent));
    let body = sleepers("sleepers", TASKS as u32).to_string();
    eventually("Marathon takes the app", || {
        let post = ["-X", "POST", "-H", "Content-Type: application/json", "-d", &body];
        (ask(&machine, &post, "/marathon/v2/apps")?["id"] == "/sleepers").then_some(())
    });
    let running = || {
        let app = ask(&machine, &[], "/marathon/v2/apps/sleepers")?["app"].clone();
        (app["tasksRunning"] == TASKS).then_some(())
    };
    eventually("all tasks run", running);
    let before = eventually("all processes run", || {
        let found = sleeping(&machine);
        (found.len() == TASKS).then_some(found)
    });
    let registered_at = || {
        let slaves = ask(&machine, &[], "/mesos/slaves")?;
        let agent = slaves["slaves"].get(0)?.clone();
        (agent["active"] == true).then(|| agent["reregistered_time"].to_string())
    };
    for round in 1..=3 {
        let last = registered_at();
        machine.run("systemctl", &["kill", "--kill-who=main", "--signal=KILL", "dcos-agent.service"]);
        eventually(&format!("round {round}: the agent is back"), || {
            registered_at().filter(|now| Some(now) != last.as_ref())
        });
        eventually("all tasks are known", running);
        assert_eq!(sleeping(&machine), before, "round {round}");
    }
}
