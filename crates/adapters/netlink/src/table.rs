//! The packet filter table of an agent: fixed chains, and two maps in which its mappings are elements. So
//! adding a mapping is one message, and what a packet costs does not depend on how many there are.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::io::Errno;

use crate::nft::{
    ADDRESS_AND_PORT, Element, FORWARD, Hook, INPUT, OUTPUT, PORT, POSTROUTING, PREROUTING,
    PROTOCOL_AND_PORT, Rule, Transaction, Verdict,
};
use crate::socket::{Refused, Socket};
use crate::subnet::Subnet;

/// The map of the containers' ports.
const PORTS: (&str, u32) = ("ports", 1);
/// The map of what is reached at the gateway.
const TARGETS: (&str, u32) = ("targets", 2);

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP_REDIRECT: u8 = 5;
const LOOPBACK: &[u8] = &[127];

/// Before which rules of others ours are asked: the usual places for changing destinations, for changing
/// sources, and for filters.
const DESTINATION: i32 = -100;
const SOURCE: i32 = 100;
const FILTER: i32 = 0;

/// What the table is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    pub(crate) subnet: &'a Subnet,
    pub(crate) agent_ip: Ipv4Addr,
    pub(crate) gateway_targets: &'a [(u16, SocketAddrV4)],
}

impl Table<'_> {
    fn name(&self) -> &str {
        self.subnet.bridge()
    }

    /// Makes the table anew with these mappings. Whatever was in it is gone at the same moment; connections
    /// that exist go on.
    pub(crate) fn replace(&self, socket: &mut Socket, mappings: &[Element]) -> Result<(), Refused> {
        let mut change = Transaction::new(self.name());
        change.table();
        change.remove_table();
        change.table();
        change.map(PORTS.0, PORTS.1, PROTOCOL_AND_PORT, ADDRESS_AND_PORT);
        change.map(TARGETS.0, TARGETS.1, PORT, ADDRESS_AND_PORT);
        self.translations(&mut change);
        self.filters(&mut change);
        let targets = self.gateway_targets.iter();
        let targets: Vec<Element> = targets.map(|(port, target)| Element::of_port(*port, *target)).collect();
        change.elements(TARGETS.0, &targets);
        change.elements(PORTS.0, mappings);
        change.commit(socket)
    }

    /// Adds mappings; one that is there is an error.
    pub(crate) fn add(&self, socket: &mut Socket, mappings: &[Element]) -> Result<(), Refused> {
        let mut change = Transaction::new(self.name());
        change.elements(PORTS.0, mappings);
        change.commit(socket)
    }

    /// Takes mappings out; one that is not there is an error.
    pub(crate) fn take_out(&self, socket: &mut Socket, mappings: &[Element]) -> Result<(), Refused> {
        let mut change = Transaction::new(self.name());
        change.remove_elements(PORTS.0, mappings);
        change.commit(socket)
    }

    fn translations(&self, change: &mut Transaction<'_>) {
        let bridge = self.subnet.bridge();
        let gateway = self.subnet.gateway().octets();
        let agent = self.agent_ip.octets();
        let hook = |number, priority| Hook { kind: "nat", number, priority };
        change.chain("prerouting", hook(PREROUTING, DESTINATION));
        change.chain("output", hook(OUTPUT, DESTINATION));
        change.chain("postrouting", hook(POSTROUTING, SOURCE));
        // The cluster, for containers only.
        change.rule("prerouting", |rule| {
            rule.iifname(bridge, true);
            rule.daddr(&gateway);
            rule.l4proto(TCP);
            rule.dnat_by_port(TARGETS.0, TARGETS.1);
        });
        // Mapped ports: from other hosts and from containers, and from this host. A container cannot reach
        // an agent of a loopback address but at the gateway.
        for (chain, address) in
            [("prerouting", agent), ("prerouting", gateway), ("output", agent), ("output", gateway)]
        {
            change.rule(chain, |rule| {
                rule.daddr(&address);
                rule.dnat_by_protocol_and_port(PORTS.0, PORTS.1);
            });
        }
        // A container could not answer a loopback address.
        change.rule("postrouting", |rule| {
            rule.oifname(bridge, true);
            rule.saddr(LOOPBACK);
            rule.masquerade();
        });
        // It would answer a container of its own bridge directly, from an address that was not asked.
        change.rule("postrouting", |rule| {
            rule.oifname(bridge, true);
            rule.saddr(self.subnet.start());
            rule.translated(true);
            rule.masquerade();
        });
        // Nobody else knows the way to a container.
        change.rule("postrouting", |rule| {
            rule.oifname(bridge, false);
            rule.saddr(self.subnet.start());
            rule.masquerade();
        });
    }

    fn filters(&self, change: &mut Transaction<'_>) {
        let bridge = self.subnet.bridge();
        let hook = |number| Hook { kind: "filter", number, priority: FILTER };
        change.chain("forward", hook(FORWARD));
        change.chain("input", hook(INPUT));
        change.chain("redirects", hook(OUTPUT));
        let from_outside = |rule: &mut Rule<'_, '_>| {
            rule.oifname(bridge, true);
            rule.iifname(bridge, false);
        };
        // Who comes from outside gets to mapped ports only.
        change.rule("forward", |rule| {
            from_outside(rule);
            rule.established(true);
            rule.verdict(Verdict::Accept);
        });
        change.rule("forward", |rule| {
            from_outside(rule);
            rule.translated(false);
            rule.verdict(Verdict::Drop);
        });
        // The bridge routes to loopback addresses, for what was sent there by the rules above, not for a
        // container that writes such an address into a packet by itself.
        change.rule("input", |rule| {
            rule.iifname(bridge, true);
            rule.daddr(LOOPBACK);
            rule.translated(false);
            rule.verdict(Verdict::Drop);
        });
        // A container that reaches another by a mapped port must go on doing so through its gateway.
        change.rule("redirects", |rule| {
            rule.oifname(bridge, true);
            rule.l4proto(ICMP);
            rule.icmp_type(ICMP_REDIRECT);
            rule.verdict(Verdict::Drop);
        });
    }
}

/// Removes the table called `name`, if there is one.
pub(crate) fn remove(socket: &mut Socket, name: &str) -> Result<(), Refused> {
    let mut change = Transaction::new(name);
    change.remove_table();
    match change.commit(socket) {
        Err(refused) if refused.is(Errno::NOENT) => Ok(()),
        done => done,
    }
}
