use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Controller, Hierarchy, Version};
use crate::spec::Limits;

/// One container's group: the same path below each tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(super) places: Vec<Place>,
}

/// The group's directory in one tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
}

/// What could not be done to a cgroup file or directory.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// A group's directory could not be made.
    #[error("cannot make cgroup {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A limit could not be set.
    #[error("cannot write {value:?} to {}", path.display())]
    Write {
        /// The control file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A counter could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The control file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

pub(super) fn read(path: PathBuf) -> Result<String, GroupError> {
    fs::read_to_string(&path).map_err(|source| GroupError::Read { path, source })
}

impl Group {
    pub(crate) fn new(hierarchies: &[Hierarchy], root: &Path, name: &str) -> Group {
        let place = |hierarchy: &Hierarchy| Place {
            directory: hierarchy.mount.join(root).join(name),
            version: hierarchy.version,
            controllers: hierarchy.controllers.clone(),
        };
        Group { places: hierarchies.iter().map(place).collect() }
    }

    /// Makes the group in every tree; it must not exist.
    pub(crate) fn make(&self) -> Result<(), GroupError> {
        for place in &self.places {
            fs::create_dir(&place.directory)
                .map_err(|source| GroupError::Make { path: place.directory.clone(), source })?;
        }
        Ok(())
    }

    /// Sets the limits, also those of a running container. Stops at the first that is refused.
    pub(crate) fn limit(&self, limits: &Limits) -> Result<(), GroupError> {
        for place in &self.places {
            for controller in &place.controllers {
                match (controller, place.version) {
                    (Controller::Cpu, Version::V1) => place.limit_cpu_v1(limits)?,
                    (Controller::Cpu, Version::V2) => place.limit_cpu_v2(limits)?,
                    (Controller::Memory, Version::V1) => place.limit_memory_v1(limits)?,
                    (Controller::Memory, Version::V2) => place.limit_memory_v2(limits)?,
                    (Controller::Pids, _) => place.write("pids.max", &or_max(limits.pids))?,
                    (Controller::Cpuacct, _) => {}
                }
            }
        }
        Ok(())
    }

    /// The directory a process can be born into (`CLONE_INTO_CGROUP`).
    pub(crate) fn birthplace(&self) -> Option<&Path> {
        self.places.iter().find(|p| p.version == Version::V2).map(|p| p.directory.as_path())
    }

    /// Puts the calling process, which has one thread, into the group in the trees where it was not born
    /// into it. A thread that moves itself is the one case in which the kernel need not stop all forks and
    /// exits of the machine, for which it would wait about 10 ms (Linux: `cgroup_procs_write_start`).
    pub(crate) fn enter(&self) -> Result<(), GroupError> {
        for place in self.places.iter().filter(|p| p.version == Version::V1) {
            place.write("tasks", "0")?;
        }
        Ok(())
    }

    /// Every process in the group, zombies too. Empty if the group is gone.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = Vec::new();
        for place in &self.places {
            let text = fs::read_to_string(place.directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Ends every process of the group. Call again until [`Group::processes`] is empty: without
    /// `cgroup.kill` (v2, Linux 5.14) a process may have forked meanwhile, which the pids limit of zero
    /// then forbids.
    pub(crate) fn kill(&self) {
        for place in &self.places {
            if place.version == Version::V2 && place.write("cgroup.kill", "1").is_ok() {
                continue;
            }
            if place.controllers.contains(&Controller::Pids) {
                // Best effort: where it fails the caller's repetition still ends the group.
                let _ = place.write("pids.max", "0");
            }
        }
        for pid in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Removes the group where it exists. Fails with `ResourceBusy` while a process is in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for place in &self.places {
            remove_tree(&place.directory)?;
        }
        Ok(())
    }

    pub(super) fn with(&self, controller: Controller) -> Option<&Place> {
        self.places.iter().find(|place| place.controllers.contains(&controller))
    }
}

/// Removes a group and the groups a task made below it.
fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::ResourceBusy => return Err(error),
        Err(_) => {}
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn or_max(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string())
}

impl Place {
    pub(super) fn version(&self) -> Version {
        self.version
    }

    fn write(&self, file: &str, value: &str) -> Result<(), GroupError> {
        let path = self.directory.join(file);
        let written = fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| {
            use std::io::Write;
            file.write_all(value.as_bytes())
        });
        written.map_err(|source| GroupError::Write { path, value: value.to_owned(), source })
    }

    fn write_if_there(&self, file: &str, value: &str) -> Result<(), GroupError> {
        match self.write(file, value) {
            Err(GroupError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn limit_cpu_v1(&self, limits: &Limits) -> Result<(), GroupError> {
        self.write("cpu.shares", &limits.shares().to_string())?;
        // Without CONFIG_CFS_BANDWIDTH there are no such files: shares alone then.
        self.write_if_there("cpu.cfs_period_us", &Limits::CFS_PERIOD_MICROS.to_string())?;
        let quota = limits.quota_micros().map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        self.write_if_there("cpu.cfs_quota_us", &quota)
    }

    fn limit_cpu_v2(&self, limits: &Limits) -> Result<(), GroupError> {
        self.write("cpu.weight", &weight_of_shares(limits.shares()).to_string())?;
        let quota = format!("{} {}", or_max(limits.quota_micros()), Limits::CFS_PERIOD_MICROS);
        self.write_if_there("cpu.max", &quota)
    }

    fn limit_memory_v1(&self, limits: &Limits) -> Result<(), GroupError> {
        let value = limits.memory().map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        // Memory with swap must never be below memory: which of the two goes first depends on whether
        // the limit falls or rises.
        let first = self.write("memory.limit_in_bytes", &value);
        self.write_if_there("memory.memsw.limit_in_bytes", &value)?;
        if first.is_err() {
            self.write("memory.limit_in_bytes", &value)?;
        }
        self.write_if_there("memory.soft_limit_in_bytes", &value)
    }

    fn limit_memory_v2(&self, limits: &Limits) -> Result<(), GroupError> {
        self.write("memory.max", &or_max(limits.memory()))?;
        let swap = if limits.memory().is_some() { "0" } else { "max" };
        self.write_if_there("memory.swap.max", swap)
    }
}

/// A v2 weight (1 to 10,000) for v1 shares (2 to 262,144), linear as the OCI runtime specification has it.
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_of_the_oci_table() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }
}
