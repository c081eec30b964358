use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use mesos_proto::v1::health_check::{HttpCheckInfo, TcpCheckInfo};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{
    CheckInfo, CommandInfo, DurationInfo, HealthCheck, KillPolicy, TaskInfo, TaskState, check_info,
    health_check,
};

use crate::scene::{Scene, in_each_isolation, launch, task};

/// A check every 20 ms without grace, with two failures allowed before the kill at the third.
fn health(kind: health_check::Type) -> HealthCheck {
    HealthCheck {
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.02),
        timeout_seconds: Some(2.0),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(3),
        r#type: Some(kind as i32),
        ..Default::default()
    }
}

fn shell(script: &str) -> CommandInfo {
    CommandInfo { value: Some(script.to_owned()), ..Default::default() }
}

fn run(scene: &Scene, check: HealthCheck) -> crate::agent::Agent {
    let (agent, _launched) = scene.subscribed();
    let mut info: TaskInfo = task("exec sleep 60");
    info.health_check = Some(check);
    info.kill_policy = Some(KillPolicy { grace_period: Some(DurationInfo { nanoseconds: 1_000_000_000 }) });
    agent.send(launch(info));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent
}

fn expect_health(agent: &crate::agent::Agent, healthy: bool) -> String {
    let status = agent.expect(TaskState::TaskRunning);
    assert_eq!(status.healthy, Some(healthy), "{status:?}");
    assert_eq!(status.reason(), Reason::TaskHealthCheckStatusUpdated);
    assert_eq!(status.message.is_none(), healthy, "{status:?}");
    status.message.unwrap_or_default()
}

/// The check fails for this reason, until the task is killed.
fn expect_killed_as_sick(agent: &crate::agent::Agent, reason: &str) {
    let mut why = String::new();
    for _ in 0..3 {
        why = expect_health(agent, false);
        assert!(why.starts_with(reason), "{why}");
    }
    agent.expect(TaskState::TaskKilling);
    let killed = agent.expect(TaskState::TaskKilled);
    assert_eq!(killed.healthy, Some(false));
    assert_eq!(
        killed.message(),
        format!("Command terminated with signal Terminated: killed because of its {why}")
    );
}

#[test]
fn ma51_a_command_says_how_the_task_is() {
    in_each_isolation(|scene| {
        let mut check = health(health_check::Type::Command);
        // Healthy first; sick from the second look on.
        check.command = Some(shell("test ! -e looked && touch looked"));
        let agent = run(&scene, check);
        expect_health(&agent, true);
        expect_killed_as_sick(&agent, "COMMAND health check failed: Command exited with status 1");
    });
}

#[test]
fn a_command_that_hangs_is_a_failure_and_is_ended() {
    in_each_isolation(|scene| {
        let mut check = health(health_check::Type::Command);
        check.timeout_seconds = Some(0.05);
        check.command = Some(shell("sleep 60 & sleep 60"));
        let agent = run(&scene, check);
        expect_killed_as_sick(&agent, "COMMAND health check failed: timed out after 50ms");
        assert!(scene.processes().len() <= 1, "only the executor is left");
    });
}

/// Answers every request with the status code that is set; ends with the test's process.
fn server(code: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1000];
            let read = stream.read(&mut request).unwrap_or(0);
            let ok = request[..read].starts_with(b"GET /up?deep=1 HTTP/1.1\r\n");
            let code = if ok { code.load(Ordering::SeqCst) } else { 404 };
            let _ = write!(stream, "HTTP/1.1 {code} X\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    port
}

#[test]
fn ma51_an_http_server_says_how_the_task_is() {
    in_each_isolation(|scene| {
        let code = Arc::new(AtomicU16::new(302));
        let port = u32::from(server(Arc::clone(&code)));
        let mut check = health(health_check::Type::Http);
        check.http = Some(HttpCheckInfo { port, path: Some("/up?deep=1".into()), ..Default::default() });
        let agent = run(&scene, check);
        expect_health(&agent, true);
        code.store(503, Ordering::SeqCst);
        expect_killed_as_sick(&agent, "HTTP health check failed: Unexpected HTTP response code: 503");
    });
}

#[test]
fn ma51_a_port_says_how_the_task_is() {
    in_each_isolation(|scene| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = u32::from(listener.local_addr().unwrap().port());
        let mut check = health(health_check::Type::Tcp);
        check.tcp = Some(TcpCheckInfo { port, protocol: None });
        let agent = run(&scene, check);
        expect_health(&agent, true);
        drop(listener);
        expect_killed_as_sick(&agent, "TCP health check failed: ");
    });
}

#[test]
fn ma52_a_check_tells_its_result_beside_the_health() {
    in_each_isolation(|scene| {
        let (agent, _launched) = scene.subscribed();
        let mut info = task("exec sleep 60");
        info.check = Some(CheckInfo {
            r#type: Some(check_info::Type::Command as i32),
            command: Some(check_info::Command {
                command: shell("test -e looked || { touch looked; exit 7; }"),
            }),
            delay_seconds: Some(0.0),
            interval_seconds: Some(0.02),
            ..Default::default()
        });
        agent.send(launch(info));
        agent.expect(TaskState::TaskStarting);
        let running = agent.expect(TaskState::TaskRunning);
        assert_eq!(running.check_status.unwrap().command.unwrap().exit_code, None);
        for code in [7, 0] {
            let told = agent.expect(TaskState::TaskRunning);
            assert_eq!(told.reason(), Reason::TaskCheckStatusUpdated);
            assert_eq!(told.check_status.unwrap().command.unwrap().exit_code, Some(code));
        }
        agent.expect_silence(std::time::Duration::from_millis(100));
    });
}
