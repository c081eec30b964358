use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use netlink::{Networks, retire_agent};

use crate::scene::{Namespace, PATIENCE, Scene, id, root, tcp, udp};

#[test]
fn two_agents_share_a_host_and_leave_nothing() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let before = scene.inventory();
    let names = ["127.0.9.2", "127.0.9.3"];
    let agents: Vec<Networks> = names.iter().map(|ip| scene.open(scene.config(ip, ip))).collect();
    assert_eq!(scene.inventory(), before, "nothing is made before it is needed");
    let containers = [Namespace::new(), Namespace::new()];
    let mut gateways = Vec::new();
    for (at, agent) in agents.iter().enumerate() {
        let ports = [tcp(10_000 + at as u16, 80)];
        let attached = scene.host.enter(|| agent.attach(&id("one"), containers[at].pid(), &ports).unwrap());
        gateways.push(attached.gateway);
        containers[at].serve("0.0.0.0", 80, ["first", "second"][at]);
    }
    assert_eq!(gateways.iter().map(|ip| ip.octets()[2]).collect::<Vec<u8>>(), [254, 253]);
    let says = |from: &Namespace, ip: Ipv4Addr, port| from.ask(ip, port, PATIENCE).unwrap_or_default();
    assert!(says(&scene.host, names[0].parse().unwrap(), 10_000).starts_with("first "));
    assert!(says(&scene.host, names[1].parse().unwrap(), 10_001).starts_with("second "));
    assert!(says(&containers[0], gateways[1], 10_001).starts_with("second "), "by the other's gateway");
    scene.host.enter(|| agents[0].retire().unwrap());
    assert!(says(&scene.host, names[1].parse().unwrap(), 10_001).starts_with("second "));
    assert_eq!(agents[0].attached(), 0);

    // The second ends without a word; who removes it for good does not need it.
    drop(agents);
    scene.host.enter(|| retire_agent(&scene.config("", "127.0.0.1").leases, names[1])).unwrap();
    assert_eq!(scene.inventory(), before);
}

#[test]
fn after_a_restart_the_living_keep_their_network_and_the_dead_leave_nothing() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let config = || scene.config("agent", "127.0.9.2");
    let (alive, dead) = (Namespace::new(), Namespace::new());
    alive.serve("0.0.0.0", 80, "alive");
    let networks = scene.open(config());
    scene.host.enter(|| {
        networks.attach(&id("alive"), alive.pid(), &[tcp(10_000, 80)]).unwrap();
        networks.attach(&id("dead"), dead.pid(), &[tcp(10_001, 80), udp(10_001, 80)]).unwrap();
    });
    let ask = || scene.host.ask(Ipv4Addr::new(127, 0, 9, 2), 10_000, PATIENCE);
    assert!(ask().is_some());
    drop(networks);
    // Leftovers of an attach whose record was lost, and packet filters that somebody has flushed.
    scene.host.command("ip link add dcos254-99 type veth peer name lost && nft flush ruleset");
    let networks = scene.open(config());
    scene.host.enter(|| networks.recover(&BTreeSet::from([id("alive")]))).unwrap();
    assert_eq!(ask().as_deref(), Some("alive 172.31.254.1"));
    let inventory = scene.inventory();
    assert!(inventory.contains("dcos254-2"), "{inventory}");
    assert!(!inventory.contains("dcos254-3") && !inventory.contains("dcos254-99"), "{inventory}");
    assert!(!inventory.contains("10001"), "{inventory}");
    assert_eq!(networks.attached(), 1);
    networks.detach(&id("dead")).unwrap();
    networks.detach(&id("alive")).unwrap();
    assert_eq!(std::fs::read_dir(config().state_dir).unwrap().count(), 0);
}

#[test]
fn two_hundred_containers_come_and_go_and_leave_nothing() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let networks = scene.open(scene.config("agent", "127.0.9.2"));
    let first = Namespace::new();
    scene.host.enter(|| networks.attach(&id("first"), first.pid(), &[]).unwrap());
    networks.detach(&id("first")).unwrap();
    let before = scene.inventory();
    let mut times = Vec::new();
    for at in 0..200u16 {
        let mut container = Namespace::new();
        let name = id(&format!("container-{at}"));
        let ports = [tcp(10_000 + at, 80), udp(10_000 + at, 80)];
        let ports = &ports[..1 + usize::from(at % 4 == 0)];
        let started = std::time::Instant::now();
        scene.host.enter(|| networks.attach(&name, container.pid(), ports)).unwrap();
        times.push(started.elapsed());
        if at % 2 == 0 {
            container.kill();
        }
        networks.detach(&name).unwrap();
        networks.detach(&name).unwrap();
    }
    assert_eq!(scene.inventory(), before);
    assert_eq!(networks.attached(), 0);
    times.sort_unstable();
    eprintln!("attaching took {:?} in the middle", times[100]);
    scene.host.enter(|| networks.retire()).unwrap();
    let left = scene.inventory();
    assert_eq!(left.trim(), "lo", "{left}");
}
