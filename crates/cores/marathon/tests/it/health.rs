//! Health checks.

use std::time::Duration;

use api_marathon::{AppDefinition, HealthCheck, HealthCommand, Protocol};
use mesos_proto::v1::TaskState;

use crate::world::{World, app, checked, id};

fn with(check: HealthCheck) -> AppDefinition {
    AppDefinition { health_checks: vec![check], ..app("/web", 1) }
}

#[test]
fn a_deployment_waits_for_health() {
    let mut world = World::new(1);
    world.put(checked("/web", 2));
    world.offer();
    world.start_all();
    assert_eq!(world.marathon.counts(&id("/web")).tasks_running, 2);
    assert_eq!(world.marathon.deployments().len(), 1);
    let probe = world.probes()[0].clone();
    assert_eq!(probe.port(&probe.checks[0].1), Some(probe.ports[0]));
    world.probe_all(|_| false);
    assert_eq!(
        world.marathon.counts(&id("/web")).tasks_unhealthy,
        0,
        "failures in the grace period are ignored"
    );
    world.told();
    world.probe_all(|_| true);
    let told = world.told();
    assert!(told.contains(&"health_status_changed_event") && told.contains(&"instance_health_changed_event"));
    assert!(told.contains(&"deployment_success"), "{told:?}");
    let counts = world.marathon.counts(&id("/web"));
    assert_eq!((counts.tasks_healthy, counts.tasks_unhealthy), (2, 0));
    assert!(world.marathon.tasks(&id("/web"))[0].health_check_results[0].alive);
}

#[test]
fn the_unhealthy_are_killed_after_as_many_failures_as_allowed() {
    let mut world = World::new(1);
    world.put(with(HealthCheck { max_consecutive_failures: 3, ..HealthCheck::default() }));
    world.settle();
    let task = world.running("/web")[0].clone();
    for failures in 1..3 {
        world.probe_all(|_| false);
        assert_eq!(world.running("/web"), std::slice::from_ref(&task), "after {failures} failures");
    }
    assert_eq!(world.marathon.counts(&id("/web")).tasks_unhealthy, 1);
    world.probe_all(|_| true);
    world.told();
    for _ in 0..3 {
        world.probe_all(|_| false);
    }
    let told = world.told();
    assert_eq!(told.iter().filter(|kind| **kind == "failed_health_check_event").count(), 3);
    assert!(told.contains(&"unhealthy_instance_kill_event"));
    assert!(world.alive("/web").is_empty());
    world.settle();
    let failure = world.marathon.last_task_failure(&id("/web")).expect("the kill");
    let message = "Task was killed since health check failed. Reason: 503";
    assert_eq!((failure.state.as_str(), failure.message.as_str()), ("TASK_KILLED", message));
    assert_eq!(failure.task_id, task.to_string());
    assert_eq!(world.running("/web").len(), 1, "replaced");
    assert!(!world.running("/web").contains(&task));
}

#[test]
fn no_limit_no_kill() {
    let mut world = World::new(1);
    world.put(with(HealthCheck { max_consecutive_failures: 0, ..HealthCheck::default() }));
    world.settle();
    for _ in 0..50 {
        world.probe_all(|_| false);
    }
    assert_eq!(world.running("/web").len(), 1);
    let shown = &world.marathon.tasks(&id("/web"))[0].health_check_results[0];
    assert_eq!((shown.alive, shown.consecutive_failures), (false, 50));
    assert_eq!(shown.last_failure_cause.as_deref(), Some("503"));
}

#[test]
fn the_grace_period_ends() {
    let mut world = World::new(1);
    world.put(with(HealthCheck {
        grace_period_seconds: 60,
        max_consecutive_failures: 1,
        ..HealthCheck::default()
    }));
    world.offer();
    world.start_all();
    world.pass(Duration::from_secs(59));
    world.probe_all(|_| false);
    assert_eq!(world.running("/web").len(), 1);
    world.pass(Duration::from_secs(1));
    world.probe_all(|_| false);
    assert!(world.alive("/web").is_empty());
}

#[test]
fn the_executor_tells_the_health_of_commands() {
    let mut world = World::new(1);
    let command = Some(HealthCommand { value: "true".to_owned() });
    let check = HealthCheck { protocol: Protocol::Command, command, ..HealthCheck::default() };
    // Of several, the executor does the first.
    world.put(AppDefinition { health_checks: vec![check.clone(), check], ..app("/web", 1) });
    world.settle();
    assert!(world.probes().is_empty(), "Marathon does not probe");
    assert_eq!(world.marathon.deployments().len(), 1);
    let task = world.running("/web")[0].clone();
    let mut tell = |healthy| {
        world.mesos.tasks.get_mut(&task).expect("the task").healthy = Some(healthy);
        world.mesos.update(&task, TaskState::TaskRunning, "checked");
        world.deliver();
        let counts = world.marathon.counts(&id("/web"));
        (counts.tasks_healthy, counts.tasks_unhealthy, world.marathon.deployments().len())
    };
    assert_eq!(tell(true), (1, 0, 0));
    assert_eq!(tell(false), (0, 1, 0));
    assert_eq!(tell(false), (0, 1, 0), "the executor does the killing");
    assert_eq!(tell(true), (1, 0, 0));
}

#[test]
fn a_kill_by_the_executor_leaves_its_reason() {
    let check = |told: &str, last: &str, without_health: bool, expect: Option<&str>| {
        let mut world = World::new(1);
        let command = Some(HealthCommand { value: "true".to_owned() });
        world.put(with(HealthCheck { protocol: Protocol::Command, command, ..HealthCheck::default() }));
        world.settle();
        let task = world.running("/web")[0].clone();
        world.mesos.tasks.get_mut(&task).expect("the task").healthy = Some(true);
        world.mesos.update(&task, TaskState::TaskRunning, "");
        world.mesos.tasks.get_mut(&task).expect("the task").healthy = Some(false);
        world.mesos.update(&task, TaskState::TaskRunning, told);
        world.deliver();
        let shown = world.marathon.tasks(&id("/web"))[0].health_check_results[0].last_failure_cause.clone();
        assert_eq!(shown.unwrap_or_default(), told);
        if without_health {
            world.mesos.tasks.get_mut(&task).expect("the task").healthy = None;
        }
        world.mesos.update(&task, TaskState::TaskKilled, last);
        world.deliver();
        let failure = world.marathon.last_task_failure(&id("/web")).map(|it| (&*it.state, &*it.message));
        assert_eq!(failure, expect.map(|message| ("TASK_KILLED", message)), "{told} {last}");
    };
    let reason = "Task was killed since health check failed. Reason: exit 1";
    check("exit 1", "end", false, Some(reason));
    check("", "exit 1", false, Some(reason));
    check("exit 1", "end", true, None);
}

#[test]
fn results_of_earlier_tasks_count_nothing() {
    let mut world = World::new(1);
    world.put(with(HealthCheck { max_consecutive_failures: 1, ..HealthCheck::default() }));
    world.settle();
    let old = world.probes()[0].clone();
    let task = world.running("/web")[0].clone();
    world.fail(&task);
    world.settle();
    assert_ne!(world.probes()[0].task, old.task);
    world.probe(&old, false);
    assert_eq!(world.marathon.counts(&id("/web")).tasks_healthy, 1);
    assert_eq!(world.running("/web").len(), 1);
}
