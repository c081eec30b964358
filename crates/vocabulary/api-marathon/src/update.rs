use std::collections::{BTreeMap, BTreeSet};

use base::Wall;
use serde_json::Value;

use crate::app::{AppDefinition, KillSelection, PortDefinition, UnreachableStrategy, UpgradeStrategy};
use crate::artifact::Artifact;
use crate::container::{Container, PortMapping};
use crate::error::{ApiError, Detail};
use crate::health::HealthCheck;
use crate::id::AppId;
use crate::network::Network;
use crate::normalise::{self, Translated};
use crate::read::{At, Reader};
use crate::request::read_app;
use crate::validate;

/// What Marathon is set to, as far as it decides about requests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The role that Marathon is subscribed with (`--mesos_role`), which apps get.
    pub role: String,
}

/// The body of a `POST`, `PUT` or `PATCH` of an app: the fields that were given, read but not yet validated.
///
/// Marathon: RAML types `App` and `AppUpdate`. A field that is null counts as not given.
#[derive(Clone, Debug, Default)]
pub struct AppUpdate {
    pub(crate) id: Option<String>,
    pub(crate) accepted_resource_roles: Option<BTreeSet<String>>,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) backoff_factor: Option<f64>,
    pub(crate) backoff_seconds: Option<u32>,
    pub(crate) cmd: Option<String>,
    pub(crate) constraints: Option<Vec<Vec<String>>>,
    pub(crate) container: Option<GivenContainer>,
    pub(crate) cpus: Option<f64>,
    pub(crate) dependencies: Option<BTreeSet<AppId>>,
    pub(crate) disk: Option<f64>,
    pub(crate) env: Option<BTreeMap<String, String>>,
    pub(crate) executor: Option<String>,
    pub(crate) fetch: Option<Vec<Artifact>>,
    pub(crate) health_checks: Option<Vec<HealthCheck>>,
    pub(crate) instances: Option<u32>,
    pub(crate) ip_address: Option<IpAddress>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) max_launch_delay_seconds: Option<u32>,
    pub(crate) mem: Option<f64>,
    pub(crate) gpus: Option<u32>,
    pub(crate) networks: Option<Vec<Network>>,
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) port_definitions: Option<Vec<PortDefinition>>,
    pub(crate) require_ports: Option<bool>,
    pub(crate) task_kill_grace_period_seconds: Option<u32>,
    pub(crate) upgrade_strategy: Option<UpgradeStrategy>,
    pub(crate) uris: Option<Vec<String>>,
    pub(crate) user: Option<String>,
    pub(crate) version: Option<Wall>,
    pub(crate) kill_selection: Option<KillSelection>,
    pub(crate) unreachable_strategy: Option<UnreachableStrategy>,
    pub(crate) tty: Option<bool>,
    pub(crate) role: Option<String>,
    /// Fields that are right and whose feature does not exist here: path and what is said about it.
    pub(crate) refused: Vec<(String, String)>,
    /// How many fields were given.
    pub(crate) given: usize,
}

/// A container as it was given: with the fields that belong to the networks now, as they may stand in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenContainer {
    pub(crate) container: Container,
    /// `docker.network`.
    pub(crate) network: Option<DockerNetwork>,
    /// `docker.portMappings`.
    pub(crate) docker_mappings: Option<Vec<PortMapping>>,
}

/// The old form of networks, in `docker.network`.
///
/// Marathon: RAML type `DockerNetwork`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DockerNetwork {
    Bridge,
    Host,
    None,
    User,
}

impl DockerNetwork {
    pub(crate) const ALL: [DockerNetwork; 4] =
        [DockerNetwork::Bridge, DockerNetwork::Host, DockerNetwork::None, DockerNetwork::User];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            DockerNetwork::Bridge => "BRIDGE",
            DockerNetwork::Host => "HOST",
            DockerNetwork::None => "NONE",
            DockerNetwork::User => "USER",
        }
    }
}

/// The old form of networks by name.
///
/// Marathon: RAML type `IpAddress`.
#[derive(Clone, Debug, Default)]
pub(crate) struct IpAddress {
    pub(crate) network_name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) has_discovery: bool,
    /// `discovery.ports`, as what they became.
    pub(crate) ports: Vec<PortMapping>,
}

impl AppUpdate {
    /// Reads the body of a request for one app.
    pub fn parse(body: &[u8]) -> Result<AppUpdate, ApiError> {
        let json = parse_json(body)?;
        let mut reader = Reader::default();
        let update = read_app(&mut reader, &At::root(&json));
        reader.problems.or(Some(update), ApiError::invalid_json)
    }

    /// Reads the body of a `PUT` or `PATCH` of many apps.
    pub fn parse_all(body: &[u8]) -> Result<Vec<AppUpdate>, ApiError> {
        let json = parse_json(body)?;
        let mut reader = Reader::default();
        let updates = reader.list(&At::root(&json), |reader, at| Some(read_app(reader, at)));
        let updates = reader.problems.or(updates, ApiError::invalid_json)?;
        if updates.iter().any(|update| update.id.is_none()) {
            return Err(ApiError::message(422, "requirement failed: App Update must have app id set"));
        }
        Ok(updates)
    }

    /// The id that was given.
    pub fn id(&self) -> Option<AppId> {
        self.id.as_deref().map(AppId::new)
    }

    /// The version to go back to, if this update asks for that: then it says nothing else.
    pub fn rollback_to(&self) -> Result<Option<Wall>, ApiError> {
        let others = self.given - usize::from(self.id.is_some()) - usize::from(self.version.is_some());
        if self.version.is_some() && others > 0 {
            let error = "The 'version' field may only be combined with the 'id' field.";
            return Err(ApiError::invalid_object(vec![Detail::new("/", error)]));
        }
        Ok(self.version)
    }

    /// A new app of exactly this description; `id` (of the URL) wins over the one in the body. `now` is its version.
    pub fn create(
        &self,
        id: Option<AppId>,
        settings: &Settings,
        now: Wall,
    ) -> Result<AppDefinition, ApiError> {
        let id = match (id, self.id()) {
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => {
                let missing = Detail::new("/id", "error.path.missing");
                return Err(ApiError::invalid_json(vec![missing]));
            }
        };
        let translated = validate::old_forms(self)?;
        let mut app = AppDefinition::empty(id, &settings.role);
        app.version = Wall::from_millis(now.as_millis());
        (app.networks, app.port_definitions) = (Vec::new(), None);
        self.copy_into(&mut app, translated);
        normalise::settle(&mut app, self.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty()));
        validate::app(self, &app, settings, None)?;
        Ok(app)
    }

    /// `current` with the given fields changed. Its version stays: whether anything changed is for the core to see.
    pub fn apply(&self, current: &AppDefinition, settings: &Settings) -> Result<AppDefinition, ApiError> {
        self.rollback_to()?;
        let translated = validate::old_forms(self)?;
        let mut app = current.clone();
        self.copy_into(&mut app, translated);
        if self.health_checks.is_some() {
            normalise::default_port_index(&mut app.health_checks);
        }
        // The checks of an app that is only scaled stay as they are: changed, they would have its tasks exchanged.
        normalise::settle(&mut app, false);
        validate::app(self, &app, settings, Some(&current.role))?;
        Ok(app)
    }

    /// [`AppUpdate::create`] for an app that exists: `PUT` with `partialUpdate=false`.
    pub fn replace(&self, current: &AppDefinition, settings: &Settings) -> Result<AppDefinition, ApiError> {
        let mut app = self.create(Some(current.id.clone()), settings, current.version)?;
        app.version_info = current.version_info;
        Ok(app)
    }

    fn copy_into(&self, app: &mut AppDefinition, translated: Translated) {
        fn set<T: Clone>(field: &mut T, given: &Option<T>) {
            if let Some(value) = given {
                *field = value.clone();
            }
        }
        fn set_some<T: Clone>(field: &mut Option<T>, given: &Option<T>) {
            if given.is_some() {
                field.clone_from(given);
            }
        }
        set_some(&mut app.accepted_resource_roles, &self.accepted_resource_roles);
        set(&mut app.args, &self.args);
        set(&mut app.backoff_factor, &self.backoff_factor);
        set(&mut app.backoff_seconds, &self.backoff_seconds);
        set_some(&mut app.cmd, &self.cmd);
        set(&mut app.constraints, &self.constraints.as_deref().map(validate::constraints));
        set_some(&mut app.container, &translated.container);
        set(&mut app.cpus, &self.cpus);
        set(&mut app.dependencies, &self.dependencies);
        set(&mut app.disk, &self.disk);
        set(&mut app.env, &self.env);
        set(&mut app.executor, &self.executor);
        set(&mut app.fetch, &translated.fetch);
        set(&mut app.health_checks, &self.health_checks);
        set(&mut app.instances, &self.instances);
        set(&mut app.labels, &self.labels);
        set(&mut app.max_launch_delay_seconds, &self.max_launch_delay_seconds);
        set(&mut app.mem, &self.mem);
        set(&mut app.gpus, &self.gpus);
        set(&mut app.networks, &translated.networks);
        set_some(&mut app.port_definitions, &translated.port_definitions);
        set(&mut app.require_ports, &self.require_ports);
        set_some(&mut app.task_kill_grace_period_seconds, &self.task_kill_grace_period_seconds);
        set(&mut app.upgrade_strategy, &self.upgrade_strategy);
        set_some(&mut app.user, &self.user);
        set(&mut app.kill_selection, &self.kill_selection);
        set(&mut app.unreachable_strategy, &self.unreachable_strategy);
        set_some(&mut app.tty, &self.tty);
        set(&mut app.role, &self.role);
    }
}

fn parse_json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::no_json(body, error.to_string()))
}
