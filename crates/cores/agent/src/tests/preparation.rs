//! Containers that take a while to come.

use super::behaviour::Story;
use super::world::{config, task};
use crate::{Effect, Input, Process, Record, Termination};
use base::ContainerId;
use mesos_proto::v1::network_info::IpAddress;
use mesos_proto::v1::task_status::{Reason, Source};
use mesos_proto::v1::{self, NetworkInfo, TaskState};
use std::collections::BTreeMap;
use std::time::Duration;

fn progress(story: &mut Story, container_id: &ContainerId, message: &str) {
    let (container_id, message) = (container_id.clone(), message.to_owned());
    story.tell(Input::ContainerPreparing { container_id, message });
}

#[test]
fn progress_is_told_seldom_recorded_and_acknowledged() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    progress(&mut story, &container_id, "Fetching a");
    progress(&mut story, &container_id, "Fetching b");
    assert!(story.out.is_empty(), "it may be quick");
    story.pass(Duration::from_secs(1));
    let status = story.forwarded()[0].clone();
    assert_eq!((status.state(), status.source()), (TaskState::TaskStarting, Source::Agent));
    assert_eq!((status.message(), status.reason), ("Fetching b", None));
    assert!(matches!(story.out[0], Effect::Persist(Record::Log { .. })), "recorded before it is sent");
    story.acknowledge("t", status.uuid());
    progress(&mut story, &container_id, "Fetching b");
    story.pass(Duration::from_secs(1));
    assert!(story.out.is_empty(), "nothing new");
    for text in ["Fetching c", "Fetching d"] {
        progress(&mut story, &container_id, text);
        story.pass(Duration::from_secs(1));
        assert!(story.forwarded().is_empty(), "too early for {text}");
    }
    story.pass(Duration::from_secs(2));
    assert_eq!(story.forwarded()[0].message(), "Fetching d");
}

#[test]
fn nothing_is_told_of_preparation_once_the_container_runs() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    progress(&mut story, &container_id, "Fetching a");
    story.launched(&container_id);
    progress(&mut story, &container_id, "Fetching b");
    story.pass(Duration::from_secs(30));
    assert!(story.forwarded().is_empty());
}

#[test]
fn a_task_is_delivered_although_its_container_was_talked_about() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    progress(&mut story, &container_id, "Fetching a");
    story.pass(Duration::from_secs(1));
    story.subscribe("t", 1, &[]);
    let events = story.events();
    assert_eq!(events.last(), Some(&v1::executor::event::Type::Launch), "{events:?}");
}

#[test]
fn a_slow_image_is_not_the_executors_fault() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.pass(Duration::from_secs(600));
    assert!(!story.destroyed());
    story.launched(&container_id);
    story.pass(Duration::from_secs(59));
    assert!(!story.destroyed());
    story.pass(Duration::from_secs(1));
    assert!(story.destroyed());
}

#[test]
fn a_kill_ends_the_preparation_at_once() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    progress(&mut story, &container_id, "Fetching a");
    story.pass(Duration::from_secs(1));
    let uuid = story.forwarded()[0].uuid().to_vec();
    story.kill("t");
    assert!(story.destroyed());
    story.acknowledge("t", &uuid);
    assert_eq!(story.forwarded()[0].state(), TaskState::TaskKilled);
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    assert!(story.forwarded().is_empty(), "it has ended already");
}

#[test]
fn an_executor_that_is_not_there_needs_no_grace() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.tell(Input::ShutdownAll);
    assert!(story.destroyed());
}

#[test]
fn why_it_failed_is_told_within_bounds() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.tell(Input::ContainerLaunchFailed { container_id, message: "ä".repeat(5000) });
    let status = story.forwarded()[0];
    assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, Reason::ContainerLaunchFailed));
    assert!(status.message().starts_with("Failed to launch container: ää"), "{}", status.message());
    assert!(status.message().len() < 4200 && status.message().ends_with("..."));
}

#[test]
fn a_restart_in_the_middle_is_told() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    progress(&mut story, &container_id, "Fetching a");
    story.pass(Duration::from_secs(1));
    let uuid = story.forwarded()[0].uuid().to_vec();
    let mut story = Story::with(config(), story.disk, BTreeMap::new());
    assert!(story.destroyed() && story.agent.is_recovered());
    story.register();
    assert_eq!(story.forwarded()[0].uuid(), uuid, "what was told is told");
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    story.acknowledge("t", &uuid);
    let status = story.forwarded()[0];
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRestarted));
    assert_eq!(status.message(), "Agent restarted while the container was being started");
}

#[test]
fn a_containers_address_is_in_its_tasks_updates() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    let address = IpAddress { ip_address: Some("172.31.254.2".into()), ..Default::default() };
    let networks = vec![NetworkInfo { ip_addresses: vec![address], ..Default::default() }];
    let process = Process { pid: 5, start_time: 50 };
    let id = container_id.clone();
    story.tell(Input::ContainerLaunched { container_id: id, process, networks: networks.clone() });
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    let check = |story: &Story| {
        let status = story.forwarded()[0].container_status.clone().unwrap();
        assert_eq!(status.network_infos, networks);
    };
    check(&story);
    let alive = BTreeMap::from([(container_id, process)]);
    let mut story = Story::with(config(), story.disk, alive);
    story.subscribe("t", 1, &["t"]);
    story.register();
    story.acknowledge("t", &[1; 16]);
    story.say("t", TaskState::TaskFinished, 2, "", None);
    check(&story);
}
