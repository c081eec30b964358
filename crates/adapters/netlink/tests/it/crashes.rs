use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::until;

use crate::scene::{Namespace, Scene, config, id, root, tcp, udp};

const DIR: &str = "NETLINK_TEST_DIR";
const PIDS: &str = "NETLINK_TEST_PIDS";

/// The process that is killed: attaches and detaches until it is. Does nothing unless the test below starts
/// it.
#[test]
fn attaches_for_ever() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let pids: Vec<u32> = std::env::var(PIDS).unwrap().split(' ').map(|pid| pid.parse().unwrap()).collect();
    let networks = netlink::Networks::open(config(dir, "agent", "127.0.9.2")).unwrap();
    for round in 0.. {
        for (at, pid) in pids.iter().enumerate() {
            let port = 10_000 + at as u16;
            let name = id(&format!("{round}-{at}"));
            networks.attach(&name, *pid, &[tcp(port, 80), udp(port, 80)]).unwrap();
        }
        for at in 0..pids.len() {
            networks.detach(&id(&format!("{round}-{at}"))).unwrap();
        }
    }
}

#[test]
fn kill_minus_nine_at_any_moment_leaves_nothing() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let containers = [Namespace::new(), Namespace::new()];
    let pids: Vec<String> = containers.iter().map(|container| container.pid().to_string()).collect();
    let program = std::env::current_exe().unwrap();
    let mut recovered = 0;
    for round in 0..30u64 {
        let mut child = scene.host.enter(|| {
            let mut command = Command::new(&program);
            command.args(["--exact", "crashes::attaches_for_ever", "--nocapture"]);
            command.env(DIR, scene.dir.path()).env(PIDS, pids.join(" "));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        // Any moment will do, and each round takes another.
        let moment = Duration::from_micros(15_000 + round * 7_919 % 60_000);
        let ended = until(moment, || child.try_wait().unwrap());
        assert_eq!(ended, None, "it was still at it");
        child.kill().unwrap();
        child.wait().unwrap();
        let config = scene.config("agent", "127.0.9.2");
        let records = std::fs::read_dir(&config.state_dir).map_or(0, Iterator::count);
        recovered += records;
        let networks = scene.open(config);
        scene.host.enter(|| networks.recover(&BTreeSet::new())).unwrap();
        assert_eq!(networks.attached(), 0);
        let inventory = scene.inventory();
        let left = inventory.contains("dcos254-") || inventory.contains("1000");
        assert!(!left, "{inventory}");
        let inside = containers.iter().map(|container| container.command("ip -o link"));
        assert!(inside.into_iter().all(|links| !links.contains("eth0")));
        if round % 10 == 9 {
            scene.host.enter(|| networks.retire()).unwrap();
            let left = scene.inventory();
            assert_eq!(left.trim(), "lo", "{left}");
        }
    }
    assert!(recovered > 0, "no round was killed while a container had a network");
}
