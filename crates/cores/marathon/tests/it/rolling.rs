//! Rolling updates: how many serve, and how many there are, at every moment.

use api_marathon::{AppDefinition, UpgradeStrategy};
use marathon_core::Capacity;

use crate::world::{World, checked, id};

/// Updates an app of `instances` and watches every moment of it.
fn check(instances: u32, min: f64, over: f64) {
    let mut world = World::new(2);
    let upgrade_strategy = UpgradeStrategy { maximum_over_capacity: over, minimum_health_capacity: min };
    let before = AppDefinition { upgrade_strategy, ..checked("/web", instances) };
    world.put(before.clone());
    world.settle();
    let after = AppDefinition { cmd: Some("v2".to_owned()), ..before };
    let capacity = Capacity::of(&after);
    let old = world.running("/web");
    world.put(after);
    let look = |world: &World| {
        let serving = world.serving("/web");
        assert!(serving >= capacity.min_serving, "{serving} serve");
        let alive = world.alive("/web").len();
        assert!(alive <= capacity.max, "{alive} are alive");
        assert!(world.running("/web").len() >= capacity.min_serving);
    };
    let mut seconds = 0;
    while !world.marathon.deployments().is_empty() {
        look(&world);
        world.offer();
        look(&world);
        for task in world.mesos.in_state(&[mesos_proto::v1::TaskState::TaskStaging]) {
            world.mesos.update(&task, mesos_proto::v1::TaskState::TaskRunning, "");
            world.deliver();
            look(&world);
        }
        for probe in world.probes() {
            world.probe(&probe, true);
            look(&world);
        }
        world.pass(std::time::Duration::from_secs(1));
        look(&world);
        seconds += 1;
        assert!(seconds < 100, "the update hangs");
    }
    let new = world.running("/web");
    assert_eq!(new.len(), instances as usize);
    assert!(old.iter().all(|task| !new.contains(task)));
    assert_eq!(world.versions("/web").len(), 1);
}

#[test]
fn capacities_are_kept_at_every_moment() {
    for instances in [1, 2, 5, 10] {
        for (min, over) in
            [(1.0, 1.0), (1.0, 0.0), (0.5, 0.0), (0.9, 0.1), (0.0, 0.0), (0.0, 1.0), (0.75, 0.25)]
        {
            check(instances, min, over);
        }
    }
}

#[test]
fn what_goes_is_told_before_it_is_killed() {
    let mut world = World::new(1);
    world.put(checked("/web", 1));
    world.settle();
    world.put(AppDefinition { cmd: Some("v2".to_owned()), ..checked("/web", 1) });
    world.offer();
    world.start_all();
    world.told();
    world.probe_all(|_| true);
    assert!(world.told().contains(&"instance_changed_event"));
    assert_eq!(world.serving("/web"), 1);
    assert_eq!(world.running("/web").len(), 2, "the old one still answers what is under way");
    let states: Vec<String> = world.marathon.tasks(&id("/web")).into_iter().map(|task| task.state).collect();
    assert!(states.contains(&"TASK_KILLING".to_owned()) && states.contains(&"TASK_RUNNING".to_owned()));
    world.pass(std::time::Duration::from_millis(200));
    assert_eq!(world.running("/web").len(), 1);
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn an_update_that_never_gets_healthy_leaves_the_old_ones_alone() {
    let mut world = World::new(1);
    world.put(checked("/web", 3));
    world.settle();
    let old = world.running("/web");
    world.put(AppDefinition { cmd: Some("broken".to_owned()), ..checked("/web", 3) });
    for _ in 0..50 {
        world.offer();
        world.start_all();
        for task in world.running("/web").into_iter().filter(|task| !old.contains(task)) {
            world.fail(&task);
        }
        world.pass(std::time::Duration::from_secs(20));
        assert_eq!(world.serving("/web"), 3);
    }
    let deployment = world.marathon.deployments()[0].id.clone();
    world.run(marathon_core::Command::CancelDeployment { id: deployment, force: false });
    world.settle();
    assert_eq!(world.running("/web"), old);
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn config_and_scale_change_together() {
    for (from, to) in [(2, 6), (6, 2), (3, 0), (0, 3)] {
        let mut world = World::new(1);
        world.put(checked("/web", from));
        world.settle();
        world.put(AppDefinition { cmd: Some("v2".to_owned()), ..checked("/web", to) });
        world.settle();
        world.settle();
        assert_eq!(world.running("/web").len(), to as usize, "{from} to {to}");
        assert!(world.marathon.deployments().is_empty(), "{from} to {to}");
    }
}

#[test]
fn a_forced_update_in_the_middle_of_another_ends_with_one_version() {
    let mut world = World::new(1);
    world.put(checked("/web", 4));
    world.settle();
    world.put(AppDefinition { cmd: Some("v2".to_owned()), ..checked("/web", 4) });
    world.offer();
    world.start_all();
    let v3 = AppDefinition { cmd: Some("v2".to_owned()), ..checked("/web", 5) };
    world.run(crate::world::put(v3, true));
    world.settle();
    world.settle();
    assert_eq!(world.running("/web").len(), 5);
    assert!(world.marathon.deployments().is_empty());
    let commands: std::collections::BTreeSet<_> = world
        .running("/web")
        .iter()
        .map(|task| world.mesos.tasks[task].info.command.as_ref().and_then(|command| command.value.clone()))
        .collect();
    assert_eq!(commands.len(), 1, "scaling during an update still ends it: {commands:?}");
}

#[test]
fn what_a_cancelled_deployment_had_begun_with_other_apps_is_ended_by_its_successor() {
    let mut world = World::new(1);
    let both = |cmd: &str| {
        let app = |name| AppDefinition { cmd: Some(cmd.to_owned()), ..checked(name, 3) };
        marathon_core::Command::Put { apps: vec![app("/x"), app("/y")], force: false, caller: None }
    };
    world.run(both("v1"));
    world.settle();
    world.run(both("v2"));
    world.offer();
    world.start_all();
    let v3 = AppDefinition { cmd: Some("v3".to_owned()), ..checked("/x", 3) };
    world.run(crate::world::put(v3, true));
    world.settle();
    world.settle();
    assert!(world.marathon.deployments().is_empty());
    let commands = |app: &str| {
        let command =
            |task: &String| world.mesos.tasks[task].info.command.as_ref().and_then(|it| it.value.clone());
        world.running(app).iter().filter_map(command).collect::<Vec<_>>()
    };
    assert_eq!(commands("/x"), ["v3", "v3", "v3"]);
    assert_eq!(commands("/y"), ["v2", "v2", "v2"]);
}
