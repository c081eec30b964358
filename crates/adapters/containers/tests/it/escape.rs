//! What runs in a container has a try at whoever enters it.

use std::fs;
use std::time::Duration;

use base::ContainerId;
use containers::{Config, Containers, EnterError, EnterSpec, Entered, Isolation, Network, Streams};
use tokio::io::AsyncReadExt;

use crate::scene::{Scene, block_on, eventually, processes_with, take};

fn session(container_id: &ContainerId, name: &str, script: &str) -> EnterSpec {
    EnterSpec {
        container_id: container_id.clone(),
        session_id: name.into(),
        program: "sh".into(),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: vec![("PATH".into(), "/bin".into())],
        working_directory: None,
        user: None,
        terminal: None,
    }
}

async fn output(entered: Entered) -> String {
    let Streams::Pipes { mut stdout, .. } = entered.streams else { panic!("a terminal") };
    let mut text = String::new();
    stdout.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn nobody_writes_to_the_program_that_makes_containers() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    // A container can execute it by a link to /proc/self/exe, and open what it then is.
    let mut spec = scene.image_spec("program", &[], "true");
    spec.network = Network::Own;
    let tried = move |pid| {
        let program = fs::File::open(format!("/proc/{pid}/exe")).unwrap();
        Err(format!("{:?}", rustix::fs::fstatvfs(program).unwrap().f_flag))
    };
    let error = block_on(scene.containers.launch(spec.clone(), tried)).unwrap_err().to_string();
    assert!(error.contains("RDONLY"), "{error}");
    scene.assert_gone(&spec.container_id);
}

#[test]
fn no_descriptor_leads_a_working_directory_out() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let spec = scene.image_spec("fd", &[], "sleep 60");
    let id = &spec.container_id;
    block_on(async {
        scene.launch(&spec).await.unwrap();
        for number in 3..20 {
            let enter = EnterSpec {
                working_directory: Some(format!("/proc/self/fd/{number}").into()),
                ..session(id, &number.to_string(), "pwd -P; ls -d ../../../../../../../../etc/os-release")
            };
            match scene.containers.enter(enter).await {
                Err(EnterError::Helper(error)) => {
                    assert!(error.to_string().starts_with("cannot enter /proc/self/fd/"), "{error}");
                }
                other => panic!("{number}: {:?}", output(other.unwrap()).await),
            }
        }
        scene.containers.destroy(id).await.unwrap();
    });
    let mut spec = scene.image_spec("init", &[], "pwd -P");
    for number in 3..20 {
        spec.working_directory = format!("/proc/self/fd/{number}").into();
        let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
        assert!(error.starts_with("cannot enter /proc/self/fd/"), "{error}");
        scene.assert_gone(&spec.container_id);
    }
}

#[test]
fn a_session_never_sees_the_root_that_its_container_was_made_in() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let mark = scene.directory.join("host");
    fs::write(&mark, "").unwrap();
    for round in 0..30 {
        let spec = scene.image_spec(&format!("early{round}"), &[], "sleep 60");
        let id = &spec.container_id;
        block_on(async {
            let launch = scene.launch(&spec);
            let early = async {
                let mut entered = 0;
                for number in 0..40 {
                    let script = format!("test -e {} && echo outside", mark.display());
                    let enter = EnterSpec {
                        program: "/bin/sh".into(),
                        env: vec![("PATH".into(), "/bin:/usr/bin".into())],
                        ..session(id, &number.to_string(), &script)
                    };
                    if let Ok(session) = scene.containers.enter(enter).await {
                        entered += 1;
                        assert_eq!(output(session).await, "", "of round {round}, session {number}");
                    }
                    if entered == 2 {
                        break;
                    }
                }
            };
            let (launched, ()) = tokio::join!(launch, early);
            launched.unwrap();
            scene.containers.destroy(id).await.unwrap();
        });
        scene.assert_gone(id);
    }
}

#[test]
fn a_container_that_stops_those_who_enter_can_still_be_ended() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let config = Config { launch_timeout: Duration::from_millis(500), ..scene.config.clone() };
    let hasty = Containers::new(config).unwrap();
    let spec = scene.image_spec("stop", &[], "touch /up; while :; do kill -STOP -1; done");
    let id = &spec.container_id;
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        let up = spec.root.as_ref().unwrap().upper_dir.join("upper/up");
        eventually("it runs", || up.exists()).await;
        for number in 0..3 {
            // It may be too late to stop it before it has begun.
            if let Ok(entered) = hasty.enter(session(id, &number.to_string(), "true")).await {
                hasty.end_session(id, &number.to_string()).await.unwrap();
                drop(entered);
            }
        }
        assert!(scene.containers.sessions(id).unwrap().is_empty());
        assert!(launched.process.is_alive());
        scene.containers.destroy(id).await.unwrap();
    });
    scene.assert_gone(id);
}

#[test]
fn a_session_that_nobody_waits_for_any_more_does_not_begin() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let spec = scene.image_spec("dropped", &[], "sleep 60");
    let id = &spec.container_id;
    block_on(async {
        scene.launch(&spec).await.unwrap();
        for micros in (0..6000).step_by(300) {
            let name = micros.to_string();
            let entering = scene.containers.enter(session(id, &name, "sleep 60"));
            let _ = tokio::time::timeout(Duration::from_micros(micros), entering).await;
            scene.containers.end_session(id, &name).await.unwrap();
        }
        // Those that are still under way are forgotten when they are done.
        take(Duration::from_millis(100));
        eventually("all ended", || {
            let recorded = scene.containers.sessions(id).unwrap().len();
            recorded + processes_with(&format!("DCOS_CONTAINER_ID={id}")).len() == 1
        })
        .await;
        scene.containers.destroy(id).await.unwrap();
    });
    scene.assert_gone(id);
}

#[test]
fn the_number_that_means_no_change_is_no_user() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let layer = scene.layer("users");
    fs::create_dir(layer.join("etc")).unwrap();
    fs::write(layer.join("etc/passwd"), "app:x:4294967295:4294967295:::\n").unwrap();
    for user in ["4294967295", "app", "1:4294967295", "4294967295:1"] {
        let mut spec = scene.image_spec("user", &[&layer], "id -u");
        spec.user = Some(user.into());
        let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
        assert!(error.contains("cannot find user"), "{error}");
        scene.assert_gone(&spec.container_id);
    }
}
