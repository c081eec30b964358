use std::io;
use std::path::{Path, PathBuf};

const GIB: u64 = 1 << 30;

/// What a machine has, or what of it is for tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Processors this process may run on.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the file system.
    pub disk: u64,
}

/// Why the capacity could not be told.
#[derive(Debug, thiserror::Error)]
#[error("read the machine's capacity from {}", .path.display())]
pub struct CapacityError {
    path: PathBuf,
    source: io::Error,
}

impl Capacity {
    /// What this process can use: the processors it may run on, the machine's memory or the limit of
    /// the cgroups this process is in, the whole of the file system that `dir` is on.
    ///
    /// # Errors
    /// When procfs is not mounted or `dir` does not exist.
    pub fn of_host(dir: &Path) -> Result<Capacity, CapacityError> {
        let read = |path: &str| {
            std::fs::read_to_string(path).map_err(|source| CapacityError { path: path.into(), source })
        };
        let total = memory_total(&read("/proc/meminfo")?);
        let total = total.ok_or_else(|| CapacityError {
            path: "/proc/meminfo".into(),
            source: io::Error::new(io::ErrorKind::InvalidData, "it has no MemTotal"),
        })?;
        let limit = read("/proc/self/cgroup").ok().and_then(|cgroups| memory_limit(&cgroups));
        let cpus = std::thread::available_parallelism()
            .map_err(|source| CapacityError { path: "/proc/self".into(), source })?;
        let disk = rustix::fs::statvfs(dir)
            .map_err(|error| CapacityError { path: dir.to_owned(), source: error.into() })?;
        Ok(Capacity {
            cpus: cpus.get() as u64,
            memory: limit.map_or(total, |limit| limit.min(total)),
            disk: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }

    /// What is left for tasks when the operating system and the agent have theirs: all processors,
    /// memory but 1 GiB (half of it below 2 GiB), disk but 5 GiB (half of it below 10 GiB).
    /// Mesos: Containerizer::resources.
    #[must_use]
    pub fn for_tasks(self) -> Capacity {
        let but = |total: u64, kept: u64, from: u64| if total >= from { total - kept } else { total / 2 };
        Capacity {
            cpus: self.cpus,
            memory: but(self.memory, GIB, 2 * GIB),
            disk: but(self.disk, 5 * GIB, 10 * GIB),
        }
    }
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest memory limit from the cgroup of this process up to the root, on either version.
fn memory_limit(cgroups: &str) -> Option<u64> {
    let mut limits = Vec::new();
    for (root, file, path) in cgroups.lines().filter_map(memory_cgroup) {
        for dir in Path::new(path.trim_start_matches('/')).ancestors() {
            let text = std::fs::read_to_string(Path::new(root).join(dir).join(file));
            limits.extend(text.ok().and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    limits.into_iter().min()
}

/// Reads a line of `/proc/self/cgroup`: where the hierarchy is mounted, its limit file, the path.
fn memory_cgroup(line: &str) -> Option<(&'static str, &'static str, &str)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    if controllers.is_empty() {
        return Some(("/sys/fs/cgroup", "memory.max", path));
    }
    let memory = controllers.split(',').any(|controller| controller == "memory");
    memory.then_some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        let host = Capacity::of_host(Path::new("/")).unwrap();
        assert!(host.cpus > 0 && host.memory > 1 << 20 && host.disk > 0, "{host:?}");
        assert!(Capacity::of_host(Path::new("/none/there")).is_err());
    }

    #[test]
    fn some_is_left_for_the_operating_system() {
        let check = |memory, disk, left: (u64, u64)| {
            let Capacity { cpus, memory, disk } = Capacity { cpus: 3, memory, disk }.for_tasks();
            assert_eq!((cpus, memory, disk), (3, left.0, left.1));
        };
        check(8 * GIB, 100 * GIB, (7 * GIB, 95 * GIB));
        check(2 * GIB, 10 * GIB, (GIB, 5 * GIB));
        check(GIB, 8 * GIB, (GIB / 2, 4 * GIB));
    }

    #[test]
    fn meminfo_and_cgroup_lines_are_read() {
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:       16 kB\n"), Some(16384));
        assert_eq!(memory_total("MemTotal: many\n"), None);
        let check = |line, expected| assert_eq!(memory_cgroup(line), expected, "{line}");
        check("0::/user/x", Some(("/sys/fs/cgroup", "memory.max", "/user/x")));
        check("4:memory:/a:b", Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "/a:b")));
        check("4:cpu,cpuacct:/", None);
        check("nonsense", None);
    }
}
