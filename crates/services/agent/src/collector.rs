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
    /// Without a run it is all of an agent.
    due: BTreeSet<(Instant, AgentId, Option<Run>)>,
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

    /// Schedules all that agents left which this one was before, under ids that the master has forgotten;
    /// `delay` counts from when their directories were last changed.
    pub(crate) fn recover_earlier_agents(&mut self, agent_id: Option<&AgentId>, delay: Duration) {
        let now = SystemTime::now();
        let Ok(entries) = fs::read_dir(self.dir.join("slaves")) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(data) = entry.metadata() else { continue };
            let earlier = AgentId::new(&name);
            if data.is_dir() && agent_id != Some(&earlier) {
                let age = data.modified().ok().and_then(|then| now.duration_since(then).ok());
                let after = delay.saturating_sub(age.unwrap_or_default());
                self.due.insert((Instant::now() + after, earlier, None));
            }
        }
    }

    pub(crate) fn schedule(&mut self, agent_id: Option<&AgentId>, run: Run, after: Duration) {
        if let Some(agent_id) = agent_id {
            self.due.insert((Instant::now() + after, agent_id.clone(), Some(run)));
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
        let layout = Layout::new(&self.dir);
        let (mut runs, mut agents) = (Vec::new(), Vec::new());
        while runs.len() < 2 * BATCH && self.due.first().is_some_and(|(at, ..)| *at <= now) {
            match self.due.pop_first() {
                Some((_, agent_id, Some(run))) => {
                    runs.push(sandbox_path(&self.dir, &agent_id, &run));
                    runs.push(layout.run(&agent_id, &run));
                }
                Some((_, agent_id, None)) => {
                    agents.push(layout.agent(&agent_id));
                    // The last, because it is what an agent is found by.
                    agents.push(self.dir.join("slaves").join(agent_id.as_str()));
                }
                None => break,
            }
        }
        tokio::task::spawn_blocking(move || {
            runs.iter().for_each(|path| remove(path));
            for path in &agents {
                remove_all(path);
            }
        });
    }
}

/// Removes a run, and the directories above it that it leaves empty: `runs`, the executor, `executors`.
fn remove(run: &Path) {
    if !remove_all(run) {
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

/// Whether it is gone.
fn remove_all(path: &Path) -> bool {
    // A task has made its sandbox as deep as it liked.
    let removed = host::remove_tree(path).inspect_err(|error| {
        tracing::warn!(path = %path.display(), %error, "cannot remove what is over");
    });
    removed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_agent_left_under_earlier_ids_goes() {
        let dir = std::env::temp_dir().join(format!("collector-earlier-{}", std::process::id()));
        for id in ["S0", "S1"] {
            fs::create_dir_all(dir.join("slaves").join(id).join("frameworks")).unwrap();
            fs::create_dir_all(dir.join("meta/slaves").join(id)).unwrap();
        }
        let mut collector = Collector::new(dir.clone());
        collector.recover_earlier_agents(Some(&"S1".into()), Duration::from_secs(3600));
        collector.collect();
        assert_eq!(collector.due.len(), 1, "its time has not come");
        collector.recover_earlier_agents(Some(&"S1".into()), Duration::ZERO);
        collector.due().await;
        collector.collect();
        let is_gone = |path: &str| !dir.join(path).exists();
        while !is_gone("slaves/S0") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(is_gone("meta/slaves/S0"));
        assert!(!is_gone("slaves/S1/frameworks") && !is_gone("meta/slaves/S1"));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn ma10_a_run_goes_with_the_directories_only_it_needed() {
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
