//! From RunTask to the last update.

use std::time::{Duration, Instant};

use mesos_proto::v1::task_status::{Reason, Source};
use mesos_proto::v1::{self, TaskState};

use crate::master::{FRAMEWORK, Master, resources, task};
use crate::node::{Dir, Node, config, eventually, skip_without_root};

#[tokio::test]
async fn ma09_a_command_runs_and_leaves_nothing() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    assert_eq!(session.hello.agent.as_ref().unwrap().id, None, "it is new");
    session.run(task("t1", "echo hello; echo $MESOS_SANDBOX >&2; pwd"));
    let running = session.until("t1", TaskState::TaskRunning).await;
    assert_eq!(running.source(), Source::Executor);
    assert_eq!(running.executor_id.as_ref().unwrap().value, "t1");
    let container = running.container_status.as_ref().unwrap();
    assert!(container.executor_pid.is_some());
    assert_eq!(container.network_infos[0].ip_addresses[0].ip_address(), node.address.ip().to_string());
    session.until("t1", TaskState::TaskFinished).await;
    let latest = format!("/files/read?path=/frameworks/{FRAMEWORK}/executors/t1/runs/latest");
    let stdout = node.json(&format!("{latest}/stdout&offset=0")).await;
    let stderr = node.json(&format!("{latest}/stderr&offset=0")).await;
    let sandbox = stderr["data"].as_str().unwrap().lines().last().unwrap().to_owned();
    let stdout = stdout["data"].as_str().unwrap();
    assert!(stdout.starts_with("hello\n"), "{stdout}");
    assert!(stdout.contains(&sandbox), "{stdout} in {sandbox}");
    eventually("nothing is left of the container", async || node.containers_left() == 0).await;
    let over = async || node.json("/state").await["frameworks"].as_array().unwrap().is_empty();
    eventually("the agent knows that it is over", over).await;
    let state = node.json("/state").await;
    let completed = &state["completed_frameworks"][0]["completed_executors"][0];
    assert_eq!(completed["completed_tasks"][0]["state"], "TASK_FINISHED");
    assert_eq!(completed["directory"].as_str().unwrap(), sandbox);
    node.stop().await;
}

#[tokio::test]
async fn a_tasks_environment_is_not_its_executors() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut config = config(&dir, &master);
    config.executor_registration_timeout = Duration::from_secs(3);
    let node = Node::start(config).await;
    let mut session = master.session().await;
    // The executor may be root and the task not: it must not be led to somebody who only plays the agent.
    let mut led = task("led", r#"test "$MESOS_DOMAIN_SOCKET $MESOS_EXECUTOR_ID" = "/nowhere other""#);
    let variable = |name: &str, value: &str| v1::environment::Variable {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let variables = vec![variable("MESOS_DOMAIN_SOCKET", "/nowhere"), variable("MESOS_EXECUTOR_ID", "other")];
    led.command.as_mut().unwrap().environment = Some(v1::Environment { variables });
    session.run(led);
    session.until("led", TaskState::TaskFinished).await;
    node.stop().await;
}

#[tokio::test]
async fn failures_tell_their_status() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    session.run(task("seven", "exit 7"));
    session.run(task("killed", "kill -9 $$"));
    let seven = session.until("seven", TaskState::TaskFailed).await;
    assert_eq!(seven.message(), "Command exited with status 7");
    let killed = session.until("killed", TaskState::TaskFailed).await;
    assert_eq!(killed.message(), "Command terminated with signal Killed");
    assert_ne!(killed.reason, Some(Reason::ContainerLimitationMemory as i32));
    node.stop().await;
}

#[tokio::test]
async fn a_kill_ends_the_whole_tree() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    session.run(task("t", "sleep 1000 & setsid sleep 1000 & wait"));
    session.until("t", TaskState::TaskRunning).await;
    session.kill("t");
    session.kill("t");
    session.until("t", TaskState::TaskKilled).await;
    eventually("nothing is left of the container", async || node.containers_left() == 0).await;
    // A task that nobody knows: its framework learns that it is over.
    session.run(task("other", "sleep 1000"));
    session.until("other", TaskState::TaskRunning).await;
    session.kill("unknown");
    let unknown = session.update("unknown").await;
    assert_eq!((unknown.state(), unknown.message()), (TaskState::TaskLost, "Cannot find executor"));
    session.kill("other");
    session.until("other", TaskState::TaskKilled).await;
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_run_is_refused_by_name() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    let mut terminal = task("terminal", "true");
    let tty_info = Some(v1::TtyInfo::default());
    terminal.container = Some(v1::ContainerInfo { tty_info, ..Default::default() });
    session.run(terminal);
    let refused = session.until("terminal", TaskState::TaskError).await;
    assert!(refused.message().contains("'container.tty_info' (a terminal)"), "{}", refused.message());
    session.run(task("../escape", "true"));
    let refused = session.until("../escape", TaskState::TaskError).await;
    assert_eq!(refused.message(), "Task ID '../escape' contains invalid characters");
    let mut other_user = task("user", "true");
    other_user.command.as_mut().unwrap().user = Some("nobody-of-this-name".into());
    session.run(other_user);
    let refused = session.until("user", TaskState::TaskFailed).await;
    assert_eq!(refused.reason(), Reason::ContainerLaunchFailed);
    assert!(refused.message().contains("'nobody-of-this-name'"), "{}", refused.message());
    if !host::is_root() {
        let mut root = task("root", "true");
        root.command.as_mut().unwrap().user = Some("root".into());
        session.run(root);
        let refused = session.until("root", TaskState::TaskFailed).await;
        let only = format!("cannot run a task as user 'root', only as '{}'", host::User::current().name);
        assert!(refused.message().contains(&only), "{}", refused.message());
    }
    node.stop().await;
}

#[tokio::test]
async fn a_task_runs_as_its_user() {
    if skip_without_root("a_task_runs_as_its_user") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    let mut task = task("t", "id -un; touch made; echo again >> /dev/stdout");
    task.command.as_mut().unwrap().user = Some("nobody".into());
    session.run(task);
    session.until("t", TaskState::TaskFinished).await;
    let latest = format!("path=/frameworks/{FRAMEWORK}/executors/t/runs/latest");
    let stdout = node.json(&format!("/files/read?{latest}/stdout&offset=0")).await;
    let stdout = stdout["data"].as_str().unwrap();
    assert!(stdout.contains("nobody\n") && stdout.contains("again\n"), "{stdout}");
    let listed = node.json(&format!("/files/browse?{latest}")).await;
    assert!(listed.as_array().unwrap().iter().all(|file| file["uid"] == "nobody"), "{listed}");
    node.stop().await;
}

#[tokio::test]
async fn hunger_is_told_as_the_reason() {
    if skip_without_root("hunger_is_told_as_the_reason") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    let mut hog = task("hog", "exec tail /dev/zero");
    hog.resources = resources("cpus:1;mem:32");
    session.run(hog);
    let failed = session.until("hog", TaskState::TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLimitationMemory, "{failed:?}");
    assert!(
        failed.message().starts_with("Memory limit exceeded: Requested: 64MB Maximum Used: 64MB"),
        "{failed:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn an_executor_that_dies_takes_its_task_along() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    session.run(task("t", "sleep 1000"));
    let running = session.until("t", TaskState::TaskRunning).await;
    let pid = running.container_status.unwrap().executor_pid.unwrap();
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let failed = session.until("t", TaskState::TaskFailed).await;
    assert_eq!((failed.reason(), failed.message()), (Reason::ExecutorTerminated, "Executor terminated"));
    assert_eq!(failed.source(), Source::Agent);
    eventually("nothing is left of the container", async || node.containers_left() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn updates_wait_for_the_master() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let session = master.session().await;
    session.run(task("t", "exit 3"));
    // Gone before the first update can be acknowledged.
    drop(session);
    let mut session = master.session().await;
    let hello = &session.hello;
    assert_eq!(hello.agent.as_ref().unwrap().id.as_ref().unwrap().value, crate::master::AGENT_ID);
    if hello.tasks.is_empty() {
        // The connection broke before the task arrived, as it may.
        session.run(task("t", "exit 3"));
    }
    let mut states = Vec::new();
    loop {
        let status = session.update("t").await;
        session.acknowledge(&status);
        states.push(status.state());
        if agent_core::is_terminal(status.state()) {
            break;
        }
    }
    assert_eq!(states, [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFailed]);
    node.stop().await;
}

#[tokio::test]
async fn an_unacknowledged_update_comes_again() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut config = config(&dir, &master);
    config.update_retry = (Duration::from_millis(100), Duration::from_millis(400));
    let node = Node::start(config).await;
    let mut session = master.session().await;
    session.run(task("t", "sleep 1000"));
    let first = session.update("t").await;
    let again = session.update("t").await;
    assert_eq!((first.state(), first.uuid()), (TaskState::TaskStarting, again.uuid()));
    session.until("t", TaskState::TaskRunning).await;
    session.kill("t");
    session.until("t", TaskState::TaskKilled).await;
    node.stop().await;
}

#[tokio::test]
async fn many_tasks_start_at_once() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    let ids: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let began = Instant::now();
    ids.iter().for_each(|id| session.run(task(id, "sleep 1000")));
    for id in &ids {
        session.until(id, TaskState::TaskRunning).await;
    }
    eprintln!("20 tasks from launch to TASK_RUNNING: {:?}", began.elapsed());
    let began = Instant::now();
    session.run(task("one", "sleep 1000"));
    session.until("one", TaskState::TaskRunning).await;
    eprintln!("one task from launch to TASK_RUNNING: {:?}", began.elapsed());
    assert_eq!(node.json("/containers").await.as_array().unwrap().len(), 21);
    node.stop().await;
    assert_eq!(agent::end_all_tasks(&dir.0).await.unwrap(), 21);
    assert_eq!(agent::end_all_tasks(&dir.0).await.unwrap(), 0);
}
