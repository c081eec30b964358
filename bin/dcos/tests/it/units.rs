//! The components as systemd units: the death of the agent touches no task.

use testkit::{Machine, eventually};

use crate::apps::DCOS;
use crate::machines::Cluster;

const TASKS: u32 = 50;

fn unit(arguments: &str) -> String {
    format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/usr/local/bin/dcos {arguments}\nRestart=always\nRestartSec=100ms\nDelegate=yes\n\
         KillMode=process\n"
    )
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
    let cluster = Cluster::on_loopback(&machine);
    cluster.launch_sleepers(TASKS);
    let before = cluster.sleepers(TASKS);
    let registered_at = || {
        let slaves = cluster.ask(&[], "/mesos/slaves")?;
        let agent = slaves["slaves"].get(0)?.clone();
        (agent["active"] == true).then(|| agent["reregistered_time"].to_string())
    };
    for round in 1..=3 {
        let last = registered_at();
        machine.run("systemctl", &["kill", "--kill-who=main", "--signal=KILL", "dcos-agent.service"]);
        eventually(&format!("round {round}: the agent is back"), || {
            registered_at().filter(|now| Some(now) != last.as_ref())
        });
        assert_eq!(cluster.sleepers(TASKS), before, "round {round}");
    }
}
