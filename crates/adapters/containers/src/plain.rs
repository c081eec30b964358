//! Containers without namespaces and cgroups, and sessions: process trees that are found by walking `/proc`.
//! Their processes are told by a marker, a variable with its value that all of them inherit.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{ProcessIdentity, Stat};
use crate::tree::{self, Snapshot};
use crate::usage::{CpuUsage, MemoryUsage, Usage, of_ticks};

/// Kills everything below the init while the init still stands, stopped so that it starts nothing new:
/// orphans are handed to it (it is a child subreaper), so none can slip away. Returns when none is left or
/// time is up; what is left then is found once more by [`kill_members`]. Of one that ended by itself the
/// members are those that have the marker or its session.
pub(crate) fn end_members(init: &ProcessIdentity, marker: &str, timeout: Duration) {
    if let Ok(seen) = Stat::read(init.pid)
        && seen.start_time == init.start_time
    {
        tree::signal(init.pid, &seen, Signal::STOP);
    }
    let deadline = Instant::now() + timeout;
    while !kill_members(Some(init), marker).is_empty() && Instant::now() < deadline {
        pause();
    }
}

/// Kills the members but not the init; returns who they were.
pub(crate) fn kill_members(init: Option<&ProcessIdentity>, marker: &str) -> Vec<u32> {
    let members = Snapshot::take().members(leader(init), marker);
    for (pid, stat) in &members {
        tree::signal(*pid, stat, Signal::KILL);
    }
    members.into_iter().map(|(pid, _)| pid).collect()
}

/// The init's pid as long as no other process has got it: it also names the session.
fn leader(init: Option<&ProcessIdentity>) -> Option<u32> {
    let init = init?;
    let reused = Stat::read(init.pid).is_ok_and(|stat| stat.start_time != init.start_time);
    let same_boot = crate::process::boot_id().is_ok_and(|id| id == init.boot_id);
    (!reused && same_boot).then_some(init.pid)
}

/// Long enough for the kernel to end a process. Runs on a thread for blocking work.
fn pause() {
    let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 500_000 };
    // A signal may cut it short: the caller looks again anyway.
    let _ = rustix::event::poll(&mut [], Some(&moment));
}

/// The sum over the container's processes that live now; cpu time of ended ones is not in it.
pub(crate) fn usage(init: Option<ProcessIdentity>, marker: &str) -> Usage {
    let leader = leader(init.as_ref());
    let mut members = Snapshot::take().members(leader, marker);
    members.extend(leader.and_then(|pid| Some((pid, Stat::read(pid).ok()?))));
    let page = rustix::param::page_size() as u64;
    let rss_bytes = members.iter().map(|(_, stat)| stat.rss_pages * page).sum();
    let ticks = |of: fn(&Stat) -> u64| of_ticks(members.iter().map(|(_, stat)| of(stat)).sum());
    Usage {
        cpu: Some(CpuUsage { user: ticks(|stat| stat.user_ticks), system: ticks(|stat| stat.system_ticks) }),
        throttling: None,
        memory: Some(MemoryUsage { total_bytes: rss_bytes, rss_bytes, cache_bytes: 0, limit_bytes: None }),
        oom_kills: 0,
        processes: members.len() as u64,
    }
}
