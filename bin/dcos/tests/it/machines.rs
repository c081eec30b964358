//! A cluster on a machine with systemd, asked from inside of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{Machine, eventually};

use crate::apps::sleepers;

/// A node's address. No component may take loopback for granted.
const IP: &str = "10.99.0.1";
/// A cluster's token.
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A cluster whose node is a machine.
#[derive(Clone, Copy)]
pub(crate) struct Cluster<'a> {
    machine: &'a Machine,
    ip: &'static str,
    token: Option<&'static str>,
}

impl<'a> Cluster<'a> {
    /// One whose components were started on loopback.
    pub(crate) fn on_loopback(machine: &'a Machine) -> Self {
        Cluster { machine, ip: "127.0.0.1", token: None }
    }

    /// One that [`configure`] configured.
    pub(crate) fn of_packages(machine: &'a Machine) -> Self {
        Cluster { machine, ip: IP, token: Some(TOKEN) }
    }

    /// What curl brings back from a path of Admin Router, if it is JSON.
    pub(crate) fn ask(self, arguments: &[&str], path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.ip);
        let authorization = self.token.map(|token| format!("Authorization: token={token}"));
        let mut all = vec!["-sS", "--max-time", "5"];
        all.extend(authorization.iter().flat_map(|header| ["-H", header]));
        all.extend(arguments);
        all.push(&url);
        serde_json::from_slice(&self.machine.run("curl", &all).stdout).ok()
    }

    /// The status of an answer to somebody without a token.
    pub(crate) fn status_for_a_stranger(self, path: &str) -> String {
        let url = format!("http://{}{path}", self.ip);
        let ran = self.machine.run("curl", &["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Gives Marathon the app `/sleepers`, as soon as it takes it.
    #[track_caller]
    pub(crate) fn launch_sleepers(self, instances: u32) {
        let body = sleepers("sleepers", instances).to_string();
        let post = ["-X", "POST", "-H", "Content-Type: application/json", "-d", &body];
        eventually("Marathon takes the app", || {
            (self.ask(&post, "/marathon/v2/apps")?["id"] == "/sleepers").then_some(())
        });
    }

    /// The processes of the tasks with the times at which they started, as soon as Marathon and the machine agree that
    /// so many run.
    #[track_caller]
    pub(crate) fn sleepers(self, instances: u32) -> BTreeSet<String> {
        eventually("the app runs", || {
            let app = self.ask(&[], "/marathon/v2/apps/sleepers")?["app"].clone();
            let found = self.machine.run("ps", &["-C", "sleep", "-o", "pid=,lstart=,args="]);
            let text = String::from_utf8_lossy(&found.stdout).into_owned();
            let of_tasks = text.lines().filter(|line| line.trim_end().ends_with("sleep 3600"));
            let processes: BTreeSet<String> = of_tasks.map(str::to_owned).collect();
            (app["tasksRunning"] == instances && processes.len() == instances as usize).then_some(processes)
        })
    }
}

/// Gives the machine the node's address, now and at every boot.
#[track_caller]
pub(crate) fn give_address(machine: &Machine) {
    let unit = format!(
        "[Unit]\nDefaultDependencies=no\nBefore=network-pre.target\nWants=network-pre.target\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=ip address replace {IP}/32 dev lo\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    machine.start_unit("test-address.service", &unit);
    assert!(machine.run("systemctl", &["enable", "test-address.service"]).status.success());
}

/// Lays down what an installer does for a node with both roles: the roles, the cluster's token, and in the folder
/// `package` the package that tells the node's address.
pub(crate) fn configure(root: &Path, package: &str) {
    let write = |path: &str, text: &str, mode: u32| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it has a directory")).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("etc/mesosphere/roles/master", "", 0o644);
    write("etc/mesosphere/roles/slave", "", 0o644);
    write("etc/mesosphere/token", TOKEN, 0o600);
    let environment = json!({"environment": {
        "MESOS_IP_DISCOVERY_COMMAND": "/opt/mesosphere/bin/detect_ip",
        "DCOS_TOKEN_FILE": "/etc/mesosphere/token",
    }});
    write(&format!("{package}/pkginfo.json"), &environment.to_string(), 0o644);
    write(&format!("{package}/bin/detect_ip"), &format!("#!/bin/sh\necho {IP}\n"), 0o755);
}
