//! Lost agents, lost connections and lost Marathons.

use std::time::Duration;

use api_marathon::{AppDefinition, UnreachableStrategy};

use marathon_core::Input;
use mesos_proto::v1::scheduler::{Event, event};

use crate::world::{World, app, checked, id};

fn with(strategy: UnreachableStrategy) -> World {
    let mut world = World::new(2);
    world.put(AppDefinition { unreachable_strategy: strategy, ..app("/web", 6) });
    world.settle();
    assert!(!world.running("/web").is_empty());
    world
}

#[test]
fn lost_instances_are_replaced_at_once_by_default() {
    let mut world = with(UnreachableStrategy::default());
    world.mesos.reach(0, false);
    world.settle();
    let reachable = |world: &World| {
        let all = world.running("/web");
        all.iter().filter(|task| world.mesos.tasks[*task].info.agent_id.value == "S1").count()
    };
    assert_eq!(reachable(&world), 6);
    assert_eq!(world.marathon.instances(&id("/web")).count(), 6, "the lost ones are forgotten");
    world.mesos.reach(0, true);
    world.settle();
    assert_eq!(world.running("/web").len(), 6, "what comes back is killed");
    assert_eq!(reachable(&world), 6);
}

#[test]
fn lost_instances_are_waited_for_replaced_and_forgotten_in_time() {
    let strategy = UnreachableStrategy::Enabled { inactive_after_seconds: 60, expunge_after_seconds: 120 };
    let mut world = with(strategy);
    let on_lost =
        world.running("/web").iter().filter(|it| world.mesos.tasks[*it].info.agent_id.value == "S0").count();
    assert!(on_lost > 0);
    world.mesos.reach(0, false);
    world.settle();
    assert_eq!(world.marathon.instances(&id("/web")).count(), 6, "waited for");
    world.pass(Duration::from_secs(50));
    world.settle();
    assert_eq!(world.marathon.instances(&id("/web")).count(), 6 + on_lost, "replaced, and not yet forgotten");
    world.pass(Duration::from_secs(60));
    world.settle();
    assert_eq!(world.marathon.instances(&id("/web")).count(), 6);
}

#[test]
fn lost_instances_that_come_back_in_time_stay() {
    let strategy = UnreachableStrategy::Enabled { inactive_after_seconds: 60, expunge_after_seconds: 120 };
    let mut world = with(strategy);
    let tasks = world.running("/web");
    world.mesos.reach(0, false);
    world.pass(Duration::from_secs(59));
    world.mesos.reach(0, true);
    world.settle();
    assert_eq!(world.running("/web"), tasks);
    world.mesos.reach(0, false);
    world.pass(Duration::from_secs(90));
    world.settle();
    world.mesos.reach(0, true);
    world.settle();
    assert_eq!(world.running("/web").len(), 6, "too many are too many");
}

#[test]
fn disabled_means_never() {
    let mut world = with(UnreachableStrategy::Disabled);
    let tasks = world.running("/web");
    world.mesos.reach(0, false);
    world.pass(Duration::from_secs(100_000));
    world.settle();
    world.mesos.reach(0, true);
    world.settle();
    assert_eq!(world.running("/web"), tasks);
}

#[test]
fn a_new_stream_changes_nothing() {
    let mut world = World::new(1);
    world.put(checked("/web", 5));
    world.settle();
    let tasks = world.running("/web");
    world.told();
    for _ in 0..5 {
        world.reconnect();
        world.settle();
    }
    assert_eq!(world.running("/web"), tasks);
    let told = world.told();
    assert!(told.contains(&"scheduler_disconnected_event") && told.contains(&"scheduler_reregistered_event"));
    assert!(!told.contains(&"status_update_event"), "{told:?}");
}

#[test]
fn marathon_comes_back_to_the_same_tasks() {
    let mut world = World::new(2);
    world.put(checked("/web", 50));
    world.put(app("/other", 3));
    world.settle();
    let (web, other) = (world.running("/web"), world.running("/other"));
    for _ in 0..20 {
        world.crash();
        assert_eq!(world.marathon.counts(&id("/web")).tasks_healthy, 50, "known before any probe");
        let results =
            world.marathon.tasks(&id("/web")).into_iter().flat_map(|task| task.health_check_results);
        assert_eq!(results.filter(|result| result.alive).count(), 50, "routers go on");
        world.second();
        assert_eq!(world.probes().len(), 50, "probed again");
    }
    world.settle();
    assert_eq!((world.running("/web"), world.running("/other")), (web, other));
    assert_eq!(world.marathon.framework_id(), Some("F"));
}

#[test]
fn what_happened_while_marathon_was_away_is_found_out() {
    let mut world = World::new(1);
    world.put(app("/web", 4));
    world.settle();
    let tasks = world.running("/web");
    world.mesos.connected = false;
    world.mesos.update(&tasks[0], mesos_proto::v1::TaskState::TaskFailed, "died");
    world.mesos.tasks.remove(&tasks[1]);
    world.crash();
    world.settle();
    let after = world.running("/web");
    assert_eq!(after.len(), 4);
    assert!(after.contains(&tasks[2]) && after.contains(&tasks[3]));
    assert_eq!(world.marathon.last_task_failure(&id("/web")).map(|it| it.app_id.clone()), Some(id("/web")));
}

#[test]
fn marathon_goes_on_soon_after_the_agents_are_back() {
    let mut world = World::new(1);
    world.put(app("/web", 2));
    world.settle();
    // A master that has just started says nothing of tasks whose agents are not back.
    world.mesos.deaf = true;
    world.crash();
    world.deliver();
    world.put(app("/web", 4));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.alive("/web").len(), 2, "nothing is decided yet");
    world.mesos.deaf = false;
    (0..4).for_each(|_| world.second());
    assert_eq!(world.running("/web").len(), 4);
}

#[test]
fn tasks_that_should_not_be_are_killed() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.settle();
    let known = world.running("/web")[0].clone();
    let mut info = world.mesos.tasks[&known].info.clone();
    let ghost = "web.instance-00000000-0000-4000-8000-000000000000._app.1".to_owned();
    info.task_id.value = ghost.clone();
    let state = mesos_proto::v1::TaskState::TaskRunning;
    world.mesos.tasks.insert(ghost.clone(), crate::mesos::Task { info, state, healthy: None });
    world.reconnect();
    world.settle();
    world.settle();
    assert_eq!(world.running("/web"), [known], "found by the implicit reconciliation");
}

#[test]
fn a_deployment_goes_on_after_a_crash() {
    let mut world = World::new(1);
    world.put(checked("/web", 6));
    world.settle();
    let deployment = world.put(AppDefinition { cmd: Some("v2".to_owned()), ..checked("/web", 6) });
    world.offer();
    world.start_all();
    world.crash();
    assert_eq!(world.marathon.deployment_of(&id("/web")), Some(&*deployment));
    world.settle();
    world.settle();
    assert!(world.marathon.deployments().is_empty());
    assert_eq!(world.running("/web").len(), 6);
    assert_eq!(world.versions("/web").len(), 1);
}

#[test]
fn a_kill_is_repeated_once_the_master_knows_the_task_again() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.settle();
    let task = world.running("/web")[0].clone();
    world.mesos.deaf = true;
    world.put(app("/web", 0));
    world.crash();
    world.deliver();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.running("/web"), [task]);
    world.mesos.deaf = false;
    (0..4).for_each(|_| world.second());
    assert!(world.alive("/web").is_empty());
}

#[test]
fn kills_are_repeated_until_they_work() {
    let mut world = World::new(1);
    world.put(app("/web", 3));
    world.settle();
    world.mesos.deaf = true;
    world.put(app("/web", 1));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.running("/web").len(), 3);
    world.mesos.deaf = false;
    world.pass(Duration::from_secs(10));
    assert_eq!(world.running("/web").len(), 1);
    world.settle();
    assert!(world.marathon.deployments().is_empty());
}

#[test]
fn the_master_is_asked_from_time_to_time_and_not_more_often_after_many_reconnections() {
    let mut world = World::new(1);
    world.put(app("/web", 1));
    world.settle();
    for _ in 0..50 {
        world.reconnect();
        world.pass(Duration::from_secs(3));
    }
    world.pass(Duration::from_secs(20));
    world.mesos.calls.clear();
    world.pass(Duration::from_secs(6_100));
    let asked = world.mesos.calls.iter().filter(|call| *call == "RECONCILE").count();
    assert!((18..=22).contains(&asked), "by name and for the rest, every ten minutes: {asked}");
}

#[test]
fn a_removed_framework_begins_anew() {
    let mut world = World::new(1);
    world.put(app("/web", 2));
    world.settle();
    world.mesos.tasks.clear();
    let error = event::Error { message: "Framework has been removed".to_owned() };
    let kind = Some(event::Type::Error as i32);
    world.give(Input::Mesos(Box::new(Event { r#type: kind, error: Some(error), ..Event::default() })));
    assert_eq!(world.marathon.framework_id(), None);
    let subscribe = world.marathon.subscribe_call().subscribe.expect("a subscription");
    assert!(subscribe.framework_info.id.is_none());
    world.reconnect();
    world.settle();
    assert_eq!(world.running("/web").len(), 2);
}
