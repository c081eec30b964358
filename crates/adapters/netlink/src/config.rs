use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use host::SubnetLeases;
use serde::{Deserialize, Serialize};

/// The container network of one agent.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it is written down which container has which address; made if missing, nobody else's.
    pub state_dir: PathBuf,
    /// The agent's name among all that lease subnets on this machine, one line of text; the same after a
    /// restart.
    pub name: String,
    /// The address on which mapped ports answer. It may be a loopback address.
    pub agent_ip: Ipv4Addr,
    /// Where the containers' subnets are leased.
    pub leases: SubnetLeases,
    /// What containers reach at their gateway's address: connections to this TCP port are sent to that
    /// address, also to a loopback address.
    pub gateway_targets: Vec<(u16, SocketAddrV4)>,
}

/// A port of the agent's address that leads to a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// The port of the agent's address.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// Which of the two kinds of ports.
    pub protocol: Protocol,
}

/// What a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number of the protocol in the header of IP.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// The network that a container has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The container's address, on its interface `eth0`.
    pub ip: Ipv4Addr,
    /// Bits of the address' network part.
    pub prefix: u8,
    /// Where its default route leads, and where it reaches the cluster.
    pub gateway: Ipv4Addr,
}
