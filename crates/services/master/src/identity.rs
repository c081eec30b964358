use std::net::SocketAddr;

use base::{Rng, Wall};
use mesos_proto::v1::{Address, MasterInfo, master_info};

use crate::config::Config;
use api_mesos::version::MESOS_VERSION;

/// Who this run of the master is; the same for its whole life.
#[derive(Debug)]
pub(crate) struct Identity {
    /// As frameworks and operators are told.
    pub(crate) info: MasterInfo,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The name that clients are shown.
    pub(crate) hostname: String,
    /// The cluster's name.
    pub(crate) cluster: Option<String>,
    /// The flags by name.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// When it started.
    pub(crate) start_time: Wall,
    /// When it became the leader.
    pub(crate) elected_time: Wall,
}

impl Identity {
    /// The identity of a master that has started, listens and leads.
    pub(crate) fn new(
        config: &Config,
        address: SocketAddr,
        rng: &mut Rng,
        start_time: Wall,
        elected_time: Wall,
    ) -> Self {
        let hostname = config.shown_hostname();
        let capability =
            master_info::Capability { r#type: Some(master_info::capability::Type::AgentUpdate as i32) };
        let info = MasterInfo {
            id: rng.uuid(),
            // Network byte order in an integer of this machine's, as Mesos has it (MESOS-1201).
            ip: u32::from_le_bytes(config.ip.octets()),
            port: u32::from(address.port()),
            pid: Some(format!("master@{address}")),
            hostname: Some(hostname.clone()),
            version: Some(MESOS_VERSION.to_owned()),
            address: Some(Address {
                hostname: Some(hostname.clone()),
                ip: Some(config.ip.to_string()),
                port: i32::from(address.port()),
            }),
            domain: None,
            capabilities: vec![capability],
        };
        let flags = config.flags(address);
        let cluster = config.cluster.clone();
        Identity { info, address, hostname, cluster, flags, start_time, elected_time }
    }

    /// The address with a port, as pids have it: `master@127.0.0.1:5050`.
    pub(crate) fn pid(&self) -> &str {
        self.info.pid.as_deref().unwrap_or_default()
    }
}
