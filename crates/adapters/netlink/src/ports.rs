//! Whether host ports can be mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use base::ContainerId;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::records::Record;
use crate::{Error, PortMapping, Protocol};

/// Refuses port 0, and what is mapped twice.
pub(crate) fn check(ports: &[PortMapping]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for port in ports {
        let PortMapping { host_port, container_port, protocol } = *port;
        let problem = if host_port == 0 || container_port == 0 {
            "ports are from 1 to 65535"
        } else if seen.insert((host_port, protocol)) {
            continue;
        } else {
            "this host port is mapped twice"
        };
        return Err(Error::Mapping { host_port, container_port, protocol, problem });
    }
    Ok(())
}

/// Refuses what another container or a process of the machine has.
pub(crate) fn check_free(
    agent_ip: Ipv4Addr,
    ports: &[PortMapping],
    records: &BTreeMap<ContainerId, Record>,
) -> Result<(), Error> {
    for PortMapping { host_port: port, protocol, .. } in ports.iter().copied() {
        let has = |held: &PortMapping| (held.host_port, held.protocol) == (port, protocol);
        if let Some((holder, _)) = records.iter().find(|(_, record)| record.ports.iter().any(has)) {
            let holder = holder.clone();
            return Err(Error::PortMapped { port, protocol, agent_ip, holder });
        }
        if let Some(holder) = in_use(SocketAddrV4::new(agent_ip, port), protocol) {
            return Err(Error::PortInUse { port, protocol, agent_ip, holder });
        }
    }
    Ok(())
}

/// Who has bound the port of that address or of all addresses. Its packets would go to the container.
fn in_use(address: SocketAddrV4, protocol: Protocol) -> Option<String> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None).ok()?;
    if protocol == Protocol::Tcp {
        let _ = set_socket_reuseaddr(&socket, true);
    }
    // An address that is not of this machine is for who routes packets here to know.
    if bind(&socket, &address) != Err(Errno::ADDRINUSE) {
        return None;
    }
    let unknown = "a process of this machine".to_owned();
    if protocol == Protocol::Udp {
        return Some(unknown);
    }
    // Connections that are about to end have the port, too, and do not mind.
    let listener = host::listener(SocketAddr::V4(address))?;
    Some(match (listener.pid, listener.command) {
        (Some(pid), Some(command)) => format!("process {pid} ({command})"),
        (Some(pid), None) => format!("process {pid}"),
        _ => unknown,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn mapping(host_port: u16, container_port: u16, protocol: Protocol) -> PortMapping {
        PortMapping { host_port, container_port, protocol }
    }

    #[test]
    fn what_is_mapped_twice_or_is_no_port_is_refused() {
        let tcp = |host, container| mapping(host, container, Protocol::Tcp);
        let text = |ports: &[PortMapping]| check(ports).unwrap_err().to_string();
        assert!(check(&[tcp(1, 80), mapping(1, 80, Protocol::Udp), tcp(2, 80)]).is_ok());
        assert_eq!(
            text(&[tcp(7, 80), tcp(7, 81)]),
            "the port mapping 7:81/tcp: this host port is mapped twice"
        );
        assert_eq!(text(&[tcp(0, 80)]), "the port mapping 0:80/tcp: ports are from 1 to 65535");
        assert_eq!(text(&[tcp(80, 0)]), "the port mapping 80:0/tcp: ports are from 1 to 65535");
    }

    #[test]
    fn who_has_a_port_is_named() {
        let ip = Ipv4Addr::LOCALHOST;
        let tcp = TcpListener::bind((ip, 0)).unwrap();
        let udp = UdpSocket::bind((ip, 0)).unwrap();
        let (tcp, udp) = (&tcp, &udp);
        let port = |address: std::io::Result<SocketAddr>| address.unwrap().port();
        let ports = [mapping(port(tcp.local_addr()), 80, Protocol::Tcp)];
        let none = BTreeMap::new();
        let text = check_free(ip, &ports, &none).unwrap_err().to_string();
        let start = format!(
            "host port {}/tcp of 127.0.0.1 is in use by process {} (",
            ports[0].host_port,
            std::process::id()
        );
        assert!(text.starts_with(&start), "{text}");
        let ports = [mapping(port(udp.local_addr()), 80, Protocol::Udp)];
        let text = check_free(ip, &ports, &none).unwrap_err().to_string();
        assert!(text.ends_with("/udp of 127.0.0.1 is in use by a process of this machine"), "{text}");
        let record = Record { ip: Ipv4Addr::new(172, 31, 254, 2), ports: ports.to_vec() };
        let records = BTreeMap::from([(ContainerId::new("one"), record)]);
        let text = check_free(ip, &ports, &records).unwrap_err().to_string();
        assert!(text.ends_with("/udp of 127.0.0.1 is mapped to container one already"), "{text}");
    }
}
