use std::collections::BTreeSet;

use base::ContainerId;

use crate::{Attached, Config, Error, PortMapping};

/// The container network of one agent: its bridge, its containers' addresses, its port mappings. Calls
/// block for as long as the kernel takes, a few milliseconds.
#[derive(Debug)]
pub struct Networks {
    config: Config,
}

impl Networks {
    /// Opens the network of `config`.
    ///
    /// # Errors
    /// When this machine cannot have container networks, which names what is missing.
    pub fn open(config: Config) -> Result<Networks, Error> {
        let networks = Networks { config };
        Err(networks.unsupported())
    }

    /// Gives the network namespace of process `pid` an interface `eth0` with an address, a default route,
    /// and the port mappings of `ports`.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left of a failed attempt.
    pub fn attach(&self, _: &ContainerId, _pid: u32, _ports: &[PortMapping]) -> Result<Attached, Error> {
        Err(self.unsupported())
    }

    /// Takes a container's network away; one that has none is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn detach(&self, _: &ContainerId) -> Result<(), Error> {
        Err(self.unsupported())
    }

    /// Removes what belongs to no container of `alive`, after a restart.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn recover(&self, _alive: &BTreeSet<ContainerId>) -> Result<(), Error> {
        Err(self.unsupported())
    }

    /// Removes everything: containers' networks, the bridge, the table of port mappings, the lease.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn retire(&self) -> Result<(), Error> {
        Err(self.unsupported())
    }

    fn unsupported(&self) -> Error {
        Error::Unsupported { missing: format!("the agent {} has none yet", self.config.name) }
    }
}
