//! Containers in containers.

use std::fs;
use std::os::unix::fs::symlink;

use base::ContainerId;
use containers::{
    ContainerSpec, Containers, Exit, Isolation, LaunchError, Mount, MountSource, Network, Seccomp,
};

use crate::scene::{Scene, block_on, eventually};

/// A container in `parent` that runs a shell script in a sandbox of its own.
fn within(scene: &Scene, parent: &ContainerSpec, name: &str, script: &str) -> ContainerSpec {
    let mut spec = scene.spec(name, script);
    spec.container_id = ContainerId::from(format!("{}.{name}", parent.container_id));
    spec.parent = Some(parent.container_id.clone());
    spec.supervise = true;
    spec
}

fn link(pid: u32, namespace: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap().display().to_string()
}

fn groups(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

#[test]
fn ma26_a_nested_container_shares_network_name_and_groups_and_nothing_else() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let mut parent = scene.spec("p", "exec sleep 600");
    parent.network = Network::Own;
    parent.hostname = Some("outer".into());
    let mut child =
        within(&scene, &parent, "c", "hostname; pwd; ls /proc | grep -c '^[0-9]'; exec sleep 600");
    (child.seccomp, child.no_new_privileges) = (Seccomp::Default, true);
    let grandchild = within(&scene, &child, "g", "hostname; exec sleep 600");
    block_on(async {
        let outer = scene.launch(&parent).await.unwrap().process.pid;
        let inner = scene.launch(&child).await.unwrap().process.pid;
        let innermost = scene.launch(&grandchild).await.unwrap().process.pid;
        for namespace in ["net", "uts"] {
            assert_eq!(link(outer, namespace), link(inner, namespace), "{namespace}");
            assert_eq!(link(outer, namespace), link(innermost, namespace), "{namespace}");
        }
        for namespace in ["pid", "mnt", "ipc"] {
            assert_ne!(link(outer, namespace), link(inner, namespace), "{namespace}");
            assert_ne!(link(inner, namespace), link(innermost, namespace), "{namespace}");
        }
        assert_eq!((groups(outer), groups(outer)), (groups(inner), groups(innermost)));
        eventually("the scripts have spoken", || {
            scene.stdout(&child).lines().count() == 3 && !scene.stdout(&grandchild).is_empty()
        })
        .await;
        let said = scene.stdout(&child);
        let sandbox = child.working_directory.display();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..2], ["outer", &sandbox.to_string()]);
        // The supervisor, the shell, and what is in the pipe: no others are seen.
        assert!(lines[2].parse::<u32>().unwrap() <= 5, "{said}");
        assert_eq!(scene.stdout(&grandchild), "outer\n");
        let found: Vec<_> =
            scene.containers.list().unwrap().into_iter().map(|one| one.container_id).collect();
        assert_eq!(found, [&parent, &child, &grandchild].map(|spec| spec.container_id.clone()));
        scene.containers.destroy(&parent.container_id).await.unwrap();
    });
    for spec in [&parent, &child, &grandchild] {
        scene.assert_gone(&spec.container_id);
    }
}

#[test]
fn a_sibling_and_the_parent_outlive_a_nested_container() {
    for isolation in [Isolation::Full, Isolation::Plain] {
        let Some(scene) = Scene::new(isolation) else { continue };
        let parent = scene.spec("p", "exec sleep 600");
        let one = within(&scene, &parent, "one", "exec sleep 600");
        let two = within(&scene, &parent, "two", "exec sleep 600");
        block_on(async {
            let outer = scene.launch(&parent).await.unwrap();
            let first = scene.launch(&one).await.unwrap();
            let second = scene.launch(&two).await.unwrap();
            scene.containers.destroy(&one.container_id).await.unwrap();
            assert!(!first.process.is_alive());
            assert!(second.process.is_alive() && outer.process.is_alive());
            scene.assert_gone(&one.container_id);
            scene.containers.destroy(&parent.container_id).await.unwrap();
            assert!(!second.process.is_alive());
            assert!(matches!(
                scene.launch(&one).await,
                Err(LaunchError::NoParent(gone)) if gone == parent.container_id
            ));
        });
        scene.assert_gone(&one.container_id);
        scene.assert_gone(&two.container_id);
    }
}

#[test]
fn how_the_program_ended_is_known_to_those_who_did_not_watch() {
    for isolation in [Isolation::Full, Isolation::Plain] {
        let Some(scene) = Scene::new(isolation) else { continue };
        let parent = scene.spec("p", "exec sleep 600");
        block_on(async {
            scene.launch(&parent).await.unwrap();
            let later = Containers::new(scene.config.clone()).unwrap();
            let status_of = async |name: &str, script: &str, signal: Option<i32>| {
                let spec = within(&scene, &parent, name, script);
                let launched = scene.launch(&spec).await.unwrap();
                if let Some(signal) = signal {
                    eventually("it is ready", || !scene.stdout(&spec).is_empty()).await;
                    assert_eq!(later.status(&spec.container_id), None);
                    assert!(later.signal(&spec.container_id, signal).unwrap());
                }
                eventually("it ended", || !launched.process.is_alive()).await;
                let status = later.status(&spec.container_id);
                assert!(!later.signal(&spec.container_id, 15).unwrap());
                scene.containers.destroy(&spec.container_id).await.unwrap();
                assert_eq!(later.status(&spec.container_id), None);
                scene.assert_gone(&spec.container_id);
                status
            };
            assert_eq!(status_of("code", "exit 3", None).await, Some(Exit::Code(3)));
            let killed = status_of("kill", "echo up; exec sleep 600", Some(9)).await;
            assert_eq!(killed, Some(Exit::Signal(9)));
            // The program is no init, so that what it did not ask for ends it.
            let asked = status_of("term", "echo up; exec sleep 600", Some(15)).await;
            assert_eq!(asked, Some(Exit::Signal(15)));
            let caught = "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
            assert_eq!(status_of("trap", caught, Some(15)).await, Some(Exit::Code(7)));
            // Neither orphans nor a group's own signal keep it from being told.
            let orphans = "(sleep 600 &) ; kill -TERM 0";
            assert_eq!(status_of("group", orphans, None).await, Some(Exit::Signal(15)));
            let wrong = scene.containers.signal(&parent.container_id, 999).unwrap_err();
            assert_eq!(wrong.kind(), std::io::ErrorKind::InvalidInput);
            scene.containers.destroy(&parent.container_id).await.unwrap();
        });
    }
}

#[test]
fn what_cannot_be_nested_is_refused() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let parent = scene.spec("p", "exec sleep 600");
    block_on(async {
        scene.launch(&parent).await.unwrap();
        let check = async |change: fn(&mut ContainerSpec), expect: &str| {
            let mut spec = within(&scene, &parent, "c", "true");
            change(&mut spec);
            let error = scene.launch(&spec).await.unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            if spec.container_id != parent.container_id {
                scene.assert_gone(&spec.container_id);
            }
        };
        check(|spec| spec.supervise = false, "has to be supervised").await;
        check(|spec| spec.container_id = "other.c".into(), "has to be supervised").await;
        check(|spec| spec.namespaces.pid = false, "has to be supervised").await;
        check(|spec| spec.program = "/no/such".into(), "/no/such").await;
        // Whose sandbox it is may be another's who put a link there.
        let mut spec = within(&scene, &parent, "c", "true");
        let real = spec.working_directory.clone();
        let link = scene.directory.join("link");
        symlink(&real, &link).unwrap();
        (spec.stdout, spec.stderr) = (link.join("stdout"), link.join("stderr"));
        assert!(scene.launch(&spec).await.is_err());
        spec.working_directory = link;
        (spec.stdout, spec.stderr) = (real.join("stdout"), real.join("stderr"));
        assert!(scene.launch(&spec).await.is_err());
        scene.containers.destroy(&parent.container_id).await.unwrap();
    });
}

#[test]
fn sixty_four_nested_containers_end_with_the_one_they_are_in() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let parent = scene.spec("p", "exec sleep 600");
    block_on(async {
        scene.launch(&parent).await.unwrap();
        let mut all = Vec::new();
        for number in 0..64 {
            let spec = within(&scene, &parent, &format!("n{number}"), "exec sleep 600");
            all.push(scene.launch(&spec).await.unwrap().process);
        }
        assert!(all.iter().all(containers::ProcessIdentity::is_alive));
        scene.containers.destroy(&parent.container_id).await.unwrap();
        assert!(!all.iter().any(containers::ProcessIdentity::is_alive));
    });
    scene.assert_gone(&parent.container_id);
    assert!(scene.containers.list().unwrap().is_empty());
}

#[test]
fn what_is_shown_of_a_directory_is_in_it_whatever_links_say() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let directory = scene.directory.join("shared");
    fs::create_dir_all(directory.join("a/b")).unwrap();
    fs::write(directory.join("a/b/file"), "there\n").unwrap();
    symlink("/etc", directory.join("link")).unwrap();
    let target = scene.directory.join("target");
    fs::create_dir_all(&target).unwrap();
    let of = |path: &str| {
        let mut spec = scene.spec("w", &format!("cat {}/file", target.display()));
        let source = MountSource::Within { directory: directory.clone(), path: path.into() };
        spec.mounts = vec![Mount { source, target: target.clone(), read_only: true }];
        spec
    };
    assert_eq!(scene.run(&of("a/b")), ("there\n".to_owned(), Exit::Code(0)));
    for path in ["link", "link/cron.d", "../shared/a", "/etc"] {
        let error = block_on(async { scene.launch(&of(path)).await.unwrap_err().to_string() });
        assert!(error.contains("bind"), "{path}: {error}");
    }
}
