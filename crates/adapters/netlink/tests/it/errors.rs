use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;

use netlink::Error;

use crate::scene::{Namespace, Scene, id, root, tcp};

#[test]
fn what_cannot_be_attached_is_said_and_leaves_nothing() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let networks = scene.open(scene.config("agent", "127.0.9.2"));
    let (one, two) = (Namespace::new(), Namespace::new());
    let attach = |name: &str, pid: u32, ports: &[_]| {
        scene.host.enter(|| networks.attach(&id(name), pid, ports)).map(|_| ())
    };
    attach("one", one.pid(), &[tcp(10_000, 80)]).unwrap();
    let before = (scene.inventory(), two.command("ip -o link"));
    let check = |result: Result<(), Error>, expected: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
        assert_eq!((scene.inventory(), two.command("ip -o link")), before, "{error}");
        assert_eq!(networks.attached(), 1, "{error}");
    };
    check(
        attach("two", two.pid(), &[tcp(10_001, 80), tcp(10_000, 80)]),
        "host port 10000/tcp of 127.0.9.2 is mapped to container one already",
    );
    check(
        attach("one", two.pid(), &[]),
        "container one has a network already, with the address 172.31.254.2",
    );
    let _listener = scene.host.enter(|| TcpListener::bind("0.0.0.0:10002").unwrap());
    let own = format!("host port 10002/tcp of 127.0.9.2 is in use by process {} (", std::process::id());
    check(attach("two", two.pid(), &[tcp(10_002, 80)]), &own);
    let problem = "it is in the network of the machine, not in one of its own";
    let pid = scene.host.pid();
    check(attach("two", pid, &[]), &format!("the network of container two (process {pid}): {problem}"));
    let gone = "the network of container two (process 4194303): opening /proc/4194303/ns/net: No such file";
    check(attach("two", 4_194_303, &[]), gone);
    check(attach("../two", two.pid(), &[]), "name a file after the container ");
    // A namespace that is not fresh.
    two.command("ip link add eth0 type veth peer name other");
    let before = two.command("ip -o link");
    let error = attach("two", two.pid(), &[tcp(10_003, 80)]).unwrap_err().to_string();
    assert_eq!(error, "make the interface dcos254-4 and its other end eth0: File exists (os error 17)");
    assert_eq!((networks.attached(), two.command("ip -o link")), (1, before));
}

#[test]
fn a_full_subnet_is_said() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let config = scene.config("agent", "127.0.9.2");
    std::fs::create_dir_all(&config.state_dir).unwrap();
    let names: BTreeSet<_> = (2..=254).map(|last| id(&format!("container-{last}"))).collect();
    for (name, last) in names.iter().zip(2..) {
        let record = format!("{{\"ip\":\"172.31.250.{last}\",\"ports\":[]}}");
        std::fs::write(config.state_dir.join(name.as_str()), record).unwrap();
    }
    let networks = scene.open(config);
    scene.host.enter(|| networks.recover(&names)).unwrap();
    let container = Namespace::new();
    let attach = || scene.host.enter(|| networks.attach(&id("one more"), container.pid(), &[]));
    let error = attach().unwrap_err().to_string();
    assert_eq!(error, "all 253 addresses of this agent's container subnet 172.31.250.0/24 are taken");
    networks.detach(&id("container-9")).unwrap();
    let attached = scene.host.enter(|| networks.attach(&id("one-more"), container.pid(), &[])).unwrap();
    assert_eq!(attached.ip.octets()[..3], [172, 31, 250], "the subnet of those that live");
}

const OPENS: &str = "NETLINK_TEST_OPENS";

/// The process with few rights: prints what opening says. Does nothing unless the test below starts it.
#[test]
fn opens() {
    if std::env::var_os(OPENS).is_none() {
        return;
    }
    let scene = crate::scene::config(std::env::temp_dir().join("never-made"), "agent", "127.0.9.2");
    eprintln!("{}", netlink::Networks::open(scene).unwrap_err());
}

#[test]
fn without_the_rights_it_is_said_which() {
    if !root() {
        return;
    }
    let check = |rights: &[&str], expected: &str| {
        let mut command = Command::new("setpriv");
        command.args(rights).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "errors::opens", "--nocapture"]).env(OPENS, "1");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("container networks are not possible on this machine: {expected}");
        assert!(said.lines().any(|line| line == expected), "{rights:?}: {said}");
    };
    check(&["--reuid=65534"], "it needs root; tasks with the network HOST run without");
    check(
        &["--bounding-set=-sys_admin"],
        "making a network namespace is not permitted (CAP_SYS_ADMIN is missing)",
    );
    check(&["--bounding-set=-net_admin"], "making bridges is not permitted (CAP_NET_ADMIN is missing)");
}
