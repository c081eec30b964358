//! The agent goes away and comes back; tasks do not.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_link::{Body, Drain, Shutdown};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{DrainConfig, DurationInfo, TaskState};

use crate::master::{Master, Session, task};
use crate::node::{Dir, Node, config, eventually};

async fn start_tasks(session: &mut Session, count: usize) -> BTreeMap<String, u32> {
    let ids: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    ids.iter().for_each(|id| session.run(task(id, "sleep 1000")));
    let mut pids = BTreeMap::new();
    for id in ids {
        let running = session.until(&id, TaskState::TaskRunning).await;
        pids.insert(id, running.container_status.unwrap().executor_pid.unwrap());
    }
    pids
}

/// The states that Hello tells, by task.
fn told(session: &Session) -> BTreeMap<String, TaskState> {
    session.hello.tasks.iter().map(|task| (task.task_id.value.clone(), task.state())).collect()
}

async fn pids(node: &Node) -> BTreeMap<String, u32> {
    let containers = node.json("/containers").await;
    let pid = |container: &serde_json::Value| {
        let id = container["executor_id"].as_str().unwrap().to_owned();
        (id, container["status"]["executor_pid"].as_u64().unwrap() as u32)
    };
    containers.as_array().unwrap().iter().map(pid).collect()
}

#[tokio::test]
async fn ma01_tasks_outlive_the_agent_however_it_ends() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let config = config(&dir, &master);
    let mut node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    let started = start_tasks(&mut session, 10).await;
    for round in 0..6 {
        match round % 2 {
            0 => node.abort().await,
            _ => node.stop().await,
        }
        drop(session);
        node = Node::start(config.clone()).await;
        session = master.session().await;
        let told = told(&session);
        assert_eq!(told.len(), started.len(), "round {round}");
        assert!(told.values().all(|state| *state == TaskState::TaskRunning), "round {round}: {told:?}");
        assert!(session.hello.executors.is_empty(), "those of command tasks are nobody's business");
        assert_eq!(pids(&node).await, started, "round {round}");
    }
    for id in started.keys() {
        session.kill(id);
        session.until(id, TaskState::TaskKilled).await;
    }
    eventually("nothing is left", async || node.containers_left() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn tasks_outlive_another_agent_at_the_same_address() {
    let (dir, other_dir, mut master) = (Dir::new(), Dir::new(), Master::start().await);
    let mut config = config(&dir, &master);
    config.cgroup_root = None;
    let node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    let started = start_tasks(&mut session, 2).await;
    node.abort().await;
    drop(session);
    let mut other = config.clone();
    other.dir.clone_from(&other_dir.0);
    let node = Node::start(other).await;
    let mut session = master.session().await;
    session.run(task("other", "true"));
    session.until("other", TaskState::TaskFinished).await;
    eventually("the other's container is gone", async || node.containers_left() == 0).await;
    node.stop().await;
    drop(session);
    let node = Node::start(config).await;
    let session = master.session().await;
    assert!(told(&session).values().all(|state| *state == TaskState::TaskRunning));
    assert_eq!(pids(&node).await, started);
    node.stop().await;
}

#[tokio::test]
async fn an_end_while_the_agent_is_away_is_told_when_it_is_back() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let config = config(&dir, &master);
    let node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    let flag = dir.0.join("flag");
    session.run(task("ends", &format!("until test -e {}; do sleep 0.05; done; exit 5", flag.display())));
    session.run(task("dies", "sleep 1000"));
    session.until("ends", TaskState::TaskRunning).await;
    let dies = session.until("dies", TaskState::TaskRunning).await;
    node.abort().await;
    drop(session);
    std::fs::write(&flag, "").unwrap();
    let pid =
        rustix::process::Pid::from_raw(dies.container_status.unwrap().executor_pid.unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let node = Node::start(config).await;
    let mut session = master.session().await;
    assert_eq!(told(&session).len(), 2);
    let ended = session.until("ends", TaskState::TaskFailed).await;
    assert_eq!(ended.message(), "Command exited with status 5");
    session.until("dies", TaskState::TaskFailed).await;
    eventually("nothing is left", async || node.containers_left() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn an_agent_killed_while_it_launches_loses_no_task() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let config = config(&dir, &master);
    let mut node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    for round in 0..8u64 {
        let id = format!("t{round}");
        session.run(task(&id, "sleep 1000"));
        // Somewhere between the record and TASK_RUNNING.
        tokio::time::sleep(Duration::from_millis(round * 4)).await;
        node.abort().await;
        drop(session);
        node = Node::start(config.clone()).await;
        session = master.session().await;
        if !told(&session).contains_key(&id) {
            continue;
        }
        // It runs, or its end is told: nothing else.
        loop {
            let status = session.update(&id).await;
            session.acknowledge(&status);
            if status.state() == TaskState::TaskRunning || agent_core::is_terminal(status.state()) {
                break;
            }
        }
    }
    eventually("each executor has its container and the other way round", async || {
        let state = node.json("/state").await;
        let frameworks = state["frameworks"].as_array().unwrap();
        let executors: usize = frameworks.iter().map(|f| f["executors"].as_array().unwrap().len()).sum();
        executors == pids(&node).await.len() && executors == node.containers_left()
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn all_tasks_end_with_the_agent_if_that_is_wanted() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut config = config(&dir, &master);
    config.end_tasks_at_shutdown = true;
    let node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    start_tasks(&mut session, 3).await;
    node.stop().await;
    for n in 0..3 {
        session.until(&format!("t{n}"), TaskState::TaskKilled).await;
    }
    drop(session);
    assert_eq!(agent::end_all_tasks(&dir.0).await.unwrap(), 0, "nothing was left to end");
}

#[tokio::test]
async fn a_burst_of_ends_gets_through() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut config = config(&dir, &master);
    config.update_retry = (Duration::from_secs(60), Duration::from_secs(60));
    let node = Node::start(config).await;
    let mut session = master.session().await;
    // Refused tasks: each is one update, and none needs a container.
    let ids: Vec<String> = (0..6000).map(|n| format!("bad/{n}")).collect();
    ids.iter().for_each(|id| session.run(task(id, "true")));
    session.update(ids.last().unwrap()).await;
    drop(session);
    // All are told again, at once, in a single session.
    let mut session = master.session().await;
    for id in &ids {
        session.until(id, TaskState::TaskError).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_sent_away_comes_back_as_another() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let config = config(&dir, &master);
    let node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    start_tasks(&mut session, 2).await;
    session.send(Body::Shutdown(Shutdown { reason: "gone".into() }));
    for n in 0..2 {
        session.until(&format!("t{n}"), TaskState::TaskKilled).await;
    }
    node.ended().await;
    assert_eq!(agent::end_all_tasks(&dir.0).await.unwrap(), 0, "nothing was left to end");
    drop(session);
    let node = Node::start(config).await;
    let session = master.session().await;
    assert_eq!(session.hello.agent.as_ref().unwrap().id, None);
    assert!(session.hello.tasks.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn mm38_an_agent_drains_over_its_own_restart() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let config = config(&dir, &master);
    let node = Node::start(config.clone()).await;
    let mut session = master.session().await;
    session.run(task("t", "trap '' TERM; while true; do sleep 0.1; done"));
    session.until("t", TaskState::TaskRunning).await;
    let max_grace_period = Some(DurationInfo { nanoseconds: 1_000_000 });
    let config_of_drain = DrainConfig { max_grace_period, mark_gone: Some(false) };
    session.send(Body::Drain(Drain { config: Some(config_of_drain) }));
    // The task does not end of itself, and is not given its own three seconds.
    let killed = session.update("t").await;
    assert_eq!((killed.state(), killed.reason()), (TaskState::TaskKilled, Reason::AgentDraining));
    let shown = node.json("/state").await;
    assert_eq!(shown["drain_config"]["max_grace_period"]["nanoseconds"], 1_000_000);
    assert!(shown["estimated_drain_start_time_seconds"].is_u64(), "{shown}");
    node.abort().await;
    drop(session);

    let node = Node::start(config).await;
    let mut session = master.session().await;
    assert_eq!(session.hello.draining, Some(config_of_drain));
    session.run(task("late", "true"));
    let late = session.until("late", TaskState::TaskLost).await;
    assert_eq!(late.message(), "Task was received while agent was already draining");
    session.until("t", TaskState::TaskKilled).await;
    eventually("the draining is over", async || node.json("/state").await["drain_config"].is_null()).await;
    session.run(task("next", "true"));
    session.until("next", TaskState::TaskFinished).await;
    node.stop().await;
}
