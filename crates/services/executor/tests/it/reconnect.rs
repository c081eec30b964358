use std::time::Duration;

use containers::Exit;
use mesos_proto::v1::TaskState;
use rustix::process::{Pid, Signal};

use crate::agent::{Agent, acknowledged};
use crate::scene::{Scene, eventually, in_each_isolation, launch, task};

#[test]
fn the_task_goes_on_while_the_agent_is_away() {
    in_each_isolation(|scene| {
        let agent = Agent::start_with(&scene.socket(), false, None);
        let launched = scene.launch();
        agent.expect_subscribe();
        agent.send(launch(task("echo started; until test -e go; do sleep 0.02; done; echo done")));
        let starting = agent.expect(TaskState::TaskStarting);
        let running = agent.expect(TaskState::TaskRunning);
        agent.stop();
        // The first comes back and knows nothing; it goes again before it acknowledges.
        let agent = Agent::start_with(&scene.socket(), false, None);
        let subscribe = agent.expect_subscribe();
        assert_eq!(subscribe.unacknowledged_tasks.len(), 1);
        assert_eq!(subscribe.unacknowledged_tasks[0].task_id.value, "task");
        let told: Vec<_> = subscribe.unacknowledged_updates.into_iter().map(|u| u.status).collect();
        assert_eq!(told, [starting.clone(), running]);
        agent.send(acknowledged(&starting));
        agent.expect_silence(Duration::from_millis(100));
        agent.stop();
        // The task ends while nobody listens.
        std::fs::write(scene.spec.working_directory.join("go"), "").unwrap();
        eventually("the task's end", || scene.stdout() == "started\ndone\n" && scene.processes().len() == 1);
        let agent = Agent::start(&scene.socket());
        let subscribe = agent.expect_subscribe();
        assert_eq!(subscribe.unacknowledged_tasks, []);
        let states: Vec<_> =
            subscribe.unacknowledged_updates.iter().map(|update| update.status.state()).collect();
        assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskFinished]);
        assert_eq!(scene.exit(&launched), Exit::Code(0));
    });
}

#[test]
fn an_executor_waits_for_an_agent_that_is_not_there_yet() {
    in_each_isolation(|scene| {
        let launched = scene.launch();
        let agent = Agent::start_with(&scene.socket(), true, Some(STARTING_UP));
        agent.expect_subscribe();
        agent.expect_subscribe();
        agent.stop();
        let agent = Agent::start(&scene.socket());
        agent.expect_subscribe();
        agent.send(launch(task("true")));
        agent.expect(TaskState::TaskStarting);
        agent.expect(TaskState::TaskRunning);
        agent.expect(TaskState::TaskFinished);
        assert_eq!(scene.exit(&launched), Exit::Code(0));
    });
}

const STARTING_UP: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
const UNKNOWN: &str =
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 29\r\n\r\nFramework cannot be found\r\n\r\n";

fn running(scene: &Scene) -> (Agent, containers::Launched) {
    let (agent, launched) = scene.subscribed();
    agent.send(launch(task("exec sleep 60")));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    (agent, launched)
}

#[test]
fn an_executor_that_the_agent_does_not_know_ends_its_task() {
    in_each_isolation(|scene| {
        let (agent, launched) = running(&scene);
        agent.stop();
        let agent = Agent::start_with(&scene.socket(), true, Some(UNKNOWN));
        assert_eq!(scene.exit(&launched), Exit::Code(1));
        assert!(scene.stderr().contains("the agent refuses this executor (400)"), "{}", scene.stderr());
        drop(agent);
    });
}

#[test]
fn ma02_an_agent_that_stays_away_too_long_is_given_up() {
    in_each_isolation(|mut scene| {
        scene.set("MESOS_RECOVERY_TIMEOUT", "300ms");
        let (agent, launched) = running(&scene);
        agent.stop();
        assert_eq!(scene.exit(&launched), Exit::Code(1));
        assert!(scene.stderr().contains("did not come back in time"), "{}", scene.stderr());
    });
}

#[test]
fn without_checkpointing_the_task_ends_with_the_agent() {
    in_each_isolation(|mut scene| {
        scene.set("MESOS_CHECKPOINT", "0");
        let (agent, launched) = running(&scene);
        agent.stop();
        assert_eq!(scene.exit(&launched), Exit::Code(1));
        assert!(scene.stderr().contains("does not checkpoint"), "{}", scene.stderr());
    });
}

#[test]
fn sigterm_is_a_shutdown() {
    in_each_isolation(|scene| {
        let (agent, launched) = running(&scene);
        let pid = Pid::from_raw(launched.process.pid as i32).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        agent.expect(TaskState::TaskKilling);
        agent.expect(TaskState::TaskKilled);
        assert_eq!(scene.exit(&launched), Exit::Code(0));
    });
}

#[test]
fn what_is_no_executor_environment_is_said() {
    in_each_isolation(|mut scene| {
        scene.spec.env.retain(|(name, _)| name != "MESOS_EXECUTOR_ID");
        let launched = scene.launch();
        assert_eq!(scene.exit(&launched), Exit::Code(2));
        assert_eq!(
            scene.stderr(),
            "executor: MESOS_EXECUTOR_ID is not in the environment: an executor is started by an agent\n"
        );
    });
}
