//! Tasks that come together.

use std::collections::BTreeMap;

use base::TaskId;
use mesos_proto::v1::executor::event;
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{ExecutorInfo, TaskState, executor_info};

use super::behaviour::Story;
use super::world::{FRAMEWORK, config, framework, group};
use crate::{Effect, Input, Launch, Process, Record};

fn run(story: &mut Story, name: &str, change: impl FnOnce(&mut ExecutorInfo)) -> Option<Launch> {
    let (mut executor, tasks) = group(name);
    change(&mut executor);
    let framework = Box::new(framework());
    story.tell(Input::RunTaskGroup { framework, executor: Box::new(executor), tasks });
    story.out.iter().find_map(|effect| match effect {
        Effect::Launch(launch) => Some(launch.as_ref().clone()),
        _ => None,
    })
}

fn delivered(story: &Story) -> Vec<Vec<String>> {
    let events = story.out.iter().filter_map(|effect| match effect {
        Effect::Send { event, .. } if event.r#type() == event::Type::LaunchGroup => Some(event),
        _ => None,
    });
    let groups = events.map(|event| &event.launch_group.as_ref().unwrap().task_group.tasks);
    groups.map(|tasks| tasks.iter().map(|task| task.task_id.value.clone()).collect()).collect()
}

fn told(story: &Story) -> Vec<(String, TaskState, Option<Reason>)> {
    let statuses = story.out.iter().filter_map(|effect| match effect {
        Effect::Forward { status, .. } => Some(status),
        _ => None,
    });
    statuses
        .map(|status| (status.task_id.value.clone(), status.state(), status.reason.map(|_| status.reason())))
        .collect()
}

#[test]
fn mp11_a_launch_group_is_delivered_as_one_event() {
    let mut story = Story::registered();
    let launch = run(&mut story, "g", |_| {}).unwrap();
    let recorded = story.out.iter().filter(|it| matches!(it, Effect::Persist(Record::Task { .. }))).count();
    assert_eq!((recorded, launch.task), (3, None));
    assert_eq!(delivered(&story), Vec::<Vec<String>>::new());
    run(&mut story, "g", |_| {});
    assert!(story.out.is_empty(), "a repetition");
    // Another group for the same executor waits with it.
    assert!(run(&mut story, "h", |_| {}).is_none());
    story.subscribe("e", 1, &[]);
    let whole = |name: &str| (0..3).map(|number| format!("{name}-{number}")).collect::<Vec<_>>();
    assert_eq!(delivered(&story), [whole("g"), whole("h")]);
    // Lost on the way: told again, as a whole. What arrived is not.
    story.subscribe("e", 2, &["h-0", "h-1", "h-2"]);
    assert_eq!(delivered(&story), [whole("g")]);
    run(&mut story, "i", |_| {});
    assert_eq!(delivered(&story), [whole("i")], "a running executor gets it at once");
}

#[test]
fn ma25_a_group_that_waits_is_killed_whole() {
    let mut story = Story::registered();
    run(&mut story, "g", |_| {}).unwrap();
    let framework_id = FRAMEWORK.into();
    story.tell(Input::KillTask { framework_id, task_id: TaskId::new("g-1"), kill_policy: None });
    let killed = |id: &str| (id.to_owned(), TaskState::TaskKilled, Some(Reason::TaskKilledDuringLaunch));
    assert_eq!(told(&story), [killed("g-0"), killed("g-1"), killed("g-2")]);
    assert!(story.out.iter().any(|effect| matches!(effect, Effect::Destroy { .. })), "nobody needs it");
}

#[test]
fn what_refuses_one_of_a_group_refuses_all() {
    let check = |change: &dyn Fn(&mut ExecutorInfo)| {
        let mut story = Story::registered();
        assert!(run(&mut story, "g", change).is_none());
        let refused = |id: &str| (id.to_owned(), TaskState::TaskError, Some(Reason::TaskGroupInvalid));
        assert_eq!(told(&story), [refused("g-0"), refused("g-1"), refused("g-2")]);
    };
    check(&|executor| executor.executor_id.value = "a/b".to_owned());
    check(&|executor| executor.r#type = Some(executor_info::Type::Default as i32));
}

/// The agent goes down after each of the records of a group for an executor that runs.
#[test]
fn ma25_a_group_is_recovered_whole_or_ended() {
    let mut story = Story::registered();
    let container_id = run(&mut story, "g", |_| {}).unwrap().run.container_id;
    story.subscribe("e", 1, &[]);
    let before = story.disk.len();
    run(&mut story, "h", |_| {});
    let disk = story.disk.clone();
    assert_eq!(disk.len(), before + 3);
    for length in before..=disk.len() {
        let alive = BTreeMap::from([(container_id.clone(), Process { pid: 5, start_time: 50 })]);
        let mut story = Story::with(config(), disk[..length].to_vec(), alive);
        story.register();
        let ended: Vec<String> = told(&story).into_iter().map(|(id, ..)| id).collect();
        let whole: Vec<String> = (0..3).map(|number| format!("h-{number}")).collect();
        let is_whole = length == disk.len();
        assert_eq!(ended, whole[..if is_whole { 0 } else { length - before }], "after {length} records");
        story.subscribe("e", 2, &["g-0", "g-1", "g-2"]);
        assert_eq!(delivered(&story), if is_whole { vec![whole] } else { Vec::new() });
    }
}
