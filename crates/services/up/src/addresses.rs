//! The addresses of a cluster's nodes, and whether their ports are free.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use crate::{Error, Subnet};

/// Mesos master.
pub(crate) const MASTER: u16 = 5050;
/// Mesos agent.
pub(crate) const AGENT: u16 = 5051;
/// Marathon.
pub(crate) const MARATHON: u16 = 8080;
/// Admin Router of a master node.
pub(crate) const ROUTER: u16 = 80;
/// The same without the right to bind ports below 1024.
pub(crate) const ROUTER_UNPRIVILEGED: u16 = 8000;
/// Admin Router of an agent node.
pub(crate) const AGENT_ROUTER: u16 = 61001;

/// What containers find at their gateway's address, on the standard ports: the Admin Router, the Mesos master
/// and Marathon of a master node.
pub(crate) fn at_gateway(master: SocketAddr, router_port: u16) -> Vec<(u16, SocketAddrV4)> {
    let IpAddr::V4(ip) = master.ip() else { return Vec::new() };
    let ports = [(ROUTER, router_port), (MASTER, master.port()), (MARATHON, MARATHON)];
    ports.map(|(port, target)| (port, SocketAddrV4::new(ip, target))).to_vec()
}

/// What became of an attempt to bind.
enum Bound {
    Free,
    Taken,
    Forbidden,
    NotHere,
    Failed(std::io::Error),
}

fn bind(address: SocketAddr) -> Bound {
    match TcpListener::bind(address) {
        Ok(_) => Bound::Free,
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => Bound::Taken,
            ErrorKind::PermissionDenied => Bound::Forbidden,
            ErrorKind::AddrNotAvailable => Bound::NotHere,
            _ => Bound::Failed(error),
        },
    }
}

/// Checks that the ports of a master node are free; returns the port for Admin Router.
pub(crate) fn check_master(ip: Ipv4Addr) -> Result<u16, Error> {
    check(ip, MASTER)?;
    check(ip, MARATHON)?;
    match bind((ip, ROUTER).into()) {
        Bound::Forbidden => check(ip, ROUTER_UNPRIVILEGED).map(|()| ROUTER_UNPRIVILEGED),
        _ => check(ip, ROUTER).map(|()| ROUTER),
    }
}

/// Checks that the ports of an agent node are free.
pub(crate) fn check_agent(ip: Ipv4Addr) -> Result<(), Error> {
    check(ip, AGENT)?;
    check(ip, AGENT_ROUTER)
}

fn check(ip: Ipv4Addr, port: u16) -> Result<(), Error> {
    let address = SocketAddr::from((ip, port));
    match bind(address) {
        Bound::Free => Ok(()),
        Bound::NotHere => Err(Error::NotHere(ip)),
        Bound::Taken => {
            Err(Error::Taken { address, owner: host::listener(address), free: None, of_subnet: false })
        }
        Bound::Forbidden => {
            let source = ErrorKind::PermissionDenied.into();
            Err(Error::Io { attempted: "bind", path: address.to_string().into(), source })
        }
        Bound::Failed(source) => {
            Err(Error::Io { attempted: "bind", path: address.to_string().into(), source })
        }
    }
}

/// Checks the ports of a whole cluster of `agents` agents on `subnet`; returns Admin Router's port.
/// A taken port is reported with a subnet on which the same cluster would find all its ports free.
pub(crate) fn check_subnet(subnet: Subnet, agents: u32) -> Result<u16, Error> {
    check_nodes(subnet, agents).map_err(|error| match error {
        Error::Taken { address, owner, .. } => {
            let free = candidates(subnet).find(|candidate| check_nodes(*candidate, agents).is_ok());
            Error::Taken { address, owner, free, of_subnet: true }
        }
        error => error,
    })
}

/// How many subnets are tried before it is said that none is free: each costs some system calls.
const CANDIDATES: usize = 64;

/// Subnets to suggest: the loopback networks after this one, or after the default one.
fn candidates(subnet: Subnet) -> impl Iterator<Item = Subnet> {
    subnet.following().chain(Subnet::DEFAULT.following()).take(CANDIDATES)
}

fn check_nodes(subnet: Subnet, agents: u32) -> Result<u16, Error> {
    let address = |number| subnet.address(number).ok_or(Error::SubnetTooSmall { subnet, asked: agents });
    let router = check_master(address(1)?)?;
    for number in 2..=agents + 1 {
        check_agent(address(number)?)?;
    }
    Ok(router)
}
