//! Tracked connections (ctnetlink). UDP knows no end of a connection: who keeps sending to a port whose
//! mapping has changed would be led where it led before.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::socket::{Refused, Socket, acknowledged};
use crate::wire::{Body, Messages, attribute};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

// Of a connection: what it looks like from who began it, and which parts of that are asked for.
const ORIGINAL: u16 = 1;
const FILTER: u16 = 25;
// Of a direction.
const ADDRESSES: u16 = 1;
const PROTOCOL: u16 = 2;
// Of its addresses and of its protocol.
const DESTINATION: u16 = 2;
const NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;

const UDP: u8 = 17;
/// Bits of the filter: the protocol's number and its destination port count.
const BY_PROTOCOL_AND_PORT: u32 = 1 << 3 | 1 << 5;

/// Forgets the UDP connections to these ports of one of the addresses.
pub(crate) fn forget(socket: &mut Socket, addresses: &[Ipv4Addr], ports: &[u16]) -> Result<(), Refused> {
    let mut known = Vec::new();
    for port in ports {
        let fill = |body: &mut Body<'_>| {
            header(body);
            // An old kernel does not know filters and answers with all connections.
            body.nested(ORIGINAL, |body| {
                body.nested(PROTOCOL, |body| {
                    body.attribute(NUMBER, &[UDP]);
                    body.attribute(DESTINATION_PORT, &port.to_be_bytes());
                });
            });
            body.nested(FILTER, |body| body.number(1, BY_PROTOCOL_AND_PORT));
        };
        let each = |_, body: &[u8]| {
            if let Some(original) = body.get(4..).and_then(|body| attribute(body, ORIGINAL))
                && leads_to(original, addresses, *port) == Some(true)
            {
                known.push(original.to_vec());
            }
        };
        socket.dump(GET, "list the tracked connections", fill, each)?;
    }
    for original in known {
        let mut messages = Messages::default();
        messages.add(DELETE, acknowledged(0), "forget a tracked connection", |body| {
            header(body);
            body.nested(ORIGINAL, |body| body.fixed(&original));
        });
        match socket.request(messages) {
            Err(refused) if !refused.is(Errno::NOENT) => return Err(refused),
            _ => {}
        }
    }
    Ok(())
}

fn header(body: &mut Body<'_>) {
    // IPv4.
    body.fixed(&[2, 0, 0, 0]);
}

fn leads_to(direction: &[u8], addresses: &[Ipv4Addr], port: u16) -> Option<bool> {
    let protocol = attribute(direction, PROTOCOL)?;
    let destination = attribute(attribute(direction, ADDRESSES)?, DESTINATION)?;
    let destination = Ipv4Addr::from(<[u8; 4]>::try_from(destination).ok()?);
    Some(
        attribute(protocol, NUMBER)? == [UDP]
            && attribute(protocol, DESTINATION_PORT)? == port.to_be_bytes()
            && addresses.contains(&destination),
    )
}
