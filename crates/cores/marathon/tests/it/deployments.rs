//! What users do, and what they are told.

use std::collections::BTreeSet;
use std::time::Duration;

use api_marathon::{ActionName, AppDefinition};
use marathon_core::{Answer, Caller, Command, Config, Refusal};

use crate::mesos::Mesos;
use crate::world::{World, app, checked, delete, id, put, task};

#[test]
fn an_app_is_created_scaled_and_deleted() {
    let mut world = World::new(2);
    world.told();
    let caller = Some(Caller { client_ip: "1.2.3.4".to_owned(), uri: "/v2/apps".to_owned() });
    let create = Command::Create { app: Box::new(app("/web", 1)), force: false, caller };
    let Some(Ok(Answer::Deployed { deployment, apps })) = world.command(create.clone()) else {
        panic!("refused")
    };
    assert_eq!(apps[0].version, deployment.version);
    assert_eq!(apps[0].service_ports().next(), Some(10_000), "a service port is given");
    let shown = world.marathon.deployments();
    assert_eq!((shown[0].current_step, shown[0].total_steps), (2, 2), "the start is done at once");
    assert_eq!(shown[0].current_actions[0].action, ActionName::ScaleApplication);
    assert_eq!(world.marathon.deployment_of(&id("/web")), Some(&*deployment.deployment_id));
    world.settle();
    assert_eq!(world.running("/web").len(), 1);
    assert!(world.marathon.deployments().is_empty());
    let told = [
        "api_post_event",
        "group_change_success",
        "deployment_info",
        "deployment_step_success",
        "deployment_info",
        "instance_changed_event",
        "instance_changed_event",
        "status_update_event",
        "instance_changed_event",
        "deployment_step_success",
        "deployment_success",
    ];
    let mut events = world.told();
    // the definition's answer is told before the instance is queued, or after: both are one input
    events.sort();
    let mut expect = told.to_vec();
    expect.sort();
    assert_eq!(events, expect);
    assert_eq!(world.refused(create), Refusal::AppExists(id("/web")));

    for instances in [50, 3, 0, 2] {
        world.put(app("/web", instances));
        world.settle();
        assert_eq!(world.running("/web").len(), instances as usize);
        assert!(world.marathon.deployments().is_empty(), "scaled to {instances}");
    }
    world.run(delete("/web"));
    assert!(world.marathon.app(&id("/web")).is_none(), "gone at once");
    world.settle();
    assert!(world.alive("/web").is_empty());
    assert!(world.told().contains(&"app_terminated_event"));
    assert_eq!(world.stored("apps") + world.stored("instances") + world.stored("deployments"), 0);
    assert_eq!(world.refused(delete("/web")), Refusal::UnknownApp(id("/web")));
}

#[test]
fn what_changes_nothing_deploys_nothing() {
    let mut world = World::new(1);
    world.put(app("/web", 2));
    world.settle();
    let (before, tasks) = (world.marathon.app(&id("/web")), world.running("/web"));
    world.told();
    world.put(app("/web", 2));
    assert_eq!(world.told(), ["group_change_success", "deployment_success"]);
    assert!(world.marathon.deployments().is_empty());
    assert_eq!(world.marathon.app(&id("/web")), before);
    assert_eq!(world.running("/web"), tasks);
}

#[test]
fn versions_say_what_changed() {
    let mut world = World::new(1);
    let mut versions = Vec::new();
    let mut check = |world: &mut World, scaled: usize, configured: usize| {
        world.settle();
        let app = world.marathon.app(&id("/web")).expect("the app");
        versions.push(app.version);
        let info = app.version_info.expect("version info");
        assert_eq!(info.last_scaling_at, versions[scaled]);
        assert_eq!(info.last_config_change_at, versions[configured]);
    };
    world.put(app("/web", 1));
    check(&mut world, 0, 0);
    let first = world.running("/web");
    world.put(app("/web", 2));
    check(&mut world, 1, 0);
    assert!(world.running("/web").contains(&first[0]), "scaling leaves tasks alone");
    let changed = AppDefinition { cmd: Some("other".to_owned()), ..app("/web", 2) };
    world.put(changed.clone());
    check(&mut world, 2, 2);
    assert!(!world.running("/web").contains(&first[0]));
    world.run(Command::Restart { id: id("/web"), force: false });
    check(&mut world, 2, 3);
    world.put(AppDefinition { instances: 3, ..changed });
    check(&mut world, 4, 3);
    let known = world.marathon.versions(&id("/web"));
    assert_eq!(known, versions.into_iter().rev().collect::<Vec<_>>());
    let rollback = Command::Rollback { id: id("/web"), version: known[4], force: false };
    world.run(rollback);
    world.settle();
    let app = world.marathon.app(&id("/web")).expect("the app");
    assert_eq!((app.instances, app.cmd.as_deref()), (1, Some("sleep 1000")));
    assert_eq!(world.running("/web").len(), 1);
}

#[test]
fn old_versions_are_dropped() {
    let config = Config { max_versions: 3, ..Config::default() };
    let mut world = World::with(Mesos::with_agents(1, 16.0), config);
    for instances in 1..10 {
        world.put(app("/web", instances));
        world.settle();
    }
    let versions = world.marathon.versions(&id("/web"));
    assert!(versions.len() <= 12, "{versions:?}");
    world.run(Command::Restart { id: id("/web"), force: false });
    world.settle();
    world.put(app("/web", 9));
    world.put(app("/web", 8));
    world.settle();
    // Those of running tasks, the last ones, and no others.
    assert!(world.marathon.versions(&id("/web")).len() <= 5);
    assert_eq!(world.stored("apps"), world.marathon.versions(&id("/web")).len() + 1);
}

#[test]
fn a_deployment_locks_its_apps_until_forced() {
    let mut world = World::new(1);
    let first = world.put(app("/web", 2));
    let locked = Refusal::Locked { apps: vec![id("/web")], deployments: vec![first.clone()] };
    assert_eq!(world.refused(put(app("/web", 5), false)), locked);
    assert_eq!(world.refused(delete("/web")), locked);
    world.put(app("/other", 1));
    world.told();
    let second = world.run(put(app("/web", 3), true));
    assert!(world.told().contains(&"deployment_failed"));
    assert_eq!(world.marathon.deployment_of(&id("/web")), Some(&*second));
    world.settle();
    assert_eq!(world.running("/web").len(), 3);
    assert_eq!(world.running("/other").len(), 1);
    assert_eq!(world.marathon.instances(&id("/web")).count(), 3);
}

#[test]
fn a_deployment_is_rolled_back() {
    let mut world = World::new(1);
    world.put(app("/web", 4));
    world.settle();
    let tasks = world.running("/web");
    // What cannot be placed never gets anywhere.
    let id_ = world.put(AppDefinition { cpus: 1000.0, ..app("/web", 4) });
    world.settle();
    assert_eq!(world.marathon.deployments().len(), 1);
    let cancel = |id: &str, force| Command::CancelDeployment { id: id.to_owned(), force };
    let back = world.run(cancel(&id_, false));
    assert_ne!(back, id_);
    world.settle();
    assert!(world.marathon.deployments().is_empty());
    assert_eq!(world.running("/web"), tasks, "the old tasks are up to date again");
    assert_eq!(world.marathon.app(&id("/web")).map(|app| app.cpus), Some(0.1));

    let created = world.put(AppDefinition { cpus: 1000.0, ..app("/new", 1) });
    world.run(cancel(&created, false));
    world.settle();
    assert!(world.marathon.app(&id("/new")).is_none(), "what was new is gone again");
    let unknown = Refusal::UnknownDeployment("no".to_owned());
    assert_eq!(world.refused(cancel("no", false)), unknown);

    let deleted = world.run(delete("/web"));
    world.run(cancel(&deleted, false));
    world.settle();
    assert_eq!(world.running("/web").len(), 4);

    let stuck = world.put(AppDefinition { cpus: 1000.0, ..app("/web", 4) });
    world.run(cancel(&stuck, true));
    assert!(world.marathon.deployments().is_empty(), "ended and left as it was");
    world.put(AppDefinition { cpus: 0.2, ..app("/web", 4) });
    world.settle();
    assert_eq!(world.running("/web").len(), 4);
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn tasks_are_killed_with_and_without_scaling() {
    let mut world = World::new(1);
    world.put(app("/web", 4));
    world.settle();
    let tasks = world.running("/web");
    let some: BTreeSet<_> = tasks[..2].iter().map(|id| task(id)).chain([task("nobody's")]).collect();
    let killed = world.command(Command::Kill { tasks: some.clone(), wipe: false });
    assert!(matches!(killed, Some(Ok(Answer::Killed(views))) if views.len() == 2));
    world.settle();
    let after = world.running("/web");
    assert_eq!(after.len(), 4);
    assert!(
        after.iter().all(|id| !tasks[..2].contains(id)) && tasks[2..].iter().all(|id| after.contains(id))
    );
    assert!(
        after.iter().filter(|id| id.ends_with("._app.2")).count() == 2,
        "second attempts of the same instances"
    );

    let victim = BTreeSet::from([task(&after[1])]);
    world.run(Command::KillAndScale { tasks: victim, force: false });
    world.settle();
    let left: Vec<String> = after.iter().filter(|id| **id != after[1]).cloned().collect();
    assert_eq!(world.running("/web"), left);
    assert_eq!(world.marathon.app(&id("/web")).map(|app| app.instances), Some(3));
}

#[test]
fn apps_wait_for_those_they_depend_on() {
    let mut world = World::new(1);
    let mut ui = app("/shop/ui", 1);
    ui.dependencies.insert(id("/shop/db"));
    world.run(Command::Put { apps: vec![ui, checked("/shop/db", 1)], force: false, caller: None });
    world.offer();
    world.start_all();
    world.offer();
    assert_eq!(
        (world.alive("/shop/db").len(), world.alive("/shop/ui").len()),
        (1, 0),
        "the db is not healthy yet"
    );
    world.settle();
    assert_eq!((world.running("/shop/db").len(), world.running("/shop/ui").len()), (1, 1));
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn too_many_deployments_are_refused() {
    let config = Config { max_running_deployments: 2, ..Config::default() };
    let mut world = World::with(Mesos::with_agents(0, 0.0), config);
    world.put(app("/a", 1));
    world.put(app("/b", 1));
    assert_eq!(world.refused(put(app("/c", 1), false)), Refusal::TooManyDeployments(2));
    assert!(world.marathon.app(&id("/c")).is_none(), "nothing changed");
    world.run(put(app("/b", 2), true));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.marathon.deployments().len(), 2);
}

#[test]
fn service_ports_are_unique_and_stay() {
    let config = Config { service_ports: 10_000..=10_002, ..Config::default() };
    let mut world = World::with(Mesos::with_agents(1, 16.0), config);
    let port = |world: &World, app: &str| {
        world.marathon.app(&id(app)).expect("the app").service_ports().collect::<Vec<_>>()
    };
    world.put(app("/a", 1));
    world.put(app("/b", 1));
    assert_eq!((port(&world, "/a"), port(&world, "/b")), (vec![10_000], vec![10_001]));
    world.settle();
    world.put(app("/a", 2));
    assert_eq!(port(&world, "/a"), [10_000], "asked for as 0 again, it stays");
    world.put(app("/c", 1));
    assert_eq!(world.refused(put(app("/d", 1), false)), Refusal::NoServicePorts);
    world.settle();
    world.run(delete("/b"));
    world.settle();
    world.put(app("/d", 1));
    assert_eq!(port(&world, "/d"), [10_001]);
}
