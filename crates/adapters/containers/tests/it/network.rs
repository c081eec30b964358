//! Containers with a network of their own.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use containers::{Exit, Isolation, LaunchError, Network, ProcessIdentity};

use crate::scene::{Scene, block_on, take};

#[test]
fn the_network_is_prepared_before_the_program_runs() {
    for with_root in [true, false] {
        let Some(scene) = Scene::new(Isolation::Full) else { return };
        let script = "readlink /proc/self/ns/net; wc -l < /proc/net/dev; ls /sys/class/net";
        let mut spec =
            if with_root { scene.image_spec("net", &[], script) } else { scene.spec("net", script) };
        spec.network = Network::Own;
        let seen = Arc::new(Mutex::new(None));
        let told = Arc::clone(&seen);
        let stdout = spec.stdout.clone();
        let exit = block_on(async {
            let prepare = move |pid| {
                take(Duration::from_millis(50));
                assert_eq!(fs::read_to_string(&stdout).unwrap_or_default(), "", "it does not run yet");
                let link = fs::read_link(format!("/proc/{pid}/ns/net")).map_err(|e| e.to_string())?;
                *told.lock().unwrap() = Some((pid, link));
                Ok(())
            };
            let launched = scene.containers.launch(spec.clone(), prepare).await.unwrap();
            assert_eq!(seen.lock().unwrap().as_ref().unwrap().0, launched.process.pid);
            let exit = scene.containers.wait(&launched.process).await;
            scene.containers.destroy(&spec.container_id).await.unwrap();
            exit
        });
        assert_eq!(exit, Exit::Code(0));
        let (_, link) = seen.lock().unwrap().clone().unwrap();
        assert_ne!(link, fs::read_link("/proc/self/ns/net").unwrap());
        // Two lines of heading, and the loopback; a root's own /sys shows that network.
        let out = scene.stdout(&spec);
        assert!(out.starts_with(&format!("{}\n3\n", link.display())), "{out}");
        assert!(!with_root || out.ends_with("\n3\nlo\n"), "{out}");
        scene.assert_gone(&spec.container_id);
    }
}

#[test]
fn what_goes_wrong_before_the_program_runs_leaves_nothing() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let mut spec = scene.image_spec("refused", &[], "echo ran");
    spec.network = Network::Own;
    let pids = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&pids);
    let refuse = move |pid| {
        told.lock().unwrap().push(ProcessIdentity::of(pid).unwrap());
        Err("port 80 is taken".to_owned())
    };
    let error = block_on(scene.containers.launch(spec.clone(), refuse)).unwrap_err();
    assert!(matches!(&error, LaunchError::Prepare(why) if why == "port 80 is taken"), "{error}");
    scene.assert_gone(&spec.container_id);
    assert!(!pids.lock().unwrap()[0].is_alive());
    assert_eq!(scene.stdout(&spec), "");
    // What the container itself met comes before what was seen of its end.
    let mut spec = scene.image_spec("both", &[], "");
    (spec.network, spec.program) = (Network::Own, "/bin/sh".into());
    spec.working_directory = "/nowhere".into();
    let slow = |_| {
        take(Duration::from_millis(100));
        Err("no such process".to_owned())
    };
    let error = block_on(scene.containers.launch(spec.clone(), slow)).unwrap_err().to_string();
    assert!(error.starts_with("cannot enter /nowhere"), "{error}");
    scene.assert_gone(&spec.container_id);
}

#[test]
fn a_long_preparation_is_no_timeout() {
    let Some(mut scene) = Scene::new(Isolation::Full) else { return };
    scene.config.launch_timeout = Duration::from_millis(1500);
    scene.containers = containers::Containers::new(scene.config.clone()).unwrap();
    let mut spec = scene.spec("slow", "true");
    spec.network = Network::Own;
    let slow = |_| {
        take(Duration::from_millis(1700));
        Ok(())
    };
    block_on(async {
        let began = Instant::now();
        scene.containers.launch(spec.clone(), slow).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(1700));
        scene.containers.destroy(&spec.container_id).await.unwrap();
    });
    scene.assert_gone(&spec.container_id);
}
