//! Container networks: bridges, interfaces, port mappings.
//!
//! Each agent has a bridge (`dcos254` for the subnet 172.31.254.0/24, leased from `host`), each container
//! a pair of interfaces: `dcos254-17` on the host, a port of the bridge, and `eth0` with the address
//! 172.31.254.17 in its own network namespace. A table of packet filters with the bridge's name (`nft list
//! table ip dcos254` shows it) leads
//!
//! - the agent's address and a mapped host port to a container's port, for other hosts, for this host and
//!   for containers; also where the agent's address is one of loopback;
//! - the gateway's address and a configured port to the cluster, and the gateway's address and a mapped
//!   host port to the container: a container does not reach the host's loopback addresses otherwise;
//! - what containers send elsewhere out under the host's own address.
//!
//! From outside a container is reached by its mapped ports only.
//!
//! The kernel is spoken to by netlink, without a program: attaching costs a few milliseconds. A container's
//! addresses and ports are written down before anything is made, so that after `kill -9` at any point
//! [`Networks::recover`] knows what may be there. Namespaces are the container's: they live and die with
//! its processes, nothing here keeps them.
//!
//! # What changes on the host
//! Beyond the bridge, its ports and the table, which [`Networks::retire`] removes: `net.ipv4.ip_forward`
//! of the host's namespace becomes 1 with the first container, and stays so, because others may have come
//! to rely on it. `route_localnet` is set for the bridge alone; a rule drops what comes by the bridge for a
//! loopback address and was not led there by the table. Rules of others are neither changed nor overruled:
//! where a forward chain drops by its policy, as docker's (`iptables -I DOCKER-USER -i dcos+ -j ACCEPT` and
//! the same with `-o`) or ufw's (`ufw route allow in on dcos254`, and `out`), containers reach no other
//! host and other hosts reach no mapped port; this is said in the log. Where an input chain drops, as
//! ufw's, containers do not reach the cluster (`ufw allow in on dcos254`). This host itself reaches mapped
//! ports either way.
//!
//! Deliberately absent: IPv6, names (`/etc/resolv.conf` is the agent's to write), networks across hosts,
//! bandwidth, CNI plug-ins.

mod config;
mod conntrack;
mod error;
mod link;
mod namespace;
mod networks;
mod nft;
mod ports;
mod probe;
mod records;
mod setup;
mod socket;
mod subnet;
mod table;
mod wire;

pub use config::{Attached, Config, PortMapping, Protocol};
pub use error::Error;
pub use networks::{Networks, isolate, retire_agent};
