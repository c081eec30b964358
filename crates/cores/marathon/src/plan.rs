use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_marathon::{ActionName, AppDefinition, AppId, DeploymentStep};
use serde::{Deserialize, Serialize};

/// One thing to do to one app.
pub type Action = api_marathon::Action;

/// What a deployment does: steps one after the other, the actions of a step at the same time.
///
/// Marathon: `DeploymentPlan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<DeploymentStep>,
}

/// The definitions of the apps that change, before or after.
pub(crate) type Definitions = BTreeMap<AppId, Arc<AppDefinition>>;

/// The steps from `from` to `to`: what is gone is stopped, what is new is started, and then, what others depend on
/// first, everything is brought to its number of instances or exchanged. `mixed` are the apps of which instances of
/// several configurations run, left by a cancelled deployment: they are exchanged even if only their scale changes.
///
/// Marathon: `DeploymentPlan.apply`.
pub(crate) fn plan(from: &Definitions, to: &Definitions, mixed: &BTreeSet<AppId>) -> Plan {
    let mut steps = Vec::new();
    let mut push = |actions: Vec<Action>| {
        if !actions.is_empty() {
            steps.push(DeploymentStep { actions });
        }
    };
    let all = |apps: &Definitions, but: &Definitions, action| {
        apps.keys().filter(|id| !but.contains_key(id)).map(|id| Action { action, app: id.clone() }).collect()
    };
    push(all(from, to, ActionName::StopApplication));
    push(all(to, from, ActionName::StartApplication));

    let mut layers: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for (id, new) in to {
        let action = match from.get(id) {
            _ if new.instances > 0 && mixed.contains(id) => ActionName::RestartApplication,
            Some(old) if old.version == new.version => continue,
            _ if new.instances == 0 => ActionName::ScaleApplication,
            Some(old) if old.config_version() != new.config_version() => ActionName::RestartApplication,
            _ => ActionName::ScaleApplication,
        };
        layers.entry(depth(id, to, &mut Vec::new())).or_default().push(Action { action, app: id.clone() });
    }
    layers.into_values().for_each(push);
    Plan { steps }
}

/// Length of the longest chain of dependencies below an app, among the apps that change. A dependency on a group is
/// one on all its apps. Cycles, which validation refuses, are cut.
fn depth(id: &AppId, apps: &Definitions, above: &mut Vec<AppId>) -> usize {
    let Some(app) = apps.get(id) else { return 0 };
    above.push(id.clone());
    let deepest = apps
        .keys()
        .filter(|other| app.dependencies.iter().any(|on| other.is_within(on)) && !above.contains(other))
        .cloned()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|other| 1 + depth(&other, apps, above))
        .max()
        .unwrap_or(0);
    above.pop();
    deepest
}

#[cfg(test)]
mod tests {
    use api_marathon::VersionInfo;
    use base::Wall;

    use super::*;

    fn app(id: &str, version: u64, config: u64, instances: u32, on: &[&str]) -> (AppId, Arc<AppDefinition>) {
        let mut app = AppDefinition::empty(AppId::new(id), "*");
        (app.version, app.instances) = (Wall(version), instances);
        app.version_info =
            Some(VersionInfo { last_scaling_at: Wall(version), last_config_change_at: Wall(config) });
        app.dependencies = on.iter().map(AppId::new).collect();
        (app.id.clone(), Arc::new(app))
    }

    fn check<const F: usize, const T: usize>(
        from: [(AppId, Arc<AppDefinition>); F],
        to: [(AppId, Arc<AppDefinition>); T],
        mixed: &[&str],
        expect: &[&str],
    ) {
        let mixed = mixed.iter().map(AppId::new).collect();
        let plan = plan(&BTreeMap::from(from), &BTreeMap::from(to), &mixed);
        let text = |step: &DeploymentStep| {
            let names =
                step.actions.iter().map(|a| format!("{:?} {}", a.action, a.app).replace("Application", ""));
            names.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(plan.steps.iter().map(text).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn one_app() {
        check([], [app("/a", 1, 1, 3, &[])], &[], &["Start /a", "Scale /a"]);
        check([app("/a", 1, 1, 3, &[])], [], &[], &["Stop /a"]);
        check([app("/a", 1, 1, 3, &[])], [app("/a", 2, 1, 5, &[])], &[], &["Scale /a"]);
        check([app("/a", 1, 1, 3, &[])], [app("/a", 2, 2, 3, &[])], &[], &["Restart /a"]);
        check([app("/a", 1, 1, 3, &[])], [app("/a", 2, 2, 0, &[])], &[], &["Scale /a"]);
        check([app("/a", 1, 1, 3, &[])], [app("/a", 1, 1, 3, &[])], &[], &[]);
        check([app("/a", 1, 1, 3, &[])], [app("/a", 2, 1, 5, &[])], &["/a"], &["Restart /a"]);
    }

    #[test]
    fn what_others_depend_on_comes_first() {
        let to = [
            app("/db", 1, 1, 1, &[]),
            app("/shop/ui", 1, 1, 1, &["/db", "/shop/api"]),
            app("/shop/api", 1, 1, 1, &["/db"]),
        ];
        check(
            [],
            to,
            &[],
            &["Start /db, Start /shop/api, Start /shop/ui", "Scale /db", "Scale /shop/api", "Scale /shop/ui"],
        );
        let on_group = [app("/x", 1, 1, 1, &["/g"]), app("/g/a", 1, 1, 1, &[]), app("/g/b", 1, 1, 1, &[])];
        check([], on_group, &[], &["Start /g/a, Start /g/b, Start /x", "Scale /g/a, Scale /g/b", "Scale /x"]);
        let cycle = [app("/a", 1, 1, 1, &["/b"]), app("/b", 1, 1, 1, &["/a"])];
        check([], cycle, &[], &["Start /a, Start /b", "Scale /a, Scale /b"]);
    }
}
