use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::command_line;

/// A socket that listens, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it is bound to; perhaps the wildcard address.
    pub address: SocketAddr,
    /// The process that has it open; none if it is another user's or of another pid namespace.
    pub pid: Option<u32>,
    /// That process' command line.
    pub command: Option<String>,
}

/// Who listens on the TCP port of `address`, on that very address or on the wildcard address; none
/// if nobody does.
pub fn listener(address: SocketAddr) -> Option<Listener> {
    let taken = |listening: &Listening| {
        listening.address.port() == address.port()
            && (listening.address.ip() == address.ip() || listening.address.ip().is_unspecified())
    };
    let found = listening().into_iter().find(taken)?;
    let pid = owner(found.inode);
    Some(Listener { address: found.address, pid, command: pid.and_then(command_line) })
}

/// The ports of `range` that some socket of this machine listens on.
pub(crate) fn listening_ports(range: std::ops::RangeInclusive<u16>) -> bool {
    listening().iter().any(|listening| range.contains(&listening.address.port()))
}

#[derive(Debug, PartialEq, Eq)]
struct Listening {
    address: SocketAddr,
    inode: u64,
}

/// Who listens in the network of this thread.
fn listening() -> Vec<Listening> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .map(|path| std::fs::read_to_string(path).ok());
    tables.iter().flatten().flat_map(|table| table.lines()).filter_map(parse).collect()
}

/// Reads a line of `/proc/net/tcp` or `tcp6` if its socket listens (state 0A).
fn parse(line: &str) -> Option<Listening> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, _, state) = (words.next()?, words.next()?, words.next()?);
    if state != "0A" {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // The kernel prints each 32 bits of the address as a number of the machine's byte order.
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    let inode = words.nth(5)?.parse().ok()?;
    Some(Listening { address: SocketAddr::new(ip, port), inode })
}

/// The first process that has the socket open.
fn owner(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| {
        let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(&wanted)))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_owner() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let found = listener(address).unwrap();
        assert_eq!((found.address, found.pid), (address, Some(std::process::id())));
        assert!(found.command.unwrap().contains("host"));
        let other = SocketAddr::new("127.0.0.2".parse().unwrap(), address.port());
        assert_eq!(listener(other), None);
        drop(socket);
        assert_eq!(listener(address), None);
    }

    #[test]
    fn a_wildcard_listener_takes_every_address() {
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listener(SocketAddr::new("127.9.9.9".parse().unwrap(), port)).unwrap();
        assert_eq!(found.address.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_read() {
        let rest = "00000000:00000000 00:00000000 00000000     0        0 17 1 0 100 0 0 10 0";
        let check = |local: &str, state: &str, address: Option<&str>| {
            let line = format!("   1: {local} 00000000:0000 {state} {rest}");
            let expected = address.map(|text| Listening { address: text.parse().unwrap(), inode: 17 });
            assert_eq!(parse(&line), expected, "{line}");
        };
        check("0100007F:1F90", "0A", Some("127.0.0.1:8080"));
        check("00000000:0050", "0A", Some("0.0.0.0:80"));
        check("00000000000000000000000001000000:0050", "0A", Some("[::1]:80"));
        check("0000000000000000FFFF00000100007F:0050", "0A", Some("127.0.0.1:80"));
        check("0100007F:1F90", "01", None);
        check("0100:1F90", "0A", None);
    }
}
