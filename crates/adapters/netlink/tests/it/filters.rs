use std::net::Ipv4Addr;

use crate::scene::{Namespace, PATIENCE, Scene, id, root, tcp};

const FOREIGN: &str = "table inet mine { chain input { type filter hook input priority 0; policy accept; \
                       tcp dport 23 drop; }; }";

#[test]
fn rules_of_others_stay_as_they_are() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    scene.host.command(&format!("nft '{FOREIGN}'"));
    let before = scene.inventory();
    let networks = scene.open(scene.config("agent", "127.0.9.2"));
    let container = Namespace::new();
    scene.host.enter(|| {
        networks.attach(&id("one"), container.pid(), &[tcp(10_000, 80)]).unwrap();
        networks.detach(&id("one")).unwrap();
        networks.retire().unwrap();
    });
    assert_eq!(scene.inventory(), before);
}

#[test]
fn the_table_is_what_nft_understands() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let mut config = scene.config("agent", "127.0.9.2");
    config.gateway_targets = vec![(5050, "127.0.9.1:5050".parse().unwrap())];
    let networks = scene.open(config);
    let container = Namespace::new();
    scene.host.enter(|| networks.attach(&id("one"), container.pid(), &[tcp(10_000, 80)]).unwrap());
    let found = scene.host.command("nft list table ip dcos254");
    let lines: Vec<&str> = found.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let expected = r#"table ip dcos254 {
map ports {
type inet_proto . inet_service : ipv4_addr . inet_service
elements = { tcp . 10000 comment "one" : 172.31.254.2 . 80 }
}
map targets {
type inet_service : ipv4_addr . inet_service
elements = { 5050 : 127.0.9.1 . 5050 }
}
chain prerouting {
type nat hook prerouting priority dstnat; policy accept;
iifname "dcos254" ip daddr 172.31.254.1 dnat ip to tcp dport map @targets
ip daddr 127.0.9.2 dnat ip to meta l4proto . th dport map @ports
ip daddr 172.31.254.1 dnat ip to meta l4proto . th dport map @ports
}
chain output {
type nat hook output priority -100; policy accept;
ip daddr 127.0.9.2 dnat ip to meta l4proto . th dport map @ports
ip daddr 172.31.254.1 dnat ip to meta l4proto . th dport map @ports
}
chain postrouting {
type nat hook postrouting priority srcnat; policy accept;
oifname "dcos254" ip saddr 127.0.0.0/8 masquerade
oifname "dcos254" ip saddr 172.31.254.0/24 ct status dnat masquerade
oifname != "dcos254" ip saddr 172.31.254.0/24 masquerade
}
chain forward {
type filter hook forward priority filter; policy accept;
oifname "dcos254" iifname != "dcos254" ct state established,related accept
oifname "dcos254" iifname != "dcos254" ct status ! dnat drop
}
chain input {
type filter hook input priority filter; policy accept;
iifname "dcos254" ip daddr 127.0.0.0/8 ct status ! dnat drop
}
chain redirects {
type filter hook output priority filter; policy accept;
oifname "dcos254" icmp type redirect drop
}
}"#;
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn flushed_filters_are_made_anew_with_the_next_container() {
    if !root() {
        return;
    }
    let scene = Scene::new();
    let networks = scene.open(scene.config("agent", "127.0.9.2"));
    let containers = [Namespace::new(), Namespace::new(), Namespace::new()];
    let attach = |at: usize| {
        let ports = [tcp(10_000 + at as u16, 80)];
        scene.host.enter(|| networks.attach(&id(&at.to_string()), containers[at].pid(), &ports).unwrap());
        containers[at].serve("0.0.0.0", 80, "web");
    };
    let answers = |at: u16| scene.host.ask(Ipv4Addr::new(127, 0, 9, 2), 10_000 + at, PATIENCE).is_some();
    attach(0);
    scene.host.command("nft flush ruleset");
    attach(1);
    assert!(answers(0) && answers(1));
    scene.host.command("nft flush ruleset");
    networks.detach(&id("1")).unwrap();
    assert!(answers(0) && !answers(1));
    // The bridge, too.
    networks.detach(&id("0")).unwrap();
    scene.host.command("ip link del dcos254");
    attach(2);
    assert!(answers(2));
}
