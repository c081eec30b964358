//! Containers in containers: what they share with the one they are in, and how their programs ended.

use std::fs;
use std::io;
use std::path::PathBuf;

use base::ContainerId;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::containers::{Containers, LaunchError, Shared};
use crate::process::{Exit, ProcessIdentity, Stat};
use crate::record::Record;
use crate::spec::{ContainerSpec, Network};

/// What a nested container enters before it gets namespaces of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    /// The parent's init.
    pub(crate) init: ProcessIdentity,
    pub(crate) network: bool,
    pub(crate) uts: bool,
}

/// A parent that runs.
pub(crate) struct Parent {
    pub(crate) join: Join,
    record: Record,
    container_id: ContainerId,
}

impl Parent {
    /// What is written down of a container in this one.
    pub(crate) fn record_of(&self, spec: &ContainerSpec) -> Record {
        let mut record = Record::of(spec);
        record.network = self.record.network;
        record.namespaces.uts = self.record.namespaces.uts;
        record.group_of = Some(self.record.group_of.clone().unwrap_or_else(|| self.container_id.clone()));
        record
    }
}

impl Containers {
    /// How the program of a supervised container ended, once it has; `None` also if its supervisor was killed
    /// before it could write that down, and after [`Containers::destroy`].
    pub fn status(&self, container_id: &ContainerId) -> Option<Exit> {
        if !ContainerSpec::id_is_valid(container_id.as_str()) {
            return None;
        }
        parse_status(&fs::read_to_string(self.shared.status_file(container_id.as_str())).ok()?)
    }

    /// Sends a signal to the program of a supervised container; false if it does not run.
    ///
    /// # Errors
    /// Of kind `InvalidInput` if there is no such signal.
    pub fn signal(&self, container_id: &ContainerId, signal: i32) -> io::Result<bool> {
        let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
        if !ContainerSpec::id_is_valid(container_id.as_str()) {
            return Ok(false);
        }
        let Some(init) = self.shared.read_state(container_id.as_str()) else { return Ok(false) };
        let Some(supervisor) = init.open()? else { return Ok(false) };
        // An orphan that the supervisor took in is younger than the program, and the supervisor does not
        // outlive the program.
        let child = host::oldest_child(init.pid).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(child) = child
            && let Ok(pidfd) = rustix::process::pidfd_open(child, PidfdFlags::empty())
            // Looked at after opening: from then on it cannot be another process unnoticed.
            && Stat::read(child.as_raw_nonzero().get().cast_unsigned()).is_ok_and(|stat| stat.parent == init.pid)
        {
            return sent(rustix::process::pidfd_send_signal(&pidfd, signal));
        }
        match signal {
            Signal::KILL => sent(rustix::process::pidfd_send_signal(&supervisor, signal)),
            _ => Ok(false),
        }
    }
}

fn sent(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// What a supervisor writes down.
pub(crate) fn status_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}\n"),
        Exit::Signal(signal) => format!("signal {signal}\n"),
        Exit::Unknown => String::new(),
    }
}

fn parse_status(text: &str) -> Option<Exit> {
    match text.strip_suffix('\n')?.split_once(' ')? {
        ("exit", code) => code.parse().ok().map(Exit::Code),
        ("signal", signal) => signal.parse().ok().map(Exit::Signal),
        _ => None,
    }
}

impl Shared {
    pub(crate) fn status_file(&self, container_id: &str) -> PathBuf {
        self.config.runtime_dir.join(container_id).join("status")
    }

    /// The cgroups that a container's processes are in.
    pub(crate) fn group_of(&self, container_id: &str, record: Option<&Record>) -> Group {
        let other = record.and_then(|record| record.group_of.as_ref());
        self.group(other.map_or(container_id, ContainerId::as_str))
    }

    /// The parent that a container is to be made in.
    pub(crate) fn parent_of(&self, spec: &ContainerSpec) -> Result<Option<Parent>, LaunchError> {
        let Some(parent) = &spec.parent else { return Ok(None) };
        let gone = || LaunchError::NoParent(parent.clone());
        let init = self.read_state(parent.as_str()).filter(ProcessIdentity::is_alive).ok_or_else(gone)?;
        let record = self.read_record(parent.as_str()).ok_or_else(gone)?;
        let join = Join { init, network: record.network == Network::Own, uts: record.namespaces.uts };
        Ok(Some(Parent { join, record, container_id: parent.clone() }))
    }

    /// All containers in this one, also those in those, before the ones that they are in.
    pub(crate) fn nested_in(&self, container_id: &ContainerId) -> Vec<ContainerId> {
        let within = format!("{container_id}.");
        let entries = fs::read_dir(&self.config.runtime_dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<String> = names.filter(|name| name.starts_with(&within)).collect();
        found.sort_by_key(|name| std::cmp::Reverse(name.bytes().filter(|byte| *byte == b'.').count()));
        found.into_iter().map(ContainerId::from).collect()
    }
}

/// Whether `id` is one that a container in `parent` may have.
pub(crate) fn is_within(id: &ContainerId, parent: &ContainerId) -> bool {
    let name = id.as_str().strip_prefix(parent.as_str()).and_then(|rest| rest.strip_prefix('.'));
    name.is_some_and(|name| !name.is_empty() && !name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_it_was_written_and_nothing_else_is() {
        for exit in [Exit::Code(0), Exit::Code(255), Exit::Signal(9)] {
            assert_eq!(parse_status(&status_text(exit)), Some(exit));
        }
        for text in ["", "exit", "exit 1", "exit x\n", "end 1\n", "signal \n"] {
            assert_eq!(parse_status(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_nested_id_is_its_parents_and_one_name() {
        let check = |id: &str, expect| assert_eq!(is_within(&id.into(), &"a.b".into()), expect, "{id}");
        check("a.b.c", true);
        check("a.b.", false);
        check("a.b", false);
        check("a.bc", false);
        check("a.b.c.d", false);
        check("x.b.c", false);
    }
}
