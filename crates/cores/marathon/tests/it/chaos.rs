//! Random commands and faults. In between, bounds hold; when the faults stop, all is as wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api_marathon::{AppDefinition, HealthCheck, UnreachableStrategy, UpgradeStrategy};
use base::{Rng, TaskId};
use marathon_core::{Capacity, Command};
use mesos_proto::v1::TaskState;
use proptest::prelude::*;

use crate::world::{World, app, id};

const APPS: [&str; 3] = ["/a", "/b", "/b/c"];

fn random_app(rng: &mut Rng, name: &str) -> AppDefinition {
    let mut app = app(name, rng.below(7) as u32);
    app.cmd = Some(format!("v{}", rng.below(3)));
    let tenth = |rng: &mut Rng| rng.below(11) as f64 / 10.0;
    app.upgrade_strategy =
        UpgradeStrategy { maximum_over_capacity: tenth(rng), minimum_health_capacity: tenth(rng) };
    if rng.below(2) == 0 {
        let check = HealthCheck { grace_period_seconds: rng.below(20) as u32, ..HealthCheck::default() };
        app.health_checks = vec![check];
    }
    if rng.below(2) == 0 {
        app.unreachable_strategy =
            UnreachableStrategy::Enabled { inactive_after_seconds: rng.below(20), expunge_after_seconds: 30 };
    }
    app.max_launch_delay_seconds = 5;
    app
}

fn command(rng: &mut Rng, world: &World) -> Command {
    let name = APPS[rng.below(3) as usize];
    let force = rng.below(2) == 0;
    let tasks = |rng: &mut Rng| -> BTreeSet<TaskId> {
        let all = world.mesos.tasks.keys().filter(|_| rng.below(4) == 0);
        all.map(|task| TaskId::from(task.as_str())).collect()
    };
    match rng.below(10) {
        0..=2 => Command::Put { apps: vec![random_app(rng, name)], force, caller: None },
        3 => {
            let mut dependent = random_app(rng, "/b");
            dependent.dependencies.insert(id("/a"));
            Command::Put { apps: vec![random_app(rng, "/a"), dependent], force, caller: None }
        }
        4 => Command::Delete { ids: vec![id(name)], force },
        5 => Command::Restart { id: id(name), force },
        6 => Command::Kill { tasks: tasks(rng), wipe: false },
        7 => Command::KillAndScale { tasks: tasks(rng), force },
        8 => match world.marathon.deployments().first() {
            Some(deployment) => Command::CancelDeployment { id: deployment.id.clone(), force },
            None => Command::ResetDelay { id: id(name) },
        },
        _ => match world.marathon.versions(&id(name)).last() {
            Some(oldest) => Command::Rollback { id: id(name), version: *oldest, force },
            None => Command::Restart { id: id(name), force },
        },
    }
}

fn disturb(rng: &mut Rng, world: &mut World) {
    let some_task = |rng: &mut Rng, world: &World| {
        let alive = world.mesos.in_state(&[TaskState::TaskStaging, TaskState::TaskRunning]);
        (!alive.is_empty()).then(|| alive[rng.below(alive.len() as u64) as usize].clone())
    };
    match rng.below(14) {
        0 | 1 => {
            if let Some(task) = some_task(rng, world) {
                world.fail(&task);
            }
        }
        2 => world.crash(),
        3 => world.reconnect(),
        4 => world.mesos.reach(rng.below(2) as usize, rng.below(2) == 0),
        5 => world.mesos.deaf = rng.below(3) == 0,
        6 => world.mesos.rescind(),
        7 => world.crash_at = Some((world.persists + 1 + rng.below(5), rng.below(4) as usize)),
        8 | 9 => {
            let command = command(rng, world);
            world.command(command);
        }
        10 => {
            for probe in world.probes() {
                let healthy = rng.below(4) > 0;
                world.probe(&probe, healthy);
            }
        }
        _ => {}
    }
}

/// No input adds instances beyond what an app may have, though there may be more from before.
fn check_bounds(world: &World, before: &BTreeMap<&str, usize>) {
    let after = bounds(world);
    for name in APPS {
        let Some(app) = world.marathon.app(&id(name)) else { continue };
        let capacity = Capacity::of(&app);
        let bound = capacity.max.max(before[name]);
        assert!(after[name] == HELD || after[name] <= bound, "{after:?} of {name}, {capacity:?}, {before:?}");
    }
}

/// While an app waits for its turn in a deployment, what was there before goes on.
const HELD: usize = usize::MAX;

/// How many instances there are of each app.
fn bounds(world: &World) -> BTreeMap<&'static str, usize> {
    let deployments = world.marathon.deployments();
    let count = |name: &str| {
        let own = deployments.iter().find(|deployment| deployment.affected_apps.contains(&id(name)));
        if own.is_some_and(|own| own.current_actions.iter().all(|action| action.app != id(name))) {
            return HELD;
        }
        let all = world.marathon.instances(&id(name));
        all.filter(|it| it.placement.is_some() && !it.condition.is_unreachable()).count()
    };
    APPS.into_iter().map(|name| (name, count(name))).collect()
}

fn run(seed: u64, rounds: usize) {
    let mut rng = Rng::seeded(seed);
    let mut world = World::new(2);
    for _ in 0..rounds {
        world.deliver();
        let before = bounds(&world);
        world.offer();
        check_bounds(&world, &before);
        for task in world.mesos.in_state(&[TaskState::TaskStaging]) {
            if rng.below(3) > 0 {
                world.mesos.update(&task, TaskState::TaskRunning, "");
            }
        }
        world.deliver();
        disturb(&mut rng, &mut world);
        world.pass(Duration::from_millis(rng.below(3000)));
    }
    // The faults stop.
    world.mesos.deaf = false;
    world.crash_at = None;
    world.mesos.reach(0, true);
    world.mesos.reach(1, true);
    world.reconnect();
    for _ in 0..80 {
        world.second();
    }
    assert!(world.marathon.deployments().is_empty(), "deployments end: {:?}", world.marathon.deployments());
    let mut wanted = 0;
    for name in APPS {
        let instances = world.marathon.app(&id(name)).map_or(0, |app| app.instances as usize);
        assert_eq!(world.running(name).len(), instances, "{name}");
        assert_eq!(world.marathon.instances(&id(name)).count(), instances, "{name}");
        wanted += instances;
    }
    assert_eq!(world.mesos.tasks.len(), wanted, "no orphans");
    assert_eq!(world.stored("instances"), wanted, "nothing else is remembered");
    assert_eq!(world.stored("deployments"), 0);
    assert_eq!(world.mesos.unacknowledged(), 0);
    assert!(wanted == 0 || world.marathon.queue(world.now, false).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn all_is_well_in_the_end(seed: u64, rounds in 1_usize..150) {
        run(seed, rounds);
    }
}
