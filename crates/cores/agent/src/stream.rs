use std::collections::VecDeque;
use std::time::Duration;

use base::Mono;
use mesos_proto::v1::TaskStatus;

use crate::{Run, is_terminal};

/// Updates kept while nobody acknowledges. Above it the newest one that is not terminal makes room: an
/// executor that flips its task's health for hours while the master is away must not fill the agent.
const MAX_PENDING: usize = 1000;

/// Uuids remembered to know an executor's repetition of what it sent.
const MAX_SEEN: usize = 2 * MAX_PENDING;

/// One task's status updates on their way to the master, in order
/// (Mesos: `TaskStatusUpdateStream`).
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Where the updates are recorded; None for a task that never got an executor.
    pub(crate) run: Option<Run>,
    pending: VecDeque<Box<TaskStatus>>,
    seen: VecDeque<Vec<u8>>,
    ended: bool,
    /// When the first pending update is sent again, and the wait that led there.
    pub(crate) retry: Option<(Mono, Duration)>,
    /// Lines in the task's log.
    pub(crate) logged: usize,
}

/// What an update is to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is now the last pending one.
    New,
    /// It was received before.
    Repeated,
    /// The task had already ended.
    TooLate,
}

impl Stream {
    pub(crate) fn new(run: Option<Run>) -> Stream {
        Stream { run, ..Stream::default() }
    }

    pub(crate) fn receive(&mut self, status: &TaskStatus) -> Receipt {
        let uuid = status.uuid();
        if self.seen.iter().any(|seen| seen == uuid) {
            return Receipt::Repeated;
        }
        if self.ended {
            return Receipt::TooLate;
        }
        self.ended = is_terminal(status.state());
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(uuid.to_vec());
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_back();
        }
        self.pending.push_back(Box::new(status.clone()));
        Receipt::New
    }

    /// Takes the first pending update if it is the one acknowledged.
    pub(crate) fn acknowledge(&mut self, uuid: &[u8]) -> Option<Box<TaskStatus>> {
        if self.pending.front()?.uuid() != uuid {
            return None;
        }
        self.pending.pop_front()
    }

    pub(crate) fn first(&self) -> Option<&TaskStatus> {
        self.pending.front().map(|status| &**status)
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = &TaskStatus> {
        self.pending.iter().map(|status| &**status)
    }

    /// Whether a terminal update was received and everything is acknowledged.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::v1::TaskState;

    fn status(state: TaskState, uuid: u32) -> TaskStatus {
        TaskStatus { state: state as i32, uuid: Some(uuid.to_be_bytes().to_vec()), ..Default::default() }
    }

    #[test]
    fn updates_leave_in_order_and_once() {
        let mut stream = Stream::new(None);
        let (running, finished) = (status(TaskState::TaskRunning, 1), status(TaskState::TaskFinished, 2));
        assert_eq!(stream.receive(&running), Receipt::New);
        assert_eq!(stream.receive(&running), Receipt::Repeated);
        assert_eq!(stream.receive(&finished), Receipt::New);
        assert_eq!(stream.receive(&status(TaskState::TaskLost, 3)), Receipt::TooLate);
        assert!(stream.acknowledge(finished.uuid()).is_none(), "not its turn");
        assert!(stream.acknowledge(running.uuid()).is_some());
        assert!(stream.acknowledge(running.uuid()).is_none());
        assert!(!stream.is_over());
        assert!(stream.acknowledge(finished.uuid()).is_some());
        assert!(stream.is_over());
    }

    #[test]
    fn a_flood_is_bounded_and_keeps_its_end() {
        let mut stream = Stream::new(None);
        for uuid in 0..5000 {
            stream.receive(&status(TaskState::TaskRunning, uuid));
        }
        stream.receive(&status(TaskState::TaskFinished, 5000));
        assert_eq!(stream.pending().count(), MAX_PENDING);
        assert_eq!(stream.pending().last().unwrap().state(), TaskState::TaskFinished);
        assert_eq!(stream.first().unwrap().uuid(), 0u32.to_be_bytes());
    }
}
