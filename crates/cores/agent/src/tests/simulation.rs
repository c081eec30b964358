//! By seed: tasks are launched and killed while connections break, executors die, updates get lost and
//! the agent crashes between any two effects.

use base::{FrameworkId, TaskId};
use mesos_proto::v1::{DrainConfig, TaskState};

use super::world::{FRAMEWORK, World, framework, task};
use crate::{Input, is_terminal};

const TASKS: u64 = 8;

fn simulate(seed: u64, crash_in: Option<u64>) -> World {
    let mut world = World::new(seed);
    world.crash_in = crash_in;
    let mut launched = 0;
    for step in 0..600 {
        if world.linked && launched < TASKS && step % 20 == 0 {
            let id = format!("t{launched}");
            let input = Input::RunTask { framework: Box::new(framework()), task: Box::new(task(&id)) };
            // What comes while the agent drains is refused, which is no promise that survives a crash.
            let drains = world.agent.draining().is_some();
            if world.tell(input) && !drains {
                world.accepted.insert(TaskId::new(&id));
            }
            launched += 1;
        }
        if world.linked && launched > 0 && world.rng.below(40) == 0 {
            let task_id = TaskId::new(format!("t{}", world.rng.below(launched)));
            let over = world.acknowledged.get(&task_id).and_then(|seen| seen.last());
            if world.accepted.contains(&task_id) && !over.is_some_and(|last| is_terminal(last.state())) {
                let framework_id = FrameworkId::new(FRAMEWORK);
                world.tell(Input::KillTask { framework_id, task_id, kill_policy: None });
            }
        }
        if world.linked && world.rng.below(150) == 0 {
            let config = DrainConfig::default();
            let over = world.rng.below(3) == 0;
            world.tell(if over { Input::Undrain } else { Input::Drain { config } });
        }
        if crash_in.is_none() && world.crash_in.is_none() && world.rng.below(60) == 0 {
            world.crash_in = Some(world.rng.below(12));
        }
        world.step();
    }
    world.settle();
    world
}

fn verify(world: &World, what: &str) {
    for (task_id, count) in &world.begun {
        assert_eq!(*count, 1, "{what}: {task_id} ran {count} times");
    }
    for task_id in &world.accepted {
        let seen = world.acknowledged.get(task_id).unwrap_or_else(|| panic!("{what}: {task_id} was lost"));
        assert!(is_terminal(seen.last().unwrap().state()), "{what}: {task_id} never ended: {seen:?}");
    }
    for (task_id, seen) in &world.acknowledged {
        let order: Vec<&[u8]> = seen.iter().map(|status| status.uuid()).collect();
        let spoken = world.spoken.get(task_id).map(Vec::as_slice).unwrap_or_default();
        let heard: Vec<&[u8]> =
            order.iter().copied().filter(|uuid| spoken.iter().any(|s| s == uuid)).collect();
        let said: Vec<&[u8]> = spoken.iter().map(Vec::as_slice).take(heard.len()).collect();
        assert_eq!(heard, said, "{what}: the updates of {task_id} keep their order, none is left out");
        let staging = seen.iter().any(|status| status.state() == TaskState::TaskStaging);
        assert!(!staging, "{what}: nobody says TASK_STAGING");
    }
}

#[test]
fn whatever_happens_each_task_runs_once_and_ends_once() {
    let mut crashes = 0;
    for seed in 0..150 {
        let world = simulate(seed, None);
        verify(&world, &format!("seed {seed}"));
        crashes += world.crashes;
    }
    assert!(crashes > 300, "the agent crashed only {crashes} times");
}

#[test]
fn a_crash_at_any_effect_loses_and_doubles_nothing() {
    for seed in 0..4 {
        for at in 0..160 {
            verify(&simulate(seed, Some(at)), &format!("seed {seed}, crash at effect {at}"));
        }
    }
}
