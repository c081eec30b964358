//! `/v2/apps` and below.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_marathon::{
    ApiError, AppDefinition, AppId, AppInfo, AppList, AppSingle, AppUpdate, AppsOfGroup, Counts,
    DeploymentResult, Identifiable, VersionList,
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
            (_, []) => Err(at.not_allowed(&[Method::GET, Method::POST, Method::PUT, Method::PATCH])),
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
            (_, [id @ .., "tasks"]) if !id.is_empty() => Err(at.not_allowed(&[Method::GET, Method::DELETE])),
            (_, [id @ .., "tasks", task]) if !id.is_empty() => {
                at.of(Method::DELETE, self.delete_app_task(&id.join("/"), task, query)).await
            }
            (&Method::GET, [group @ .., "*"]) => self.list_group(&group.join("/"), query).await,
            (&Method::GET, id) => self.show_app(&id.join("/"), query).await,
            (&Method::PUT, id) => self.put_app(&id.join("/"), query, request, peer, true).await,
            (&Method::PATCH, id) => self.put_app(&id.join("/"), query, request, peer, false).await,
            (&Method::DELETE, id) => self.delete_app(&id.join("/"), query).await,
            _ => Err(at.not_allowed(&[Method::GET, Method::PUT, Method::PATCH, Method::DELETE])),
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
            fits(view, &app)?;
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
        let (existed, is_new) = std::sync::mpsc::sync_channel(1);
        let location = id.clone();
        let decide = move |view: &View<'_>| {
            let current = view.core.app(&id);
            // One message fits, and one is sent.
            let _ = existed.try_send(current.is_none());
            let app = match current {
                Some(current) if is_partial => match update.rollback_to()? {
                    Some(version) => return Ok(Command::Rollback { id, version, force }),
                    None => update.apply(&current, &settings)?,
                },
                Some(current) => update.replace(&current, &settings)?,
                None if may_create => update.create(Some(id), &settings, view.now.wall)?,
                None => return Err(ApiError::unknown_app(&id)),
            };
            fits(view, &app)?;
            Ok(Command::Put { apps: vec![app], force, caller })
        };
        let deployment = deployment_of(self.change(Box::new(decide)).await?)?;
        if !is_new.try_recv().unwrap_or(false) {
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
                fits(view, &app)?;
                apps.push(app);
            }
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

/// Whether an app may be where its id says: apps are no groups of other apps.
///
/// Marathon: `Group.noAppsAndGroupsWithSameName`, `RootGroup.noCyclicDependencies`.
fn fits(view: &View<'_>, app: &AppDefinition) -> Result<(), ApiError> {
    let clashes = |other: Arc<AppDefinition>| {
        other.id != app.id && (other.id.is_within(&app.id) || app.id.is_within(&other.id))
    };
    if view.core.apps().any(clashes) {
        return Err(invalid("Groups and Applications may not have the same identifier."));
    }
    if depends_on_itself(view, app) {
        return Err(invalid("Dependency graph has cyclic dependencies."));
    }
    Ok(())
}

fn invalid(error: &str) -> ApiError {
    ApiError::invalid_object(vec![api_marathon::Detail::new("/", error)])
}

/// Follows dependencies, of which one on a group is one on all its apps.
fn depends_on_itself(view: &View<'_>, app: &AppDefinition) -> bool {
    let mut to_see: Vec<AppId> = app.dependencies.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(on) = to_see.pop() {
        if app.id.is_within(&on) {
            return true;
        }
        for other in view.core.apps().filter(|other| other.id.is_within(&on) && other.id != app.id) {
            if seen.insert(other.id.clone()) {
                to_see.extend(other.dependencies.iter().cloned());
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
