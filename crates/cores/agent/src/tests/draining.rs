//! What becomes of tasks when an operator wants the agent empty.

use std::collections::BTreeMap;

use mesos_proto::v1::executor::event;
use mesos_proto::v1::framework_info::{Capability, capability};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{DrainConfig, DurationInfo, FrameworkInfo, KillPolicy, TaskState};

use super::behaviour::Story;
use super::world::{config, framework, task};
use crate::{Effect, Input, Process, Record};

fn grace(seconds: i64) -> DurationInfo {
    DurationInfo { nanoseconds: seconds * 1_000_000_000 }
}

fn drain(max_grace: Option<i64>, mark_gone: bool) -> Input {
    let max_grace_period = max_grace.map(grace);
    Input::Drain { config: DrainConfig { max_grace_period, mark_gone: Some(mark_gone) } }
}

/// An agent with one task that runs, whose own grace is ten seconds.
fn running() -> Story {
    let mut story = Story::registered();
    let mut info = task("t");
    info.kill_policy = Some(KillPolicy { grace_period: Some(grace(10)) });
    story.run(info).unwrap();
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    story
}

/// The kills that executors are told of, each with the grace it overrides.
fn kills(story: &Story) -> Vec<Option<i64>> {
    let kill = |effect: &Effect| match effect {
        Effect::Send { event, .. } if event.r#type() == event::Type::Kill => event.kill.clone(),
        _ => None,
    };
    let grace = |policy: KillPolicy| policy.grace_period.map_or(0, |grace| grace.nanoseconds / 1_000_000_000);
    story.out.iter().filter_map(kill).map(|kill| kill.kill_policy.map(grace)).collect()
}

fn records(story: &Story) -> Vec<bool> {
    let drain = |record: &Record| match record {
        Record::Drain(config) => Some(config.is_some()),
        _ => None,
    };
    story.disk.iter().filter_map(drain).collect()
}

#[test]
fn mm38_draining_kills_with_the_shorter_grace() {
    let check = |max_grace, expect| {
        let mut story = running();
        story.tell(drain(max_grace, false));
        assert_eq!(kills(&story), [expect], "{max_grace:?}");
        assert_eq!(records(&story), [true]);
    };
    check(None, None);
    check(Some(3), Some(3));
    check(Some(0), Some(0));
    check(Some(10), None);
    check(Some(60), None);
}

#[test]
fn mm38_a_drained_task_says_why_it_went_and_then_the_draining_is_over() {
    let mut story = running();
    story.tell(drain(None, false));
    story.acknowledge("t", &[1; 16]);
    story.say("t", TaskState::TaskKilling, 2, "", None);
    assert_eq!(story.forwarded()[0].reason(), Reason::AgentDraining);
    story.acknowledge("t", &[2; 16]);
    story.say("t", TaskState::TaskKilled, 3, "Command terminated", None);
    let told = story.forwarded()[0];
    assert_eq!((told.state(), told.reason()), (TaskState::TaskKilled, Reason::AgentDraining));
    story.acknowledge("t", &[3; 16]);
    assert!(story.agent.draining().is_some(), "the executor is still there");
    let run = story.agent.frameworks().next().unwrap().executors().next().unwrap().run().clone();
    let container_id = run.container_id;
    story.tell(Input::ContainerTerminated { container_id, termination: Default::default() });
    assert_eq!((story.agent.draining(), records(&story)), (None, vec![true, false]));
    assert!(story.run(task("t2")).is_some(), "the master decides what comes after");
}

#[test]
fn mm38_an_agent_that_goes_for_good_says_so_to_who_understands() {
    let check = |aware: bool, expect: TaskState| {
        let mut story = Story::registered();
        let mut info: FrameworkInfo = framework();
        if aware {
            let kind = Some(capability::Type::PartitionAware as i32);
            info.capabilities.push(Capability { r#type: kind });
        }
        story.tell(Input::RunTask { framework: Box::new(info), task: Box::new(task("t")) });
        story.subscribe("t", 1, &[]);
        story.say("t", TaskState::TaskRunning, 1, "", None);
        story.acknowledge("t", &[1; 16]);
        story.tell(drain(None, true));
        story.say("t", TaskState::TaskKilling, 2, "", None);
        story.acknowledge("t", &[2; 16]);
        story.say("t", TaskState::TaskKilled, 3, "", None);
        let told = story.forwarded()[0];
        assert_eq!((told.state(), told.reason()), (expect, Reason::AgentDraining));
    };
    check(true, TaskState::TaskGoneByOperator);
    check(false, TaskState::TaskKilled);
}

#[test]
fn mm38_what_waits_for_its_executor_ends_and_what_comes_late_is_dropped() {
    let mut story = Story::registered();
    story.run(task("queued")).unwrap();
    story.tell(drain(None, false));
    let told = story.forwarded()[0];
    assert_eq!((told.state(), told.reason()), (TaskState::TaskKilled, Reason::AgentDraining));
    assert!(story.run(task("late")).is_none());
    let told = story.forwarded()[0];
    assert_eq!((told.state(), told.reason()), (TaskState::TaskLost, Reason::AgentDraining));
    assert_eq!(told.message(), "Task was received while agent was already draining");
    story.tell(Input::Undrain);
    assert!(story.run(task("later")).is_some());
    assert_eq!(records(&story), [true, false]);
}

#[test]
fn mm38_nothing_to_drain_is_nothing_to_remember() {
    let mut story = Story::registered();
    story.tell(drain(None, false));
    assert_eq!((story.agent.draining(), records(&story)), (None, vec![]));
    story.tell(Input::Undrain);
    assert!(story.out.is_empty());
}

#[test]
fn mm38_draining_goes_on_after_a_restart() {
    let mut story = running();
    let run = story.agent.frameworks().next().unwrap().executors().next().unwrap().run().clone();
    story.tell(drain(Some(3), false));
    let alive = BTreeMap::from([(run.container_id, Process { pid: 5, start_time: 50 })]);
    let mut again = Story::with(config(), story.disk, alive);
    assert!(again.agent.draining().is_some());
    again.register();
    assert!(again.agent.knowledge().draining.is_some());
    again.subscribe("t", 2, &["t"]);
    assert_eq!(kills(&again), [Some(3)], "the task is killed when its executor is back");
}
