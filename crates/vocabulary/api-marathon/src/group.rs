use std::collections::BTreeSet;
use std::sync::Arc;

use base::Wall;
use serde_json::Value;

use crate::app::AppDefinition;
use crate::error::{ApiError, Detail, Details};
use crate::id::AppId;
use crate::problems::Problems;
use crate::read::{At, Reader};
use crate::reference::{Field, Kind};
use crate::request::{path_id, read_app};
use crate::update::{AppUpdate, Settings};
use crate::validate;

/// Groups within groups; more are no design but a mistake.
const MAX_DEPTH: usize = 32;

/// The body of a `POST` or `PUT` of a group: the apps that there shall be in it.
///
/// Marathon: RAML type `GroupUpdate`. Groups hold nothing but apps here: what a group depends on, its apps depend on.
#[derive(Clone, Debug, Default)]
pub struct GroupUpdate {
    path: String,
    id: Option<String>,
    apps: Option<Vec<(String, AppUpdate)>>,
    groups: Option<Vec<GroupUpdate>>,
    dependencies: Vec<String>,
    scale_by: Option<f64>,
}

/// What becomes of the apps of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupChange {
    /// Apps as they shall be.
    pub apps: Vec<AppDefinition>,
    /// Apps that shall be gone.
    pub gone: BTreeSet<AppId>,
}

/// What is known when a group is changed.
#[derive(Clone, Copy, Debug)]
pub struct GroupContext<'a> {
    /// Every app there is.
    pub apps: &'a [Arc<AppDefinition>],
    /// What Marathon is set to.
    pub settings: &'a Settings,
    /// The version of new apps.
    pub now: Wall,
}

impl GroupUpdate {
    /// Reads the body of a request for one group.
    pub fn parse(body: &[u8]) -> Result<GroupUpdate, ApiError> {
        let json: Value =
            serde_json::from_slice(body).map_err(|error| ApiError::no_json(body, error.to_string()))?;
        let mut reader = Reader::default();
        let update = read_group(&mut reader, &At::root(&json), 0);
        reader.problems.or(update, ApiError::invalid_json)
    }

    /// The group that is meant: that of the URL, or one below it.
    pub fn id(&self, of_url: &AppId) -> AppId {
        self.id.as_deref().map_or_else(|| of_url.clone(), |id| of_url.join(id))
    }

    /// Whether this says anything about apps, here or below.
    pub fn has_apps(&self) -> bool {
        self.apps.as_ref().is_some_and(|apps| !apps.is_empty())
            || self.groups.iter().flatten().any(GroupUpdate::has_apps)
    }

    /// What becomes of the apps of the group `id`. What is said of apps replaces those of the group, and what is said of
    /// groups replaces those; what is not said stays. Every problem of every app is told at once.
    ///
    /// Marathon: `GroupConversion`.
    pub fn resolve(&self, id: &AppId, context: GroupContext<'_>) -> Result<GroupChange, ApiError> {
        if let Some(factor) = self.scale_by {
            return self.scale(id, factor, context);
        }
        let mut change = GroupChange::default();
        let mut problems = Problems::default();
        self.visit(id, &BTreeSet::new(), context, &mut change, &mut problems);
        let named: BTreeSet<&AppId> = change.apps.iter().map(|app| &app.id).collect();
        problems.check(named.len() == change.apps.len(), "/", "apps must be unique");
        problems.or(Some(change), ApiError::invalid_object)
    }

    /// Marathon: `GroupsService.updateGroup`.
    fn scale(&self, id: &AppId, factor: f64, context: GroupContext<'_>) -> Result<GroupChange, ApiError> {
        if self.apps.is_some() || self.groups.is_some() || !self.dependencies.is_empty() {
            let error = ApiError::message(422, "The 'scaleBy' field may not be combined with other fields.");
            return Err(error);
        }
        let most = match Field::at("/instances").map(|field| field.kind) {
            Some(Kind::Whole(_, most)) => most as f64,
            _ => f64::from(u32::MAX),
        };
        let within = context.apps.iter().filter(|app| app.id.is_within(id) && app.id != *id);
        let mut problems = Problems::default();
        let mut change = GroupChange::default();
        for app in within {
            let instances = (f64::from(app.instances) * factor).ceil();
            if instances > most {
                let why = format!("{} would have {instances} instances, allowed are {most}", app.id);
                return Err(ApiError::message(422, why));
            }
            let scaled = AppDefinition { instances: instances as u32, ..(**app).clone() };
            if let Err(error) = validate::in_group(&scaled) {
                add_problems(&mut problems, app.id.as_str(), error);
            }
            change.apps.push(scaled);
        }
        problems.or(Some(change), ApiError::invalid_object)
    }

    fn visit(
        &self,
        id: &AppId,
        outer: &BTreeSet<AppId>,
        context: GroupContext<'_>,
        change: &mut GroupChange,
        problems: &mut Problems,
    ) {
        let mut dependencies = outer.clone();
        dependencies.extend(self.dependencies.iter().map(|on| id.parent().join(on)));
        let below = || context.apps.iter().map(|app| &app.id).filter(|app| app.is_within(id) && *app != id);
        if let Some(apps) = &self.apps {
            let mut kept = BTreeSet::new();
            for (path, update) in apps {
                match app(id, update, &dependencies, context) {
                    Ok(app) => {
                        kept.insert(app.id.clone());
                        change.apps.push(app);
                    }
                    Err(error) => add_problems(problems, path, error),
                }
            }
            let own = below().filter(|app| app.parent() == *id && !kept.contains(app));
            change.gone.extend(own.cloned());
        }
        if let Some(groups) = &self.groups {
            let named: BTreeSet<AppId> = groups.iter().map(|group| group.id(id)).collect();
            for group in groups {
                let inner = group.id(id);
                let is_child = inner.is_within(id) && inner != *id;
                let why = format!("Identifier is not child of '{id}'");
                problems.check(is_child, format!("{}/id", group.path), why);
                group.visit(&inner, &dependencies, context, change, problems);
            }
            let of_others =
                below().filter(|app| app.parent() != *id && !named.iter().any(|group| app.is_within(group)));
            change.gone.extend(of_others.cloned());
        }
    }
}

/// One app of a group. Its dependencies are its own and those of the groups that it is in.
fn app(
    group: &AppId,
    update: &AppUpdate,
    dependencies: &BTreeSet<AppId>,
    context: GroupContext<'_>,
) -> Result<AppDefinition, ApiError> {
    let Some(id) = update.id.as_deref().map(|id| group.join(id)) else {
        return Err(ApiError::invalid_object(vec![Detail::new("/id", "error.path.missing")]));
    };
    if id.parent() != *group {
        let why = format!("Identifier is not child of '{group}'. Hint: use relative paths.");
        return Err(ApiError::invalid_object(vec![Detail::new("/id", why)]));
    }
    let mut app = match context.apps.iter().find(|app| app.id == id) {
        Some(current) => update.replace(current, context.settings)?,
        None => update.create(Some(id), context.settings, context.now)?,
    };
    app.dependencies.extend(dependencies.iter().cloned());
    validate::in_group(&app)?;
    Ok(app)
}

/// The problems of one app, at its place in the group.
fn add_problems(problems: &mut Problems, path: &str, error: ApiError) {
    match error.body.details {
        Some(Details::Fields(details)) => {
            for detail in details {
                let at = format!("{path}{}", if detail.path == "/" { "" } else { &detail.path });
                detail.errors.iter().for_each(|error| problems.add(&at, error));
            }
        }
        _ => problems.add(path, error.body.message),
    }
}

fn read_group(reader: &mut Reader, at: &At<'_>, depth: usize) -> Option<GroupUpdate> {
    reader.object(at)?;
    if depth > MAX_DEPTH {
        reader.problems.add(&at.path, format!("allowed are groups within groups to a depth of {MAX_DEPTH}"));
        return None;
    }
    let id = at.member("id").map_or(Some(None), |at| path_id(reader, &at).map(Some));
    let apps = at.member("apps").map_or(Some(None), |at| {
        let app = |reader: &mut Reader, at: &At<'_>| {
            reader.object(at)?;
            Some((at.path.clone(), read_app(reader, at)))
        };
        reader.list(&at, app).map(Some)
    });
    let groups = at
        .member("groups")
        .map_or(Some(None), |at| reader.list(&at, |reader, at| read_group(reader, at, depth + 1)).map(Some));
    let dependencies = at.member("dependencies").map_or(Some(Vec::new()), |at| reader.list(&at, path_id));
    let scale_by = at.member("scaleBy").map_or(Some(None), |at| reader.number(&at).map(Some));
    for name in ["pods", "enforceRole", "version"] {
        let Some(member) = at.member(name) else { continue };
        let why = match Field::at(&member.path).map(|field| field.kind) {
            Some(Kind::Refused(why)) => why,
            _ => "groups have no versions; supported is going back to a version of each app",
        };
        if !member.is_empty() && *member.value != false {
            reader.problems.add(&member.path, why);
        }
    }
    Some(GroupUpdate {
        path: at.path.clone(),
        id: id?,
        apps: apps?,
        groups: groups?,
        dependencies: dependencies?,
        scale_by: scale_by?,
    })
}
