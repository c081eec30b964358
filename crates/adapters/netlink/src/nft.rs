//! Packet filters (nf_tables): the messages that make tables, chains, maps and rules, in transactions that
//! happen as a whole or not at all.

use std::borrow::Cow;
use std::net::SocketAddrV4;

use crate::socket::{Refused, Socket, acknowledged};
use crate::wire::{Body, CREATE, EXCLUSIVE, Messages, attribute};

/// The number of nf_tables among the parts of netfilter, as the high byte of a message's kind.
const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;
const GET_GENERATION: u16 = SUBSYSTEM | 16;

const FAMILY_IPV4: u8 = 2;

/// Of every message: the table it is about.
const TABLE: u16 = 1;
/// One of a list.
const ELEMENT: u16 = 1;
/// Of a set: it maps keys to data.
const MAP: u32 = 8;

/// How many elements go into one message: each takes less than 400 bytes, and a list ends at 64 KiB.
const ELEMENTS: usize = 100;

/// The verdict "drop" or "accept".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Drop,
    Accept,
}

/// Where a chain is asked, and what it may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// Places where packets pass, by their numbers.
pub(crate) const PREROUTING: u32 = 0;
pub(crate) const INPUT: u32 = 1;
pub(crate) const FORWARD: u32 = 2;
pub(crate) const OUTPUT: u32 = 3;
pub(crate) const POSTROUTING: u32 = 4;

/// Types of values in maps, as `nft` shows them: six bits for each part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    number: u32,
    length: u32,
}

const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;
const IPV4_ADDR: u32 = 7;

/// A port.
pub(crate) const PORT: Type = Type { number: INET_SERVICE, length: 2 };
/// A protocol and a port.
pub(crate) const PROTOCOL_AND_PORT: Type = Type { number: INET_PROTO << 6 | INET_SERVICE, length: 8 };
/// An address and a port.
pub(crate) const ADDRESS_AND_PORT: Type = Type { number: IPV4_ADDR << 6 | INET_SERVICE, length: 8 };

/// A map's key with what it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    key: Vec<u8>,
    target: SocketAddrV4,
    comment: Option<String>,
}

impl Element {
    /// Of a map of protocols and ports; the comment is shown to who lists the map.
    pub(crate) fn of_protocol(protocol: u8, port: u16, target: SocketAddrV4, comment: &str) -> Self {
        let [high, low] = port.to_be_bytes();
        let comment = Some(comment.chars().take(100).collect());
        Self { key: vec![protocol, 0, 0, 0, high, low, 0, 0], target, comment }
    }

    /// Of a map of ports.
    pub(crate) fn of_port(port: u16, target: SocketAddrV4) -> Self {
        Self { key: port.to_be_bytes().to_vec(), target, comment: None }
    }
}

/// What happens to one table, all of it or nothing.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    table: &'a str,
    messages: Messages,
}

impl<'a> Transaction<'a> {
    /// Nothing so far, of the table.
    pub(crate) fn new(table: &'a str) -> Self {
        let mut messages = Messages::default();
        messages.add(BATCH_BEGIN, 0, format!("change the packet filter table {table}"), batch);
        Self { table, messages }
    }

    pub(crate) fn commit(mut self, socket: &mut Socket) -> Result<(), Refused> {
        self.messages.add(BATCH_END, 0, "end the change", batch);
        socket.request(self.messages)
    }

    fn add(
        &mut self,
        kind: u16,
        flags: u16,
        asks: impl Into<Cow<'static, str>>,
        fill: impl FnOnce(&mut Body<'_>),
    ) {
        self.messages.add(kind, acknowledged(flags), asks, |body| {
            family(body, FAMILY_IPV4);
            body.text(TABLE, self.table);
            fill(body);
        });
    }

    /// Makes the table, unless it exists.
    pub(crate) fn table(&mut self) {
        self.add(NEW_TABLE, CREATE, format!("make the packet filter table {}", self.table), |_| {});
    }

    /// Removes the table with everything in it. It has to exist.
    pub(crate) fn remove_table(&mut self) {
        self.add(DELETE_TABLE, 0, format!("remove the packet filter table {}", self.table), |_| {});
    }

    /// Makes a chain that lets pass what its rules do not drop.
    pub(crate) fn chain(&mut self, name: &str, hook: Hook) {
        let asks = format!("make the packet filter chain {name} of type {}", hook.kind);
        self.add(NEW_CHAIN, CREATE | EXCLUSIVE, asks, |body| {
            body.text(3, name);
            body.nested(4, |body| {
                body.network_number(1, hook.number);
                body.attribute(2, &hook.priority.to_be_bytes());
            });
            body.network_number(5, 1);
            body.text(7, hook.kind);
        });
    }

    /// Makes a map; `id` is its number in this transaction.
    pub(crate) fn map(&mut self, name: &str, id: u32, key: Type, data: Type) {
        self.add(NEW_SET, CREATE | EXCLUSIVE, format!("make the packet filter map {name}"), |body| {
            body.text(2, name);
            body.network_number(3, MAP);
            body.network_number(4, key.number);
            body.network_number(5, key.length);
            body.network_number(6, data.number);
            body.network_number(7, data.length);
            body.network_number(10, id);
        });
    }

    /// Adds elements to a map; one that is there is an error.
    pub(crate) fn elements(&mut self, map: &str, elements: &[Element]) {
        let flags = CREATE | EXCLUSIVE;
        self.change_elements(NEW_ELEMENTS, flags, "add to", map, elements);
    }

    /// Takes elements out of a map; one that is not there is an error.
    pub(crate) fn remove_elements(&mut self, map: &str, elements: &[Element]) {
        self.change_elements(DELETE_ELEMENTS, 0, "remove from", map, elements);
    }

    fn change_elements(&mut self, kind: u16, flags: u16, does: &str, map: &str, elements: &[Element]) {
        for chunk in elements.chunks(ELEMENTS) {
            self.add(kind, flags, format!("{does} the packet filter map {map}"), |body| {
                body.text(2, map);
                body.nested(3, |body| chunk.iter().for_each(|element| add_element(body, element)));
            });
        }
    }

    /// Adds a rule to the end of a chain.
    pub(crate) fn rule(&mut self, chain: &str, expressions: impl FnOnce(&mut Rule<'_, '_>)) {
        // NLM_F_APPEND.
        let asks = format!("make a rule of the packet filter chain {chain}");
        self.add(NEW_RULE, CREATE | 0x800, asks, |body| {
            body.text(2, chain);
            body.nested(4, |body| expressions(&mut Rule { body }));
        });
    }
}

fn batch(body: &mut Body<'_>) {
    let [high, low] = (SUBSYSTEM >> 8).to_be_bytes();
    body.fixed(&[0, 0, high, low]);
}

fn family(body: &mut Body<'_>, family: u8) {
    body.fixed(&[family, 0, 0, 0]);
}

fn add_element(body: &mut Body<'_>, element: &Element) {
    body.nested(ELEMENT, |body| {
        body.nested(1, |body| body.attribute(1, &element.key));
        let [high, low] = element.target.port().to_be_bytes();
        let [a, b, c, d] = element.target.ip().octets();
        body.nested(2, |body| body.attribute(1, &[a, b, c, d, high, low, 0, 0]));
        if let Some(comment) = &element.comment {
            // As `nft` writes comments: a kind, a length, the text and a zero.
            let mut data = vec![0, comment.len() as u8 + 1];
            data.extend_from_slice(comment.as_bytes());
            data.push(0);
            body.attribute(6, &data);
        }
    });
}

/// The first register, of 16 bytes; and the four bytes that follow its first four.
const REGISTER: u32 = 1;
const SECOND_WORD: u32 = 9;

/// A rule while it is written: what it compares, then what it does. Its methods are named after the words of
/// `nft`.
pub(crate) struct Rule<'a, 'b> {
    body: &'a mut Body<'b>,
}

impl Rule<'_, '_> {
    /// The interface by which a packet came is `name`, or is not.
    pub(crate) fn iifname(&mut self, name: &str, is: bool) {
        self.meta(6, REGISTER);
        self.compare(is, &interface(name));
    }

    /// The interface by which a packet goes is `name`, or is not.
    pub(crate) fn oifname(&mut self, name: &str, is: bool) {
        self.meta(7, REGISTER);
        self.compare(is, &interface(name));
    }

    /// The source address starts with these bytes.
    pub(crate) fn saddr(&mut self, start: &[u8]) {
        self.payload(1, 12, start.len() as u32, REGISTER);
        self.compare(true, start);
    }

    /// The destination address starts with these bytes.
    pub(crate) fn daddr(&mut self, start: &[u8]) {
        self.payload(1, 16, start.len() as u32, REGISTER);
        self.compare(true, start);
    }

    /// The protocol has this number.
    pub(crate) fn l4proto(&mut self, number: u8) {
        self.meta(16, REGISTER);
        self.compare(true, &[number]);
    }

    /// The ICMP message has this type.
    pub(crate) fn icmp_type(&mut self, number: u8) {
        self.payload(2, 0, 1, REGISTER);
        self.compare(true, &[number]);
    }

    /// The connection is established or related to one that is, or it is not.
    pub(crate) fn established(&mut self, is: bool) {
        self.connection(0, 0x6, is);
    }

    /// The connection's destination was changed, or it was not.
    pub(crate) fn translated(&mut self, is: bool) {
        self.connection(2, 0x20, is);
    }

    /// The packet's destination becomes what `map` says of its destination port; one that is not in it
    /// passes as it is.
    pub(crate) fn dnat_by_port(&mut self, map: &str, id: u32) {
        self.payload(2, 2, 2, REGISTER);
        self.dnat(map, id);
    }

    /// The same by protocol and destination port.
    pub(crate) fn dnat_by_protocol_and_port(&mut self, map: &str, id: u32) {
        self.meta(16, REGISTER);
        self.payload(2, 2, 2, SECOND_WORD);
        self.dnat(map, id);
    }

    /// The packet's source becomes this host's address at the interface by which it goes.
    pub(crate) fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        self.expression("immediate", |body| {
            body.network_number(1, 0);
            body.nested(2, |body| body.nested(2, |body| body.network_number(1, verdict as u32)));
        });
    }

    fn dnat(&mut self, map: &str, id: u32) {
        self.expression("lookup", |body| {
            body.text(1, map);
            body.network_number(2, REGISTER);
            body.network_number(3, REGISTER);
            body.network_number(4, id);
        });
        self.expression("nat", |body| {
            body.network_number(1, 1);
            body.network_number(2, u32::from(FAMILY_IPV4));
            body.network_number(3, REGISTER);
            body.network_number(5, SECOND_WORD);
        });
    }

    fn connection(&mut self, key: u32, bits: u32, any: bool) {
        self.expression("ct", |body| {
            body.network_number(1, REGISTER);
            body.network_number(2, key);
        });
        self.expression("bitwise", |body| {
            body.network_number(1, REGISTER);
            body.network_number(2, REGISTER);
            body.network_number(3, 4);
            body.nested(4, |body| body.number(1, bits));
            body.nested(5, |body| body.number(1, 0));
        });
        self.compare(!any, &[0; 4]);
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |body| {
            body.network_number(1, register);
            body.network_number(2, key);
        });
    }

    /// Loads bytes of a header: 1 is that of IP, 2 that of what it carries.
    fn payload(&mut self, header: u32, offset: u32, length: u32, register: u32) {
        self.expression("payload", |body| {
            body.network_number(1, register);
            body.network_number(2, header);
            body.network_number(3, offset);
            body.network_number(4, length);
        });
    }

    fn compare(&mut self, equal: bool, with: &[u8]) {
        self.expression("cmp", |body| {
            body.network_number(1, REGISTER);
            body.network_number(2, u32::from(!equal));
            body.nested(3, |body| body.attribute(1, with));
        });
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Body<'_>)) {
        self.body.nested(ELEMENT, |body| {
            body.text(1, name);
            body.nested(2, fill);
        });
    }
}

/// The name of an interface as packets carry it.
fn interface(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    // Names have at most 15 bytes: what is longer names no interface.
    bytes.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
    bytes
}

/// Whether the kernel has packet filters, as an error if not.
pub(crate) fn answers(socket: &mut Socket) -> Result<(), Refused> {
    socket.get(GET_GENERATION, "ask for the packet filters", |body| family(body, 0), |_| Some(()))
}

/// The chains of other tables that drop by their policy what is forwarded, as `table chain`.
pub(crate) fn dropping_forward_chains(socket: &mut Socket) -> Result<Vec<String>, Refused> {
    let mut found = Vec::new();
    let each = |_, body: &[u8]| found.extend(dropping_forward_chain(body));
    socket.dump(GET_CHAIN, "list the packet filter chains", |body| family(body, 0), each)?;
    Ok(found)
}

fn dropping_forward_chain(body: &[u8]) -> Option<String> {
    let attributes = body.get(4..)?;
    let number = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    let hook = attribute(attribute(attributes, 4)?, 1).and_then(number)?;
    let policy = attribute(attributes, 5).and_then(number)?;
    let text = |kind| {
        let value = attribute(attributes, kind)?;
        Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned())
    };
    // Family 1 is both of IPv4 and IPv6. Policy 0 drops.
    let of_ipv4 = matches!(body.first(), Some(1 | 2));
    (of_ipv4 && hook == FORWARD && policy == 0)
        .then(|| Some(format!("{} {}", text(TABLE)?, text(3)?)))
        .flatten()
}
