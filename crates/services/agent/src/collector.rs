//! Removes sandboxes and records of executors that ended long ago (Mesos: the garbage collector).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agent_core::Run;
use base::AgentId;
use tokio::time::Instant;

use crate::meta::Layout;
use crate::sandbox::sandbox_path;

/// Removed in one go; the rest waits for the next.
const BATCH: usize = 64;

/// What is to be removed when.
pub(crate) struct Collector {
    dir: PathBuf,
    due: BTreeSet<(Instant, AgentId, Run)>,
}

impl Collector {
    pub(crate) fn new(dir: PathBuf) -> Collector {
        Collector { dir, due: BTreeSet::new() }
    }

    /// Schedules what an earlier run of the agent left; `delay` counts from when each run was over.
    pub(crate) fn recover(&mut self, agent_id: &AgentId, completed: Vec<(Run, SystemTime)>, delay: Duration) {
        let now = SystemTime::now();
        for (run, over) in completed {
            let age = now.duration_since(over).unwrap_or_default();
            self.schedule(Some(agent_id), run, delay.saturating_sub(age));
        }
    }

    pub(crate) fn schedule(&mut self, agent_id: Option<&AgentId>, run: Run, after: Duration) {
        if let Some(agent_id) = agent_id {
            self.due.insert((Instant::now() + after, agent_id.clone(), run));
        }
    }

    /// Completes when something is due.
    pub(crate) async fn due(&self) {
        match self.due.first() {
            Some((at, ..)) => tokio::time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    /// Removes what is due, on a thread where it disturbs nobody.
    pub(crate) fn collect(&mut self) {
        let now = Instant::now();
        let mut paths = Vec::new();
        while paths.len() < 2 * BATCH && self.due.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, agent_id, run)) = self.due.pop_first() else { break };
            paths.push(sandbox_path(&self.dir, &agent_id, &run));
            paths.push(Layout::new(&self.dir).run(&agent_id, &run));
        }
        tokio::task::spawn_blocking(move || paths.iter().for_each(|path| remove(path)));
    }
}

/// Removes a run, and the directories above it that it leaves empty: `runs`, the executor, `executors`.
fn remove(run: &Path) {
    if let Err(error) = fs::remove_dir_all(run)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %run.display(), %error, "cannot remove what is over");
        return;
    }
    let Some(runs) = run.parent() else { return };
    let latest = runs.join("latest");
    if fs::read_link(&latest).is_ok_and(|target| Some(target.as_os_str()) == run.file_name()) {
        let _ = fs::remove_file(&latest);
    }
    for dir in runs.ancestors().take(3) {
        // Not empty: another run is there, or is being made, which makes its directories itself.
        if fs::remove_dir(dir).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_with_the_directories_only_it_needed() {
        let dir = std::env::temp_dir().join(format!("collector-{}", std::process::id()));
        let runs = dir.join("executors/e/runs");
        fs::create_dir_all(runs.join("a/sub")).unwrap();
        fs::create_dir_all(runs.join("b")).unwrap();
        std::os::unix::fs::symlink("b", runs.join("latest")).unwrap();
        remove(&runs.join("a"));
        assert!(!runs.join("a").exists() && runs.join("b").exists() && runs.join("latest").exists());
        remove(&runs.join("b"));
        assert!(!dir.join("executors").exists());
        assert!(dir.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
