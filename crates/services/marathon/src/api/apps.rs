//! `/v2/apps` and below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api_marathon::{
    ApiError, AppDefinition, AppId, AppInfo, AppList, AppSingle, AppUpdate, AppsOfGroup, Counts,
    DeploymentResult, Detail, Identifiable, VersionList,
};
use base::Wall;
use http_kit::target::Query;
use http_kit::{HeaderValue, Method, Peer, Request, Response, StatusCode, header, respond};
use marathon_core::{Answer, Command};

use super::embed::Embed;
use super::request::{caller, flag, json_body};
use super::selector::LabelSelector;
use super::{Api, Outcome, Target, deployed, deployment_of, name_deployment};
use crate::event_loop::View;

impl Api {
    /// Routes by what stands behind `/v2/apps`. Ids have slashes, so the words behind them are looked for at the end.
    pub(super) async fn apps(&self, at: Target<'_>, path: &[&str], request: Request, peer: Peer) -> Outcome {
        let query = at.query;
        match (at.method, path) {
            (&Method::GET, []) => self.list_apps(query).await,
            (&Method::POST, []) => self.create_app(query, request, peer).await,
            (&Method::PUT, []) => self.put_apps(query, request, peer, true).await,
            (&Method::PATCH, []) => self.put_apps(query, request, peer, false).await,
            (_, []) => at.not_allowed(&[Method::GET, Method::POST, Method::PUT, Method::PATCH]),
            (&Method::POST, [id @ .., "restart"]) if !id.is_empty() => {
                self.restart_app(&id.join("/"), query).await
            }
            (_, [id @ .., "versions"]) if !id.is_empty() => at.get(self.versions(&id.join("/"))).await,
            (_, [id @ .., "versions", version]) if !id.is_empty() => {
                at.get(self.version(&id.join("/"), version)).await
            }
            (&Method::GET, [id @ .., "tasks"]) if !id.is_empty() => {
                self.app_tasks(&id.join("/"), &request).await
            }
            (&Method::DELETE, [id @ .., "tasks"]) if !id.is_empty() => {
                self.delete_app_tasks(&id.join("/"), query).await
            }
            (_, [id @ .., "tasks"]) if !id.is_empty() => at.not_allowed(&[Method::GET, Method::DELETE]),
            (_, [id @ .., "tasks", task]) if !id.is_empty() => {
                at.of(Method::DELETE, self.delete_app_task(&id.join("/"), task, query)).await
            }
            (&Method::GET, [group @ .., "*"]) => self.list_group(&group.join("/"), query).await,
            (&Method::GET, id) => self.show_app(&id.join("/"), query).await,
            (&Method::PUT, id) => self.put_app(&id.join("/"), query, request, peer, true).await,
            (&Method::PATCH, id) => self.put_app(&id.join("/"), query, request, peer, false).await,
            (&Method::DELETE, id) => self.delete_app(&id.join("/"), query).await,
            _ => at.not_allowed(&[Method::GET, Method::PUT, Method::PATCH, Method::DELETE]),
        }
    }

    /// Marathon: `AppsResource.index`.
    async fn list_apps(&self, query: &Query) -> Outcome {
        let embed = Embed { counts: true, deployments: true, ..Embed::of(query) };
        let lower = |name| query.get(name).map(str::to_lowercase);
        let (cmd, id) = (lower("cmd"), lower("id"));
        let labels = query.get("label").map(|text| {
            LabelSelector::parse(text).map_err(|reason| {
                ApiError::message(422, format!("Can not parse label selector {text}. Reason: {reason}"))
            })
        });
        let labels = labels.transpose()?;
        self.read_json(move |view| {
            let has = |text: &str, part: &Option<String>| {
                part.as_ref().is_none_or(|part| text.to_lowercase().contains(part.as_str()))
            };
            let wanted = |app: &Arc<AppDefinition>| {
                has(app.cmd.as_deref().unwrap_or(""), &cmd)
                    && has(app.id.as_str(), &id)
                    && labels.as_ref().is_none_or(|selector| selector.matches(&app.labels))
            };
            Ok(AppList { apps: view.core.apps().filter(wanted).map(|app| embed.app(view, app)).collect() })
        })
        .await
    }

    /// `/v2/apps/{group}/*`: the apps below a group.
    async fn list_group(&self, group: &str, query: &Query) -> Outcome {
        let embed = Embed::of(query).of_one_app();
        let group = AppId::new(group);
        self.read_json(move |view| {
            let within = |app: &Arc<AppDefinition>| app.id.is_within(&group) && app.id != group;
            let apps: Vec<AppInfo> =
                view.core.apps().filter(within).map(|app| embed.app(view, app)).collect();
            if apps.is_empty() && !group.is_root() {
                return Err(ApiError::unknown_group(&group));
            }
            Ok(AppsOfGroup { apps })
        })
        .await
    }

    async fn show_app(&self, id: &str, query: &Query) -> Outcome {
        let embed = Embed::of(query).of_one_app();
        let id = AppId::new(id);
        self.read_json(move |view| {
            let app = known(view, &id)?;
            Ok(AppSingle { app: embed.app(view, app) })
        })
        .await
    }

    async fn create_app(&self, query: &Query, request: Request, peer: Peer) -> Outcome {
        let force = flag(query, "force", false)?;
        let caller = Some(caller(&request, &peer));
        let update = AppUpdate::parse(&json_body(request).await?)?;
        let settings = self.settings.clone();
        let decide = move |view: &View<'_>| {
            let app = update.create(None, &settings, view.now.wall)?;
            if view.core.app(&app.id).is_some() {
                return Err(ApiError::app_exists(&app.id));
            }
            fit(view, std::slice::from_ref(&app), &BTreeSet::new())?;
            Ok(Command::Create { app: Box::new(app), force, caller })
        };
        match self.change(Box::new(decide)).await? {
            Answer::Deployed { deployment, apps } => match apps.into_iter().next() {
                Some(app) => Ok(created(&deployment, app)),
                None => Ok(deployed(StatusCode::CREATED, &deployment)),
            },
            answer => Ok(deployed(StatusCode::CREATED, &deployment_of(answer)?)),
        }
    }

    /// `PUT` (which may create) and `PATCH` of one app.
    ///
    /// Marathon: `AppsResource.update`.
    async fn put_app(
        &self,
        id: &str,
        query: &Query,
        request: Request,
        peer: Peer,
        may_create: bool,
    ) -> Outcome {
        let force = flag(query, "force", false)?;
        let is_partial = !may_create || flag(query, "partialUpdate", true)?;
        let caller = Some(caller(&request, &peer));
        let update = AppUpdate::parse(&json_body(request).await?)?;
        let (settings, id) = (self.settings.clone(), AppId::new(id));
        let location = id.clone();
        let is_new = Arc::new(AtomicBool::new(false));
        let tell_new = Arc::clone(&is_new);
        let decide = move |view: &View<'_>| {
            let current = view.core.app(&id);
            tell_new.store(current.is_none(), Ordering::Relaxed);
            let app = match current {
                Some(current) if is_partial => match update.rollback_to()? {
                    Some(version) => return Ok(Command::Rollback { id, version, force }),
                    None => update.apply(&current, &settings)?,
                },
                Some(current) => update.replace(&current, &settings)?,
                None if may_create => update.create(Some(id), &settings, view.now.wall)?,
                None => return Err(ApiError::unknown_app(&id)),
            };
            let apps = vec![app];
            fit(view, &apps, &BTreeSet::new())?;
            Ok(Command::Put { apps, force, caller })
        };
        let deployment = deployment_of(self.change(Box::new(decide)).await?)?;
        if !is_new.load(Ordering::Relaxed) {
            return Ok(deployed(StatusCode::OK, &deployment));
        }
        let mut response = deployed(StatusCode::CREATED, &deployment);
        locate(&mut response, &location);
        Ok(response)
    }

    /// `PUT` and `PATCH` of many apps, in one deployment.
    async fn put_apps(&self, query: &Query, request: Request, peer: Peer, may_create: bool) -> Outcome {
        let force = flag(query, "force", false)?;
        let is_partial = !may_create || flag(query, "partialUpdate", true)?;
        let caller = Some(caller(&request, &peer));
        let updates = AppUpdate::parse_all(&json_body(request).await?)?;
        let settings = self.settings.clone();
        let decide = move |view: &View<'_>| {
            let mut apps: Vec<AppDefinition> = Vec::with_capacity(updates.len());
            for update in &updates {
                let Some(id) = update.id() else { continue };
                // A later entry for the same app changes what the earlier made of it.
                let earlier =
                    apps.iter().position(|app| app.id == id).map(|index| Arc::new(apps.remove(index)));
                let app = match earlier.or_else(|| view.core.app(&id)) {
                    Some(current) if is_partial => match update.rollback_to()? {
                        Some(version) => {
                            let old = view.core.version(&id, version);
                            (*old.ok_or_else(|| ApiError::unknown_version(&id, version))?).clone()
                        }
                        None => update.apply(&current, &settings)?,
                    },
                    Some(current) => update.replace(&current, &settings)?,
                    None if may_create => update.create(None, &settings, view.now.wall)?,
                    None => return Err(ApiError::unknown_app(&id)),
                };
                apps.push(app);
            }
            one_deployment(apps.iter().map(|app| &app.id))?;
            fit(view, &apps, &BTreeSet::new())?;
            Ok(Command::Put { apps, force, caller })
        };
        Ok(deployed(StatusCode::OK, &deployment_of(self.change(Box::new(decide)).await?)?))
    }

    async fn delete_app(&self, id: &str, query: &Query) -> Outcome {
        // Marathon: unlike elsewhere, the default is true here.
        let (id, force) = (AppId::new(id), flag(query, "force", true)?);
        let decide = move |view: &View<'_>| {
            known(view, &id)?;
            Ok(Command::Delete { ids: vec![id], force })
        };
        Ok(deployed(StatusCode::OK, &deployment_of(self.change(Box::new(decide)).await?)?))
    }

    async fn restart_app(&self, id: &str, query: &Query) -> Outcome {
        let (id, force) = (AppId::new(id), flag(query, "force", false)?);
        let decide = move |view: &View<'_>| {
            known(view, &id)?;
            Ok(Command::Restart { id, force })
        };
        Ok(deployed(StatusCode::OK, &deployment_of(self.change(Box::new(decide)).await?)?))
    }

    async fn versions(&self, id: &str) -> Outcome {
        let id = AppId::new(id);
        self.read_json(move |view| {
            known(view, &id)?;
            Ok(VersionList { versions: view.core.versions(&id) })
        })
        .await
    }

    async fn version(&self, id: &str, version: &str) -> Outcome {
        let (id, text) = (AppId::new(id), version.to_owned());
        self.read_json(move |view| {
            let version = Wall::parse_iso8601(&text).and_then(|version| view.core.version(&id, version));
            version.ok_or_else(|| ApiError::unknown_version(&id, text))
        })
        .await
    }
}

impl Embed {
    /// What is always embedded into an app that is asked for by its id.
    ///
    /// Marathon: `AppsResource.show`.
    fn of_one_app(self) -> Embed {
        Embed { counts: true, tasks: true, last_task_failure: true, deployments: true, ..self }
    }
}

/// The wanted definition of an app.
pub(super) fn known(view: &View<'_>, id: &AppId) -> Result<Arc<AppDefinition>, ApiError> {
    view.core.app(id).ok_or_else(|| ApiError::unknown_app(id))
}

/// Whether a deployment of these apps is small enough to be recorded: it names each of them several times.
pub(super) fn one_deployment<'i>(ids: impl Iterator<Item = &'i AppId>) -> Result<(), ApiError> {
    const MAX_BYTES: usize = 60_000;
    let bytes: usize = ids.map(|id| 3 * id.as_str().len() + 250).sum();
    if bytes > MAX_BYTES {
        let message =
            "Too many apps for one deployment: allowed are about 150 at a time, fewer if their ids are long";
        return Err(ApiError::message(422, message));
    }
    Ok(())
}

/// Whether these apps, made or changed together, may stand among the others, without those that are gone then.
///
/// Marathon: `Group.noAppsAndGroupsWithSameName`, `RootGroup.noCyclicDependencies`.
pub(super) fn fit(
    view: &View<'_>,
    changed: &[AppDefinition],
    gone: &BTreeSet<AppId>,
) -> Result<(), ApiError> {
    let mut dependencies: BTreeMap<AppId, BTreeSet<AppId>> = view
        .core
        .apps()
        .filter(|app| !gone.contains(&app.id))
        .map(|app| (app.id.clone(), app.dependencies.clone()))
        .collect();
    dependencies.extend(changed.iter().map(|app| (app.id.clone(), app.dependencies.clone())));
    let mut problems = Vec::new();
    let clashes = |id: &AppId, other: &AppId| id != other && (other.is_within(id) || id.is_within(other));
    if changed.iter().any(|app| dependencies.keys().any(|other| clashes(&app.id, other))) {
        problems.push("Groups and Applications may not have the same identifier.".to_owned());
    }
    if changed.iter().any(|app| depends_on_itself(&app.id, &dependencies)) {
        problems.push("Dependency graph has cyclic dependencies.".to_owned());
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_object(vec![Detail { path: "/".to_owned(), errors: problems, explanation: None }]))
}

/// Follows dependencies, of which one on a group is one on all its apps.
fn depends_on_itself(id: &AppId, dependencies: &BTreeMap<AppId, BTreeSet<AppId>>) -> bool {
    let mut to_see: Vec<&AppId> = dependencies.get(id).into_iter().flatten().collect();
    let mut seen = BTreeSet::new();
    let mut followed = BTreeSet::new();
    while let Some(on) = to_see.pop() {
        if id.is_within(on) {
            return true;
        }
        if !followed.insert(on) {
            continue;
        }
        for (other, its) in dependencies.iter().filter(|(other, _)| other.is_within(on)) {
            if seen.insert(other) {
                to_see.extend(its);
            }
        }
    }
    false
}

/// 201 with the app, as it is before any task runs.
fn created(deployment: &DeploymentResult, app: Arc<AppDefinition>) -> Response {
    let id = app.id.clone();
    let info = AppInfo {
        app,
        counts: Some(Counts::default()),
        deployments: Some(vec![Identifiable { id: deployment.deployment_id.clone() }]),
        tasks: None,
        last_task_failure: None,
        tasks_stats: None,
    };
    let mut response = respond::json(StatusCode::CREATED, &info);
    name_deployment(&mut response, deployment);
    locate(&mut response, &id);
    response
}

/// Marathon: the id itself, which Jersey makes absolute.
fn locate(response: &mut Response, id: &AppId) {
    if let Ok(location) = HeaderValue::from_str(&format!("/v2/apps{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}
