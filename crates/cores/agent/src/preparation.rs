//! What is told of a container that is not there yet: what is being fetched, how much of its image is here.

use std::time::Duration;

use base::{ContainerId, Mono, Now, TaskId};

use crate::status::Cause;
use crate::timers::Timer;
use crate::{Agent, Effect, ExecutorState};

/// Nothing is told of what is quicker.
const PATIENCE: Duration = Duration::from_secs(1);
/// At most so often is told how far it is: each one is recorded and acknowledged like any other update.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest text, in bytes.
const MAX_TEXT: usize = 1024;

/// How far a container's preparation is, and what of it was told.
#[derive(Debug)]
pub(crate) struct Preparation {
    began: Mono,
    told: Option<(Mono, String)>,
    /// Not told yet; its timer is set.
    newest: Option<String>,
}

impl Preparation {
    pub(crate) fn new(began: Mono) -> Preparation {
        Preparation { began, told: None, newest: None }
    }

    fn due(&self) -> Mono {
        match &self.told {
            None => self.began + PATIENCE,
            Some((at, _)) => *at + PAUSE,
        }
    }

    fn has_told(&self, text: &str) -> bool {
        self.told.as_ref().is_some_and(|(_, told)| told == text)
    }
}

impl Agent {
    /// Remembers how far it is, to be told when its time comes.
    pub(crate) fn container_preparing(&mut self, container_id: &ContainerId, message: &str) {
        let Some(executor) = self.executor_in_mut(container_id) else { return };
        let Some(preparation) = executor.preparation.as_mut() else { return };
        let text = shortened(message, MAX_TEXT);
        if preparation.newest.is_none() && preparation.has_told(&text) {
            return;
        }
        let due = preparation.due();
        if preparation.newest.replace(text).is_none() {
            self.timers.set(due, Timer::Progress(container_id.clone()));
        }
    }

    /// Tells all tasks that wait for the container. The executor has not spoken: it has none of them.
    pub(crate) fn tell_progress(&mut self, now: Now, container_id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(executor) = self.executor_in_mut(container_id) else { return };
        if executor.state != ExecutorState::Registering || executor.process.is_some() {
            return;
        }
        let Some(preparation) = executor.preparation.as_mut() else { return };
        let Some(text) = preparation.newest.take().filter(|text| !preparation.has_told(text)) else {
            return;
        };
        preparation.told = Some((now.mono, text.clone()));
        let framework_id = executor.run.framework_id.clone();
        let waiting: Vec<TaskId> = executor.queue.iter().cloned().collect();
        for task_id in waiting {
            self.agent_update(now, &framework_id, &task_id, Cause::starting(text.clone()), out);
        }
    }
}

/// At most `limit` bytes, cut at a character's boundary and marked.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}
