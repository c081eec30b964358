//! Single stories, told step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{AgentId, ContainerId, FrameworkId, Mono, Now, TaskId, Wall};
use mesos_proto::v1::executor::event;
use mesos_proto::v1::task_status::{Reason, Source};
use mesos_proto::v1::{self, TaskState, TaskStatus, command_info};

use super::world::{FRAMEWORK, config, framework, task};
use crate::{
    Agent, Config, ConnectionId, Effect, ExecutorState, Input, Launch, MemoryReport, Process, Record,
    Refusal, Termination,
};

pub(super) struct Story {
    pub(super) agent: Agent,
    now: Now,
    pub(super) disk: Vec<Record>,
    pub(super) out: Vec<Effect>,
}

impl Story {
    fn begin() -> Story {
        Story::with(config(), Vec::new(), BTreeMap::new())
    }

    pub(super) fn with(config: Config, disk: Vec<Record>, alive: BTreeMap<ContainerId, Process>) -> Story {
        let agent = Agent::recover(config, 7, disk.iter().cloned());
        let now = Now { mono: Mono(0), wall: Wall::from_millis(1000) };
        let mut story = Story { agent, now, disk, out: Vec::new() };
        story.tell(Input::ContainersFound { alive });
        story
    }

    pub(super) fn registered() -> Story {
        let mut story = Story::begin();
        story.register();
        story
    }

    pub(super) fn register(&mut self) {
        self.tell(Input::Registered { agent_id: AgentId::new("S0") });
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.out.clear();
        self.agent.handle(self.now, input, &mut self.out);
        self.agent.check();
        for effect in &self.out {
            if let Effect::Persist(record) = effect {
                self.disk.push(record.clone());
            }
        }
    }

    /// Lets time pass; the effects are those of the last timer.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some(at) = self.agent.next_timer().filter(|at| *at <= until) {
            self.now.mono = at;
            self.tell(Input::Tick);
        }
        self.now.mono = until;
    }

    pub(super) fn run(&mut self, task: v1::TaskInfo) -> Option<Launch> {
        self.tell(Input::RunTask { framework: Box::new(framework()), task: Box::new(task) });
        self.out.iter().find_map(|effect| match effect {
            Effect::Launch(launch) => Some(launch.as_ref().clone()),
            _ => None,
        })
    }

    pub(super) fn launched(&mut self, container_id: &ContainerId) {
        let process = Process { pid: 5, start_time: 50 };
        let networks = Vec::new();
        self.tell(Input::ContainerLaunched { container_id: container_id.clone(), process, networks });
    }

    /// The executor subscribes; its container runs for sure by then.
    pub(super) fn subscribe(&mut self, id: &str, connection: u64, tasks: &[&str]) {
        let executor = self.agent.executor(&FrameworkId::new(FRAMEWORK), &id.into()).unwrap();
        if executor.process().is_none() {
            self.launched(&executor.container_id().clone());
        }
        self.subscribe_early(id, connection, tasks);
    }

    fn subscribe_early(&mut self, id: &str, connection: u64, tasks: &[&str]) {
        self.tell(Input::Subscribe {
            connection: ConnectionId(connection),
            framework_id: FrameworkId::new(FRAMEWORK),
            executor_id: id.into(),
            unacknowledged_updates: Vec::new(),
            unacknowledged_tasks: tasks.iter().map(TaskId::new).collect(),
            memory: None,
        });
    }

    pub(super) fn say(
        &mut self,
        id: &str,
        state: TaskState,
        uuid: u8,
        message: &str,
        memory: Option<MemoryReport>,
    ) {
        let status = TaskStatus {
            task_id: v1::TaskId { value: id.into() },
            state: state as i32,
            uuid: Some(vec![uuid; 16]),
            message: Some(message.into()),
            source: Some(Source::Executor as i32),
            ..Default::default()
        };
        self.tell(Input::Update {
            framework_id: FrameworkId::new(FRAMEWORK),
            executor_id: id.into(),
            status: Box::new(status),
            memory,
        });
    }

    pub(super) fn kill(&mut self, id: &str) {
        let framework_id = FrameworkId::new(FRAMEWORK);
        self.tell(Input::KillTask { framework_id, task_id: TaskId::new(id), kill_policy: None });
    }

    pub(super) fn acknowledge(&mut self, id: &str, uuid: &[u8]) {
        self.tell(Input::AcknowledgeUpdate {
            framework_id: FrameworkId::new(FRAMEWORK),
            task_id: TaskId::new(id),
            uuid: uuid.to_vec(),
        });
    }

    pub(super) fn forwarded(&self) -> Vec<&TaskStatus> {
        let mut all = Vec::new();
        for effect in &self.out {
            if let Effect::Forward { status, .. } = effect {
                all.push(status.as_ref());
            }
        }
        all
    }

    pub(super) fn events(&self) -> Vec<event::Type> {
        let event = |effect: &Effect| match effect {
            Effect::Send { event, .. } => Some(event.r#type()),
            _ => None,
        };
        self.out.iter().filter_map(event).collect()
    }

    pub(super) fn destroyed(&self) -> bool {
        self.out.iter().any(|effect| matches!(effect, Effect::Destroy { .. }))
    }

    fn executor_state(&self, id: &str) -> Option<ExecutorState> {
        Some(self.agent.executor(&FrameworkId::new(FRAMEWORK), &id.into())?.state())
    }
}

#[test]
fn a_task_is_recorded_before_it_is_launched_and_sent_once() {
    let mut story = Story::registered();
    let launch = story.run(task("t")).unwrap();
    let kinds: Vec<&str> = story
        .out
        .iter()
        .map(|effect| match effect {
            Effect::Persist(Record::Framework { .. }) => "framework",
            Effect::Persist(Record::Executor { .. }) => "executor",
            Effect::Persist(Record::Task { .. }) => "task",
            Effect::Launch(_) => "launch",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["framework", "executor", "task", "launch"]);
    assert!(story.run(task("t")).is_none() && story.out.is_empty(), "a repetition changes nothing");
    story.launched(&launch.run.container_id);
    story.subscribe("t", 1, &[]);
    assert_eq!(story.events(), [event::Type::Subscribed, event::Type::Launch]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    let order: Vec<bool> = story.out.iter().map(|effect| matches!(effect, Effect::Persist(_))).collect();
    assert_eq!(order, [true, false, false], "recorded, then forwarded and acknowledged");
    assert_eq!(story.events(), [event::Type::Acknowledged]);
    assert_eq!(story.forwarded()[0].container_status.as_ref().unwrap().executor_pid, Some(5));
    story.say("t", TaskState::TaskRunning, 1, "", None);
    assert_eq!(story.events(), [event::Type::Acknowledged], "acknowledged again");
    assert!(story.forwarded().is_empty(), "and not forwarded again");
}

#[test]
fn an_executor_quicker_than_its_launch_waits_for_its_task() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.subscribe_early("t", 1, &[]);
    assert_eq!(story.events(), [event::Type::Subscribed]);
    story.launched(&container_id);
    assert!(matches!(story.out[0], Effect::Persist(Record::Process { .. })));
    assert_eq!(story.events(), [event::Type::Launch]);
}

#[test]
fn a_framework_that_is_back_is_told_again_at_once() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    story.tell(Input::UpdateFramework { framework: Box::new(framework()) });
    let again: Vec<_> = story.forwarded().iter().map(|status| status.uuid().to_vec()).collect();
    assert_eq!(again, [vec![1; 16]]);
    story.acknowledge("t", &[1; 16]);
    story.tell(Input::UpdateFramework { framework: Box::new(framework()) });
    assert!(story.out.is_empty(), "nothing is left to say");
}

#[test]
fn mp08_an_unacknowledged_update_is_sent_again_ever_more_seldom() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    story.say("t", TaskState::TaskFinished, 2, "", None);
    assert!(story.forwarded().is_empty(), "the first one is not acknowledged yet");
    let mut waits = Vec::new();
    let mut last = story.now.mono;
    while waits.len() < 8 {
        let at = story.agent.next_timer().unwrap();
        story.now.mono = at;
        story.tell(Input::Tick);
        if !story.forwarded().is_empty() {
            waits.push(at.since(last).as_secs());
            last = at;
        }
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
    story.acknowledge("t", &[9; 16]);
    assert!(story.out.is_empty(), "of another update");
    story.acknowledge("t", &[1; 16]);
    assert_eq!(story.forwarded()[0].state(), TaskState::TaskFinished);
}

#[test]
fn a_task_is_killed_at_any_stage() {
    let mut story = Story::registered();
    let launch = story.run(task("early")).unwrap();
    story.kill("early");
    assert_eq!(story.forwarded()[0].message(), "Killed before delivery to the executor");
    assert_eq!(story.forwarded()[0].reason(), Reason::TaskKilledDuringLaunch);
    assert!(story.destroyed(), "its executor has nothing to wait for");
    story.tell(Input::ContainerTerminated {
        container_id: launch.run.container_id,
        termination: Termination::default(),
    });
    assert!(story.forwarded().is_empty(), "it has ended already");

    story.run(task("late"));
    story.subscribe("late", 1, &[]);
    story.kill("late");
    assert_eq!(story.events(), [event::Type::Kill]);
    story.tell(Input::Unsubscribed { connection: ConnectionId(1) });
    story.subscribe("late", 2, &["late"]);
    assert_eq!(story.events(), [event::Type::Subscribed, event::Type::Kill], "it may have missed the first");
    story.kill("never");
    assert_eq!(story.forwarded()[0].message(), "Cannot find executor");
}

#[test]
fn a_lost_launch_is_sent_again_and_one_that_arrived_is_not() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.subscribe("t", 1, &[]);
    story.tell(Input::Unsubscribed { connection: ConnectionId(1) });
    story.subscribe("t", 2, &[]);
    assert_eq!(story.events(), [event::Type::Subscribed, event::Type::Launch]);
    story.tell(Input::Unsubscribed { connection: ConnectionId(2) });
    story.subscribe("t", 3, &["t"]);
    assert_eq!(story.events(), [event::Type::Subscribed]);
}

#[test]
fn ma59_silence_after_the_start_ends_the_executor() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.launched(&container_id);
    story.pass(Duration::from_secs(60));
    assert!(story.destroyed());
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    let status = story.forwarded()[0];
    assert_eq!(status.message(), "Executor did not register within 1mins");
    assert_eq!(status.reason(), Reason::ExecutorRegistrationTimeout);
}

#[test]
fn memory_explains_what_the_kernel_killed() {
    let memory =
        || MemoryReport { oom_kills: 1, limit: 64 << 20, max_usage: 64 << 20, statistics: "rss 1".into() };
    let text = "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB\n\nMEMORY STATISTICS: \nrss 1\n";
    let mut story = Story::registered();
    story.run(task("told"));
    story.subscribe("told", 1, &[]);
    story.say("told", TaskState::TaskFailed, 1, "Command terminated with signal Killed", Some(memory()));
    let status = story.forwarded()[0];
    assert_eq!((status.reason(), status.message()), (Reason::ContainerLimitationMemory, text));

    let container_id = story.run(task("gone")).unwrap().run.container_id;
    story.subscribe("gone", 2, &[]);
    let termination = Termination { memory: Some(memory()), ..Default::default() };
    story.tell(Input::ContainerTerminated { container_id, termination });
    let status = story.forwarded()[0];
    assert_eq!((status.reason(), status.message()), (Reason::ContainerLimitationMemory, text));
    assert_eq!(status.source(), Source::Agent);
}

#[test]
fn ma59_an_executor_gets_its_grace_and_no_more() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    let (framework_id, executor_id) = (FrameworkId::new(FRAMEWORK), "t".into());
    story.tell(Input::ShutdownExecutor { framework_id, executor_id });
    assert_eq!(story.events(), [event::Type::Shutdown]);
    assert_eq!(story.executor_state("t"), Some(ExecutorState::Terminating));
    story.pass(Duration::from_secs(4));
    assert!(!story.destroyed());
    story.pass(Duration::from_secs(1));
    assert!(story.destroyed());
}

#[test]
fn a_command_executor_that_stays_after_its_task_is_sent_away() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskFinished, 1, "", None);
    story.acknowledge("t", &[1; 16]);
    story.pass(Duration::from_secs(5));
    assert_eq!(story.events(), [event::Type::Shutdown]);
    story.pass(Duration::from_secs(5));
    assert!(story.destroyed());
}

#[test]
fn a_framework_that_is_gone_takes_everything_along() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.subscribe("t", 1, &[]);
    story.tell(Input::ShutdownFramework { framework_id: FrameworkId::new(FRAMEWORK) });
    assert_eq!(story.events(), [event::Type::Shutdown]);
    story.say("t", TaskState::TaskKilled, 1, "", None);
    assert!(story.forwarded().is_empty(), "nobody listens");
    assert!(story.run(task("more")).is_none());
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    assert_eq!(story.agent.frameworks().count(), 0);
    assert_eq!(story.agent.completed_frameworks().count(), 1);
    assert!(story.agent.knowledge().tasks.is_empty());
}

#[test]
fn what_is_not_supported_is_named() {
    let check = |change: fn(&mut v1::TaskInfo), message: &str| {
        let mut info = task("t");
        change(&mut info);
        let mut story = Story::registered();
        assert!(story.run(info).is_none(), "{message}");
        let status = story.forwarded()[0];
        assert_eq!((status.state(), status.message()), (TaskState::TaskError, message));
    };
    check(
        |task| {
            let uri = command_info::Uri { value: " ".into(), ..Default::default() };
            task.command.as_mut().unwrap().uris.push(uri);
        },
        "Task's 'command.uris' has one that is empty",
    );
    check(
        |task| {
            let tty_info = Some(v1::TtyInfo::default());
            task.container = Some(v1::ContainerInfo { tty_info, ..Default::default() });
        },
        "Task uses 'container.tty_info' (a terminal), which this agent does not support",
    );
    check(|task| task.task_id.value = "a/b".into(), "Task ID 'a/b' contains invalid characters");
    check(|task| task.command = None, "Task 't' has neither 'command' nor 'executor'");
    check(
        |task| {
            let secret = v1::environment::Variable {
                name: "TOKEN".into(),
                r#type: Some(v1::environment::variable::Type::Secret as i32),
                ..Default::default()
            };
            let environment = v1::Environment { variables: vec![secret] };
            task.command.as_mut().unwrap().environment = Some(environment);
        },
        "Task uses 'command.environment' (the secret TOKEN), which this agent does not support",
    );
}

#[test]
fn only_so_many_executors_run() {
    let mut config = config();
    config.max_executors = 1;
    let mut story = Story::with(config, Vec::new(), BTreeMap::new());
    story.register();
    assert!(story.run(task("one")).is_some());
    assert!(story.run(task("two")).is_none());
    assert_eq!(story.forwarded()[0].message(), "Agent runs 1 executors, which is its limit");
}

#[test]
fn executors_are_admitted_when_they_are_known() {
    let agent = Agent::recover(config(), 1, []);
    let (framework_id, executor_id) = (FrameworkId::new(FRAMEWORK), "t".into());
    assert_eq!(agent.admit(&framework_id, &executor_id, true), Err(Refusal::Recovering));
    let mut story = Story::registered();
    let admit = |story: &Story, subscribes| story.agent.admit(&framework_id, &executor_id, subscribes);
    assert_eq!(admit(&story, true), Err(Refusal::UnknownFramework));
    story.run(task("other"));
    assert_eq!(admit(&story, true), Err(Refusal::UnknownExecutor));
    story.run(task("t"));
    assert_eq!(admit(&story, false), Err(Refusal::NotSubscribed));
    assert_eq!(admit(&story, true), Ok(()));
}

/// A story with one task running, ended by the death of the agent.
fn until_death() -> (Vec<Record>, ContainerId) {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.launched(&container_id);
    story.subscribe("t", 1, &[]);
    story.say("t", TaskState::TaskRunning, 1, "", None);
    (story.disk, container_id)
}

#[test]
fn an_agent_comes_back_with_everything_it_had() {
    let (disk, container_id) = until_death();
    let alive = BTreeMap::from([(container_id, Process { pid: 5, start_time: 50 })]);
    let mut story = Story::with(config(), disk, alive);
    assert!(!story.agent.is_recovered(), "its executor is waited for");
    story.subscribe("t", 1, &["t"]);
    assert!(story.agent.is_recovered());
    let knowledge = story.agent.knowledge();
    assert_eq!(knowledge.info.id.unwrap().value, "S0");
    assert_eq!(knowledge.tasks[0].state(), TaskState::TaskRunning);
    assert!(knowledge.executors.is_empty(), "the executor of a command task is not told");
    story.register();
    assert_eq!(story.forwarded().len(), 1, "what was not acknowledged is sent again");
}

#[test]
fn another_process_of_that_pid_is_not_the_executor() {
    let (disk, container_id) = until_death();
    let alive = BTreeMap::from([(container_id.clone(), Process { pid: 5, start_time: 51 })]);
    let mut story = Story::with(config(), disk, alive);
    assert!(story.destroyed() && story.agent.is_recovered());
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    story.register();
    assert_eq!(story.agent.knowledge().tasks[0].state(), TaskState::TaskFailed);
}

#[test]
fn an_executor_that_does_not_come_back_is_ended() {
    let (disk, container_id) = until_death();
    let alive = BTreeMap::from([(container_id.clone(), Process { pid: 5, start_time: 50 })]);
    let mut story = Story::with(config(), disk, alive);
    story.pass(Duration::from_secs(10));
    assert!(story.destroyed() && story.agent.is_recovered());
    story.register();
    story.acknowledge("t", &[1; 16]);
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    let status = story.forwarded()[0];
    assert_eq!(
        (status.state(), status.message()),
        (TaskState::TaskLost, "Executor did not reregister within 10secs")
    );
}

#[test]
fn ma03_a_reboot_keeps_the_agent_and_ends_its_tasks() {
    let (disk, container_id) = until_death();
    let mut rebooted = config();
    rebooted.boot_id = "another".into();
    let mut story = Story::with(rebooted, disk, BTreeMap::new());
    assert!(story.destroyed());
    story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    assert_eq!(story.agent.id(), Some(&AgentId::new("S0")));
    story.register();
    let written = story.out.iter().any(
        |effect| matches!(effect, Effect::Persist(Record::Agent { boot_id, .. }) if boot_id == "another"),
    );
    assert!(written);
    story.acknowledge("t", &[1; 16]);
    let status = story.forwarded()[0];
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRestarted));
    assert_eq!(status.message(), "Agent host rebooted");
}

#[test]
fn a_log_of_many_changes_is_rewritten_and_still_recovers() {
    let mut story = Story::registered();
    let container_id = story.run(task("t")).unwrap().run.container_id;
    story.launched(&container_id);
    story.subscribe("t", 1, &[]);
    for uuid in 1..=200u8 {
        story.say("t", TaskState::TaskRunning, uuid, "", None);
        story.acknowledge("t", &[uuid; 16]);
    }
    assert!(story.disk.iter().any(|record| matches!(record, Record::LogRewritten { .. })));
    story.say("t", TaskState::TaskRunning, 201, "pending", None);
    let alive = BTreeMap::from([(container_id, Process { pid: 5, start_time: 50 })]);
    let mut story = Story::with(config(), story.disk, alive);
    story.subscribe("t", 1, &["t"]);
    story.register();
    assert_eq!(story.forwarded()[0].message(), "pending");
}

#[test]
fn history_is_bounded() {
    let mut config = config();
    (config.max_completed_executors, config.max_completed_frameworks) = (3, 1);
    let mut story = Story::with(config, Vec::new(), BTreeMap::new());
    story.register();
    for n in 0..10u8 {
        let id = format!("t{n}");
        let container_id = story.run(task(&id)).unwrap().run.container_id;
        story.subscribe(&id, n.into(), &[]);
        story.say(&id, TaskState::TaskFinished, n + 1, "", None);
        story.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
        story.acknowledge(&id, &[n + 1; 16]);
        assert!(story.out.iter().any(|effect| matches!(effect, Effect::CollectLater { .. })));
    }
    let completed = story.agent.completed_frameworks().next().unwrap();
    let ids: Vec<&str> = completed.completed_executors().map(|executor| executor.id().as_str()).collect();
    assert_eq!(ids, ["t7", "t8", "t9"]);
}

fn custom(id: &str) -> v1::TaskInfo {
    let executor = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "custom".into() },
        command: Some(v1::CommandInfo { value: Some("./run".into()), ..Default::default() }),
        ..Default::default()
    };
    v1::TaskInfo { command: None, executor: Some(executor), ..task(id) }
}

#[test]
fn a_custom_executor_has_many_tasks_and_its_end_is_told() {
    let mut story = Story::registered();
    let container_id = story.run(custom("a")).unwrap().run.container_id;
    assert!(story.run(custom("b")).is_none(), "the same executor");
    story.subscribe("custom", 1, &[]);
    assert_eq!(story.events(), [event::Type::Subscribed, event::Type::Launch, event::Type::Launch]);
    story.run(custom("c"));
    assert_eq!(story.events(), [event::Type::Launch], "at once, now that it is subscribed");
    assert!(matches!(story.out[1], Effect::Resize { .. }), "its container grows first");
    let framework_id = FrameworkId::new(FRAMEWORK);
    let message = || Input::FrameworkMessage {
        framework_id: framework_id.clone(),
        executor_id: "custom".into(),
        data: b"hi".to_vec(),
    };
    story.tell(message());
    assert_eq!(story.events(), [event::Type::Message]);
    story.tell(Input::ExecutorMessage {
        framework_id: framework_id.clone(),
        executor_id: "custom".into(),
        data: b"ho".to_vec(),
    });
    assert!(matches!(&story.out[..], [Effect::ExecutorMessage { data, .. }] if data == b"ho"));
    let termination = Termination { status: Some(256), ..Default::default() };
    story.tell(Input::ContainerTerminated { container_id, termination });
    let lost: Vec<&str> = story.forwarded().iter().map(|status| &*status.task_id.value).collect();
    assert_eq!(lost, ["a", "b", "c"]);
    assert!(story.out.iter().any(|effect| matches!(effect, Effect::ExecutorExited { status: 256, .. })));
    story.tell(message());
    assert!(story.out.is_empty(), "nobody is there to hear it");
    story.run(custom("d"));
    assert_eq!(story.forwarded()[0].message(), "Executor terminated");
}

#[test]
fn nothing_is_begun_while_everything_ends() {
    let mut story = Story::registered();
    story.run(task("t"));
    story.subscribe("t", 1, &[]);
    story.tell(Input::ShutdownAll);
    assert_eq!(story.events(), [event::Type::Shutdown]);
    assert!(story.run(task("more")).is_none());
    assert_eq!(story.forwarded()[0].message(), "Agent is shutting down");
}
