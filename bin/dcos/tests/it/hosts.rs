//! A cluster on separate hosts: network namespaces with addresses of their own, joined by a bridge.
//! Clients run inside the namespaces, too: none of these addresses is ever asked for from outside.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::eventually;

use crate::apps::{DCOS, is_root, web};

/// Namespaces `<name>-0` (the switch), `<name>-1` (the master) and further hosts, all removed on drop.
struct Hosts {
    name: String,
    count: u32,
    dirs: TempDir,
    running: Vec<Child>,
}

impl Hosts {
    fn new(count: u32) -> Hosts {
        let name = format!("dcos{}", std::process::id());
        let mut hosts = Hosts { name, count, dirs: tempfile::tempdir().unwrap(), running: Vec::new() };
        hosts.ip(&format!("netns add {}", hosts.namespace(0)));
        hosts.inside(0, "ip link add br0 type bridge");
        hosts.inside(0, "ip link set br0 up");
        for host in 1..=count {
            let namespace = hosts.namespace(host);
            hosts.ip(&format!("netns add {namespace}"));
            hosts.inside(0, &format!("ip link add p{host} type veth peer name eth0 netns {namespace}"));
            hosts.inside(0, &format!("ip link set p{host} master br0 up"));
            hosts.inside(host, "ip link set lo up");
            hosts.inside(host, &format!("ip addr add {}/24 dev eth0", Hosts::address(host)));
            hosts.inside(host, "ip link set eth0 up");
        }
        hosts.running.clear();
        hosts
    }

    fn namespace(&self, host: u32) -> String {
        format!("{}-{host}", self.name)
    }

    fn address(host: u32) -> String {
        format!("10.77.0.{host}")
    }

    fn ip(&self, arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}: {status}");
    }

    /// A command in the host's network, not in its own mounts: `ip netns exec` would hide the cgroups.
    fn command(&self, host: u32) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(host)));
        command
    }

    fn inside(&self, host: u32, line: &str) {
        let status = self.command(host).args(line.split(' ')).status().unwrap();
        assert!(status.success(), "{line}: {status}");
    }

    fn start(&mut self, host: u32, arguments: &[&str]) {
        let child = self
            .command(host)
            .arg(DCOS)
            .args(arguments)
            .arg("--dir")
            .arg(self.dir(host))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.running.push(child);
    }

    fn dir(&self, host: u32) -> std::path::PathBuf {
        self.dirs.path().join(host.to_string())
    }

    /// Asks the master's Admin Router, from the master's host.
    fn ask(&self, arguments: &[&str], path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", Hosts::address(1));
        let output: Output = self
            .command(1)
            .args(["curl", "-sS", "--max-time", "5"])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in 1..=self.count {
            let dir = self.dir(host);
            if Path::new(&dir).exists() {
                let _ = self.command(host).arg(DCOS).args(["down", "--dir"]).arg(dir).status();
            }
        }
        for host in 0..=self.count {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(host)]).status();
        }
    }
}

#[test]
fn one_master_and_two_agents_on_hosts_of_their_own() {
    if !is_root("network namespaces") {
        return;
    }
    let mut hosts = Hosts::new(3);
    hosts.start(1, &["master", "--ip", &Hosts::address(1)]);
    for host in [2, 3] {
        let resources = "cpus:1;mem:1024;disk:512;ports:[31000-31100]";
        let (master, own) = (Hosts::address(1), Hosts::address(host));
        hosts.start(host, &["agent", "--master", &master, "--ip", &own, "--resources", resources]);
    }
    eventually("both agents are registered", || {
        let slaves = hosts.ask(&[], "/mesos/slaves")?;
        (slaves["slaves"].as_array()?.len() == 2).then_some(())
    });
    let mut app = web("web", 2, "hello");
    app["constraints"] = json!([["hostname", "UNIQUE"]]);
    let body = app.to_string();
    eventually("Marathon takes the app", || {
        let answer = hosts
            .ask(&["-X", "POST", "-H", "Content-Type: application/json", "-d", &body], "/marathon/v2/apps")?;
        (answer["id"] == "/web").then_some(())
    });
    let app = eventually("both instances are healthy", || {
        let app = hosts.ask(&[], "/marathon/v2/apps/web")?["app"].clone();
        (app["tasksHealthy"] == 2).then_some(app)
    });
    let mut on: Vec<&str> =
        app["tasks"].as_array().unwrap().iter().filter_map(|t| t["host"].as_str()).collect();
    on.sort_unstable();
    assert_eq!(on, [Hosts::address(2), Hosts::address(3)]);
    eventually("the app is routed", || {
        let url = format!("http://{}/service/web/", Hosts::address(1));
        let output = hosts.command(1).args(["curl", "-sS", "--max-time", "5", &url]).output().unwrap();
        (output.stdout.trim_ascii() == b"hello").then_some(())
    });
}
