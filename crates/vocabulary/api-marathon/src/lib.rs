//! The words of the Marathon API (as of Marathon 1.11): requests as they are read, checked and normalised, and answers
//! with the field names, the order of fields and the texts that Marathon's users know.
//!
//! A request body goes one way only: bytes -> [`AppUpdate`] (JSON of the right types, or every problem at once)
//! -> validation and normalisation -> [`AppDefinition`], the canonical form that the core decides on, the store keeps and
//! `GET /v2/apps` shows.
//!
//! What this crate does not do: it knows no state (whether an app exists, which deployment locks it), no HTTP and no
//! clock. Fields of Marathon whose feature does not exist here yet (persistent volumes, secrets, container networks by name,
//! readiness checks, ...) are known and refused by name; they are never dropped in silence.

mod app;
mod artifact;
mod container;
mod deployment;
mod error;
mod event;
mod group;
mod health;
mod id;
mod info;
mod iso;
mod network;
mod normalise;
mod problems;
mod queue;
mod read;
pub mod reference;
mod request;
mod task;
mod update;
mod validate;

pub use app::{
    AppDefinition, AppPort, Constraint, KillSelection, Operator, PortDefinition, UnreachableStrategy,
    UpgradeStrategy, VersionInfo,
};
pub use artifact::Artifact;
pub use container::{
    Container, DockerContainer, DockerParameter, Engine, HostVolume, IpcInfo, IpcMode, LinuxInfo,
    PortMapping, ReadMode, Seccomp,
};
pub use deployment::{
    Action, ActionInfo, ActionName, DeploymentPlan, DeploymentResult, DeploymentStep, DeploymentStepInfo,
};
pub use error::{ApiError, Detail, Details, ErrorBody};
pub use event::{Event, EventKind};
pub use group::{GroupChange, GroupContext, GroupUpdate};
pub use health::{HealthCheck, HealthCommand, Protocol};
pub use id::AppId;
pub use info::{
    AppInfo, AppList, AppSingle, AppsOfGroup, Counts, Identifiable, Stats, TaskCounts, TaskLifeTime,
    TaskStats, TaskStatsByVersion, VersionList,
};
pub use network::{MESOS_BRIDGE, Network, NetworkMode};
pub use queue::{Delay, Funnel, Preparing, ProcessedOffers, Queue, QueueItem, UnusedOffer};
pub use task::{Health, IpAddress, Task, TaskFailure, TaskList, TaskSingle};
pub use update::{AppUpdate, Settings};
pub use validate::MAX_DEFINITION_BYTES;
