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

    let depths = depths(to);
    let mut layers: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for (id, new) in to {
        let action = match from.get(id) {
            _ if new.instances > 0 && mixed.contains(id) => ActionName::RestartApplication,
            Some(old) if old.version == new.version => continue,
            _ if new.instances == 0 => ActionName::ScaleApplication,
            Some(old) if old.config_version() != new.config_version() => ActionName::RestartApplication,
            _ => ActionName::ScaleApplication,
        };
        layers.entry(depths[id]).or_default().push(Action { action, app: id.clone() });
    }
    layers.into_values().for_each(push);
    Plan { steps }
}

/// For each of `apps` the length of the longest chain of dependencies below it, among them. A dependency on a group is
/// one on all its apps. Cycles, which validation refuses, are cut.
fn depths(apps: &Definitions) -> BTreeMap<&AppId, usize> {
    let below = |id: &AppId, app: &AppDefinition| -> Vec<&AppId> {
        let needs = |other: &&AppId| *other != id && app.dependencies.iter().any(|on| other.is_within(on));
        apps.keys().filter(needs).collect()
    };
    let below: Vec<(&AppId, Vec<&AppId>)> = apps.iter().map(|(id, app)| (id, below(id, app))).collect();
    let mut depths: BTreeMap<&AppId, usize> = apps.keys().map(|id| (id, 0)).collect();
    // Following every chain from its end would take exponential time; a round more for every link of the longest
    // chain does not.
    for _ in 0..apps.len() {
        let mut settled = true;
        for (id, below) in &below {
            let depth = below.iter().map(|other| depths[other] + 1).max().unwrap_or(0).min(apps.len());
            settled &= depths.insert(id, depth) == Some(depth);
        }
        if settled {
            break;
        }
    }
    depths
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

    #[test]
    fn many_ways_through_the_dependencies_take_no_longer() {
        let group = |layer: usize| format!("/l{layer:02}");
        let on = |layer: usize| if layer == 0 { Vec::new() } else { vec![AppId::new(group(layer - 1))] };
        let mut to = Definitions::new();
        for (layer, n) in (0..30).flat_map(|layer| (0..4).map(move |n| (layer, n))) {
            let (id, mut definition) = app(&format!("{}/{n}", group(layer)), 1, 1, 1, &[]);
            Arc::make_mut(&mut definition).dependencies = on(layer).into_iter().collect();
            to.insert(id, definition);
        }
        let plan = plan(&Definitions::new(), &to, &BTreeSet::new());
        assert_eq!(plan.steps.len(), 31, "all are started, and then one layer after the other is scaled");
        assert!(plan.steps[1..].iter().all(|step| step.actions.len() == 4));
    }
}
