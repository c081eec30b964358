//! Trees of plain processes, found by walking `/proc`: what stands in for a pid namespace without root.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::process::Stat;

/// The environment variable that every process of a container inherits, by which those are found that left
/// the container's session and whose parents are gone.
pub const CONTAINER_ID_VARIABLE: &str = "DCOS_CONTAINER_ID";

/// The same for what a session of a container started.
pub(crate) const SESSION_ID_VARIABLE: &str = "DCOS_SESSION_ID";

/// How the processes of a container are marked.
pub(crate) fn container_marker(container_id: &str) -> String {
    format!("{CONTAINER_ID_VARIABLE}={container_id}")
}

/// The value by which a session's processes are marked.
pub(crate) fn session_mark(container_id: &str, session_id: &str) -> String {
    format!("{container_id}/{session_id}")
}

/// One pass over `/proc`.
pub(crate) struct Snapshot {
    processes: BTreeMap<u32, Stat>,
}

impl Snapshot {
    /// Every process that can be seen. One that ends during the walk may be missing.
    pub(crate) fn take() -> Snapshot {
        let mut processes = BTreeMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Ok(stat) = Stat::read(pid) {
                processes.insert(pid, stat);
            }
        }
        Snapshot { processes }
    }

    /// `leader`'s descendants that still run, without `leader`, parents before children.
    pub(crate) fn descendants(&self, leader: u32) -> Vec<(u32, Stat)> {
        let mut found: Vec<(u32, Stat)> = Vec::new();
        let mut parents = vec![leader];
        while let Some(parent) = parents.pop() {
            for (pid, stat) in self.processes.iter().filter(|(_, stat)| stat.parent == parent) {
                if *pid != leader && !found.iter().any(|(known, _)| known == pid) {
                    found.push((*pid, *stat));
                    parents.push(*pid);
                }
            }
        }
        found.retain(|(_, stat)| !stat.is_dead());
        found
    }

    /// What belongs to a plain container or a session besides its first process: descendants, members of its
    /// session, and whoever inherited its `marker`, a variable with its value.
    pub(crate) fn members(&self, init: Option<u32>, marker: &str) -> Vec<(u32, Stat)> {
        let mut found = init.map(|init| self.descendants(init)).unwrap_or_default();
        for (pid, stat) in &self.processes {
            let known = Some(*pid) == init || found.iter().any(|(known, _)| known == pid);
            if !known && !stat.is_dead() && (Some(stat.session) == init || has_variable(*pid, marker)) {
                found.push((*pid, *stat));
            }
        }
        found
    }
}

fn has_variable(pid: u32, marker: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
}

/// Signals the very process that was seen, not one that got its pid since.
pub(crate) fn signal(pid: u32, seen: &Stat, signal: Signal) {
    let Some(raw) = Pid::from_raw(pid as i32) else { return };
    let Ok(pidfd) = rustix::process::pidfd_open(raw, PidfdFlags::empty()) else { return };
    if Stat::read(pid).is_ok_and(|now| now.start_time == seen.start_time) {
        // A process that ended meanwhile, or that is not ours to signal, is found again by the caller's
        // next look if it matters.
        let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
    }
}

/// Sends `sent` to every descendant of `leader` and to `leader` itself (Mesos: `os::killtree`), each once.
pub fn signal_tree(leader: u32, sent: Signal) {
    let snapshot = Snapshot::take();
    if let Some(stat) = snapshot.processes.get(&leader) {
        signal(leader, stat, sent);
    }
    for (pid, stat) in snapshot.descendants(leader) {
        signal(pid, &stat, sent);
    }
}

/// Sends `sent` to every descendant of this process; says whether there was one. A process that is PID 1
/// or a child subreaper has all that its task started among its descendants.
pub fn signal_descendants(sent: Signal) -> bool {
    let found = Snapshot::take().descendants(std::process::id());
    for (pid, stat) in &found {
        signal(*pid, stat, sent);
    }
    !found.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: u32, session: u32, state: u8) -> Stat {
        Stat { state, parent, session, user_ticks: 0, system_ticks: 0, start_time: 1, rss_pages: 0 }
    }

    #[test]
    fn members_are_descendants_and_the_session() {
        // Pids far above the kernel's limit: none of them has an environment to look into.
        let base = 1 << 28;
        let snapshot = Snapshot {
            processes: [
                (base, stat(1, base, b'S')),
                (base + 1, stat(base, base + 1, b'S')),
                (base + 2, stat(base + 1, base + 2, b'Z')),
                (base + 3, stat(base + 2, base + 3, b'S')),
                (base + 4, stat(1, base, b'S')),
                (base + 5, stat(1, base + 5, b'S')),
                (base + 6, stat(1, base, b'Z')),
            ]
            .into(),
        };
        let pids = |found: Vec<(u32, Stat)>| {
            let mut pids: Vec<u32> = found.into_iter().map(|(pid, _)| pid - base).collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids(snapshot.descendants(base)), [1, 3]);
        assert_eq!(pids(snapshot.members(Some(base), "C=c")), [1, 3, 4]);
        assert_eq!(pids(snapshot.members(None, "C=c")), [0u32; 0]);
    }

    #[test]
    fn a_child_is_a_descendant_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pids = || Snapshot::take().descendants(std::process::id()).into_iter().map(|(pid, _)| pid);
        assert!(pids().any(|pid| pid == child.id()));
        signal_tree(child.id(), Signal::KILL);
        child.wait().unwrap();
        assert!(!pids().any(|pid| pid == child.id()));
    }
}
