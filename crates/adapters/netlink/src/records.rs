//! What is written down about each attached container, before anything is made for it: a file per
//! container in the agent's directory.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use base::ContainerId;
use serde::{Deserialize, Serialize};

use crate::nft::Element;
use crate::{Error, PortMapping, Protocol};

/// A container's address and ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) ip: Ipv4Addr,
    pub(crate) ports: Vec<PortMapping>,
}

impl Record {
    /// Its mappings as elements of the map of ports.
    pub(crate) fn elements(&self, container: &ContainerId) -> Vec<Element> {
        let element = |port: &PortMapping| {
            let target = SocketAddrV4::new(self.ip, port.container_port);
            Element::of_protocol(port.protocol.number(), port.host_port, target, container.as_str())
        };
        self.ports.iter().map(element).collect()
    }

    /// The UDP ports of the agent that lead here.
    pub(crate) fn udp_ports(&self) -> Vec<u16> {
        let udp = self.ports.iter().filter(|port| port.protocol == Protocol::Udp);
        udp.map(|port| port.host_port).collect()
    }
}

/// The containers' records, those in memory being those on disk.
#[derive(Debug)]
pub(crate) struct Records {
    dir: PathBuf,
    records: BTreeMap<ContainerId, Record>,
}

impl Records {
    /// Reads what is in `dir`; makes it if missing. What was being written when the machine or the process
    /// died is removed: nothing had been made for it.
    pub(crate) fn open(dir: &Path) -> Result<Records, Error> {
        let failed = |attempted, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { attempted, path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed("make", dir))?;
        let mut records = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(failed("list", dir))? {
            let path = entry.map_err(failed("list", dir))?.path();
            let content = std::fs::read(&path).map_err(failed("read", &path))?;
            let name = path.file_name().and_then(|name| name.to_str());
            match (name, serde_json::from_slice::<Record>(&content)) {
                (Some(name), Ok(record)) => {
                    records.insert(ContainerId::new(name), record);
                }
                _ => std::fs::remove_file(&path).map_err(failed("remove", &path))?,
            }
        }
        Ok(Records { dir: dir.to_owned(), records })
    }

    pub(crate) fn get(&self, container: &ContainerId) -> Option<&Record> {
        self.records.get(container)
    }

    pub(crate) fn all(&self) -> &BTreeMap<ContainerId, Record> {
        &self.records
    }

    pub(crate) fn add(&mut self, container: &ContainerId, record: Record) -> Result<(), Error> {
        let path = self.path(container)?;
        let content = serde_json::to_vec(&record).expect("addresses and numbers are JSON");
        if let Err(source) = std::fs::write(&path, content) {
            let _ = std::fs::remove_file(&path);
            return Err(Error::File { attempted: "write", path, source });
        }
        self.records.insert(container.clone(), record);
        Ok(())
    }

    pub(crate) fn remove(&mut self, container: &ContainerId) -> Result<(), Error> {
        let path = self.path(container)?;
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { attempted: "remove", path, source })
            }
            _ => {
                self.records.remove(container);
                Ok(())
            }
        }
    }

    fn path(&self, container: &ContainerId) -> Result<PathBuf, Error> {
        let id = container.as_str();
        let path = self.dir.join(id);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || id.starts_with('.') || id.len() > 200 || !id.bytes().all(allowed) {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::File { attempted: "name a file after the container", path, source });
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_half_written_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("networks");
        let record = Record {
            ip: Ipv4Addr::new(172, 31, 254, 2),
            ports: vec![PortMapping { host_port: 10_000, container_port: 80, protocol: Protocol::Udp }],
        };
        let (kept, removed) = (ContainerId::new("kept"), ContainerId::new("removed"));
        let mut records = Records::open(&dir).unwrap();
        records.add(&kept, record.clone()).unwrap();
        records.add(&removed, record.clone()).unwrap();
        records.remove(&removed).unwrap();
        std::fs::write(dir.join("torn"), "{\"ip\":\"172.3").unwrap();
        let records = Records::open(&dir).unwrap();
        assert_eq!(records.all(), &BTreeMap::from([(kept, record)]));
        assert!(!dir.join("torn").exists());
    }

    #[test]
    fn a_container_names_a_file_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        for id in ["", ".", "..", "a/b", ".hidden", &"x".repeat(201)] {
            assert!(records.path(&ContainerId::new(id)).is_err(), "{id}");
        }
        assert!(records.path(&ContainerId::new("0a-1.b_2")).is_ok());
    }
}
