use std::net::Ipv4Addr;

use crate::scene::{Namespace, PATIENCE, REFUSAL, Scene, ask_udp, id, root, tcp, udp};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn a_loopback_agents_ports_answer_the_host_and_containers() {
    if !root() {
        return;
    }
    // Whether bridges ask packet filters changes the way a packet goes, not where it arrives.
    for bridges_filter in [false, true] {
        loopback_agent(bridges_filter);
    }
}

fn loopback_agent(bridges_filter: bool) {
    let scene = Scene::new();
    scene.let_bridges_filter(bridges_filter);
    let agent = Ipv4Addr::new(127, 0, 9, 2);
    let mut config = scene.config("agent", "127.0.9.2");
    config.gateway_targets = vec![(80, "127.0.9.1:8080".parse().unwrap())];
    scene.host.serve("127.0.9.1", 8080, "cluster");
    scene.host.serve("127.0.9.1", 8081, "secret");
    let networks = scene.open(config);
    let (web, other) = (Namespace::new(), Namespace::new());
    let attach = |name, namespace: &Namespace, ports: &[_]| {
        scene.host.enter(|| networks.attach(&id(name), namespace.pid(), ports).unwrap())
    };
    let attached = attach("web", &web, &[tcp(10_000, 80), udp(10_000, 53)]);
    let _ = attach("other", &other, &[]);
    let gateway = attached.gateway;
    assert_eq!((attached.ip.to_string().as_str(), attached.prefix), ("172.31.254.2", 24));
    web.serve("0.0.0.0", 80, "web");
    web.serve_udp(53, "name");

    let ask = |from: &Namespace, ip, port| from.ask(ip, port, PATIENCE);
    let web_says = |who: Ipv4Addr| Some(format!("web {who}"));
    assert_eq!(ask(&scene.host, agent, 10_000), web_says(gateway));
    assert_eq!(ask(&scene.host, gateway, 10_000), web_says(gateway));
    assert_eq!(ask(&other, gateway, 10_000), web_says(gateway), "by the mapped port");
    assert_eq!(ask(&web, gateway, 10_000), web_says(gateway), "itself by the mapped port");
    assert_eq!(ask(&web, LOCALHOST, 80), web_says(LOCALHOST), "its loopback is on");
    assert_eq!(ask(&other, attached.ip, 80), web_says(Ipv4Addr::new(172, 31, 254, 3)), "directly");
    let asked = ask_udp(&scene.host.udp_client(), agent, 10_000, PATIENCE);
    assert_eq!(asked.as_deref(), Some("name 172.31.254.1"));
    let asked = ask_udp(&other.udp_client(), gateway, 10_000, PATIENCE);
    assert_eq!(asked.as_deref(), Some("name 172.31.254.1"));

    // The cluster at the gateway, and nothing else of the host's loopback.
    assert_eq!(ask(&other, gateway, 80).as_deref(), Some("cluster 172.31.254.3"));
    assert_eq!(ask(&other, gateway, 8081), None);
    other.command("ip addr del 127.0.0.1/8 dev lo; echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet");
    other.command("ip route add 127.0.9.0/24 via 172.31.254.1");
    assert_eq!(other.ask(Ipv4Addr::new(127, 0, 9, 1), 8081, REFUSAL), None);
    scene.host.command("nft flush chain ip dcos254 input");
    assert!(ask(&other, Ipv4Addr::new(127, 0, 9, 1), 8081).is_some(), "it was the rule that refused");
}

#[test]
fn a_real_address_answers_other_hosts_and_containers_reach_them() {
    if !root() {
        return;
    }
    for bridges_filter in [false, true] {
        real_address(bridges_filter);
    }
}

fn real_address(bridges_filter: bool) {
    let scene = Scene::new();
    scene.let_bridges_filter(bridges_filter);
    let neighbour = Namespace::host();
    scene.host.cable("10.7.0.1", &neighbour, "10.7.0.2");
    neighbour.serve("10.7.0.2", 80, "neighbour");
    let agent = Ipv4Addr::new(10, 7, 0, 1);
    let mut config = scene.config("agent", "10.7.0.1");
    config.gateway_targets = vec![(5050, "10.7.0.2:80".parse().unwrap())];
    let networks = scene.open(config);
    let (web, other) = (Namespace::new(), Namespace::new());
    let attach = |name, namespace: &Namespace, ports: &[_]| {
        scene.host.enter(|| networks.attach(&id(name), namespace.pid(), ports).unwrap())
    };
    let attached = attach("web", &web, &[tcp(10_000, 80), udp(10_001, 53)]);
    let _ = attach("other", &other, &[]);
    web.serve("0.0.0.0", 80, "web");
    web.serve_udp(53, "name");

    let ask = |from: &Namespace, ip, port| from.ask(ip, port, PATIENCE);
    assert_eq!(ask(&neighbour, agent, 10_000).as_deref(), Some("web 10.7.0.2"), "who asks is seen");
    let asked = ask_udp(&neighbour.udp_client(), agent, 10_001, PATIENCE);
    assert_eq!(asked.as_deref(), Some("name 10.7.0.2"));
    assert_eq!(ask(&scene.host, agent, 10_000).as_deref(), Some("web 10.7.0.1"));
    assert_eq!(ask(&other, agent, 10_000).as_deref(), Some("web 172.31.254.1"), "by the mapped port");
    assert_eq!(ask(&web, agent, 10_000).as_deref(), Some("web 172.31.254.1"), "itself by the mapped port");
    let neighbours = Ipv4Addr::new(10, 7, 0, 2);
    assert_eq!(ask(&web, neighbours, 80).as_deref(), Some("neighbour 10.7.0.1"), "out as the host");
    assert_eq!(ask(&web, attached.gateway, 5050).as_deref(), Some("neighbour 10.7.0.1"), "a remote target");

    // Who knows the way gets to mapped ports only.
    neighbour.command("ip route add 172.31.254.0/24 via 10.7.0.1");
    assert_eq!(neighbour.ask(attached.ip, 80, REFUSAL), None);
    assert_eq!(neighbour.ask(attached.gateway, 5050, REFUSAL), None);
    scene.host.command("nft flush chain ip dcos254 forward");
    assert!(ask(&neighbour, attached.ip, 80).is_some(), "it was the rule that refused");
}

#[test]
fn who_keeps_sending_datagrams_gets_to_the_next_container() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let networks = scene.open(scene.config("agent", "127.0.9.2"));
    let agent = Ipv4Addr::new(127, 0, 9, 2);
    let client = scene.host.udp_client();
    let (first, second) = (Namespace::new(), Namespace::new());
    first.serve_udp(53, "first");
    second.serve_udp(53, "second");
    // Nobody is there at first: the kernel remembers the connection without a translation.
    assert_eq!(ask_udp(&client, agent, 10_000, REFUSAL), None);
    for (name, namespace) in [("first", &first), ("second", &second)] {
        let attached =
            scene.host.enter(|| networks.attach(&id(name), namespace.pid(), &[udp(10_000, 53)])).unwrap();
        let answer = ask_udp(&client, agent, 10_000, PATIENCE);
        assert_eq!(answer, Some(format!("{name} {}", attached.gateway)));
        networks.detach(&id(name)).unwrap();
        let known = scene.host.command("conntrack -L -p udp 2>/dev/null");
        assert!(!known.contains("dport=10000"), "{known}");
    }
}
