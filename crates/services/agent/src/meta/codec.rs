//! How records look in their files: `DCR`, a version, then one or more pieces, each its length, a
//! checksum and a protobuf message. Fields are only ever added to the messages.

use agent_core::{LogEntry, Process};
use base::TaskId;
use mesos_proto::v1::{
    AgentInfo, DrainConfig, ExecutorInfo, FrameworkInfo, NetworkInfo, Operation, Resource, TaskInfo,
    TaskStatus,
};
use prost::Message;

/// Before each piece: so that a log can be added to, every piece is whole in itself.
const MARK: [u8; 4] = *b"DCR\x01";
const HEAD: usize = MARK.len() + 4 + 8;

#[derive(Clone, PartialEq, Message)]
struct AgentRecord {
    #[prost(message, optional, tag = "1")]
    info: Option<AgentInfo>,
    #[prost(string, tag = "2")]
    boot_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExecutorRecord {
    #[prost(message, optional, tag = "1")]
    info: Option<ExecutorInfo>,
    #[prost(bool, tag = "2")]
    for_command: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessRecord {
    #[prost(uint32, tag = "1")]
    pid: u32,
    #[prost(uint64, tag = "2")]
    start_time: u64,
    #[prost(message, repeated, tag = "3")]
    networks: Vec<NetworkInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourcesRecord {
    #[prost(message, repeated, tag = "1")]
    reserved: Vec<Resource>,
    #[prost(message, repeated, tag = "2")]
    operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(message, optional, tag = "1")]
    update: Option<TaskStatus>,
    #[prost(bytes = "vec", optional, tag = "2")]
    acknowledged: Option<Vec<u8>>,
}

/// What stands beside a task's description in its record: written after it, as if it were a field of it.
#[derive(Clone, PartialEq, Message)]
struct TaskExtension {
    #[prost(string, repeated, tag = "1000")]
    group: Vec<String>,
}

fn piece(message: &impl Message) -> Vec<u8> {
    extended(message, &())
}

/// Both messages as one: their fields have different numbers.
fn extended(message: &impl Message, extension: &impl Message) -> Vec<u8> {
    let length = message.encoded_len() + extension.encoded_len();
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    message.encode_raw(&mut bytes);
    extension.encode_raw(&mut bytes);
    let sum = base::fnv1a(&bytes[HEAD..]).to_be_bytes();
    bytes[MARK.len() + 4..HEAD].copy_from_slice(&sum);
    bytes
}

/// The first piece's message and what follows it; None if it is torn or of a later version.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let (message, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (base::fnv1a(message) == u64::from_be_bytes(*sum)).then_some((message, rest))
}

fn whole<T: Message + Default>(bytes: &[u8]) -> Option<T> {
    T::decode(split(bytes)?.0).ok()
}

pub(super) fn agent(info: &AgentInfo, boot_id: &str) -> Vec<u8> {
    piece(&AgentRecord { info: Some(info.clone()), boot_id: boot_id.to_owned() })
}

pub(super) fn read_agent(bytes: &[u8]) -> Option<(AgentInfo, String)> {
    let record: AgentRecord = whole(bytes)?;
    Some((record.info?, record.boot_id))
}

pub(super) fn drain_config(config: &DrainConfig) -> Vec<u8> {
    piece(config)
}

pub(super) fn read_drain_config(bytes: &[u8]) -> Option<DrainConfig> {
    whole(bytes)
}

pub(super) fn resources(reserved: &[Resource], operations: &[Operation]) -> Vec<u8> {
    piece(&ResourcesRecord { reserved: reserved.to_vec(), operations: operations.to_vec() })
}

pub(super) fn read_resources(bytes: &[u8]) -> Option<(Vec<Resource>, Vec<Operation>)> {
    let ResourcesRecord { reserved, operations } = whole(bytes)?;
    Some((reserved, operations))
}

pub(super) fn framework(info: &FrameworkInfo) -> Vec<u8> {
    piece(info)
}

pub(super) fn read_framework(bytes: &[u8]) -> Option<FrameworkInfo> {
    whole(bytes)
}

pub(super) fn executor(info: &ExecutorInfo, for_command: bool) -> Vec<u8> {
    piece(&ExecutorRecord { info: Some(info.clone()), for_command })
}

pub(super) fn read_executor(bytes: &[u8]) -> Option<(ExecutorInfo, bool)> {
    let record: ExecutorRecord = whole(bytes)?;
    Some((record.info?, record.for_command))
}

pub(super) fn process(process: Process, networks: &[NetworkInfo]) -> Vec<u8> {
    let Process { pid, start_time } = process;
    piece(&ProcessRecord { pid, start_time, networks: networks.to_vec() })
}

pub(super) fn read_process(bytes: &[u8]) -> Option<(Process, Vec<NetworkInfo>)> {
    let ProcessRecord { pid, start_time, networks } = whole(bytes)?;
    Some((Process { pid, start_time }, networks))
}

pub(super) fn task(info: &TaskInfo, group: &[TaskId]) -> Vec<u8> {
    let group = group.iter().map(ToString::to_string).collect();
    extended(info, &TaskExtension { group })
}

pub(super) fn read_task(bytes: &[u8]) -> Option<(TaskInfo, Vec<TaskId>)> {
    let extension: TaskExtension = whole(bytes)?;
    Some((whole(bytes)?, extension.group.into_iter().map(TaskId::new).collect()))
}

pub(super) fn log_entry(entry: &LogEntry) -> Vec<u8> {
    piece(&match entry {
        LogEntry::Update(status) => LogRecord { update: Some(status.as_ref().clone()), acknowledged: None },
        LogEntry::Acknowledged(uuid) => LogRecord { update: None, acknowledged: Some(uuid.clone()) },
    })
}

/// The entries up to the first that is torn, and how many bytes they take.
pub(super) fn read_log(bytes: &[u8]) -> (Vec<LogEntry>, usize) {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((message, after)) = split(rest) {
        match LogRecord::decode(message) {
            Ok(LogRecord { update: Some(status), .. }) => entries.push(LogEntry::Update(Box::new(status))),
            Ok(LogRecord { acknowledged: Some(uuid), .. }) => entries.push(LogEntry::Acknowledged(uuid)),
            Ok(LogRecord { .. }) | Err(_) => break,
        }
        rest = after;
    }
    (entries, bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_is_missing() {
        let process = Process { pid: 7, start_time: 99 };
        let networks = vec![NetworkInfo { name: Some("bridge".into()), ..Default::default() }];
        let bytes = super::process(process, &networks);
        assert_eq!(read_process(&bytes), Some((process, networks)));
        for length in 0..bytes.len() {
            assert_eq!(read_process(&bytes[..length]), None);
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(read_process(&flipped), None);
    }

    #[test]
    fn a_task_is_recorded_with_and_without_a_group() {
        let info = TaskInfo { name: "t".into(), ..Default::default() };
        let check = |bytes: &[u8], group: &[TaskId]| {
            assert_eq!(read_task(bytes), Some((info.clone(), group.to_vec())));
        };
        check(&piece(&info), &[]);
        check(&task(&info, &[]), &[]);
        let group = [TaskId::new("t"), TaskId::new("u")];
        check(&task(&info, &group), &group);
    }

    #[test]
    fn a_log_ends_before_its_torn_entry() {
        let update = LogEntry::Update(Box::new(TaskStatus { uuid: Some(vec![1; 16]), ..Default::default() }));
        let acknowledged = LogEntry::Acknowledged(vec![1; 16]);
        let first = log_entry(&update);
        let both = [first.clone(), log_entry(&acknowledged)].concat();
        assert_eq!(read_log(&both), (vec![update.clone(), acknowledged], both.len()));
        for length in first.len()..both.len() {
            assert_eq!(read_log(&both[..length]), (vec![update.clone()], first.len()));
        }
    }
}
