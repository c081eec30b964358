//! Interfaces, their addresses and routes (rtnetlink).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::socket::{Refused, Socket, acknowledged};
use crate::wire::{Body, CREATE, EXCLUSIVE, Messages, REPLACE, attribute, attributes, u32_at};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const UP: u32 = 1;

// Attributes of an interface.
const HARDWARE_ADDRESS: u16 = 1;
const NAME: u16 = 3;
const MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const AF_SPEC: u16 = 26;
const NAMESPACE_FD: u16 = 28;
// Of LINK_INFO.
const KIND: u16 = 1;
const DATA: u16 = 2;
const PORT_KIND: u16 = 4;
const PORT_DATA: u16 = 5;
/// Of PORT_DATA of a bridge: whether a frame may go out where it came in.
const HAIRPIN: u16 = 4;
/// Of DATA of a veth: its other end.
const PEER: u16 = 1;
/// Of AF_SPEC for IPv4: a list of settings.
const INET_CONF: u16 = 1;
/// The setting `route_localnet`.
const ROUTE_LOCALNET: u16 = 26;
/// Of AF_SPEC for IPv6: how the interface gets addresses; 1 is not by itself.
const ADDRESS_MODE: u16 = 8;

// Attributes of an address.
const PEER_ADDRESS: u16 = 1;
const LOCAL_ADDRESS: u16 = 2;
const BROADCAST: u16 = 4;

// Attributes of a route.
const DESTINATION: u16 = 1;
const OUTPUT: u16 = 4;
const GATEWAY: u16 = 5;

/// An interface of this namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The bridge that it belongs to.
    pub(crate) master: Option<u32>,
    /// What made it, as in `bridge`.
    pub(crate) kind: Option<String>,
}

/// A route, or an address as a route to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) network: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) output: Option<u32>,
}

impl Route {
    /// Whether addresses of `network`/`prefix` are among those of this route.
    pub(crate) fn overlaps(&self, network: Ipv4Addr, prefix: u8) -> bool {
        let bits = self.prefix.min(prefix).min(32);
        let mask = u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0);
        u32::from(self.network) & mask == u32::from(network) & mask
    }
}

fn interface(body: &mut Body<'_>, index: u32, flags: u32) {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&flags.to_ne_bytes());
    body.fixed(&fixed);
}

/// Makes the bridge `name` with a hardware address that stays, and turns it on. One that exists is an error
/// of kind [`Errno::EXIST`].
pub(crate) fn make_bridge(socket: &mut Socket, name: &str, hardware: [u8; 6]) -> Result<(), Refused> {
    let mut messages = Messages::default();
    let flags = acknowledged(CREATE | EXCLUSIVE);
    messages.add(NEW_LINK, flags, format!("make the bridge {name}"), |body| {
        interface(body, 0, UP);
        body.text(NAME, name);
        body.attribute(HARDWARE_ADDRESS, &hardware);
        body.nested(LINK_INFO, |body| body.text(KIND, "bridge"));
    });
    socket.request(messages)
}

/// Gives the bridge its address, and lets it route to loopback addresses.
pub(crate) fn configure_bridge(
    socket: &mut Socket,
    index: u32,
    gateway: Ipv4Addr,
    prefix: u8,
) -> Result<(), Refused> {
    let mut messages = Messages::default();
    add_address(&mut messages, index, gateway, prefix);
    messages.add(NEW_LINK, acknowledged(0), "set route_localnet of the bridge", |body| {
        interface(body, index, UP);
        body.nested(AF_SPEC, |body| {
            body.nested(u16::from(AF_INET), |body| {
                body.nested(INET_CONF, |body| body.number(ROUTE_LOCALNET, 1));
            });
        });
    });
    socket.request(messages)?;
    // The host is not to be reached by an IPv6 address that nobody asked for. A kernel without IPv6
    // refuses this, and has no such address.
    let mut messages = Messages::default();
    messages.add(NEW_LINK, acknowledged(0), "turn off IPv6 addresses of the bridge", |body| {
        interface(body, index, UP);
        body.nested(AF_SPEC, |body| {
            body.nested(u16::from(AF_INET6), |body| body.attribute(ADDRESS_MODE, &[1]));
        });
    });
    let _ = socket.request(messages);
    Ok(())
}

/// Makes a pair of interfaces: `name` here, a port of the bridge `master`; and `eth0` in `namespace`, with
/// the hardware address, which is off yet.
pub(crate) fn make_pair(
    socket: &mut Socket,
    name: &str,
    master: u32,
    namespace: BorrowedFd<'_>,
    hardware: [u8; 6],
) -> Result<(), Refused> {
    let mut messages = Messages::default();
    let flags = acknowledged(CREATE | EXCLUSIVE);
    messages.add(NEW_LINK, flags, format!("make the interface {name} and its other end eth0"), |body| {
        interface(body, 0, UP);
        body.text(NAME, name);
        body.number(MASTER, master);
        body.nested(LINK_INFO, |body| {
            body.text(KIND, "veth");
            body.nested(DATA, |body| {
                body.nested(PEER, |body| {
                    // It cannot be turned on before it has its other end.
                    interface(body, 0, 0);
                    body.text(NAME, "eth0");
                    body.attribute(HARDWARE_ADDRESS, &hardware);
                    body.number(NAMESPACE_FD, namespace.as_raw_fd() as u32);
                });
            });
        });
    });
    // Where bridges ask packet filters (br_netfilter, which docker turns on), a container that asks itself by
    // a mapped port does not come by the host's routing.
    messages.add(NEW_LINK, acknowledged(0), format!("let {name} send back what came from it"), |body| {
        interface(body, 0, UP);
        body.text(NAME, name);
        body.nested(LINK_INFO, |body| {
            body.text(PORT_KIND, "bridge");
            body.nested(PORT_DATA, |body| body.attribute(HAIRPIN, &[1]));
        });
    });
    socket.request(messages)
}

/// Turns on the loopback interface of the socket's namespace.
pub(crate) fn turn_on_loopback(socket: &mut Socket) -> Result<(), Refused> {
    let mut messages = Messages::default();
    messages.add(NEW_LINK, acknowledged(0), "turn on the container's loopback interface", |body| {
        interface(body, 1, UP);
    });
    socket.request(messages)
}

/// Turns on the loopback interface of the socket's namespace and its `eth0`, with an address and the default
/// route.
pub(crate) fn configure_container(
    socket: &mut Socket,
    ip: Ipv4Addr,
    prefix: u8,
    gateway: Ipv4Addr,
) -> Result<(), Refused> {
    let index = find(socket, "eth0")?.index;
    let mut messages = Messages::default();
    messages.add(NEW_LINK, acknowledged(0), "turn on the container's loopback interface", |body| {
        interface(body, 1, UP);
    });
    add_address(&mut messages, index, ip, prefix);
    messages
        .add(NEW_LINK, acknowledged(0), "turn on the container's eth0", |body| interface(body, index, UP));
    messages.add(NEW_ROUTE, acknowledged(CREATE | EXCLUSIVE), "set the container's default route", |body| {
        // The main table; set by the administrator; to everywhere; a gateway.
        body.fixed(&[AF_INET, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]);
        body.attribute(GATEWAY, &gateway.octets());
        body.number(OUTPUT, index);
    });
    socket.request(messages)
}

fn add_address(messages: &mut Messages, index: u32, ip: Ipv4Addr, prefix: u8) {
    let broadcast = u32::from(ip) | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let flags = acknowledged(CREATE | REPLACE);
    messages.add(NEW_ADDRESS, flags, format!("set the address {ip}/{prefix}"), |body| {
        let [a, b, c, d] = index.to_ne_bytes();
        body.fixed(&[AF_INET, prefix, 0, 0, a, b, c, d]);
        body.attribute(LOCAL_ADDRESS, &ip.octets());
        body.attribute(PEER_ADDRESS, &ip.octets());
        body.attribute(BROADCAST, &broadcast.to_be_bytes());
    });
}

/// The interface called `name`. If there is none, that is an error of kind [`Errno::NODEV`].
pub(crate) fn find(socket: &mut Socket, name: &str) -> Result<Link, Refused> {
    let fill = |body: &mut Body<'_>| {
        interface(body, 0, 0);
        body.text(NAME, name);
    };
    socket.get(GET_LINK, "find an interface", fill, read_link)
}

/// Removes the interface called `name`, if there is one; of a pair, both.
pub(crate) fn remove(socket: &mut Socket, name: &str) -> Result<(), Refused> {
    let mut messages = Messages::default();
    messages.add(DELETE_LINK, acknowledged(0), format!("remove the interface {name}"), |body| {
        interface(body, 0, 0);
        body.text(NAME, name);
    });
    match socket.request(messages) {
        Err(refused) if refused.is(Errno::NODEV) => Ok(()),
        done => done,
    }
}

/// All interfaces.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Link>, Refused> {
    let mut links = Vec::new();
    let each = |_, body: &[u8]| links.extend(read_link(body));
    socket.dump(GET_LINK, "list the interfaces", |body| interface(body, 0, 0), each)?;
    Ok(links)
}

/// All routes of IPv4, those to own addresses among them.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, Refused> {
    let mut routes = Vec::new();
    let fill = |body: &mut Body<'_>| body.fixed(&[AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    socket.dump(GET_ROUTE, "list the routes", fill, |_, body| routes.extend(read_route(body)))?;
    Ok(routes)
}

fn read_link(body: &[u8]) -> Option<Link> {
    let index = u32_at(body, 4)?;
    let mut link = Link { index, name: String::new(), master: None, kind: None };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            NAME => link.name = text(value),
            MASTER => link.master = u32_at(value, 0),
            LINK_INFO => link.kind = attribute(value, KIND).map(text),
            _ => {}
        }
    }
    Some(link)
}

fn read_route(body: &[u8]) -> Option<Route> {
    let attributes = body.get(12..)?;
    let network = match attribute(attributes, DESTINATION) {
        Some(octets) => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?),
        None => Ipv4Addr::UNSPECIFIED,
    };
    let output = attribute(attributes, OUTPUT).and_then(|value| u32_at(value, 0));
    Some(Route { network, prefix: *body.get(1)?, output })
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_overlap_in_either_direction() {
        let check = |route: &str, prefix, network: &str, expected| {
            let route = Route { network: route.parse().unwrap(), prefix, output: None };
            assert_eq!(route.overlaps(network.parse().unwrap(), 24), expected, "{route:?} {network}");
        };
        check("172.31.254.0", 24, "172.31.254.0", true);
        check("172.31.240.0", 20, "172.31.254.0", true);
        check("172.31.254.7", 32, "172.31.254.0", true);
        check("172.31.0.0", 20, "172.31.254.0", false);
        check("172.31.253.255", 32, "172.31.254.0", false);
        check("0.0.0.0", 0, "172.31.254.0", true);
    }
}
