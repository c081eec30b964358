use base::Wall;
use mesos_proto::v1::{CommandInfo, DurationInfo, HealthCheck, TaskId, health_check};

use super::*;

/// A task and the time, driven by inputs; every update is acknowledged by nobody unless told so.
struct Scene {
    task: Task,
    seen: usize,
}

fn now(millis: u64) -> Now {
    Now { mono: Mono(millis * 1_000_000), wall: Wall::from_millis(1_000_000 + millis) }
}

fn info() -> TaskInfo {
    let command = CommandInfo { value: Some("true".into()), ..Default::default() };
    TaskInfo { task_id: TaskId { value: "t".into() }, command: Some(command), ..Default::default() }
}

fn policy(millis: i64) -> Option<KillPolicy> {
    Some(KillPolicy { grace_period: Some(DurationInfo { nanoseconds: millis * 1_000_000 }) })
}

impl Scene {
    fn new() -> Scene {
        Scene { task: Task::new("e", Duration::from_secs(5), Rng::seeded(1)), seen: 0 }
    }

    /// A task that runs since 0 ms.
    fn running(info: TaskInfo) -> Scene {
        let mut scene = Scene::new();
        scene.check(0, Input::Subscribed { killing_state: true }, &[], &[]);
        scene.check(0, Input::Launch(Box::new(info)), &[Effect::Start], &["TASK_STARTING"]);
        scene.check(0, Input::Started(Ok(())), &[], &["TASK_RUNNING"]);
        scene
    }

    /// What the input brings: effects, and updates as `STATE reason message healthy`.
    fn check(&mut self, millis: u64, input: Input, effects: &[Effect], updates: &[&str]) {
        let what = format!("{input:?} at {millis}");
        let mut out = Vec::new();
        self.task.handle(now(millis), input, &mut out);
        assert_eq!(out, effects, "{what}");
        let statuses: Vec<&TaskStatus> = self.task.updates.statuses().collect();
        let told: Vec<String> =
            statuses[self.seen.min(statuses.len())..].iter().map(|s| describe(s)).collect();
        assert_eq!(told, updates, "{what}");
        self.seen = statuses.len();
    }

    fn due(&self) -> Option<u64> {
        self.task.next_due().map(|due| due.0 / 1_000_000)
    }

    fn last(&self) -> TaskStatus {
        self.task.updates.statuses().last().unwrap().clone()
    }
}

fn describe(status: &TaskStatus) -> String {
    let mut text = status.state().as_str_name().to_owned();
    if status.reason.is_some() {
        text.push_str(&format!(" {}", status.reason().as_str_name()));
    }
    if let Some(message) = &status.message {
        text.push_str(&format!(" {message:?}"));
    }
    if let Some(healthy) = status.healthy {
        text.push_str(&format!(" healthy={healthy}"));
    }
    text
}

#[test]
fn a_task_that_ends_by_itself() {
    for (end, update) in [
        (End::Exited(0), "TASK_FINISHED \"Command exited with status 0\""),
        (End::Exited(3), "TASK_FAILED \"Command exited with status 3\""),
        (
            End::Signaled { signal: 9, core_dumped: false },
            "TASK_FAILED \"Command terminated with signal Killed\"",
        ),
        (
            End::Signaled { signal: 11, core_dumped: true },
            "TASK_FAILED \"Command terminated with signal Segmentation fault (core dumped)\"",
        ),
        (
            End::Signaled { signal: 36, core_dumped: false },
            "TASK_FAILED \"Command terminated with signal Real-time signal 2\"",
        ),
    ] {
        let mut scene = Scene::running(info());
        scene.check(10, Input::Ended(end), &[], &[update]);
        let last = scene.last();
        assert_eq!(last.executor_id.clone().unwrap().value, "e");
        assert_eq!((last.source(), last.task_id.value.as_str()), (Source::Executor, "t"));
        assert_eq!(last.timestamp, Some(1000.01));
        scene.seen = 0;
        let running = scene.task.updates.statuses().next().unwrap().uuid().to_vec();
        assert!(scene.task.unacknowledged().is_some());
        let mut out = Vec::new();
        scene.task.handle(now(11), Input::Acknowledged(running), &mut out);
        assert_eq!(out, []);
        assert!(scene.task.unacknowledged().is_none());
        scene.task.handle(now(12), Input::Acknowledged(last.uuid().to_vec()), &mut out);
        assert_eq!(out, [Effect::Exit(0)]);
    }
}

#[test]
fn an_end_that_nobody_acknowledges_is_kept_while_the_agent_is_away() {
    let mut scene = Scene::running(info());
    scene.check(0, Input::Ended(End::Exited(0)), &[], &["TASK_FINISHED \"Command exited with status 0\""]);
    assert_eq!(scene.due(), Some(60_000));
    scene.task.disconnected();
    scene.check(1_000_000, Input::Tick, &[], &[]);
    scene.check(1_000_000, Input::Subscribed { killing_state: true }, &[], &[]);
    scene.check(1_060_000, Input::Tick, &[Effect::Exit(1)], &[]);
}

#[test]
fn a_kill_asks_then_ends() {
    let mut scene = Scene::running(info());
    scene.check(100, Input::Kill(None), &[Effect::Terminate], &["TASK_KILLING"]);
    assert_eq!(scene.due(), Some(3100));
    scene.check(200, Input::Kill(policy(10_000)), &[], &[]);
    assert_eq!(scene.due(), Some(3100), "a repeated kill cannot give more time");
    scene.check(300, Input::Kill(policy(1000)), &[], &[]);
    assert_eq!(scene.due(), Some(1100), "but less");
    scene.check(1099, Input::Tick, &[], &[]);
    scene.check(1100, Input::Tick, &[Effect::KillAll], &[]);
    scene.check(1200, Input::Kill(policy(0)), &[], &[]);
    let end = Input::Ended(End::Signaled { signal: 9, core_dumped: false });
    scene.check(1300, end, &[], &["TASK_KILLED \"Command terminated with signal Killed\""]);
    scene.check(1400, Input::Kill(None), &[], &[]);
}

#[test]
fn a_kill_during_which_the_task_exits_well_is_killed_still() {
    let mut task = info();
    task.kill_policy = policy(7000);
    let mut scene = Scene::running(task);
    scene.check(0, Input::Subscribed { killing_state: false }, &[], &[]);
    scene.check(0, Input::Kill(None), &[Effect::Terminate], &[]);
    assert_eq!(scene.due(), Some(7000));
    scene.check(1, Input::Ended(End::Exited(0)), &[], &["TASK_KILLED \"Command exited with status 0\""]);
}

#[test]
fn a_shutdown_leaves_the_agent_a_second() {
    let mut scene = Scene::running(info());
    scene.check(0, Input::Shutdown, &[Effect::Terminate], &["TASK_KILLING"]);
    assert_eq!(scene.due(), Some(4000));
    let mut idle = Scene::new();
    idle.check(0, Input::Shutdown, &[Effect::Exit(0)], &[]);
    idle.check(0, Input::Launch(Box::new(info())), &[], &[]);
    let mut idle = Scene::new();
    idle.check(0, Input::Kill(None), &[Effect::Exit(0)], &[]);
}

#[test]
fn a_command_that_cannot_start_says_why() {
    let mut scene = Scene::new();
    scene.check(0, Input::Launch(Box::new(info())), &[Effect::Start], &["TASK_STARTING"]);
    let failed = "TASK_FAILED REASON_COMMAND_EXECUTOR_FAILED \"no such file\"";
    scene.check(0, Input::Started(Err("no such file".into())), &[], &[failed]);
}

#[test]
fn a_second_task_is_refused_and_the_same_again_ignored() {
    let mut scene = Scene::running(info());
    scene.check(0, Input::Launch(Box::new(info())), &[], &[]);
    let other = TaskInfo { task_id: TaskId { value: "u".into() }, ..info() };
    let refused = "TASK_FAILED \"Attempted to run multiple tasks using a \\\"command\\\" executor\"";
    scene.check(0, Input::Launch(Box::new(other)), &[], &[refused]);
    assert_eq!(scene.last().task_id.value, "u");
    scene.check(0, Input::Ended(End::Exited(0)), &[], &["TASK_FINISHED \"Command exited with status 0\""]);
}

#[test]
fn a_task_out_of_time_fails() {
    let mut task = info();
    task.max_completion_time = Some(DurationInfo { nanoseconds: 2_000_000_000 });
    let mut scene = Scene::running(task);
    assert_eq!(scene.due(), Some(2000));
    scene.check(2000, Input::Tick, &[Effect::Terminate, Effect::KillAll], &[]);
    let end = Input::Ended(End::Signaled { signal: 15, core_dumped: false });
    let failed =
        "TASK_FAILED REASON_MAX_COMPLETION_TIME_REACHED \"Command terminated with signal Terminated\"";
    scene.check(2001, end, &[], &[failed]);
}

#[test]
fn a_sick_task_is_told_and_killed() {
    let mut task = info();
    task.health_check = Some(HealthCheck {
        delay_seconds: Some(1.0),
        interval_seconds: Some(2.0),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(2),
        r#type: Some(health_check::Type::Tcp as i32),
        tcp: Some(health_check::TcpCheckInfo { port: 80, protocol: None }),
        ..Default::default()
    });
    let mut scene = Scene::running(task);
    let probed = |made| Input::Probed(Which::Health, Outcome::Connected(made));
    let why = "TCP health check failed: TCP connection failed";
    let told = |healthy: bool| {
        let message = if healthy { String::new() } else { format!("{why:?} ") };
        format!("TASK_RUNNING REASON_TASK_HEALTH_CHECK_STATUS_UPDATED {message}healthy={healthy}")
    };
    scene.check(999, Input::Tick, &[], &[]);
    scene.check(1000, Input::Tick, &[Effect::Probe(Which::Health)], &[]);
    scene.check(1001, Input::Tick, &[], &[]);
    scene.check(1100, probed(true), &[], &[&told(true)]);
    scene.check(3100, Input::Tick, &[Effect::Probe(Which::Health)], &[]);
    let log = || Effect::Log(why.into());
    scene.check(3100, probed(false), &[log()], &[&told(false)]);
    scene.check(3200, probed(true), &[], &[&told(true)]);
    scene.check(3300, probed(false), &[log()], &[&told(false)]);
    scene.check(5300, Input::Tick, &[Effect::Probe(Which::Health)], &[]);
    scene.check(5300, probed(false), &[log(), Effect::Terminate], &[&told(false), "TASK_KILLING"]);
    scene.check(5350, probed(false), &[], &[]);
    let end = Input::Ended(End::Signaled { signal: 15, core_dumped: false });
    let killed = format!("Command terminated with signal Terminated: killed because of its {why}");
    scene.check(5400, end, &[], &[&format!("TASK_KILLED {killed:?} healthy=false")]);
}
