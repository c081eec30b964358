//! `GET /v2/groups`: apps as a tree. Groups exist as long as there are apps in them, and cannot be changed here yet.

use std::collections::BTreeSet;

use api_marathon::{ApiError, AppId, AppInfo};
use http_kit::target::Query;
use serde::Serialize;

use super::embed::Embed;
use super::{Api, Outcome};
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
    /// The group and all below it. Marathon: `GroupsResource.group`.
    pub(super) async fn group(&self, id: &str, query: &Query) -> Outcome {
        let wanted: Vec<&str> = query.all("embed").collect();
        let has = |part: &str| wanted.is_empty() || wanted.iter().any(|embed| embed.starts_with(part));
        let parts = Parts { apps: has("group.apps"), groups: has("group.groups"), app: Embed::of(query) };
        let id = AppId::new(id);
        self.read_json(move |view| {
            let exists = id.is_root() || view.core.apps().any(|app| app.id != id && app.id.is_within(&id));
            if !exists {
                return Err(ApiError::unknown_group(id));
            }
            Ok(group(view, id, parts))
        })
        .await
    }
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
