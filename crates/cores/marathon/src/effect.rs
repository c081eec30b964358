use std::sync::Arc;

use api_marathon::{AppDefinition, AppId, DeploymentResult, Event, HealthCheck};
use base::{TaskId, Wall};
use mesos_proto::v1::scheduler::Call;

use crate::id::InstanceId;
use crate::input::ReqId;
use crate::record::Write;

/// The number of a [`Effect::Persist`]; they count up by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// Something the service has to do. Every effect that comes out may be performed at once: those that need something
/// durable come out only after [`crate::Input::Persisted`].
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make these writes durable, in order, and answer with [`crate::Input::Persisted`]. They need not be atomic:
    /// after a crash any prefix of them is a state that [`crate::Marathon::recover`] understands.
    Persist(Seq, Vec<Write>),
    /// Send this call to the master, in the name of the framework. If that fails, answer with [`crate::Input::Disconnected`].
    Send(Box<Call>),
    /// Begin to probe a task.
    StartHealthChecks(Probe),
    /// End probing an instance's task.
    StopHealthChecks(InstanceId),
    /// Tell the subscribers of `/v2/events`.
    Publish(Box<Event>),
    /// Answer a command.
    Reply(ReqId, Result<Answer, Refusal>),
}

/// A task to probe until [`Effect::StopHealthChecks`].
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The instance.
    pub instance: InstanceId,
    /// Its task, returned in the results.
    pub task: TaskId,
    /// Hostname of its agent.
    pub host: String,
    /// Its host ports, in the order of the port definitions.
    pub ports: Vec<u16>,
    /// The checks that Marathon does by itself (HTTP, HTTPS, TCP), each with its index in the definition.
    pub checks: Vec<(usize, HealthCheck)>,
}

impl Probe {
    /// The port that a check connects to; `None` if the task has no such port.
    pub fn port(&self, check: &HealthCheck) -> Option<u16> {
        check.port.or_else(|| self.ports.get(usize::from(check.port_index.unwrap_or(0))).copied())
    }
}

/// A command was taken.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A deployment was started; or nothing had to be changed, then the deployment named is over already.
    Deployed {
        /// Its id and version.
        deployment: DeploymentResult,
        /// The definitions as they are now, with versions and service ports; none for what was deleted.
        apps: Vec<Arc<AppDefinition>>,
    },
    /// These tasks are being killed, as they were before.
    Killed(Vec<api_marathon::Task>),
    /// Done.
    Done,
}

/// A command was not taken; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The app to create exists already.
    AppExists(AppId),
    /// There is no such app.
    UnknownApp(AppId),
    /// The app has, or has kept, no such version.
    UnknownVersion(AppId, Wall),
    /// There is no such deployment.
    UnknownDeployment(String),
    /// Nothing waits in the queue for the app.
    NotQueued(AppId),
    /// Apps are locked by running deployments; `force` would cancel these.
    Locked {
        /// Which of the apps that the command would change.
        apps: Vec<AppId>,
        /// By which deployments.
        deployments: Vec<String>,
    },
    /// As many deployments run as are allowed.
    TooManyDeployments(usize),
    /// Every service port of the range is taken.
    NoServicePorts,
}
