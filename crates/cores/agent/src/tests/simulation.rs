//! By seed: tasks are launched and killed while connections break, executors die, updates get lost and
//! the agent crashes between any two effects.

use base::{FrameworkId, TaskId};
use mesos_proto::v1::{DrainConfig, TaskState};

use super::world::{FRAMEWORK, GROUP, World, framework, group, task};
use crate::{Input, is_terminal};

const TASKS: u64 = 8;

fn simulate(seed: u64, crash_in: Option<u64>) -> World {
    let mut world = World::new(seed);
    world.crash_in = crash_in;
    let mut launched = 0;
    for step in 0..600 {
        if world.linked && launched < TASKS && step % 20 == 0 {
            let id = format!("t{launched}");
            let framework = Box::new(framework());
            let (input, ids) = if launched % 2 == 0 {
                let input = Input::RunTask { framework, task: Box::new(task(&id)) };
                (input, vec![TaskId::new(&id)])
            } else {
                let (executor, tasks) = group(&id);
                let ids = tasks.iter().map(|task| TaskId::new(&task.task_id.value)).collect();
                (Input::RunTaskGroup { framework, executor: Box::new(executor), tasks }, ids)
            };
            if world.tell(input) {
                // Of those that were refused, because the agent drains or their executor is ending, the master
                // will tell, should the agent forget them.
                let held = world.agent.knowledge().tasks;
                let is_held = |id: &TaskId| held.iter().any(|task| task.task_id.value == id.as_str());
                world.accepted.extend(ids.into_iter().filter(is_held));
            }
            launched += 1;
        }
        if world.linked && launched > 0 && world.rng.below(40) == 0 {
            let number = world.rng.below(launched);
            let member = world.rng.below(GROUP);
            let task_id = TaskId::new(match number % 2 {
                0 => format!("t{number}"),
                _ => format!("t{number}-{member}"),
            });
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
        for status in seen {
            // (One that was sent and that its executor never told of may be killed as if it was not.)
            let unbegun = status.message().starts_with("Agent restarted before the whole");
            assert!(
                !unbegun || !world.begun.contains_key(task_id),
                "{what}: {task_id} was begun: {status:?}"
            );
        }
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
