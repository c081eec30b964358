use std::collections::BTreeSet;

use api_marathon::{AppDefinition, AppId};
use base::{TaskId, Wall};
use mesos_proto::v1::scheduler::Event;

use crate::effect::Seq;
use crate::id::InstanceId;

/// The number of a command, chosen by the service: its answer bears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReqId(pub u64);

/// Everything that can happen to Marathon.
#[derive(Clone, Debug)]
pub enum Input {
    /// A call of the API that changes something. Answered by exactly one [`crate::Effect::Reply`].
    Command(ReqId, Command),
    /// An event of the master on the scheduler stream.
    Mesos(Box<Event>),
    /// The scheduler stream was lost, or a call could not be delivered: what was sent last may not have arrived.
    Disconnected,
    /// What a probe found out.
    Health(HealthResult),
    /// The time of [`crate::Marathon::next_deadline`] has come. Harmless at any other time.
    Tick,
    /// Everything up to this [`crate::Effect::Persist`] is durable.
    Persisted(Seq),
}

/// Who made a change, for `api_post_event`.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Address of the client.
    pub client_ip: String,
    /// Path and query of the request.
    pub uri: String,
}

/// A change asked for through the API. Definitions come validated and in canonical form; their `version` and
/// `version_info` are set here.
#[derive(Clone, Debug)]
pub enum Command {
    /// Creates an app; refused if it exists (`POST /v2/apps`).
    Create {
        /// The app.
        app: Box<AppDefinition>,
        /// Whether deployments that lock it are cancelled.
        force: bool,
        /// Who asks.
        caller: Option<Caller>,
    },
    /// Makes these the definitions of their apps, which need not exist (`PUT`, `PATCH`). One deployment for all.
    Put {
        /// The apps.
        apps: Vec<AppDefinition>,
        /// Whether deployments that lock them are cancelled.
        force: bool,
        /// Who asks.
        caller: Option<Caller>,
    },
    /// Makes these the definitions of their apps and ends others (`POST`, `PUT` of a group). One deployment for all.
    Regroup {
        /// The apps.
        apps: Vec<AppDefinition>,
        /// The apps to end.
        gone: BTreeSet<AppId>,
        /// Whether deployments that lock them are cancelled.
        force: bool,
        /// Who asks.
        caller: Option<Caller>,
    },
    /// Ends apps (`DELETE`). One deployment for all.
    Delete {
        /// The apps.
        ids: Vec<AppId>,
        /// Whether deployments that lock them are cancelled.
        force: bool,
    },
    /// Exchanges every instance (`POST /v2/apps/{id}/restart`).
    Restart {
        /// The app.
        id: AppId,
        /// Whether deployments that lock it are cancelled.
        force: bool,
    },
    /// Takes up an old definition again (`PUT /v2/apps/{id}` with a `version`).
    Rollback {
        /// The app.
        id: AppId,
        /// Which of its versions.
        version: Wall,
        /// Whether deployments that lock it are cancelled.
        force: bool,
    },
    /// Ends tasks, which are replaced (`DELETE /v2/apps/{id}/tasks`, `POST /v2/tasks/delete`).
    Kill {
        /// The tasks. Those that are unknown are passed over.
        tasks: BTreeSet<TaskId>,
        /// Forget about what may be left of them (volumes, of which there are none yet) and launch anew.
        wipe: bool,
    },
    /// Ends tasks and wants that many less instances (`scale=true`). One deployment for all apps.
    KillAndScale {
        /// The tasks. Those that are unknown are passed over.
        tasks: BTreeSet<TaskId>,
        /// Whether deployments that lock the apps are cancelled.
        force: bool,
    },
    /// Launches again at once, whatever failed before (`DELETE /v2/queue/{id}/delay`).
    ResetDelay {
        /// The app.
        id: AppId,
    },
    /// Undoes a deployment by another one, or with `force` just ends it (`DELETE /v2/deployments/{id}`).
    CancelDeployment {
        /// The deployment.
        id: String,
        /// Whether its apps are left as they are now.
        force: bool,
    },
}

/// What one probe of one health check found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthResult {
    /// The instance that was probed.
    pub instance: InstanceId,
    /// Its task; a result of an earlier task of the instance counts nothing.
    pub task: TaskId,
    /// Index of the health check in the app's definition.
    pub check: usize,
    /// Why it is unhealthy; `None` if it is healthy.
    pub failure: Option<String>,
}
