use base::{AgentId, Wall};
use mesos_proto::v1;
use prost::Message;

use crate::draining::Deactivation;

/// One write to the registry, the only durable state of a master: small records, one per agent, so that
/// no write grows with the cluster (Mesos keeps one blob).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryOp {
    /// The slash path of the record.
    pub key: String,
    /// What to keep there; `None` removes the record.
    pub value: Option<Vec<u8>>,
}

/// Why the registry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A key that no version of this program wrote.
    #[error("registry record {key} has an unknown kind of key; known are {known}", known = KINDS.map(|kind| format!("{kind}/<name>")).join(", "))]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A record that another one says is there.
    #[error("registry record {key} is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A value that is not what its key promises.
    #[error("registry record {key} cannot be decoded")]
    Decode {
        /// The key.
        key: String,
        /// What is wrong with the value.
        source: prost::DecodeError,
    },
}

const AGENTS: &str = "agents";
const DEACTIVATIONS: &str = "deactivations";
const GONE: &str = "gone";
const MAINTENANCE: &str = "maintenance";

/// The kinds of records: the first segments of their keys. Who stores the registry lists them all.
pub const KINDS: [&str; 4] = [AGENTS, DEACTIVATIONS, GONE, MAINTENANCE];

/// One record, read back.
#[derive(Debug)]
pub(crate) enum Kept {
    /// An agent that is admitted, or was and is unreachable.
    Agent(AgentId, Box<AgentRecord>),
    /// What operators decided about an agent that is not to be offered.
    Deactivation(AgentId, Deactivation),
    /// An agent that never comes back, and since when.
    Gone(AgentId, Wall),
    /// A piece of the maintenance schedule, by name.
    Maintenance(String, Vec<u8>),
}

/// What the registry knows of an agent. Written as protobuf: fields are only ever added.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AgentRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) info: Option<v1::AgentInfo>,
    /// Unix nanoseconds of when the agent became unreachable; none while it is admitted.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) unreachable_since: Option<u64>,
}

/// A [`Deactivation`] as it is written: fields are only ever added.
#[derive(Clone, PartialEq, Message)]
struct DeactivationRecord {
    #[prost(message, optional, tag = "1")]
    drain: Option<v1::DrainInfo>,
    /// Unix nanoseconds.
    #[prost(uint64, optional, tag = "2")]
    drain_started: Option<u64>,
}

/// Fields are only ever added.
#[derive(Clone, PartialEq, Message)]
struct GoneRecord {
    /// Unix nanoseconds.
    #[prost(uint64, tag = "1")]
    since: u64,
}

pub(crate) fn put_deactivation(id: &AgentId, deactivation: &Deactivation) -> RegistryOp {
    let record = DeactivationRecord {
        drain: deactivation.drain,
        drain_started: deactivation.drain_started.map(|started| started.0),
    };
    put(DEACTIVATIONS, id.as_str(), &record)
}

pub(crate) fn remove_deactivation(id: &AgentId) -> RegistryOp {
    remove(DEACTIVATIONS, id.as_str())
}

pub(crate) fn put_gone(id: &AgentId, since: Wall) -> RegistryOp {
    put(GONE, id.as_str(), &GoneRecord { since: since.0 })
}

pub(crate) fn remove_gone(id: &AgentId) -> RegistryOp {
    remove(GONE, id.as_str())
}

/// The key of a piece of the maintenance schedule.
pub(crate) fn maintenance_key(name: &str) -> String {
    key(MAINTENANCE, name)
}

pub(crate) fn put_maintenance(name: &str, piece: Vec<u8>) -> RegistryOp {
    RegistryOp { key: maintenance_key(name), value: Some(piece) }
}

pub(crate) fn remove_maintenance(name: &str) -> RegistryOp {
    remove(MAINTENANCE, name)
}

pub(crate) fn put_agent(id: &AgentId, info: &v1::AgentInfo, unreachable_since: Option<Wall>) -> RegistryOp {
    let record =
        AgentRecord { info: Some(info.clone()), unreachable_since: unreachable_since.map(|since| since.0) };
    put(AGENTS, id.as_str(), &record)
}

pub(crate) fn remove_agent(id: &AgentId) -> RegistryOp {
    remove(AGENTS, id.as_str())
}

fn put(kind: &str, name: &str, record: &impl Message) -> RegistryOp {
    RegistryOp { key: key(kind, name), value: Some(record.encode_to_vec()) }
}

fn remove(kind: &str, name: &str) -> RegistryOp {
    RegistryOp { key: key(kind, name), value: None }
}

/// The key of a record: its kind and its name, which may hold anything, as one segment of a path.
fn key(kind: &str, name: &str) -> String {
    let mut key = format!("{kind}/");
    for byte in name.bytes() {
        match byte {
            b'%' | b'/' | ..=b' ' | 0x7f.. => key.push_str(&format!("%{byte:02X}")),
            _ => key.push(char::from(byte)),
        }
    }
    match name {
        "." | ".." => key.replace('.', "%2E"),
        _ => key,
    }
}

/// The name that [`key`] made a segment of; `None` if it is none of its.
fn name_of(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut parts = segment.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

pub(crate) fn decode(key: &str, value: &[u8]) -> Result<Kept, RecoverError> {
    let unknown = || RecoverError::UnknownKey { key: key.to_owned() };
    let (kind, segment) = key.split_once('/').ok_or_else(unknown)?;
    let name = name_of(segment).ok_or_else(unknown)?;
    let bad = |source| RecoverError::Decode { key: key.to_owned(), source };
    match kind {
        AGENTS => Ok(Kept::Agent(AgentId::new(name), Box::new(AgentRecord::decode(value).map_err(bad)?))),
        DEACTIVATIONS => {
            let record = DeactivationRecord::decode(value).map_err(bad)?;
            let drain_started = record.drain_started.map(Wall);
            Ok(Kept::Deactivation(AgentId::new(name), Deactivation { drain: record.drain, drain_started }))
        }
        GONE => {
            let record = GoneRecord::decode(value).map_err(bad)?;
            Ok(Kept::Gone(AgentId::new(name), Wall(record.since)))
        }
        MAINTENANCE => Ok(Kept::Maintenance(name, value.to_vec())),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment_of_a_key() {
        let check = |name: &str, expect: &str| {
            let key = key("x", name);
            assert_eq!(key, expect);
            assert_eq!(name_of(&key["x/".len()..]).as_deref(), Some(name));
        };
        check("3b9d-S0", "x/3b9d-S0");
        check("eng/web", "x/eng%2Fweb");
        check("..", "x/%2E%2E");
        check(".", "x/%2E");
        check("a.b", "x/a.b");
        check("50%", "x/50%25");
        check("слово", "x/%D1%81%D0%BB%D0%BE%D0%B2%D0%BE");
        check("host,10.0.0.1", "x/host,10.0.0.1");
        for segment in ["", "%", "%2", "%zz", "%D1"] {
            assert_eq!(name_of(segment), None, "{segment}");
        }
    }
}
