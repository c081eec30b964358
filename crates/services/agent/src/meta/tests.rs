use std::fs;
use std::path::PathBuf;

use agent_core::{LogEntry, Process, Record, Run};
use base::TaskId;
use mesos_proto::v1::{self, AgentInfo, ExecutorInfo, FrameworkInfo, TaskInfo, TaskStatus};

use super::{Meta, read};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("meta-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(container: &str) -> Run {
    Run { framework_id: "f".into(), executor_id: "t".into(), container_id: container.into() }
}

fn agent() -> Record {
    let info = AgentInfo { hostname: "h".into(), ..Default::default() };
    Record::Agent { agent_id: "S0".into(), info: Box::new(info), boot_id: "boot".into() }
}

fn resources() -> Record {
    let reserved = resources::Resources::parse("cpus(a):1").unwrap().to_wire(resources::WireForm::Refined);
    let operation = v1::Operation {
        uuid: v1::Uuid { value: vec![1; 16] },
        info: Default::default(),
        ..Default::default()
    };
    Record::Resources { reserved, operations: vec![operation] }
}

#[test]
fn a_damaged_record_of_reservations_stops_the_agent() {
    let dir = Dir::new("resources");
    let mut meta = Meta::new(&dir.0, None);
    meta.write(&agent()).unwrap();
    assert_eq!(read(&dir.0, 10).unwrap().records.len(), 1, "there may be none");
    meta.write(&resources()).unwrap();
    let path = dir.0.join("meta/slaves/S0/resources_and_operations.state");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = read(&dir.0, 10).unwrap_err();
    assert!(error.to_string().contains("resources_and_operations.state"), "{error}");
}

fn started(container: &str) -> Vec<Record> {
    let framework = FrameworkInfo {
        id: Some(v1::FrameworkId { value: "f".into() }),
        name: "n".into(),
        ..Default::default()
    };
    let executor = ExecutorInfo { executor_id: v1::ExecutorId { value: "t".into() }, ..Default::default() };
    let task = TaskInfo { task_id: v1::TaskId { value: "t".into() }, name: "t".into(), ..Default::default() };
    let run = run(container);
    vec![
        Record::Framework { info: Box::new(framework) },
        Record::Executor { run: run.clone(), info: Box::new(executor), for_command: true },
        Record::Process {
            run: run.clone(),
            process: Process { pid: 5, start_time: 6 },
            networks: Vec::new(),
        },
        Record::Task {
            run: run.clone(),
            info: Box::new(task),
            group: vec![TaskId::new("t"), TaskId::new("u")],
        },
        Record::Log { run: run.clone(), task_id: TaskId::new("t"), entry: update(1) },
        Record::Log { run, task_id: TaskId::new("t"), entry: LogEntry::Acknowledged(vec![1; 16]) },
    ]
}

fn update(uuid: u8) -> LogEntry {
    LogEntry::Update(Box::new(TaskStatus { uuid: Some(vec![uuid; 16]), ..Default::default() }))
}

#[test]
fn what_is_written_is_read() {
    let dir = Dir::new("round");
    let period = v1::DurationInfo { nanoseconds: 5 };
    let config = v1::DrainConfig { max_grace_period: Some(period), mark_gone: Some(true) };
    let mut records = vec![agent(), Record::Drain(Some(config)), resources()];
    records.extend(started("c"));
    let mut meta = Meta::new(&dir.0, None);
    records.iter().for_each(|record| meta.write(record).unwrap());
    let recovered = read(&dir.0, 10).unwrap();
    assert_eq!(recovered.agent_id, Some("S0".into()));
    assert_eq!(recovered.records, records);
    assert!(recovered.completed.is_empty());
    meta.write(&Record::Drain(None)).unwrap();
    records.remove(1);
    assert_eq!(read(&dir.0, 10).unwrap().records, records);
    meta.forget_agent().unwrap();
    assert!(read(&dir.0, 10).unwrap().records.is_empty());
}

#[test]
fn a_rewritten_log_replaces_and_a_torn_one_is_cut() {
    let dir = Dir::new("log");
    let mut meta = Meta::new(&dir.0, None);
    meta.write(&agent()).unwrap();
    started("c").iter().for_each(|record| meta.write(record).unwrap());
    let task_id = TaskId::new("t");
    let entries = vec![update(2), update(3)];
    meta.write(&Record::LogRewritten { run: run("c"), task_id: task_id.clone(), entries }).unwrap();
    let log = dir.0.join("meta/slaves/S0/frameworks/f/executors/t/runs/c/tasks/t/task.updates");
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 3).unwrap();
    let entries = || {
        let records = read(&dir.0, 10).unwrap().records;
        let entry = |record| match record {
            Record::Log { entry, .. } => Some(entry),
            _ => None,
        };
        records.into_iter().filter_map(entry).collect::<Vec<_>>()
    };
    assert_eq!(entries(), [update(2)]);
    meta.write(&Record::Log { run: run("c"), task_id, entry: update(4) }).unwrap();
    assert_eq!(entries(), [update(2), update(4)], "what comes after the torn entry is read");
}

#[test]
fn only_so_much_history_is_read() {
    let dir = Dir::new("history");
    let mut meta = Meta::new(&dir.0, None);
    meta.write(&agent()).unwrap();
    for container in ["a", "b", "c"] {
        started(container).iter().for_each(|record| meta.write(record).unwrap());
        meta.write(&Record::Completed { run: run(container) }).unwrap();
    }
    let recovered = read(&dir.0, 2).unwrap();
    assert_eq!(recovered.completed.len(), 3);
    let completed = |record: &&Record| matches!(record, Record::Completed { .. });
    assert_eq!(recovered.records.iter().filter(completed).count(), 2);
}
