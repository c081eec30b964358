use base::{AgentId, ExecutorId, Now, Rng, TaskId};
use mesos_proto::v1::task_status::{Reason, Source};
use mesos_proto::v1::{self, TaskState, TaskStatus};

use crate::{MemoryReport, Termination};

/// Whether a task in this state never changes again (Mesos: `protobuf::isTerminalState`).
pub fn is_terminal(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::TaskFinished
            | TaskState::TaskFailed
            | TaskState::TaskKilled
            | TaskState::TaskError
            | TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
    )
}

/// Why the agent itself changes a task's state.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) state: TaskState,
    /// None while all goes well.
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn new(state: TaskState, reason: Reason, message: impl Into<String>) -> Cause {
        Cause { state, reason: Some(reason), message: message.into() }
    }

    /// The container is on the way.
    pub(crate) fn starting(message: String) -> Cause {
        Cause { state: TaskState::TaskStarting, reason: None, message }
    }
}

/// A status that the agent makes itself (Mesos: `protobuf::createStatusUpdate` with `SOURCE_SLAVE`).
pub(crate) fn of_agent(
    now: Now,
    rng: &mut Rng,
    agent_id: &AgentId,
    task_id: &TaskId,
    executor_id: Option<&ExecutorId>,
    cause: Cause,
) -> TaskStatus {
    TaskStatus {
        task_id: v1::TaskId { value: task_id.to_string() },
        state: cause.state as i32,
        message: Some(cause.message),
        source: Some(Source::Agent as i32),
        reason: cause.reason.map(|reason| reason as i32),
        agent_id: Some(v1::AgentId { value: agent_id.to_string() }),
        executor_id: executor_id.map(|id| v1::ExecutorId { value: id.to_string() }),
        timestamp: Some(now.wall.as_secs_f64()),
        uuid: Some(rng.uuid_bytes().to_vec()),
        ..Default::default()
    }
}

/// What becomes of the tasks of an executor that ended without telling
/// (Mesos: `Slave::sendExecutorTerminatedStatusUpdate`). `decided` is what the agent itself had decided
/// about the executor before it ended.
pub(crate) fn of_termination(termination: &Termination, decided: Option<&Cause>) -> Cause {
    let memory = termination.memory.as_ref().filter(|memory| memory.oom_kills > 0).map(memory_limit_text);
    let messages: Vec<&str> =
        [decided.map(|cause| cause.message.as_str()), memory.as_deref(), termination.message.as_deref()]
            .into_iter()
            .flatten()
            .collect();
    let message = if messages.is_empty() { "Executor terminated".to_owned() } else { messages.join("; ") };
    match (memory.is_some(), decided) {
        (true, _) => Cause::new(TaskState::TaskFailed, Reason::ContainerLimitationMemory, message),
        (false, Some(cause)) => Cause { message, ..cause.clone() },
        (false, None) => Cause::new(TaskState::TaskFailed, Reason::ExecutorTerminated, message),
    }
}

/// Gives a failure that the kernel's OOM killer caused its reason. A failure counts as such when the
/// command died of SIGKILL, or its shell tells that something in it did.
pub(crate) fn explain_memory(status: &mut TaskStatus, memory: Option<&MemoryReport>) {
    let Some(memory) = memory.filter(|memory| memory.oom_kills > 0) else { return };
    let told = status.message.as_deref().unwrap_or_default();
    let killed = told.contains("signal Killed") || told.contains("status 137");
    if status.state() == TaskState::TaskFailed && killed {
        status.message = Some(memory_limit_text(memory));
        status.reason = Some(Reason::ContainerLimitationMemory as i32);
    }
}

/// Mesos: `MemorySubsystemProcess::oomWaited`.
fn memory_limit_text(memory: &MemoryReport) -> String {
    let mut text = format!(
        "Memory limit exceeded: Requested: {} Maximum Used: {}\n",
        bytes_text(memory.limit),
        bytes_text(memory.max_usage)
    );
    if !memory.statistics.is_empty() {
        text.push_str("\nMEMORY STATISTICS: \n");
        text.push_str(&memory.statistics);
        text.push('\n');
    }
    text
}

/// A number of bytes in the largest unit that loses nothing (stout: `operator<<(Bytes)`).
fn bytes_text(bytes: u64) -> String {
    let mut value = bytes;
    let mut unit = "B";
    for larger in ["KB", "MB", "GB", "TB"] {
        if value == 0 || !value.is_multiple_of(1024) {
            break;
        }
        value /= 1024;
        unit = larger;
    }
    format!("{value}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lose_nothing() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KB"),
            (64 << 20, "64MB"),
            (1 << 30, "1GB"),
            (1 << 50, "1024TB"),
        ] {
            assert_eq!(bytes_text(bytes), text);
        }
    }

    fn oom() -> MemoryReport {
        MemoryReport { oom_kills: 1, limit: 64 << 20, max_usage: 64 << 20, statistics: String::new() }
    }

    #[test]
    fn only_a_killed_failure_is_explained_by_memory() {
        let check = |state: TaskState, message: &str, explained: bool| {
            let mut status =
                TaskStatus { state: state as i32, message: Some(message.into()), ..Default::default() };
            explain_memory(&mut status, Some(&oom()));
            assert_eq!(
                status.reason == Some(Reason::ContainerLimitationMemory as i32),
                explained,
                "{message}"
            );
        };
        check(TaskState::TaskFailed, "Command terminated with signal Killed", true);
        check(TaskState::TaskFailed, "Command exited with status 137", true);
        check(TaskState::TaskFailed, "Command exited with status 1", false);
        check(TaskState::TaskKilled, "Command terminated with signal Killed", false);
    }

    #[test]
    fn a_termination_tells_memory_first() {
        let decided = Cause::new(TaskState::TaskLost, Reason::AgentRestarted, "Agent host rebooted");
        let quiet = Termination::default();
        let hungry = Termination { memory: Some(oom()), ..Default::default() };
        assert_eq!(of_termination(&quiet, None).message, "Executor terminated");
        assert_eq!(of_termination(&quiet, Some(&decided)).state, TaskState::TaskLost);
        let cause = of_termination(&hungry, None);
        assert_eq!(cause.reason, Some(Reason::ContainerLimitationMemory));
        assert_eq!(cause.message, "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB\n");
    }
}
