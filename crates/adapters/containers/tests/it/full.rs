use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use containers::{Containers, Exit, Isolation, LaunchError, Limits, Mount, ProcessIdentity};

use crate::scene::{Scene, block_on, eventually};

fn scene() -> Option<Scene> {
    Scene::new(Isolation::Full)
}

#[test]
fn the_init_has_its_own_namespaces_and_the_hosts_files() {
    let Some(scene) = scene() else { return };
    let mut spec = scene.spec(
        "ns",
        "echo pid $$; hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/mnt; ls -d /proc/[0-9]* | wc -l; \
         grep -c . bound; echo x 2>/dev/null >bound || echo read-only; echo gone > /dev/shm/left; exit 7",
    );
    spec.hostname = Some("inside".into());
    let (source, target) = (spec.working_directory.join("source"), spec.working_directory.join("bound"));
    fs::write(&source, "one\ntwo\n").unwrap();
    fs::write(&target, "").unwrap();
    spec.mounts = vec![Mount::bind(source, &target).read_only()];
    let id = spec.container_id.clone();
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        assert_eq!(scene.containers.wait(&launched.process).await, Exit::Code(7));
        scene.containers.destroy(&id).await.unwrap();
    });
    let out = scene.stdout(&spec);
    let lines: Vec<&str> = out.lines().collect();
    let here = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    assert_eq!(lines[..2], ["pid 1", "inside"]);
    assert_eq!(lines[2], here("net").to_str().unwrap(), "the network is the host's");
    assert_ne!(lines[3], here("mnt").to_str().unwrap());
    assert!(lines[4].parse::<u32>().unwrap() <= 4, "only its own processes: {out}");
    assert_eq!(lines[5..], ["2", "read-only"]);
    assert_eq!(fs::read_to_string(target).unwrap(), "", "the host does not see the bind mount");
    assert!(!fs::exists("/dev/shm/left").unwrap());
    scene.assert_gone(&id);
}

#[test]
fn limits_stand_in_the_cgroups_and_can_be_changed() {
    let Some(scene) = scene() else { return };
    let mut spec = scene.spec("limits", "exec sleep 60");
    spec.limits =
        Limits { cpu_milli: 500, cpu_quota_milli: Some(1500), memory_bytes: Some(64 << 20), pids: Some(33) };
    let id = spec.container_id.clone();
    let check = |shares: &str, weight: &str, quota: &str, memory: &str, pids: &str| {
        let v1_or_v2 = |v1: &str, v1_value: &str, v2: &str, v2_value: &str| match scene.control(&id, v1) {
            Some(found) => assert_eq!(found, v1_value, "{v1}"),
            None => assert_eq!(scene.control(&id, v2).as_deref(), Some(v2_value), "{v2}"),
        };
        v1_or_v2("cpu.shares", shares, "cpu.weight", weight);
        v1_or_v2("cpu.cfs_quota_us", quota, "cpu.max", &format!("{quota} 100000"));
        v1_or_v2("memory.limit_in_bytes", memory, "memory.max", memory);
        assert_eq!(scene.control(&id, "pids.max").as_deref(), Some(pids));
    };
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        check("512", "20", "150000", "67108864", "33");
        for group in scene.groups(&id) {
            let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap();
            assert_eq!(procs.trim(), launched.process.pid.to_string(), "{}", group.display());
        }
        let usage = scene.containers.usage(&id).unwrap();
        assert_eq!(usage.memory.unwrap().limit_bytes, Some(64 << 20));
        assert_eq!(usage.processes, 1);
        let grown = Limits {
            cpu_milli: 2000,
            cpu_quota_milli: Some(1),
            memory_bytes: Some(128 << 20),
            pids: Some(44),
        };
        scene.containers.update(&id, &grown).unwrap();
        check("2048", "79", "1000", "134217728", "44");
        scene.containers.destroy(&id).await.unwrap();
    });
    scene.assert_gone(&id);
}

#[test]
fn ma30_running_out_of_memory_is_told() {
    let Some(scene) = scene() else { return };
    // The hog is not the init: the container goes on and can say how its child ended.
    let mut spec = scene.spec("oom", "tail -n 1 < /dev/zero; sleep 60");
    spec.limits.memory_bytes = Some(1);
    let id = spec.container_id.clone();
    block_on(async {
        scene.launch(&spec).await.unwrap();
        assert_eq!(scene.containers.usage(&id).unwrap().memory.unwrap().limit_bytes, Some(32 << 20));
        eventually("an oom kill", || scene.containers.oom_kills(&id).unwrap() > 0).await;
        scene.containers.destroy(&id).await.unwrap();
    });
    scene.assert_gone(&id);
}

#[test]
fn ma29_cpu_and_process_limits_hold() {
    let Some(scene) = scene() else { return };
    let mut spec = scene.spec("busy", "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; while :; do :; done");
    spec.limits.cpu_quota_milli = Some(50);
    spec.limits.pids = Some(5);
    let id = spec.container_id.clone();
    block_on(async {
        scene.launch(&spec).await.unwrap();
        let throttled = || scene.containers.usage(&id).unwrap().throttling.unwrap().throttled_periods;
        // A shell that cannot fork gives up: dash ends, others go on and spin.
        eventually("throttled, or out of processes", || {
            let errors = fs::read_to_string(&spec.stderr).unwrap();
            throttled() > 3 || errors.to_lowercase().contains("fork")
        })
        .await;
        assert!(scene.containers.usage(&id).unwrap().processes <= 5);
        scene.containers.destroy(&id).await.unwrap();
    });
    let mut spec = scene.spec("spin", "while :; do :; done");
    spec.limits.cpu_quota_milli = Some(50);
    let id = spec.container_id.clone();
    block_on(async {
        scene.launch(&spec).await.unwrap();
        let usage = || scene.containers.usage(&id).unwrap();
        eventually("throttled", || usage().throttling.unwrap().throttled_periods > 3).await;
        assert!(usage().cpu.unwrap().user + usage().cpu.unwrap().system > Duration::ZERO);
        scene.containers.destroy(&id).await.unwrap();
    });
    scene.assert_gone(&id);
}

#[test]
fn privileges_are_dockers_for_root_and_none_for_others() {
    let Some(scene) = scene() else { return };
    let script = "id -u; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr '\\t\\n' '  '";
    let root = scene.spec("root", script);
    let mut other = scene.spec("other", script);
    other.user = Some("4711".into());
    other.no_new_privileges = true;
    block_on(async {
        for spec in [&root, &other] {
            let launched = scene.launch(spec).await.unwrap();
            assert_eq!(scene.containers.wait(&launched.process).await, Exit::Code(0));
            scene.containers.destroy(&spec.container_id).await.unwrap();
        }
    });
    let check = |spec, start: &str, end: &str| {
        let out = scene.stdout(spec);
        assert!(out.starts_with(start) && out.ends_with(end), "{out:?}");
    };
    let (docker, none) = ("00000000a80425fb", "0000000000000000");
    check(&root, "0\n", &format!("CapEff: {docker} CapBnd: {docker} NoNewPrivs: 0 "));
    check(&other, "4711\n4711\n", &format!("CapEff: {none} CapBnd: {docker} NoNewPrivs: 1 "));
}

#[test]
fn ma22_killing_the_init_ends_everything_in_it() {
    let Some(scene) = scene() else { return };
    let spec = scene.spec("kill", "for i in 1 2 3; do setsid sh -c 'sleep 60 & sleep 60' & done; wait");
    let id = spec.container_id.clone();
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        eventually("all started", || scene.members(&id).len() >= 7).await;
        let pid = rustix::process::Pid::from_raw(launched.process.pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        for _ in 0..2 {
            assert_eq!(scene.containers.wait(&launched.process).await, Exit::Signal(9));
        }
        assert_eq!(scene.members(&id), [0u32; 0]);
        scene.containers.destroy(&id).await.unwrap();
        scene.containers.destroy(&id).await.expect("once more is no error");
    });
    scene.assert_gone(&id);
}

#[test]
fn another_agent_finds_and_ends_a_container_by_its_id() {
    let Some(scene) = scene() else { return };
    // A group of its own making inside its group must not keep the container's from being removed.
    let spec = scene.spec("restart", "trap '' TERM HUP; sleep 60");
    let id = spec.container_id.clone();
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        for group in scene.groups(&id) {
            fs::create_dir(group.join("inner")).unwrap();
        }
        assert!(matches!(scene.launch(&spec).await, Err(LaunchError::Exists(_))));
        let restarted = Containers::new(scene.config.clone()).unwrap();
        let found = restarted.list().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].container_id, found[0].alive), (&id, true));
        assert_eq!(found[0].process, Some(launched.process.clone()));
        // Who waits while it is destroyed learns how it ended.
        let (exit, destroyed) = tokio::join!(restarted.wait(&launched.process), restarted.destroy(&id));
        destroyed.unwrap();
        assert_eq!(exit, Exit::Signal(9));
        assert!(!launched.process.is_alive());
        assert_eq!(restarted.wait(&launched.process).await, Exit::Unknown);
    });
    scene.assert_gone(&id);
}

#[test]
fn a_group_without_a_record_is_found_and_ended() {
    let Some(scene) = scene() else { return };
    let spec = scene.spec("lost", "setsid sleep 60 & wait");
    let id = spec.container_id.clone();
    block_on(async {
        let launched = scene.launch(&spec).await.unwrap();
        fs::remove_dir_all(scene.config.runtime_dir.join(id.as_str())).unwrap();
        let found = scene.containers.list().unwrap();
        assert_eq!((found.len(), &found[0].process, found[0].alive), (1, &None, false));
        scene.containers.destroy(&id).await.unwrap();
        assert_eq!(scene.containers.wait(&launched.process).await, Exit::Signal(9));
    });
    scene.assert_gone(&id);
}

#[test]
fn a_failed_launch_says_why_and_leaves_nothing() {
    let Some(mut scene) = scene() else { return };
    let check = |scene: &Scene, spec: containers::ContainerSpec, expect: &str| {
        let id = spec.container_id.clone();
        let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
        if id.as_str().starts_with("it-") {
            scene.assert_gone(&id);
        }
    };
    let mut spec = scene.spec("a", "");
    spec.program = "/no/such".into();
    check(&scene, spec, "cannot execute /no/such: No such file");
    let mut spec = scene.spec("b", "");
    spec.working_directory = "/no/such".into();
    check(&scene, spec, "cannot enter /no/such: No such file");
    let mut spec = scene.spec("c", "");
    spec.user = Some("nobody-here".into());
    check(&scene, spec, "cannot find user nobody-here: there is no user");
    let mut spec = scene.spec("d", "");
    std::os::unix::fs::symlink("/etc/shadow", &spec.stdout).unwrap();
    spec.stderr = spec.stdout.clone();
    check(&scene, spec, "cannot open ");
    let mut spec = scene.spec("e", "");
    spec.mounts = vec![Mount::bind("/no/such", "/tmp")];
    check(&scene, spec, "cannot bind /no/such to /tmp: No such file");
    let mut spec = scene.spec("f", "");
    spec.container_id = "../f".into();
    check(&scene, spec, "container id \"../f\"");
    // A helper that hangs, and one that is no helper.
    scene.config.launch_timeout = Duration::from_millis(100);
    let mut with_helper = |helper: &[&str]| {
        scene.config.helper = helper.iter().map(OsString::from).collect();
        scene.containers = Containers::new(scene.config.clone()).unwrap();
    };
    with_helper(&["sleep", "60"]);
    check(&scene, scene.spec("g", ""), "the container did not start within 100ms");
    let mut with_helper = |helper: &[&str]| {
        scene.config.helper = helper.iter().map(OsString::from).collect();
        scene.containers = Containers::new(scene.config.clone()).unwrap();
    };
    with_helper(&["true"]);
    check(&scene, scene.spec("h", ""), "the container helper ended without an answer");
}

#[test]
fn twenty_at_once_and_nothing_is_left() {
    let Some(scene) = scene() else { return };
    block_on(async {
        let mut at_work = Vec::new();
        let started = Instant::now();
        for number in 0..20 {
            let spec = scene.spec(&number.to_string(), "setsid sleep 60 & sleep 60 & wait");
            let containers = scene.containers.clone();
            at_work.push(tokio::spawn(async move {
                let id = spec.container_id.clone();
                (id, containers.launch(spec, |_| Ok(())).await.unwrap().process)
            }));
        }
        let mut launched: Vec<(_, ProcessIdentity)> = Vec::new();
        for work in at_work {
            launched.push(work.await.unwrap());
        }
        eprintln!("20 launches: {:?}", started.elapsed());
        assert!(launched.iter().all(|(_, process)| process.is_alive()));
        assert_eq!(scene.containers.list().unwrap().len(), 20);
        let started = Instant::now();
        let ends = launched.iter().map(|(id, _)| {
            let (containers, id) = (scene.containers.clone(), id.clone());
            tokio::spawn(async move { containers.destroy(&id).await })
        });
        for end in ends.collect::<Vec<_>>() {
            end.await.unwrap().unwrap();
        }
        eprintln!("20 ends: {:?}", started.elapsed());
        for (id, process) in &launched {
            assert!(!fs::exists(format!("/proc/{}", process.pid)).unwrap(), "a zombie");
            scene.assert_gone(id);
        }
    });
}

/// Prints how long one launch and one end take; see the numbers with `--nocapture`.
#[test]
fn one_launch_is_quick() {
    let Some(scene) = scene() else { return };
    let mut launches = Vec::new();
    let mut ends = Vec::new();
    block_on(async {
        for number in 0..30 {
            let mut spec = scene.spec(&number.to_string(), "exec sleep 60");
            spec.limits = Limits {
                cpu_milli: 100,
                cpu_quota_milli: Some(100),
                memory_bytes: Some(32 << 20),
                pids: Some(50),
            };
            let id = spec.container_id.clone();
            let started = Instant::now();
            scene.launch(&spec).await.unwrap();
            launches.push(started.elapsed());
            let started = Instant::now();
            scene.containers.destroy(&id).await.unwrap();
            ends.push(started.elapsed());
        }
    });
    launches.sort();
    ends.sort();
    eprintln!("launch median {:?} (best {:?}), destroy median {:?}", launches[15], launches[0], ends[15]);
    // Far above what it takes, so that a loaded machine passes; a mistake such as waiting a timeout does not.
    assert!(launches[15] < Duration::from_millis(500));
}
