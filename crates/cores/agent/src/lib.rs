//! The decisions of the Mesos agent: executors, tasks, status updates, recovery.
//!
//! [`Agent`] is a state machine without IO: the service feeds it [`Input`]s (what the master, the
//! executors and the containers said, and the time) and carries out the [`Effect`]s in the order they
//! come. Among them are [`Effect::Persist`]s: what follows one in the list must not happen before the
//! record is written. After a crash at any point [`Agent::recover`] takes the records that were
//! written, and goes on: no task is lost without an update, none runs twice.
//!
//! Invariant: every input may be repeated, late, or about something long gone; it then changes nothing.
//! Invariant: every task's status updates reach the master in order, each until it is acknowledged,
//! and none before it is persisted.
//!
//! Deliberately absent: files and their layout, connections, processes, cgroups, HTTP, and what an
//! operator sees as JSON. Entry points: [`Agent::handle`], [`Agent::recover`], [`Agent::admit`].

mod agent;
mod check;
mod command;
mod config;
mod containers;
mod draining;
mod effect;
mod executor;
mod executors;
mod framework;
mod input;
mod kill;
mod launch;
mod operations;
mod plan;
mod preparation;
mod record;
mod recovery;
mod registration;
mod status;
mod stream;
mod supported;
mod task;
mod timers;
mod updates;

pub use agent::{Agent, Counters};
pub use config::Config;
pub use effect::{Effect, Launch};
pub use executor::{Executor, ExecutorState};
pub use executors::Refusal;
pub use framework::Framework;
pub use input::{ConnectionId, Input, MemoryReport, Process, Termination};
pub use plan::{ContainerPlan, ImagePlan, NetworkPlan, PortMapping, Protocol, VolumePlan, VolumeSource};
pub use record::{LogEntry, Record, Run};
pub use registration::Knowledge;
pub use status::is_terminal;
pub use task::TaskRun;

#[cfg(test)]
mod tests;
