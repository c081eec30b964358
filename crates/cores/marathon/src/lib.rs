//! The decisions of Marathon: which instances of which apps run, in which version, and where.
//!
//! [`Marathon`] is a state machine without IO: a service feeds it [`Input`]s (commands of the API, events of the
//! Mesos master, results of health checks, the time) and performs the [`Effect`]s that come out. What the API shows is
//! read from it directly.
//!
//! It works level-triggered: every input changes facts (a definition, a task's state, a health result), and then the
//! apps that it touched are driven: wanted and found are compared and the difference is launched or killed. A
//! deployment only says which comparison holds for an app and when it is content; nothing is counted along the way, so
//! that a lost event, a crash or a cancelled deployment can leave nothing behind that is never corrected.
//!
//! Durability: whatever an input changed is written before anything that follows from it leaves the machine. While a
//! [`Effect::Persist`] is not answered by [`Input::Persisted`], all other effects wait inside, in order. A task is
//! recorded before it is launched, so Mesos never runs a task that a restarted Marathon does not know.
//!
//! Deliberately absent: HTTP, validation of requests (see `api-marathon`), the probing of health checks, timers (the
//! service calls back at [`Marathon::next_deadline`]), pods, persistent volumes, readiness checks.
//!
//! Entry points: [`Marathon::recover`], [`Marathon::handle`].

mod app;
mod backoff;
mod change;
mod check;
mod command;
mod condition;
mod config;
mod constraint;
mod container;
mod demand;
mod deploy;
mod drive;
mod effect;
mod env;
mod framework;
mod gate;
mod health;
mod id;
mod input;
mod instance;
mod kill;
mod machine;
mod matcher;
mod offer;
mod plan;
mod ports;
mod queue;
mod read;
mod reconcile;
mod record;
mod recover;
mod rollout;
mod scaling;
mod task;
mod timer;
mod update;

pub use condition::{Condition, Goal};
pub use config::Config;
pub use effect::{Answer, Effect, Probe, Refusal, Seq};
pub use framework::subscribe_call;
pub use id::InstanceId;
pub use input::{Caller, Command, HealthResult, Input, ReqId};
pub use instance::{Instance, Placement, Progress};
pub use machine::Marathon;
pub use plan::{Action, Plan};
pub use record::{DeploymentRecord, Key, Record, Write};
pub use rollout::Capacity;
