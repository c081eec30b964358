use base::{AgentId, Wall};
use mesos_proto::v1;
use prost::Message;

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
    #[error("registry record {key} has an unknown kind of key; known is agents/<agent id>")]
    UnknownKey {
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

const AGENTS: &str = "agents/";

/// What the registry knows of an agent. Written as protobuf: fields are only ever added.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AgentRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) info: Option<v1::AgentInfo>,
    /// Unix nanoseconds of when the agent became unreachable; none while it is admitted.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) unreachable_since: Option<u64>,
}

pub(crate) fn put_agent(id: &AgentId, info: &v1::AgentInfo, unreachable_since: Option<Wall>) -> RegistryOp {
    let record =
        AgentRecord { info: Some(info.clone()), unreachable_since: unreachable_since.map(|since| since.0) };
    RegistryOp { key: format!("{AGENTS}{id}"), value: Some(record.encode_to_vec()) }
}

pub(crate) fn remove_agent(id: &AgentId) -> RegistryOp {
    RegistryOp { key: format!("{AGENTS}{id}"), value: None }
}

pub(crate) fn decode(key: &str, value: &[u8]) -> Result<(AgentId, AgentRecord), RecoverError> {
    let id = key.strip_prefix(AGENTS).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| RecoverError::UnknownKey { key: key.to_owned() })?;
    let record =
        AgentRecord::decode(value).map_err(|source| RecoverError::Decode { key: key.to_owned(), source })?;
    Ok((AgentId::new(id), record))
}
