//! Offers, delays after failures, and the queue.

use std::collections::BTreeSet;
use std::time::Duration;

use api_marathon::{AppDefinition, Constraint, Operator};
use marathon_core::{Command, Refusal};
use mesos_proto::v1::TaskState;

use crate::mesos::Mesos;
use crate::world::{World, app, id};

fn calls(world: &mut World) -> Vec<String> {
    let wanted = ["ACCEPT", "DECLINE", "REVIVE", "SUPPRESS", "KILL", "RECONCILE"];
    std::mem::take(&mut world.mesos.calls).into_iter().filter(|call| wanted.contains(&&**call)).collect()
}

#[test]
fn offers_are_wanted_only_while_something_waits() {
    let mut world = World::new(1);
    assert!(world.mesos.suppressed, "nothing waits");
    calls(&mut world);
    world.put(app("/web", 3));
    assert_eq!(calls(&mut world), ["REVIVE"], "at once");
    world.offer();
    assert_eq!(calls(&mut world), ["ACCEPT", "SUPPRESS"], "three tasks in one offer");
    assert_eq!(world.alive("/web").len(), 3);
    world.settle();
    // What does not fit is declined once, and asked for again only when something new waits.
    world.put(AppDefinition { cpus: 99.0, ..app("/big", 1) });
    world.settle();
    let seen = calls(&mut world);
    assert_eq!(seen.iter().filter(|call| *call == "REVIVE").count(), 1, "{seen:?}");
    assert_eq!(seen.iter().filter(|call| *call == "DECLINE").count(), 1, "{seen:?}");
    world.put(app("/small", 1));
    assert_eq!(calls(&mut world), ["REVIVE"]);
    world.settle();
    assert_eq!(world.running("/small").len(), 1);
    assert_eq!(world.running("/big").len(), 0);
}

#[test]
fn a_crash_loop_slows_down_and_says_so() {
    let mut world = World::new(1);
    world.put(app("/loop", 1));
    let mut launches = Vec::new();
    for _ in 0..3_000 {
        world.offer();
        world.start_all();
        for task in world.running("/loop") {
            launches.push(world.now.mono);
            world.fail(&task);
        }
        world.pass(Duration::from_secs(1));
    }
    let gaps: Vec<u64> = launches.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert!(gaps[0] <= 2, "{gaps:?}");
    assert_eq!(gaps.last(), Some(&300), "{gaps:?}");
    assert!(gaps.windows(2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
    let queue = world.marathon.queue(world.now, true);
    assert_eq!((queue[0].count, queue[0].delay.overdue), (1, false));
    assert!((1..=300).contains(&queue[0].delay.time_left_seconds));
    let failure = world.marathon.last_task_failure(&id("/loop")).expect("it failed");
    assert_eq!((&*failure.state, &*failure.message), ("TASK_FAILED", "exited with status 1"));
    let unknown = Command::ResetDelay { id: id("/nothing") };
    assert_eq!(world.refused(unknown), Refusal::NotQueued(id("/nothing")));
    world.run(Command::ResetDelay { id: id("/loop") });
    assert!(world.marathon.queue(world.now, false)[0].delay.overdue);
    world.second();
    assert_eq!(world.running("/loop").len(), 1, "launched at once");
    // Another configuration is not delayed, and the deployment that brings it ends.
    let task = world.running("/loop")[0].clone();
    world.fail(&task);
    world.run(crate::world::put(AppDefinition { cmd: Some("good".to_owned()), ..app("/loop", 1) }, true));
    world.settle();
    assert_eq!(world.running("/loop").len(), 1);
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn the_queue_says_why_something_waits() {
    let mut world = World::new(2);
    world.put(AppDefinition { cpus: 99.0, ..app("/big", 1) });
    let roles = Some(BTreeSet::from(["slave_public".to_owned()]));
    world.put(AppDefinition { accepted_resource_roles: roles, ..app("/public", 1) });
    world.put(AppDefinition {
        port_definitions: app("/x", 1).port_definitions,
        require_ports: true,
        ..app("/port", 1)
    });
    let pinned = Constraint {
        field: "hostname".to_owned(),
        operator: Operator::Cluster,
        value: Some("no".to_owned()),
    };
    world.put(AppDefinition { constraints: vec![pinned], ..app("/pinned", 1) });
    world.offer();
    world.pass(Duration::from_secs(60));
    let queue = world.marathon.queue(world.now, true);
    let reason = |name: &str| {
        let item = queue.iter().find(|item| item.app.id == id(name)).expect("in the queue");
        let summary = &item.processed_offers_summary;
        assert_eq!((summary.processed_offers_count, summary.unused_offers_count), (2, 2));
        assert_eq!(item.last_unused_offers.as_ref().map(Vec::len), Some(2));
        assert!(item.delay.overdue);
        let steps = summary.reject_summary_last_offers.iter().filter(|step| step.declined > 0);
        steps.map(|step| (step.reason, step.declined)).collect::<Vec<_>>()
    };
    assert_eq!(reason("/big"), [("InsufficientCpus", 2)]);
    assert_eq!(reason("/public"), [("UnfulfilledRole", 2)]);
    assert_eq!(reason("/port"), [("InsufficientPorts", 2)]);
    assert_eq!(reason("/pinned"), [("UnfulfilledConstraint", 2)]);
}

#[test]
fn unique_hosts_are_unique() {
    let mut world = World::new(3);
    let unique = Constraint { field: "hostname".to_owned(), operator: Operator::Unique, value: None };
    world.put(AppDefinition { constraints: vec![unique.clone()], ..app("/web", 4) });
    world.settle();
    let hosts: BTreeSet<_> = world.marathon.tasks(&id("/web")).into_iter().map(|task| task.host).collect();
    assert_eq!((world.running("/web").len(), hosts.len()), (3, 3));
    assert_eq!(world.marathon.deployments().len(), 1, "one has no host");
    // A new configuration may be where the old one is: constraints do not block updates.
    let changed = AppDefinition { cmd: Some("x".to_owned()), constraints: vec![unique], ..app("/web", 3) };
    world.run(crate::world::put(changed, true));
    world.settle();
    assert!(world.marathon.deployments().is_empty());
    assert_eq!(world.running("/web").len(), 3);
}

#[test]
fn full_agents_are_waited_for() {
    let mut world = World::with(Mesos::with_agents(1, 1.0), marathon_core::Config::default());
    world.put(app("/web", 15));
    world.settle();
    assert_eq!(world.running("/web").len(), 10);
    let queue = world.marathon.queue(world.now, false);
    assert_eq!(queue[0].count, 5);
    world.mesos.agents[0].cpus = 2.0;
    world.pass(Duration::from_secs(125));
    world.settle();
    assert_eq!(world.running("/web").len(), 15);
    assert!(world.marathon.queue(world.now, false).is_empty());
}

#[test]
fn a_lost_accept_is_noticed() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.mesos.deaf = true;
    world.offer();
    world.mesos.deaf = false;
    world.mesos.rescind();
    assert_eq!(world.marathon.counts(&id("/web")).tasks_staged, 1);
    world.pass(Duration::from_secs(31));
    world.settle();
    assert_eq!(world.running("/web").len(), 1);
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn what_never_starts_is_killed() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.offer();
    let task = world.alive("/web")[0].clone();
    world.pass(Duration::from_secs(320));
    assert!(!world.alive("/web").contains(&task));
    world.settle();
    assert_eq!(world.running("/web").len(), 1);
}

#[test]
fn progress_is_shown_and_delays_the_end() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.offer();
    let task = world.alive("/web")[0].clone();
    world.told();
    let pull = |world: &mut World, mib: u32| {
        let message = format!("Pulling image busybox: {mib} of 40 MiB");
        world.mesos.update(&task, TaskState::TaskStarting, &message);
        world.deliver();
        assert_eq!(world.told().iter().filter(|kind| **kind == "status_update_event").count(), 1);
        let shown = &world.marathon.tasks(&id("/web"))[0];
        assert_eq!((shown.state.as_str(), shown.message.as_ref()), ("TASK_STARTING", Some(&message)));
        let queue = world.marathon.queue(world.now, false);
        assert_eq!((queue[0].count, queue[0].preparing[0].message.as_str()), (0, message.as_str()));
    };
    for mib in 1..=3 {
        pull(&mut world, mib);
        world.pass(Duration::from_secs(200));
    }
    assert_eq!(
        world.alive("/web"),
        std::slice::from_ref(&task),
        "ten minutes of progress are no reason to end it"
    );
    // A restart of Marathon forgets nothing of it.
    world.crash();
    world.deliver();
    assert!(world.marathon.tasks(&id("/web"))[0].message.is_some());
    // The same again is no progress.
    world.mesos.update(&task, TaskState::TaskStarting, "Pulling image busybox: 3 of 40 MiB");
    world.deliver();
    world.pass(Duration::from_secs(120));
    assert!(!world.alive("/web").contains(&task));
    let failure = world.marathon.last_task_failure(&id("/web")).expect("a failure");
    let message =
        "Task was killed since it did not run within 300 s; last heard: Pulling image busybox: 3 of 40 MiB";
    assert_eq!((failure.message.as_str(), failure.state.as_str()), (message, "TASK_KILLED"));
    world.settle();
    assert_eq!(world.running("/web").len(), 1);
    assert_eq!(world.marathon.tasks(&id("/web"))[0].message, None);
    assert!(world.marathon.queue(world.now, false).is_empty());
}

#[test]
fn an_executor_that_starts_after_a_long_pull_has_its_time() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.offer();
    let task = world.alive("/web")[0].clone();
    world.mesos.update(&task, TaskState::TaskStarting, "Pulling image busybox: 39 of 40 MiB");
    world.deliver();
    world.pass(Duration::from_secs(290));
    world.mesos.update(&task, TaskState::TaskStarting, "");
    world.deliver();
    assert_eq!(world.marathon.tasks(&id("/web"))[0].message, None);
    world.pass(Duration::from_secs(290));
    assert_eq!(world.alive("/web"), [task]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_a_failure_with_a_delay() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.offer();
    let task = world.alive("/web")[0].clone();
    let reason = "Failed to pull image registry/none:1: manifest unknown";
    world.mesos.update(&task, TaskState::TaskFailed, reason);
    world.deliver();
    let failure = world.marathon.last_task_failure(&id("/web")).expect("a failure");
    assert_eq!((failure.message.as_str(), failure.state.as_str()), (reason, "TASK_FAILED"));
    let queue = world.marathon.queue(world.now, false);
    assert!(!queue[0].delay.overdue && queue[0].delay.time_left_seconds > 0, "{:?}", queue[0].delay);
    assert_eq!(queue[0].last_task_failure.as_ref(), Some(failure));
}

#[test]
fn rescinded_offers_lose_nothing() {
    let mut world = World::new(1);
    world.put(app("/web", 2));
    world.mesos.offer(world.now.mono);
    world.mesos.rescind();
    world.deliver();
    assert!(world.alive("/web").is_empty());
    world.settle();
    assert_eq!(world.running("/web").len(), 2);
}

#[test]
fn unacknowledged_updates_do_not_pile_up() {
    let mut world = World::new(1);
    world.put(app("/web", 2));
    world.settle();
    let task = world.running("/web")[0].clone();
    world.mesos.update(&task, TaskState::TaskFailed, "x");
    world.deliver();
    assert_eq!(world.mesos.unacknowledged(), 0);
}
