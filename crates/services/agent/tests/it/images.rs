//! Containers of images, as frameworks other than Marathon ask for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mesos_proto::v1::container_info::docker_info::Network;
use mesos_proto::v1::container_info::{DockerInfo, Type};
use mesos_proto::v1::health_check::{self, HttpCheckInfo};
use mesos_proto::v1::{self, CommandInfo, ContainerInfo, ExecutorInfo, HealthCheck, TaskInfo, TaskState};
use serde_json::json;

use crate::master::{FRAMEWORK, Master, resources, task};
use crate::node::{Dir, Node, config, eventually, skip_without_root};
use crate::sessions::Scene;

/// A tarball as `docker save` writes it, of Debian's static busybox and a user `app`, who is the image's.
pub(crate) fn tarball(dir: &Path) -> PathBuf {
    let run = |command: &[&str]| {
        let output = Command::new(command[0]).args(&command[1..]).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    fs::create_dir_all(dir.join("root/bin")).unwrap();
    fs::create_dir_all(dir.join("root/etc")).unwrap();
    fs::copy("/bin/busybox", dir.join("root/bin/busybox")).unwrap();
    for applet in ["sh", "cat", "echo", "id", "ls", "sleep"] {
        std::os::unix::fs::symlink("busybox", dir.join("root/bin").join(applet)).unwrap();
    }
    let users = "root:x:0:0::/:/bin/sh\napp:x:1234:1234::/:/bin/sh\nother:x:4321:4321::/:/bin/sh\n";
    fs::write(dir.join("root/etc/passwd"), users).unwrap();
    run(&["tar", "-C", "root", "--owner=0", "--group=0", "-cf", "layer.tar", "."]);
    let sum = run(&["sha256sum", "layer.tar"]);
    let diff_id = format!("sha256:{}", sum.split(' ').next().unwrap());
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"User": "app", "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["test/app:1"], "Layers": ["layer.tar"]}]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    run(&["tar", "-cf", "image.tar", "manifest.json", "config.json", "layer.tar"]);
    dir.join("image.tar")
}

fn container(image: &Path, network: Network) -> ContainerInfo {
    ContainerInfo {
        r#type: Type::Docker as i32,
        docker: Some(DockerInfo {
            image: image.display().to_string(),
            network: Some(network as i32),
            ..DockerInfo::default()
        }),
        ..ContainerInfo::default()
    }
}

fn in_image(id: &str, command: &str, image: &Path, network: Network) -> TaskInfo {
    TaskInfo { container: Some(container(image, network)), ..task(id, command) }
}

/// An agent whose containers of images can run command tasks.
async fn start(dir: &Dir, master: &Master) -> Node {
    let mut config = config(dir, master);
    config.executor = vec![containers::OWN_PROGRAM.into(), "executor".into()];
    Node::start(config).await
}

async fn stdout(node: &Node, executor: &str) -> String {
    let path = format!("/frameworks/{FRAMEWORK}/executors/{executor}/runs/latest/stdout");
    let read = node.json(&format!("/files/read?path={path}&offset=0")).await;
    read["data"].as_str().unwrap().to_owned()
}

async fn nothing_is_left(node: &Node) {
    let left = |name: &str| fs::read_dir(node.dir.join(name)).map_or(0, Iterator::count);
    eventually("nothing is left", async || {
        node.containers_left() + left("roots") + left("images/holds") == 0
    })
    .await;
}

#[tokio::test]
async fn a_container_without_a_network_has_its_loopback_alone() {
    if skip_without_root("a container without a network") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = start(&dir, &master).await;
    let mut session = master.session().await;
    let image = tarball(&dir.0.join("made"));
    let script =
        "echo links $(ls /sys/class/net); echo addresses $(cat /proc/net/fib_trie | busybox grep 32);";
    session.run(in_image("alone", script, &image, Network::None));
    let running = session.until("alone", TaskState::TaskRunning).await;
    let networks = running.container_status.unwrap().network_infos;
    assert!(networks.iter().all(|network| network.ip_addresses.is_empty()), "{networks:?}");
    session.until("alone", TaskState::TaskFinished).await;
    let said = stdout(&node, "alone").await;
    assert!(said.starts_with("links lo\n"), "{said}");
    nothing_is_left(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn the_executor_checks_health_inside_of_the_containers_network() {
    if skip_without_root("a health check in a network of its own") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = start(&dir, &master).await;
    let mut session = master.session().await;
    let image = tarball(&dir.0.join("made"));
    let mut web = in_image("web", "exec busybox httpd -f -p 80 -h /etc", &image, Network::None);
    web.health_check = Some(HealthCheck {
        r#type: Some(health_check::Type::Http as i32),
        http: Some(HttpCheckInfo { port: 80, path: Some("/passwd".into()), ..HttpCheckInfo::default() }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.1),
        ..HealthCheck::default()
    });
    web.command.as_mut().unwrap().user = Some("root".into());
    session.run(web);
    loop {
        let status = session.until("web", TaskState::TaskRunning).await;
        if status.healthy == Some(true) {
            break;
        }
    }
    session.kill("web");
    session.until("web", TaskState::TaskKilled).await;
    nothing_is_left(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn ma17_a_custom_executor_runs_in_its_image_as_the_images_user() {
    if skip_without_root("an executor in an image") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = start(&dir, &master).await;
    let mut session = master.session().await;
    let image = tarball(&dir.0.join("made"));
    let check = async |session: &mut crate::master::Session, id: &str, user: Option<&str>, expected: &str| {
        let line = "echo $(id -u) $(ls /); test -S $MESOS_DOMAIN_SOCKET && echo listening; \
                    echo mine > $MESOS_SANDBOX/file && exit 3";
        let executor = ExecutorInfo {
            executor_id: v1::ExecutorId { value: id.into() },
            command: Some(CommandInfo {
                value: Some(line.into()),
                user: user.map(str::to_owned),
                ..CommandInfo::default()
            }),
            container: Some(container(&image, Network::Host)),
            resources: resources("cpus:0.1;mem:32"),
            ..ExecutorInfo::default()
        };
        session.run(TaskInfo { executor: Some(executor), command: None, ..task(id, "") });
        let failed = session.until(id, TaskState::TaskFailed).await;
        assert_eq!(failed.message(), "Executor terminated");
        let said = stdout(&node, id).await;
        assert_eq!(said, format!("{expected} bin dev etc mnt proc sys\nlistening\n"));
    };
    check(&mut session, "images", None, "1234").await;
    check(&mut session, "own", Some("other"), "4321").await;
    nothing_is_left(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn a_session_runs_as_its_own_user_else_as_the_tasks_else_as_the_images() {
    if skip_without_root("sessions in an image") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = start(&dir, &master).await;
    let image = tarball(&dir.0.join("made"));
    let mut scene =
        Scene::with(node, &mut master, in_image("t", "exec sleep 1000", &image, Network::Host)).await;
    check_user(&scene, "images", None, "1234").await;
    check_user(&scene, "own", Some("other"), "4321").await;
    check_user(&scene, "number", Some("77"), "77").await;
    let mut second = in_image("second", "exec sleep 1000", &image, Network::Host);
    second.command.as_mut().unwrap().user = Some("root".into());
    scene.run(second).await;
    check_user(&scene, "tasks", None, "0").await;
    check_user(&scene, "own-again", Some("app"), "1234").await;
    scene.finish(&["t", "second"]).await;
}

async fn check_user(scene: &Scene, name: &str, user: Option<&str>, expected: &str) {
    let mut call = scene.launch(name, "id -u", false);
    let launch = call.launch_nested_container_session.as_mut().unwrap();
    launch.command.as_mut().unwrap().user = user.map(str::to_owned);
    let (said, errors) = scene.open(&call).await.whole().await;
    assert_eq!(said.trim(), expected, "{name}: {errors}");
}
