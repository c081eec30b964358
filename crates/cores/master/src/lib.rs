//! The decisions of the Mesos master: agents, frameworks, offers, tasks.
//!
//! [`Master::handle`] takes one [`Input`] (a framework's call, an agent's frame, a timer) and appends
//! [`Effect`]s (events to frameworks, frames to agents, writes to the registry). Agents and what they run
//! are the truth; durable is only the registry of admitted agents, so frameworks and tasks come back by
//! registering again.
//!
//! Deliberately absent: sockets, HTTP, encodings, the clock, the store, and whether a call has the member
//! that its type asks for (the service checks that before it looks at any state).

mod accept;
mod agent;
mod calls;
mod config;
mod draining;
mod durable;
mod effect;
mod framework;
mod gone;
mod input;
mod invariants;
mod inverse_offers;
mod launch_group;
mod maintenance;
mod master;
mod message;
mod metrics;
mod offers;
mod operations;
mod operator;
mod pieces;
mod reconciliation;
mod registration;
mod registry;
mod removal;
mod subscription;
mod task;
mod timer;
mod turn;
mod updates;
mod upkeep;
mod validation;
mod view;

pub use agent::{Agent, Executor, RecoveredAgent, UnreachableAgent};
pub use config::Config;
pub use draining::Deactivation;
pub use effect::{Effect, Reply};
pub use framework::{Framework, Offer, Stream, has_capability, roles};
pub use input::{ConnId, Input};
pub use master::Master;
pub use metrics::{Counts, FrameworkMetrics, Metrics};
pub use registry::{KINDS as REGISTRY_KINDS, RecoverError, RegistryOp};
pub use task::{Task, is_terminal};
