use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use base::ContainerId;
use host::SubnetLeaseError;

use crate::Protocol;

/// Why a container got no network, or a network was not removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot do it.
    #[error("container networks are not possible on this machine: {missing}")]
    Unsupported {
        /// What is missing: a right, or a part of the kernel.
        missing: String,
    },
    /// The process has no network namespace that could be configured.
    #[error("the network of container {container} (process {pid}): {problem}")]
    Namespace {
        /// The container.
        container: ContainerId,
        /// Its process.
        pid: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// The container has a network.
    #[error("container {container} has a network already, with the address {ip}")]
    Attached {
        /// The container.
        container: ContainerId,
        /// Its address.
        ip: Ipv4Addr,
    },
    /// Another container has the host port.
    #[error("host port {port}/{protocol} of {agent_ip} is mapped to container {holder} already")]
    PortMapped {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The agent.
        agent_ip: Ipv4Addr,
        /// Who has it.
        holder: ContainerId,
    },
    /// A process of the machine has the host port.
    #[error("host port {port}/{protocol} of {agent_ip} is in use by {holder}")]
    PortInUse {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The agent.
        agent_ip: Ipv4Addr,
        /// Who has it, as far as the kernel tells.
        holder: String,
    },
    /// One request maps a host port twice, or maps port 0.
    #[error("the port mapping {host_port}:{container_port}/{protocol}: {problem}")]
    Mapping {
        /// The host port.
        host_port: u16,
        /// The container's port.
        container_port: u16,
        /// Their protocol.
        protocol: Protocol,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Every address of the agent's subnet has a container.
    #[error("all {addresses} addresses of this agent's container subnet {network}/24 are taken")]
    AddressesExhausted {
        /// The subnet.
        network: Ipv4Addr,
        /// How many containers it has room for.
        addresses: usize,
    },
    /// There is no subnet for this agent.
    #[error(transparent)]
    Lease(#[from] SubnetLeaseError),
    /// The kernel refused.
    #[error("{attempted}: {source}")]
    Kernel {
        /// What it was asked for.
        attempted: String,
        /// Its answer.
        source: io::Error,
    },
    /// The list of addresses could not be read or written.
    #[error("{attempted} {}: {source}", .path.display())]
    File {
        /// What was done with it.
        attempted: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}
