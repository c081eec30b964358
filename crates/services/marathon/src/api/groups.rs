//! `/v2/groups`: apps as a tree. Groups exist as long as there are apps in them; what is said of a group is said of its
//! apps.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_marathon::{ApiError, AppDefinition, AppId, AppInfo, GroupChange, GroupContext, GroupUpdate};
use http_kit::target::Query;
use http_kit::{HeaderValue, Method, Peer, Request, StatusCode, header};
use marathon_core::Command;
use serde::Serialize;

use super::apps::{fit, one_deployment};
use super::embed::Embed;
use super::request::{caller, flag, json_body};
use super::{Api, Outcome, Target, deployed, deployment_of};
use crate::event_loop::View;

/// Marathon: RAML type `GroupInfo`.
#[derive(Serialize)]
struct Group {
    id: AppId,
    apps: Vec<AppInfo>,
    /// Always empty until there are pods.
    pods: [(); 0],
    groups: Vec<Group>,
    /// Dependencies are the apps' own.
    dependencies: [(); 0],
    version: String,
}

/// Which parts of groups are shown.
#[derive(Clone, Copy)]
struct Parts {
    apps: bool,
    groups: bool,
    app: Embed,
}

impl Api {
    pub(super) async fn groups(&self, at: Target<'_>, id: &str, request: Request, peer: Peer) -> Outcome {
        match *at.method {
            Method::GET => self.group(id, at.query).await,
            Method::POST => self.create_group(id, at.query, request, peer).await,
            Method::PUT => self.put_group(id, at.query, request, peer).await,
            Method::DELETE => self.delete_group(id, at.query).await,
            _ => at.not_allowed(&[Method::GET, Method::POST, Method::PUT, Method::DELETE]),
        }
    }

    /// Marathon: `GroupsResource.createWithPath`.
    async fn create_group(&self, id: &str, query: &Query, request: Request, peer: Peer) -> Outcome {
        let force = flag(query, "force", false)?;
        let caller = Some(caller(&request, &peer));
        let update = GroupUpdate::parse(&json_body(request).await?)?;
        let (settings, id) = (self.settings.clone(), update.id(&AppId::new(id)));
        let location = format!("/v2/groups{id}");
        let decide = move |view: &View<'_>| {
            if exists(view, &id) {
                let why = format!("Group {id} is already created. Use PUT to change this group.");
                return Err(ApiError::message(409, why));
            }
            if view.core.app(&id).is_some() {
                return Err(ApiError::message(409, format!("An app with the path {id} already exists.")));
            }
            if !update.has_apps() {
                let why = "a group is there as long as it has apps: found none, at least one is needed";
                return Err(ApiError::message(422, why));
            }
            regroup(view, |context| update.resolve(&id, context), &settings, force, caller)
        };
        let deployment = deployment_of(self.change(Box::new(decide)).await?)?;
        let mut response = deployed(StatusCode::CREATED, &deployment);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    /// Marathon: `GroupsResource.update`.
    async fn put_group(&self, id: &str, query: &Query, request: Request, peer: Peer) -> Outcome {
        let force = flag(query, "force", false)?;
        if flag(query, "dryRun", false)? {
            let why =
                "query parameter 'dryRun': found 'true', which is not supported yet; supported is 'false'";
            return Err(ApiError::message(422, why));
        }
        let caller = Some(caller(&request, &peer));
        let update = GroupUpdate::parse(&json_body(request).await?)?;
        let (settings, id) = (self.settings.clone(), update.id(&AppId::new(id)));
        let decide = move |view: &View<'_>| {
            regroup(view, |context| update.resolve(&id, context), &settings, force, caller)
        };
        Ok(deployed(StatusCode::OK, &deployment_of(self.change(Box::new(decide)).await?)?))
    }

    /// Marathon: `GroupsResource.delete`.
    async fn delete_group(&self, id: &str, query: &Query) -> Outcome {
        let (id, force) = (AppId::new(id), flag(query, "force", false)?);
        let decide = move |view: &View<'_>| {
            if !exists(view, &id) {
                return Err(ApiError::unknown_group(&id));
            }
            let all = view.core.apps().map(|app| app.id.clone());
            let ids: Vec<AppId> = all.filter(|app| app.is_within(&id)).collect();
            one_deployment(ids.iter())?;
            Ok(Command::Delete { ids, force })
        };
        Ok(deployed(StatusCode::OK, &deployment_of(self.change(Box::new(decide)).await?)?))
    }

    /// The group and all below it. Marathon: `GroupsResource.group`.
    pub(super) async fn group(&self, id: &str, query: &Query) -> Outcome {
        let wanted: Vec<&str> = query.all("embed").collect();
        let has = |part: &str| wanted.is_empty() || wanted.iter().any(|embed| embed.starts_with(part));
        let parts = Parts { apps: has("group.apps"), groups: has("group.groups"), app: Embed::of(query) };
        let id = AppId::new(id);
        self.read_json(move |view| {
            if !exists(view, &id) {
                return Err(ApiError::unknown_group(id));
            }
            Ok(group(view, id, parts))
        })
        .await
    }
}

/// Whether there are apps in the group; the root is always there.
fn exists(view: &View<'_>, id: &AppId) -> bool {
    id.is_root() || view.core.apps().any(|app| app.id != *id && app.id.is_within(id))
}

/// The command for a change of groups, if what comes of it may be.
fn regroup(
    view: &View<'_>,
    resolve: impl FnOnce(GroupContext<'_>) -> Result<GroupChange, ApiError>,
    settings: &api_marathon::Settings,
    force: bool,
    caller: Option<marathon_core::Caller>,
) -> Result<Command, ApiError> {
    let apps: Vec<Arc<AppDefinition>> = view.core.apps().collect();
    let GroupChange { apps, gone } = resolve(GroupContext { apps: &apps, settings, now: view.now.wall })?;
    one_deployment(apps.iter().map(|app| &app.id).chain(&gone))?;
    fit(view, &apps, &gone)?;
    Ok(Command::Regroup { apps, gone, force, caller })
}

fn group(view: &View<'_>, id: AppId, parts: Parts) -> Group {
    let below = || view.core.apps().filter(|app| app.id != id && app.id.is_within(&id));
    let own = below().filter(|app| parts.apps && app.id.parent() == id);
    let apps = own.map(|app| parts.app.app(view, app)).collect();
    let child = |app: &AppId| -> Option<AppId> {
        let depth = id.segments().count();
        app.segments().nth(depth + 1).and_then(|_| app.segments().nth(depth)).map(|segment| id.join(segment))
    };
    let children: BTreeSet<AppId> =
        if parts.groups { below().filter_map(|app| child(&app.id)).collect() } else { BTreeSet::new() };
    let version = below().map(|app| app.version).max().unwrap_or_default();
    Group {
        apps,
        pods: [],
        groups: children.into_iter().map(|child| group(view, child, parts)).collect(),
        dependencies: [],
        version: version.to_iso8601(),
        id,
    }
}
