use std::fs;

use containers::{Containers, Exit, Isolation, ProcessIdentity};
use rustix::process::{Pid, Signal};

use crate::scene::{Scene, block_on, eventually};

fn scene() -> Scene {
    Scene::new(Isolation::Plain).expect("plain isolation needs nothing")
}

#[test]
fn the_init_runs_in_a_session_of_its_own_with_its_environment_only() {
    let scene = scene();
    let spec = scene.spec(
        "env",
        "env | cut -d= -f1 | grep -v SHLVL | sort | tr '\\n' ' '; \
         cut -d' ' -f6 /proc/$$/stat; echo $$; pwd; echo oops >&2; kill -15 $$",
    );
    let id = spec.container_id.clone();
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        assert_eq!(scene.containers.wait(&launched.process).await, Exit::Signal(15));
        let pid = launched.process.pid;
        let directory = spec.working_directory.display();
        let expect = format!("DCOS_CONTAINER_ID PATH PWD {pid}\n{pid}\n{directory}\n");
        assert_eq!(scene.stdout(&spec), expect);
        assert_eq!(fs::read_to_string(&spec.stderr).unwrap(), "oops\n");
        scene.containers.destroy(&id).await.unwrap();
    });
    scene.assert_gone(&id);
}

#[test]
fn destroy_finds_who_left_the_session_also_after_the_init_is_gone() {
    let scene = scene();
    let script = "setsid sh -c 'sleep 60 & sleep 60' & sleep 60 & wait";
    let (with_init, without) = (scene.spec("with", script), scene.spec("without", script));
    block_on(async {
        for spec in [&with_init, &without] {
            let id = &spec.container_id;
            let launched = scene.launch(spec).await.unwrap();
            eventually("all started", || scene.members(id).len() >= 4).await;
            let usage = scene.containers.usage(id).unwrap();
            assert!(usage.processes >= 4 && usage.memory.unwrap().rss_bytes > 0, "{usage:?}");
            if spec.container_id == without.container_id {
                let pid = Pid::from_raw(launched.process.pid as i32).unwrap();
                rustix::process::kill_process(pid, Signal::KILL).unwrap();
                assert_eq!(scene.containers.wait(&launched.process).await, Exit::Signal(9));
            }
            let restarted = Containers::new(scene.config.clone()).unwrap();
            restarted.destroy(id).await.unwrap();
            scene.assert_gone(id);
            assert!(!fs::exists(format!("/proc/{}", launched.process.pid)).unwrap(), "a zombie");
        }
    });
}

#[test]
fn a_record_of_another_process_ends_nobody() {
    let scene = scene();
    let mut bystander = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let id = scene.spec("stale", "").container_id;
    let mut process = ProcessIdentity::of(bystander.id()).unwrap();
    process.start_time -= 1;
    let directory = scene.config.runtime_dir.join(id.as_str());
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("init.json"), serde_json::to_vec(&process).unwrap()).unwrap();
    block_on(async {
        assert!(!scene.containers.list().unwrap()[0].alive);
        scene.containers.destroy(&id).await.unwrap();
    });
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander lives");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    scene.assert_gone(&id);
}
