use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_marathon::{AppDefinition, AppId, DeploymentResult, EventKind, VersionInfo};
use base::{Now, Wall};

use crate::deploy;
use crate::effect::{Answer, Refusal};
use crate::input::Caller;
use crate::machine::Marathon;
use crate::plan::{self, Definitions};
use crate::record::{DeploymentRecord, Key, Record};

/// What an app shall become.
pub(crate) enum Target {
    /// Defined so; its configuration is new if it differs.
    Define(AppDefinition),
    /// As it is, but with new tasks.
    Renew,
    /// Defined so, with a configuration of old: tasks of that configuration are up to date.
    Restore(AppDefinition),
    /// Gone.
    Remove,
}

/// A change of some apps, to be made by one deployment.
pub(crate) struct Change {
    pub(crate) targets: BTreeMap<AppId, Target>,
    /// Whether deployments in the way are cancelled.
    pub(crate) force: bool,
    pub(crate) caller: Option<Caller>,
    /// The deployment that this one takes back, which is always cancelled.
    pub(crate) instead_of: Option<String>,
}

impl Marathon {
    /// Makes a change: gives versions, stores the definitions and starts the deployment. Refused, it changes nothing.
    ///
    /// Marathon: `GroupManagerImpl`, `DeploymentManagerActor`.
    pub(crate) fn change(&mut self, now: Now, change: Change) -> Result<Answer, Refusal> {
        let version = Wall::from_millis(now.wall.as_millis().max(self.last_version.as_millis() + 1));
        let after = self.definitions_after(&change, version)?;
        let in_the_way = self.deployments_in_the_way(&change, &after)?;
        let left = self.deployments.len() - in_the_way.len();
        if !after.is_empty() && left >= self.config.max_running_deployments {
            return Err(Refusal::TooManyDeployments(self.config.max_running_deployments));
        }

        self.next_version(now.wall);
        let result = DeploymentResult { deployment_id: self.rng.uuid(), version };
        let shown = self.shown(&change, &after);
        if let Some(caller) = &change.caller {
            for app_definition in &shown {
                self.publish(
                    now,
                    EventKind::ApiPost {
                        client_ip: caller.client_ip.clone(),
                        uri: caller.uri.clone(),
                        app_definition: Arc::clone(app_definition),
                    },
                );
            }
        }
        let record = self.store(&result, after, &in_the_way);
        // Behind the new one: wherever a crash cuts these writes off, one of the deployments is there.
        let reason =
            if change.instead_of.is_some() { "rolled back" } else { "cancelled by another deployment" };
        for id in &in_the_way {
            self.fail_deployment(now, id, reason);
        }
        self.publish(now, EventKind::GroupChangeSuccess { group_id: AppId::root(), version });
        if record.plan.steps.is_empty() {
            let plan = Arc::new(deploy::plan_of(&record));
            self.publish(now, EventKind::DeploymentSuccess { id: record.id, plan });
        } else {
            self.start_deployment(now, record);
        }
        Ok(Answer::Deployed { deployment: result, apps: shown })
    }

    /// The new definitions of the apps that do change, with versions and service ports.
    fn definitions_after(
        &self,
        change: &Change,
        version: Wall,
    ) -> Result<BTreeMap<AppId, Option<Arc<AppDefinition>>>, Refusal> {
        let mut after = BTreeMap::new();
        let mut ports = ServicePorts::in_use(self);
        for (id, target) in &change.targets {
            let before = self.apps.get(id).and_then(|app| app.current.as_ref());
            let (definition, info) = match target {
                Target::Remove => {
                    before.ok_or_else(|| Refusal::UnknownApp(id.clone()))?;
                    after.insert(id.clone(), None);
                    continue;
                }
                Target::Renew => {
                    let before = before.ok_or_else(|| Refusal::UnknownApp(id.clone()))?;
                    let last_scaling_at =
                        before.version_info.map_or(before.version, |info| info.last_scaling_at);
                    ((**before).clone(), VersionInfo { last_scaling_at, last_config_change_at: version })
                }
                Target::Define(definition) => {
                    let mut definition = definition.clone();
                    ports.assign(&mut definition, before.map(|before| &**before))?;
                    let both = VersionInfo { last_scaling_at: version, last_config_change_at: version };
                    match before {
                        Some(before) if before.is_upgrade(&definition) => (definition, both),
                        Some(before) if before.instances != definition.instances => (
                            definition,
                            VersionInfo { last_config_change_at: before.config_version(), ..both },
                        ),
                        Some(_) => continue,
                        None => (definition, both),
                    }
                }
                Target::Restore(definition) => {
                    let last_config_change_at = definition.config_version();
                    (definition.clone(), VersionInfo { last_scaling_at: version, last_config_change_at })
                }
            };
            let definition = AppDefinition { version, version_info: Some(info), ..definition };
            after.insert(id.clone(), Some(Arc::new(definition)));
        }
        Ok(after)
    }

    fn deployments_in_the_way(
        &self,
        change: &Change,
        after: &BTreeMap<AppId, Option<Arc<AppDefinition>>>,
    ) -> Result<BTreeSet<String>, Refusal> {
        let mut apps = Vec::new();
        let mut deployments: BTreeSet<String> = change.instead_of.iter().cloned().collect();
        for id in after.keys() {
            let lock = self.apps.get(id).and_then(|app| app.deployment.as_ref());
            if let Some(deployment) = lock.filter(|lock| !deployments.contains(*lock)) {
                apps.push((id.clone(), deployment.clone()));
            }
        }
        if !apps.is_empty() && !change.force {
            let deployments: BTreeSet<String> =
                apps.iter().map(|(_, deployment)| deployment.clone()).collect();
            return Err(Refusal::Locked {
                apps: apps.into_iter().map(|(app, _)| app).collect(),
                deployments: deployments.into_iter().collect(),
            });
        }
        deployments.extend(apps.into_iter().map(|(_, deployment)| deployment));
        Ok(deployments)
    }

    /// The definitions that answers show: the new ones, and the old ones of apps that stay as they are.
    fn shown(
        &self,
        change: &Change,
        after: &BTreeMap<AppId, Option<Arc<AppDefinition>>>,
    ) -> Vec<Arc<AppDefinition>> {
        let current = |id: &AppId| self.apps.get(id).and_then(|app| app.current.clone());
        change.targets.keys().filter_map(|id| after.get(id).cloned().unwrap_or_else(|| current(id))).collect()
    }

    /// Stores the new definitions and makes the plan for them. The order of the writes matters: the definitions, then
    /// the deployment, which [`Marathon::recover`] takes for decided, then what it decides.
    fn store(
        &mut self,
        result: &DeploymentResult,
        after: BTreeMap<AppId, Option<Arc<AppDefinition>>>,
        cancelled: &BTreeSet<String>,
    ) -> DeploymentRecord {
        let (mut from, mut to) = (Definitions::new(), Definitions::new());
        let mut mixed = BTreeSet::new();
        let mut changes = BTreeMap::new();
        for (id, definition) in after {
            let app = self.apps.entry(id.clone()).or_default();
            let before = app.current.take();
            changes.insert(
                id.clone(),
                (before.as_ref().map(|it| it.version), definition.as_ref().map(|it| it.version)),
            );
            if let Some(before) = before {
                from.insert(id.clone(), before);
            }
            app.current = definition.clone();
            let Some(definition) = definition else { continue };
            app.versions.insert(definition.version, Arc::clone(&definition));
            self.gate.put(Record::App(Arc::clone(&definition)));
            if app.is_mixed(&definition) {
                mixed.insert(id.clone());
            }
            to.insert(id, definition);
        }
        // What the cancelled deployments had begun with other apps is brought to its end, too.
        for id in self.half_done(cancelled) {
            let Some(app) = self.apps.get(&id).filter(|_| !changes.contains_key(&id)) else { continue };
            let Some(current) = &app.current else { continue };
            changes.insert(id.clone(), (Some(current.version), Some(current.version)));
            from.insert(id.clone(), Arc::clone(current));
            to.insert(id.clone(), Arc::clone(current));
            mixed.insert(id);
        }
        let record = DeploymentRecord {
            id: result.deployment_id.clone(),
            version: result.version,
            plan: plan::plan(&from, &to, &mixed),
            step: 0,
            changes,
        };
        if !record.plan.steps.is_empty() {
            self.gate.put(Record::Deployment(record.clone()));
        }
        for (id, (_, after)) in &record.changes {
            match after {
                Some(version) => self.gate.put(Record::Current { id: id.clone(), version: *version }),
                None => self.gate.delete(Key::Current(id.clone())),
            }
            self.drop_old_versions(id, &record);
        }
        record
    }

    /// The apps of these deployments of which several configurations run.
    fn half_done(&self, deployments: &BTreeSet<String>) -> Vec<AppId> {
        let records = deployments.iter().filter_map(|id| self.deployments.get(id));
        let apps = records.flat_map(|deployment| deployment.record.changes.keys());
        let is_mixed = |id: &&AppId| {
            self.apps
                .get(*id)
                .is_some_and(|app| app.current.as_ref().is_some_and(|current| app.is_mixed(current)))
        };
        apps.filter(is_mixed).cloned().collect()
    }

    /// Keeps the newest versions, and those that something still refers to.
    fn drop_old_versions(&mut self, id: &AppId, deployment: &DeploymentRecord) {
        let max = self.config.max_versions;
        let Some(app) = self.apps.get_mut(id) else { return };
        let used: BTreeSet<Wall> = app
            .instances
            .values()
            .map(|instance| instance.version)
            .chain(app.current.iter().map(|current| current.version))
            .chain(deployment.changes.get(id).and_then(|(before, _)| *before))
            .collect();
        let surplus = app.versions.len().saturating_sub(max);
        let dropped: Vec<Wall> =
            app.versions.keys().take(surplus).filter(|version| !used.contains(version)).copied().collect();
        for version in dropped {
            app.versions.remove(&version);
            self.gate.delete(Key::App(id.clone(), version));
        }
    }
}

/// The service ports that no app has.
///
/// Marathon: `AssignDynamicServiceLogic`.
struct ServicePorts {
    used: BTreeSet<u16>,
    range: std::ops::RangeInclusive<u16>,
}

impl ServicePorts {
    fn in_use(marathon: &Marathon) -> ServicePorts {
        let current = marathon.apps.values().filter_map(|app| app.current.as_ref());
        let used = current.flat_map(|app| app.service_ports().collect::<Vec<_>>()).collect();
        ServicePorts { used, range: marathon.config.service_ports.clone() }
    }

    /// Replaces every 0 by a port of its own; those that the app had before are given to it again.
    fn assign(&mut self, app: &mut AppDefinition, before: Option<&AppDefinition>) -> Result<(), Refusal> {
        if app.service_ports().all(|port| port != 0) {
            return Ok(());
        }
        let asked: BTreeSet<u16> = app.service_ports().collect();
        let had: Vec<u16> = before
            .into_iter()
            .flat_map(|before| before.service_ports())
            .filter(|port| self.range.contains(port) && !asked.contains(port))
            .collect();
        let mut had = had.into_iter();
        for service_port in app.service_ports_mut().filter(|port| **port == 0) {
            let port = had.next().or_else(|| {
                let free =
                    self.range.clone().find(|port| !self.used.contains(port) && !asked.contains(port))?;
                self.used.insert(free);
                Some(free)
            });
            *service_port = port.ok_or(Refusal::NoServicePorts)?;
        }
        Ok(())
    }
}
