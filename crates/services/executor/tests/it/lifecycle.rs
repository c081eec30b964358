use std::fs;
use std::time::{Duration, Instant};

use containers::Exit;
use mesos_proto::v1::environment::Variable;
use mesos_proto::v1::resource::AllocationInfo;
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{DurationInfo, Environment, Resource, TaskState};
use rustix::process::{Pid, Signal};

use crate::agent::{Agent, kill, shutdown};
use crate::scene::{Scene, eventually, in_each_isolation, launch, task};

#[test]
fn ma23_ma24_a_command_runs_to_its_end() {
    in_each_isolation(|scene| {
        let (agent, launched) = scene.subscribed();
        let mut info = task("echo out $GREETING $MESOS_ALLOCATION_ROLE; echo err >&2; env; pwd; exit $CODE");
        let variable = |name: &str, value: &str| Variable {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        let variables = vec![variable("GREETING", "hello"), variable("CODE", "3")];
        info.command.as_mut().unwrap().environment = Some(Environment { variables });
        let allocation_info = Some(AllocationInfo { role: Some("web".into()) });
        info.resources = vec![Resource { allocation_info, ..Default::default() }];
        agent.send(launch(info));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        let failed = agent.expect(TaskState::TaskFailed);
        assert_eq!(failed.message(), "Command exited with status 3");
        assert_eq!(scene.exit(&launched), Exit::Code(0));
        let out = scene.stdout();
        assert!(out.starts_with("out hello web\n"), "{out}");
        assert!(out.ends_with(&format!("{}\n", scene.spec.working_directory.display())), "{out}");
        assert!(out.contains("MESOS_SANDBOX=") && !out.contains("secret"), "{out}");
        assert_eq!(scene.stderr(), "err\n", "the executor itself says nothing");
    });
}

#[test]
fn arguments_are_passed_as_they_are() {
    in_each_isolation(|scene| {
        let (agent, _launched) = scene.subscribed();
        let mut info = task("printf");
        let command = info.command.as_mut().unwrap();
        command.shell = Some(false);
        command.arguments = ["printf", "%s|", "a b", "$HOME", ""].map(str::to_owned).to_vec();
        agent.send(launch(info));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        agent.expect(TaskState::TaskFinished);
        assert_eq!(scene.stdout(), "a b|$HOME||");
    });
}

#[test]
fn a_command_that_cannot_start_fails_with_the_reason() {
    in_each_isolation(|scene| {
        let (agent, launched) = scene.subscribed();
        let mut info = task("/no/such");
        info.command.as_mut().unwrap().shell = Some(false);
        agent.send(launch(info));
        agent.expect(TaskState::TaskStarting);
        let failed = agent.expect(TaskState::TaskFailed);
        assert_eq!(failed.reason(), Reason::CommandExecutorFailed);
        assert_eq!(failed.message(), "Failed to execute '/no/such': No such file or directory (os error 2)");
        assert_eq!(scene.exit(&launched), Exit::Code(0));
    });
}

#[test]
fn another_user_runs_the_command_if_root_starts_it() {
    let Some(scene) = Scene::full() else { return };
    let (agent, _launched) = scene.subscribed();
    let mut info = task("id -u; id -G; grep CapEff /proc/self/status; cat /proc/self/oom_score_adj");
    info.command.as_mut().unwrap().user = Some("4711".into());
    agent.send(launch(info));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent.expect(TaskState::TaskFinished);
    assert_eq!(scene.stdout(), "4711\n4711\nCapEff:\t0000000000000000\n0\n");
    drop(agent);
    let scene = Scene::full().unwrap();
    let (agent, _launched) = scene.subscribed();
    let mut info = task("true");
    info.command.as_mut().unwrap().user = Some("nobody-here".into());
    agent.send(launch(info));
    agent.expect(TaskState::TaskStarting);
    let failed = agent.expect(TaskState::TaskFailed);
    assert_eq!(failed.message(), "there is no user \"nobody-here\" in /etc/passwd");
}

/// Starts a task that ignores SIGTERM in every process, and left its session with some.
fn stubborn(scene: &Scene) -> Agent {
    let (agent, _launched) = scene.subscribed();
    let script = "trap '' TERM; setsid sh -c 'sleep 60 & sleep 60' & (sleep 60 &) ; echo ready; \
                  while :; do sleep 60; done";
    agent.send(launch(task(script)));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    eventually("all started", || scene.stdout() == "ready\n" && scene.processes().len() >= 6);
    agent
}

#[test]
fn ma53_a_kill_escalates_and_reports_when_all_is_gone() {
    in_each_isolation(|scene| {
        let agent = stubborn(&scene);
        let asked = Instant::now();
        agent.send(kill(Some(Duration::from_millis(300))));
        agent.expect(TaskState::TaskKilling);
        let killed = agent.expect(TaskState::TaskKilled);
        assert!(scene.processes().len() <= 1, "only the executor is left");
        assert_eq!(killed.message(), "Command terminated with signal Killed");
        assert!(asked.elapsed() >= Duration::from_millis(300));
    });
}

#[test]
fn a_task_that_obeys_ends_at_once() {
    in_each_isolation(|scene| {
        let (agent, launched) = scene.subscribed();
        agent.send(launch(task("trap 'echo bye; exit 0' TERM; echo ready; sleep 60 & wait")));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        eventually("ready", || scene.stdout() == "ready\n");
        agent.send(shutdown());
        agent.expect(TaskState::TaskKilling);
        assert_eq!(agent.expect(TaskState::TaskKilled).message(), "Command exited with status 0");
        assert_eq!(scene.stdout(), "ready\nbye\n");
        assert_eq!(scene.exit(&launched), Exit::Code(0));
    });
}

#[test]
fn orphans_are_reaped_and_do_not_outlive_the_command() {
    in_each_isolation(|scene| {
        let (agent, launched) = scene.subscribed();
        let script = "for i in 1 2 3 4 5; do (setsid true &); (setsid sleep 60 &); done; echo ready; read x";
        let mut info = task(&format!("mkfifo go; ({script}) < go"));
        info.max_completion_time = Some(DurationInfo { nanoseconds: 60_000_000_000 });
        agent.send(launch(info));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        let zombies = || {
            let children = format!("/proc/{0}/task/{0}/children", launched.process.pid);
            let children = fs::read_to_string(children).unwrap();
            let state = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            children.split_ascii_whitespace().filter(|pid| state(pid).contains(") Z ")).count()
        };
        let go = scene.spec.working_directory.join("go");
        eventually("the pipe", || go.exists());
        let go = fs::OpenOptions::new().write(true).open(go).unwrap();
        eventually("ready", || scene.stdout() == "ready\n");
        eventually("no zombies", || zombies() == 0);
        eventually("the orphans", || scene.processes().len() >= 7);
        drop(go);
        agent.expect(TaskState::TaskFailed);
        assert!(scene.processes().len() <= 1, "only the executor is left");
        assert_eq!(scene.exit(&launched), Exit::Code(0));
    });
}

#[test]
fn ma54_time_is_bounded() {
    in_each_isolation(|scene| {
        let (agent, _launched) = scene.subscribed();
        let mut info = task("trap '' TERM; sleep 60");
        info.max_completion_time = Some(DurationInfo { nanoseconds: 100_000_000 });
        agent.send(launch(info));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        assert_eq!(agent.expect(TaskState::TaskFailed).reason(), Reason::MaxCompletionTimeReached);
    });
}

#[test]
fn much_output_is_kept_and_costs_nothing() {
    in_each_isolation(|scene| {
        let (agent, _launched) = scene.subscribed();
        agent.send(launch(task("head -c 50000000 /dev/zero; head -c 1000 /dev/zero >&2")));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        agent.expect(TaskState::TaskFinished);
        assert_eq!(fs::metadata(&scene.spec.stdout).unwrap().len(), 50_000_000);
        assert_eq!(fs::metadata(&scene.spec.stderr).unwrap().len(), 1000);
    });
}

#[test]
fn a_task_that_runs_out_of_memory_fails_and_the_executor_tells() {
    let Some(mut scene) = Scene::full() else { return };
    scene.spec.limits.memory_bytes = Some(32 << 20);
    let (agent, launched) = scene.subscribed();
    agent.send(launch(task("exec tail -n 1 < /dev/zero")));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    let failed = agent.expect(TaskState::TaskFailed);
    assert_eq!(failed.message(), "Command terminated with signal Killed");
    assert!(scene.containers.oom_kills(&scene.spec.container_id).unwrap() > 0);
    assert_eq!(scene.exit(&launched), Exit::Code(0));
}

#[test]
fn a_killed_executor_takes_its_command_along() {
    in_each_isolation(|scene| {
        let (agent, launched) = scene.subscribed();
        agent.send(launch(task("exec sleep 60")));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        let pid = Pid::from_raw(launched.process.pid as i32).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        assert_eq!(scene.exit(&launched), Exit::Signal(9));
        eventually("the command is gone", || scene.processes().is_empty());
    });
}

/// Prints what a task costs; see the numbers with `--nocapture`. They count in a release build.
#[test]
fn a_start_is_quick_and_an_executor_small() {
    let mut times = Vec::new();
    for _ in 0..15 {
        let Some(scene) = Scene::full() else { return };
        let agent = Agent::start(&scene.socket());
        let started = Instant::now();
        let launched = scene.launch();
        let container = started.elapsed();
        agent.expect_subscribe();
        let subscribed = started.elapsed();
        agent.send(launch(task("exec sleep 60")));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        times.push((started.elapsed(), subscribed, container));
        if times.len() == 15 {
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", launched.process.pid)).unwrap();
            for line in rollup.lines().filter(|line| line.starts_with("Pss") || line.starts_with("Rss")) {
                eprintln!("{line}");
            }
        }
    }
    times.sort();
    let (running, subscribed, container) = times[7];
    eprintln!("median: container {container:?}, subscribed {subscribed:?}, TASK_RUNNING {running:?}");
    assert!(running < Duration::from_secs(2));
}
