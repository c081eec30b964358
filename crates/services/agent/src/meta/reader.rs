//! From the files back to records, in the order the core wants them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agent_core::{Record, Run};
use base::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};

use super::{Layout, MetaError, codec};

/// All that an earlier run left.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Who it was.
    pub(crate) agent_id: Option<AgentId>,
    /// For [`agent_core::Agent::recover`].
    pub(crate) records: Vec<Record>,
    /// Runs that are over, with the time at which they were: their sandboxes are still there.
    pub(crate) completed: Vec<(Run, SystemTime)>,
    /// Records that are there and cannot be read.
    pub(crate) errors: u64,
}

/// Reads the records below `dir`. Of completed runs only the newest `history` of each framework become
/// records; all are listed.
pub(crate) fn read(dir: &Path, history: usize) -> Result<Recovered, MetaError> {
    let layout = Layout::new(dir);
    let mut recovered = Recovered::default();
    let Ok(target) = fs::read_link(layout.latest()) else { return Ok(recovered) };
    let agent_id = AgentId::new(target.to_string_lossy());
    let agent_dir = layout.agent(&agent_id);
    let info_path = agent_dir.join("slave.info");
    let Some((info, boot_id)) = read_file(&info_path)?.as_deref().and_then(codec::read_agent) else {
        recovered.errors += 1;
        // Written and synced before the link to it: somebody damaged it. Better a new agent than none.
        tracing::error!(path = %info_path.display(), "the record of who this agent is cannot be read; it will register as a new one");
        return Ok(recovered);
    };
    recovered.agent_id = Some(agent_id.clone());
    let drain_config = read_file(&layout.drain_config(&agent_id))?;
    let drain_config = drain_config.as_deref().map(codec::read_drain_config);
    recovered.errors += u64::from(drain_config == Some(None));
    recovered.records.push(Record::Agent { agent_id, info: Box::new(info), boot_id });
    if let Some(config) = drain_config.flatten() {
        recovered.records.push(Record::Drain(Some(config)));
    }
    let resources_path = agent_dir.join(super::RESOURCES);
    if let Some(bytes) = read_file(&resources_path)? {
        // Replaced as a whole and synced: somebody damaged it. Without it reservations would be lost in silence.
        let (reserved, operations) = codec::read_resources(&bytes).ok_or_else(|| {
            let damaged = io::Error::new(io::ErrorKind::InvalidData, "the record is damaged");
            MetaError::new("read", &resources_path)(damaged)
        })?;
        recovered.records.push(Record::Resources { reserved, operations });
    }
    for (name, framework_dir) in entries(&agent_dir.join("frameworks"))? {
        read_framework(&name, &framework_dir, history, &mut recovered)?;
    }
    Ok(recovered)
}

fn read_framework(
    name: &str,
    dir: &Path,
    history: usize,
    recovered: &mut Recovered,
) -> Result<(), MetaError> {
    let info_path = dir.join("framework.info");
    let Some(info) = read_file(&info_path)?.as_deref().and_then(codec::read_framework) else {
        tracing::warn!(path = %info_path.display(), "a framework's record cannot be read");
        recovered.errors += 1;
        return Ok(());
    };
    recovered.records.push(Record::Framework { info: Box::new(info) });
    let framework_id = FrameworkId::new(name);
    let (mut living, mut completed) = (Vec::new(), Vec::new());
    for (executor, executor_dir) in entries(&dir.join("executors"))? {
        for (container, run_dir) in entries(&executor_dir.join("runs"))? {
            let run = Run {
                framework_id: framework_id.clone(),
                executor_id: ExecutorId::new(&executor),
                container_id: ContainerId::new(&container),
            };
            match fs::metadata(run_dir.join("executor.sentinel")).and_then(|sentinel| sentinel.modified()) {
                Ok(time) => completed.push((time, run, run_dir)),
                Err(_) => living.push((run, run_dir)),
            }
        }
    }
    completed.sort_by_key(|(time, ..)| *time);
    let forgotten = completed.len().saturating_sub(history);
    for (at, (time, run, run_dir)) in completed.into_iter().enumerate() {
        if at >= forgotten {
            read_run(&run, &run_dir, true, recovered)?;
        }
        recovered.completed.push((run, time));
    }
    for (run, run_dir) in living {
        read_run(&run, &run_dir, false, recovered)?;
    }
    Ok(())
}

fn read_run(run: &Run, dir: &Path, completed: bool, recovered: &mut Recovered) -> Result<(), MetaError> {
    let info = read_file(&dir.join("executor.info"))?;
    let Some((info, for_command)) = info.as_deref().and_then(codec::read_executor) else {
        // The first record of a run, so nothing was started.
        return Ok(());
    };
    let Recovered { records, errors, .. } = recovered;
    records.push(Record::Executor { run: run.clone(), info: Box::new(info), for_command });
    let process = read_file(&dir.join("forked.pid"))?;
    if let Some((process, networks)) = process.as_deref().and_then(codec::read_process) {
        records.push(Record::Process { run: run.clone(), process, networks });
    }
    for (task, task_dir) in entries(&dir.join("tasks"))? {
        let info = read_file(&task_dir.join("task.info"))?;
        let Some((info, group)) = info.as_deref().and_then(codec::read_task) else { continue };
        records.push(Record::Task { run: run.clone(), info: Box::new(info), group });
        let log_path = task_dir.join("task.updates");
        let Some(bytes) = read_file(&log_path)? else { continue };
        let (entries, length) = codec::read_log(&bytes);
        if length < bytes.len() {
            // What comes after a torn entry would never be read.
            *errors += 1;
            let cut = fs::OpenOptions::new().write(true).open(&log_path);
            cut.and_then(|file| file.set_len(length as u64)).map_err(MetaError::new("cut", &log_path))?;
        }
        let task_id = TaskId::new(&task);
        records.extend(entries.into_iter().map(|entry| Record::Log {
            run: run.clone(),
            task_id: task_id.clone(),
            entry,
        }));
    }
    if completed {
        records.push(Record::Completed { run: run.clone() });
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, MetaError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(MetaError::new("read", path)(error)),
    }
}

/// The directories in `dir`, by name; none if it does not exist. Names that are no UTF-8 are not ours.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, MetaError> {
    let listed = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(MetaError::new("list", dir))?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(MetaError::new("list", dir))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let (true, Ok(name)) = (is_dir, entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
