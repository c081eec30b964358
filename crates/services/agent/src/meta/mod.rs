//! The agent's records on disk, in Mesos' layout below `<dir>/meta`:
//!
//! ```text
//! slaves/latest -> <agent id>
//! slaves/<agent id>/slave.info
//! slaves/<agent id>/drain.config
//! slaves/<agent id>/resources_and_operations.state
//! slaves/<agent id>/frameworks/<framework id>/framework.info
//! .../executors/<executor id>/runs/<container id>/executor.info
//! .../runs/<container id>/forked.pid
//! .../runs/<container id>/tasks/<task id>/task.info
//! .../runs/<container id>/tasks/<task id>/task.updates
//! .../runs/<container id>/executor.sentinel
//! ```
//!
//! A file is replaced as a whole (written beside it, then renamed), the log of a task is only added to.
//! What the kernel has taken survives the death of the agent. `slave.info`, `drain.config` and what was done
//! to the resources are also made to survive the machine's: everything else describes processes, and those
//! do not. A file that the machine's death
//! tore is known by its checksum and read as missing.

mod codec;
mod layout;
mod reader;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent_core::{Record, Run};
use base::AgentId;

/// What was done to the resources, and operations whose ends are not acknowledged.
const RESOURCES: &str = "resources_and_operations.state";

pub(crate) use layout::{Layout, run_path};
pub(crate) use reader::read;

/// A record could not be written or read. The agent cannot go on: it would promise what it may forget.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}", path.display())]
pub struct MetaError {
    /// `write`, `read`, ...
    pub attempt: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl MetaError {
    fn new(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MetaError {
        let path = path.to_owned();
        move |source| MetaError { attempt, path, source }
    }
}

/// Writes records.
#[derive(Debug)]
pub(crate) struct Meta {
    layout: Layout,
    agent_id: Option<AgentId>,
}

impl Meta {
    /// The records below `dir`, of the agent `agent_id` if it has an id already.
    pub(crate) fn new(dir: &Path, agent_id: Option<AgentId>) -> Meta {
        Meta { layout: Layout::new(dir), agent_id }
    }

    /// Writes one record. When this returns, the death of this process does not undo it.
    pub(crate) fn write(&mut self, record: &Record) -> Result<(), MetaError> {
        if let Record::Agent { agent_id, info, boot_id } = record {
            self.agent_id = Some(agent_id.clone());
            let path = self.layout.agent(agent_id).join("slave.info");
            replace(&path, &codec::agent(info, boot_id), Durability::Machine)?;
            return self.set_latest(agent_id);
        }
        // The core records nothing before it has an id.
        let Some(agent_id) = self.agent_id.clone() else { return Ok(()) };
        let run_dir = |run: &Run| self.layout.run(&agent_id, run);
        let task_dir = |run: &Run, task: &base::TaskId| run_dir(run).join("tasks").join(task.as_str());
        match record {
            Record::Agent { .. } => Ok(()),
            Record::Drain(config) => {
                let path = self.layout.drain_config(&agent_id);
                match config {
                    Some(config) => replace(&path, &codec::drain_config(config), Durability::Machine),
                    None => remove(&path),
                }
            }
            Record::Resources { reserved, operations } => {
                let path = self.layout.agent(&agent_id).join(RESOURCES);
                replace(&path, &codec::resources(reserved, operations), Durability::Machine)
            }
            Record::Framework { info } => {
                let id = info.id.as_ref().map_or("", |id| id.value.as_str());
                let path = self.layout.framework(&agent_id, id).join("framework.info");
                replace(&path, &codec::framework(info), Durability::Process)
            }
            Record::Executor { run, info, for_command } => {
                let bytes = codec::executor(info, *for_command);
                replace(&run_dir(run).join("executor.info"), &bytes, Durability::Process)
            }
            Record::Process { run, process, networks } => replace(
                &run_dir(run).join("forked.pid"),
                &codec::process(*process, networks),
                Durability::Process,
            ),
            Record::Task { run, info, group } => {
                let path = task_dir(run, &base::TaskId::new(&info.task_id.value)).join("task.info");
                replace(&path, &codec::task(info, group), Durability::Process)
            }
            Record::Log { run, task_id, entry } => {
                append(&task_dir(run, task_id).join("task.updates"), &codec::log_entry(entry))
            }
            Record::LogRewritten { run, task_id, entries } => {
                let bytes: Vec<u8> = entries.iter().flat_map(codec::log_entry).collect();
                replace(&task_dir(run, task_id).join("task.updates"), &bytes, Durability::Process)
            }
            Record::Completed { run } => {
                replace(&run_dir(run).join("executor.sentinel"), &[], Durability::Process)
            }
        }
    }

    /// Forgets who this agent is: it will register as a new one.
    pub(crate) fn forget_agent(&mut self) -> Result<(), MetaError> {
        remove(&self.layout.latest())
    }

    fn set_latest(&self, agent_id: &AgentId) -> Result<(), MetaError> {
        let latest = self.layout.latest();
        if fs::read_link(&latest).is_ok_and(|target| target == Path::new(agent_id.as_str())) {
            return Ok(());
        }
        let fresh = latest.with_extension("new");
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(agent_id.as_str(), &fresh).map_err(MetaError::new("link", &fresh))?;
        fs::rename(&fresh, &latest).map_err(MetaError::new("rename", &latest))?;
        sync_dir(latest.parent().unwrap_or(&latest))
    }
}

/// Whose death a file survives.
#[derive(Clone, Copy, PartialEq)]
enum Durability {
    Process,
    Machine,
}

/// Replaces a file as a whole. Its directories are made.
fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), MetaError> {
    let fresh = path.with_extension("tmp");
    let mut file = create(&fresh)?;
    file.write_all(bytes).map_err(MetaError::new("write", &fresh))?;
    if durability == Durability::Machine {
        file.sync_all().map_err(MetaError::new("sync", &fresh))?;
    }
    fs::rename(&fresh, path).map_err(MetaError::new("rename", path))?;
    if durability == Durability::Machine {
        sync_dir(path.parent().unwrap_or(path))?;
    }
    Ok(())
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), MetaError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(MetaError::new("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Opens a file for writing; its directories are made only if they are missing, which is the rare case.
fn create(path: &Path) -> Result<File, MetaError> {
    match File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map_err(MetaError::new("create", path)),
    }
    make_parent(path)?;
    File::create(path).map_err(MetaError::new("create", path))
}

fn append(path: &Path, bytes: &[u8]) -> Result<(), MetaError> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    let opened = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parent(path)?;
            open()
        }
        opened => opened,
    };
    let mut file = opened.map_err(MetaError::new("open", path))?;
    file.write_all(bytes).map_err(MetaError::new("append to", path))
}

fn make_parent(path: &Path) -> Result<(), MetaError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(MetaError::new("make", parent))
}

fn sync_dir(path: &Path) -> Result<(), MetaError> {
    let dir = File::open(path).map_err(MetaError::new("open", path))?;
    dir.sync_all().map_err(MetaError::new("sync", path))
}

#[cfg(test)]
mod tests;
