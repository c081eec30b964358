//! More processes in running containers.

use std::fs;
use std::time::Duration;

use base::ContainerId;
use containers::{
    Containers, EnterError, EnterSpec, Entered, Exit, Isolation, Seccomp, Streams, Terminal, WindowSize,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scene::{Scene, block_on, eventually, processes_with};

fn shell(container_id: &ContainerId, script: &str) -> EnterSpec {
    EnterSpec {
        container_id: container_id.clone(),
        session_id: "s1".into(),
        program: "sh".into(),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: vec![("PATH".into(), "/bin:/usr/bin".into()), ("MINE".into(), "yes".into())],
        working_directory: None,
        user: None,
        terminal: None,
    }
}

/// All that a session without a terminal says, when it was told `input`.
async fn talk(mut entered: Entered, input: &str) -> (String, String, Exit) {
    let Streams::Pipes { mut stdin, mut stdout, mut stderr } = entered.streams else { panic!("a terminal") };
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    let (read, read_err) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    read.and(read_err).unwrap();
    entered.streams = Streams::Pipes { stdin: pipe_end(), stdout, stderr };
    let exit = entered.wait().await;
    (out, err, exit)
}

fn pipe_end() -> tokio::net::unix::pipe::Sender {
    tokio::net::unix::pipe::pipe().unwrap().0
}

/// Reads until the terminal has said `expect`.
async fn hear(terminal: &Terminal, expect: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 1024];
    let listen = async {
        while !heard.contains(expect) {
            let read = terminal.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "it ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), listen).await.is_ok();
    assert!(in_time, "{expect:?} was not heard in {heard:?}");
    heard
}

#[test]
fn a_session_shares_all_that_its_container_has() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let mut spec = scene.image_spec("shared", &[], "echo $$ > /pid; exec sleep 60");
    (spec.seccomp, spec.no_new_privileges) = (Seccomp::Default, true);
    spec.hostname = Some("inside".into());
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        let id = &spec.container_id;
        let script = "cat; cat /pid; hostname; pwd; echo $MINE; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' \
                      /proc/self/status | tr '\\t\\n' '  '; ls /proc/self/fd | wc -l; echo bad >&2; \
                      readlink /proc/self/ns/net; cat /proc/self/cgroup > /groups; exit 3";
        let entered = scene.containers.enter(shell(id, script)).await.unwrap();
        assert!(matches!(
            scene.containers.enter(shell(id, "")).await,
            Err(EnterError::Exists(session)) if session == "s1"
        ));
        assert_eq!(scene.containers.sessions(id).unwrap(), ["s1"]);
        let (out, err, exit) = talk(entered, "typed\n").await;
        let docker = "00000000a80425fb";
        let expect = format!(
            "typed\n1\ninside\n/\nyes\nCapEff: {docker} CapBnd: {docker} NoNewPrivs: 1 Seccomp: 2 4\n{}\n",
            fs::read_link("/proc/self/ns/net").unwrap().display()
        );
        assert_eq!((out, err.as_str(), exit), (expect, "bad\n", Exit::Code(3)));
        let groups = spec.root.as_ref().unwrap().upper_dir.join("upper/groups");
        let own = fs::read_to_string(format!("/proc/{}/cgroup", launched.process.pid)).unwrap();
        assert_eq!(fs::read_to_string(groups).unwrap(), own);
        scene.containers.end_session(id, "s1").await.unwrap();
        scene.containers.end_session(id, "s1").await.expect("once more is no error");
        assert!(scene.containers.sessions(id).unwrap().is_empty());
        let environment = scene.containers.environment(id).unwrap();
        assert!(environment.contains(&("PATH".into(), "/bin".into())), "{environment:?}");
        scene.containers.destroy(id).await.unwrap();
        assert!(matches!(scene.containers.enter(shell(id, "")).await, Err(EnterError::NotRunning(_))));
    });
    scene.assert_gone(&spec.container_id);
}

#[test]
fn users_and_programs_are_looked_up_inside() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let layer = scene.layer("users");
    fs::create_dir(layer.join("etc")).unwrap();
    fs::write(layer.join("etc/passwd"), "app:x:4242:4343:::\n").unwrap();
    let spec = scene.image_spec("lookup", &[&layer], "sleep 60");
    let id = &spec.container_id;
    block_on(async {
        scene.launch(&spec).await.unwrap();
        let mut enter = shell(id, "id -u; pwd; id -g");
        (enter.user, enter.working_directory) = (Some("app".into()), Some("/bin".into()));
        let (out, ..) = talk(scene.containers.enter(enter).await.unwrap(), "").await;
        assert_eq!(out, "4242\n/bin\n4343\n");
        let mut number = 1;
        let mut failing = async |change: &dyn Fn(&mut EnterSpec), expect: &str| {
            number += 1;
            let mut enter = EnterSpec { session_id: number.to_string(), ..shell(id, "") };
            change(&mut enter);
            let error = scene.containers.enter(enter).await.unwrap_err().to_string();
            assert_eq!(error, expect);
        };
        failing(
            &|enter| enter.program = "bash".into(),
            "cannot execute bash: there is no such program in the container",
        )
        .await;
        failing(
            &|enter| enter.user = Some("daemon".into()),
            "cannot find user daemon: there is no user \"daemon\" in /etc/passwd",
        )
        .await;
        failing(
            &|enter| enter.working_directory = Some("/nowhere".into()),
            "cannot enter /nowhere: No such file or directory (os error 2)",
        )
        .await;
        assert_eq!(scene.containers.sessions(id).unwrap(), ["s1"], "what failed is not recorded");
        scene.containers.destroy(id).await.unwrap();
    });
    scene.assert_gone(&spec.container_id);
}

#[test]
fn a_terminal_has_a_size_controls_its_session_and_hangs_up() {
    for isolation in [Isolation::Full, Isolation::Plain] {
        let Some(scene) = Scene::new(isolation) else { continue };
        let spec = match isolation {
            Isolation::Full => scene.image_spec("tty", &[], "sleep 60"),
            Isolation::Plain => scene.spec("tty", "sleep 60"),
        };
        let id = &spec.container_id;
        block_on(async {
            scene.launch(&spec).await.unwrap();
            let script = "trap 'echo resized $(stty size)' WINCH; trap 'echo interrupted' INT; trap 'exit 9' QUIT; \
                          echo $TERM $(stty size) $(tty); : > /dev/tty && echo controls; \
                          while :; do sleep 0.05; done";
            let size = WindowSize { rows: 31, columns: 97 };
            let mut entered = scene
                .containers
                .enter(EnterSpec { terminal: Some(size), ..shell(id, script) })
                .await
                .unwrap();
            let Streams::Terminal(terminal) = &entered.streams else { panic!("pipes") };
            let said = hear(terminal, "controls").await;
            assert!(said.starts_with("xterm 31 97 /dev/pts/"), "{said}");
            terminal.resize(WindowSize { rows: 20, columns: 40 }).unwrap();
            hear(terminal, "resized 20 40").await;
            terminal.write_all(b"\x03").await.unwrap();
            hear(terminal, "interrupted").await;
            terminal.write_all(b"\x1c").await.unwrap();
            assert_eq!(entered.wait().await, Exit::Code(9));
            scene.containers.end_session(id, "s1").await.unwrap();
            // A terminal that goes away ends what runs in its foreground.
            let enter = EnterSpec { terminal: Some(size), ..shell(id, "echo up; exec sleep 60") };
            let Entered { process, streams, .. } = scene.containers.enter(enter).await.unwrap();
            let Streams::Terminal(terminal) = streams else { panic!("pipes") };
            hear(&terminal, "up").await;
            drop(terminal);
            eventually("hung up", || !process.is_alive()).await;
            scene.containers.destroy(id).await.unwrap();
        });
        scene.assert_gone(id);
    }
}

#[test]
fn a_session_ends_with_its_container_and_leaves_no_zombie() {
    for isolation in [Isolation::Full, Isolation::Plain] {
        let Some(scene) = Scene::new(isolation) else { continue };
        let spec = scene.spec("together", "sleep 60");
        let id = &spec.container_id;
        block_on(async {
            let launched = scene.launch(&spec).await.unwrap();
            let mut entered = Vec::new();
            for number in 0..5 {
                let enter = EnterSpec { session_id: number.to_string(), ..shell(id, "sleep 61 & sleep 60") };
                entered.push(scene.containers.enter(enter).await.unwrap());
            }
            // Nobody waits for this one.
            let forgotten = entered.pop().unwrap().process;
            scene.containers.destroy(id).await.unwrap();
            for mut entered in entered {
                assert_eq!(entered.wait().await, Exit::Signal(9));
                assert!(!fs::exists(format!("/proc/{}", entered.process.pid)).unwrap(), "a zombie");
            }
            eventually("reaped", || !fs::exists(format!("/proc/{}", forgotten.pid)).unwrap()).await;
            assert!(!launched.process.is_alive());
        });
        scene.assert_gone(id);
    }
}

#[test]
fn an_agent_that_was_restarted_ends_what_has_lost_its_client() {
    for isolation in [Isolation::Full, Isolation::Plain] {
        let Some(scene) = Scene::new(isolation) else { continue };
        let spec = scene.spec("restart", "sleep 60");
        let id = &spec.container_id;
        block_on(async {
            let launched = scene.launch(&spec).await.unwrap();
            let script =
                "trap '' HUP TERM; setsid sh -c 'sleep 60 & sleep 60' & sleep 60 & sleep 60; sleep 60";
            let entered = scene.containers.enter(shell(id, script)).await.unwrap();
            let mark = format!("DCOS_SESSION_ID={id}/s1");
            eventually("all started", || processes_with(&mark).len() >= 5).await;
            let restarted = Containers::new(scene.config.clone()).unwrap();
            assert_eq!(restarted.sessions(id).unwrap(), ["s1"]);
            restarted.end_session(id, "s1").await.unwrap();
            assert!(restarted.sessions(id).unwrap().is_empty());
            eventually("ended", || processes_with(&mark).is_empty()).await;
            assert!(!entered.process.is_alive());
            assert!(launched.process.is_alive(), "the task goes on");
            scene.containers.destroy(id).await.unwrap();
        });
        scene.assert_gone(id);
    }
}

#[test]
fn sessions_have_ids_and_a_limit() {
    let scene = Scene::new(Isolation::Plain).unwrap();
    let spec = scene.spec("limit", "sleep 60");
    let id = &spec.container_id;
    block_on(async {
        let enter = EnterSpec { session_id: "../x".into(), ..shell(id, "") };
        assert!(matches!(scene.containers.enter(enter).await, Err(EnterError::Id(_))));
        assert!(matches!(scene.containers.enter(shell(id, "")).await, Err(EnterError::NotRunning(_))));
        scene.launch(&spec).await.unwrap();
        let sessions = scene.config.runtime_dir.join(id.as_str()).join("sessions");
        fs::create_dir(&sessions).unwrap();
        for number in 0..EnterSpec::SESSIONS_LIMIT {
            fs::write(sessions.join(format!("{number}.json")), "").unwrap();
        }
        assert!(matches!(scene.containers.enter(shell(id, "")).await, Err(EnterError::TooMany(_))));
        for number in 0..EnterSpec::SESSIONS_LIMIT {
            scene.containers.end_session(id, &number.to_string()).await.unwrap();
        }
        let (out, ..) = talk(scene.containers.enter(shell(id, "pwd")).await.unwrap(), "").await;
        assert_eq!(out.trim(), spec.working_directory.to_str().unwrap());
        scene.containers.destroy(id).await.unwrap();
    });
    scene.assert_gone(id);
}
