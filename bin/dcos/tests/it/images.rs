//! Apps that run from images, as their users see them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Cluster, Options, eventually, in_own_network};

use crate::apps::{DCOS, app, is_root, settled};

/// A tarball as `docker save` writes it, of one layer with Debian's static busybox.
struct Tarball {
    dir: TempDir,
}

impl Tarball {
    /// `config` is the image's, `files` are put over busybox in `/`.
    fn new(config: &Value, files: &[(&str, &str)]) -> Tarball {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for name in ["bin", "etc", "tmp", "srv"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in
            ["sh", "cat", "echo", "env", "httpd", "id", "ls", "mount", "pwd", "sleep", "touch", "wget"]
        {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1234:1234::/srv:/bin/sh\n")
            .unwrap();
        for (path, text) in files {
            fs::write(root.join(path), text).unwrap();
        }
        let tarball = Tarball { dir };
        tarball.run(&["tar", "-C", "root", "--owner=0", "--group=0", "-cf", "layer.tar", "."]);
        let diff_id = tarball.run(&["sha256sum", "layer.tar"]);
        let diff_id = format!("sha256:{}", diff_id.split(' ').next().unwrap());
        let image = json!({
            "architecture": architecture(), "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        });
        tarball.write("config.json", &image.to_string());
        let manifest =
            json!([{"Config": "config.json", "RepoTags": ["test/busybox:1"], "Layers": ["layer.tar"]}]);
        tarball.write("manifest.json", &manifest.to_string());
        tarball.run(&["tar", "-cf", "image.tar", "manifest.json", "config.json", "layer.tar"]);
        tarball
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("image.tar")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn run(&self, command: &[&str]) -> String {
        let output =
            Command::new(command[0]).args(&command[1..]).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

fn of_image(id: &str, image: &str) -> Value {
    json!({
        "id": format!("/{id}"), "cpus": 0.1, "mem": 32, "instances": 1,
        "container": {"type": "MESOS", "docker": {"image": image}},
    })
}

/// The sandbox file of the app's only task, as it is now.
fn sandbox_file(cluster: &Cluster, app: &Value, name: &str) -> Option<String> {
    let task = app["tasks"][0].clone();
    let slave = task["slaveId"].as_str()?;
    let id = task["id"].as_str()?;
    let runs = cluster.dir().join("agents/agent-1/slaves").join(slave).join("frameworks");
    let framework = fs::read_dir(runs).ok()?.flatten().next()?.path();
    fs::read_to_string(framework.join("executors").join(id).join("runs/latest").join(name)).ok()
}

#[track_caller]
fn output(cluster: &Cluster, id: &str, wanted: &str) -> String {
    let app = settled(cluster, id, 1);
    eventually(&format!("{id} says {wanted:?}"), || {
        sandbox_file(cluster, &app, "stdout").filter(|text| text.contains(wanted))
    })
}

#[track_caller]
fn failure(cluster: &Cluster, id: &str) -> String {
    let failure = eventually(&format!("the failure of {id} is told"), || {
        Some(app(cluster, id)["lastTaskFailure"].clone()).filter(|failure| failure.is_object())
    });
    failure["message"].as_str().unwrap_or_default().to_owned()
}

/// What belongs to containers on this machine and to this cluster.
fn left_behind(cluster: &Cluster) -> Vec<String> {
    let dir = cluster.dir().join("agents/agent-1");
    let mut left: Vec<String> = fs::read_dir(dir.join("roots"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("root {}", entry.path().display()))
        .collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let here = cluster.dir().display().to_string();
    left.extend(mounts.lines().filter(|line| line.contains(&here)).map(str::to_owned));
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    left.extend(links.lines().filter(|line| line.contains("veth")).map(str::to_owned));
    left
}

#[track_caller]
fn delete(cluster: &Cluster, id: &str) {
    let answer = cluster.request("DELETE", &format!("/marathon/v2/apps/{id}?force=true"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Deletes the last app, after which nothing of any container is left.
#[track_caller]
fn gone(cluster: &Cluster, id: &str) {
    delete(cluster, id);
    eventually("nothing is left of its container", || left_behind(cluster).is_empty().then_some(()));
    let images = cluster.at(2, 5051);
    let list = testkit::request(images, "GET", "/images", &[], None).unwrap().json();
    for image in list["images"].as_array().unwrap() {
        assert_eq!(image["holders"], json!([]), "{image}");
    }
}

/// Runs `test` with an image and a cluster in a network of their own; afterwards nothing is left.
fn with_cluster(config: &Value, test: impl FnOnce(&str, &mut Cluster) + Send) {
    if !is_root("images") {
        return;
    }
    in_own_network(|| {
        let tarball = Tarball::new(config, &[("srv/index.html", "hello")]);
        let mut cluster = Cluster::start(DCOS, Options::default());
        test(tarball.path().to_str().unwrap(), &mut cluster);
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
        drop(cluster);
        let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
        let links = String::from_utf8(links.stdout).unwrap();
        assert_eq!(links.lines().count(), 1, "only loopback is left: {links}");
        let rules = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        assert_eq!(String::from_utf8(rules.stdout).unwrap(), "");
    });
}

/// The image's own command tells about its surroundings.
fn talkative() -> Value {
    json!({
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo $A $B $(id -un) $(pwd) $(cat index.html); touch $MESOS_SANDBOX/made; exec sleep 3600"],
        "Env": ["A=image", "B=image", "PATH=/bin"], "User": "app", "WorkingDir": "/srv",
    })
}

#[test]
fn an_image_says_how_it_is_run_unless_the_app_does() {
    with_cluster(&talkative(), |image, cluster| {
        let mut says = of_image("says", image);
        says["env"] = json!({"B": "app"});
        cluster.create_app(&says);
        assert_eq!(output(cluster, "says", "\n").trim(), "image app app /srv hello");

        let mut told = of_image("told", image);
        told["container"]["type"] = "DOCKER".into();
        told["user"] = "root".into();
        told["cmd"] = "echo $A $(id -un) $(pwd) $(ls /) $(hostname 2>/dev/null); exec sleep 3600".into();
        told["container"]["docker"]["parameters"] = json!([
            {"key": "workdir", "value": "/tmp"}, {"key": "env", "value": "A=option"},
        ]);
        cluster.create_app(&told);
        let text = output(cluster, "told", "\n");
        assert!(text.starts_with("option root /tmp bin dev etc mnt proc srv sys tmp"), "{text}");
        delete(cluster, "says");
        gone(cluster, "told");
    });
}

#[test]
fn a_bridged_container_is_reached_at_its_port() {
    with_cluster(&json!({"Env": ["PATH=/bin"], "User": "app"}), |image, cluster| {
        let mut web = of_image("web", image);
        web["container"]["type"] = "DOCKER".into();
        web["cmd"] = "exec httpd -f -p 80 -h /srv".into();
        web["networks"] = json!([{"mode": "container/bridge"}]);
        web["container"]["portMappings"] = json!([{"containerPort": 80, "hostPort": 0}]);
        web["healthChecks"] = json!([{
            "protocol": "HTTP", "path": "/index.html", "portIndex": 0, "gracePeriodSeconds": 20,
            "intervalSeconds": 1, "timeoutSeconds": 5, "maxConsecutiveFailures": 3,
        }]);
        cluster.create_app(&web);
        let app = settled(cluster, "web", 1);
        let task = &app["tasks"][0];
        let port = u16::try_from(task["ports"][0].as_u64().unwrap()).unwrap();
        let answer = testkit::request(cluster.at(2, port), "GET", "/index.html", &[], None).unwrap();
        assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
        let address = task["ipAddresses"][0]["ipAddress"].as_str().unwrap();
        assert!(address.starts_with("172.31."), "{task}");
        gone(cluster, "web");
        let refused = testkit::request(cluster.at(2, port), "GET", "/index.html", &[], None);
        assert!(refused.is_err(), "the mapping is gone");
    });
}

#[test]
fn volumes_are_the_hosts_and_the_sandboxes() {
    with_cluster(&json!({"Env": ["PATH=/bin"]}), |image, cluster| {
        let host = tempfile::tempdir().unwrap();
        fs::write(host.path().join("given"), "given").unwrap();
        let path = host.path().to_str().unwrap();
        let mut app = of_image("volumes", image);
        app["cmd"] =
            "cat /ro/given; touch /ro/no; echo made > /rw/made; echo kept > $MESOS_SANDBOX/own/kept; \
                      cat /mine/kept; exec sleep 3600"
                .into();
        app["container"]["volumes"] = json!([
            {"containerPath": "/ro", "hostPath": path, "mode": "RO"},
            {"containerPath": "/rw", "hostPath": path, "mode": "RW"},
            {"containerPath": "/mine", "hostPath": "own", "mode": "RW"},
        ]);
        cluster.create_app(&app);
        let text = output(cluster, "volumes", "kept");
        assert_eq!(text, "givenkept\n");
        assert_eq!(fs::read_to_string(host.path().join("made")).unwrap(), "made\n");
        assert!(!host.path().join("no").exists());
        gone(cluster, "volumes");
    });
}

#[test]
fn what_goes_wrong_is_told_to_who_looks_at_the_app() {
    with_cluster(&json!({"Env": ["PATH=/bin"]}), |image, cluster| {
        let check = |id: &str, change: &dyn Fn(&mut Value), expected: &str| {
            let mut app = of_image(id, image);
            app["cmd"] = "exec sleep 3600".into();
            change(&mut app);
            cluster.create_app(&app);
            let message = failure(cluster, id);
            assert!(message.contains(expected), "{id}: {message}");
            gone(cluster, id);
        };
        let missing = "image /nowhere.tar does not exist";
        check("missing", &|app| app["container"]["docker"]["image"] = "/nowhere.tar".into(), missing);
        let registry = "127.0.0.1:9/no/such:1";
        check("unreachable", &|app| app["container"]["docker"]["image"] = registry.into(), registry);
        let mount = "cannot mount the host's /nowhere at /data: it does not exist on this agent";
        let volume = json!([{"containerPath": "/data", "hostPath": "/nowhere", "mode": "RW"}]);
        check("mount", &|app| app["container"]["volumes"] = volume.clone(), mount);
        check("fetch", &|app| app["fetch"] = json!([{"uri": "file:///nowhere.tgz"}]), "/nowhere.tgz");
    });
}

#[test]
fn a_port_that_is_taken_is_named_with_its_holder() {
    with_cluster(&json!({"Env": ["PATH=/bin"]}), |image, cluster| {
        let taken = std::net::TcpListener::bind((cluster.at(2, 0).ip(), 0)).unwrap();
        let offered = cluster.get("/mesos/state")["slaves"][0]["resources"]["ports"].clone();
        let first: u16 =
            offered.as_str().unwrap().trim_matches(['[', ']']).split('-').next().unwrap().parse().unwrap();
        drop(taken);
        let _taken = std::net::TcpListener::bind((cluster.at(2, 0).ip(), first)).unwrap();
        let mut app = of_image("taken", image);
        app["cmd"] = "exec sleep 3600".into();
        app["networks"] = json!([{"mode": "container/bridge"}]);
        app["requirePorts"] = true.into();
        app["container"]["portMappings"] = json!([{"containerPort": 80, "hostPort": first}]);
        cluster.create_app(&app);
        let message = failure(cluster, "taken");
        let expected = format!("host port {first}/tcp of {} is in use by", cluster.at(2, 0).ip());
        assert!(message.contains(&expected), "{message}");
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        gone(cluster, "taken");
    });
}

/// Debian's registry, on loopback.
struct Registry {
    dir: TempDir,
    child: Child,
}

impl Registry {
    const ADDRESS: &str = "127.0.0.1:5000";

    fn start() -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yml");
        let storage = dir.path().join("storage");
        let address = Registry::ADDRESS;
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Registry { child: command.spawn().unwrap(), dir };
        let address = address.parse().unwrap();
        eventually("the registry answers", || {
            let answer = testkit::request(address, "GET", "/v2/", &[], None).ok()?;
            (answer.status == 200).then_some(())
        });
        registry
    }

    fn push(&self, tarball: &str, name: &str) -> String {
        let reference = format!("{}/{name}", Registry::ADDRESS);
        let output = Command::new("skopeo")
            .args(["copy", "--insecure-policy", "--dest-tls-verify=false"])
            .args([format!("docker-archive:{tarball}"), format!("docker://{reference}")])
            .env("TMPDIR", self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_image_of_a_registry_is_pulled_once_listed_and_removed() {
    with_cluster(&talkative(), |image, cluster| {
        let registry = Registry::start();
        let reference = registry.push(image, "team/app:1");
        cluster.create_app(&of_image("pulled", &reference));
        output(cluster, "pulled", "image");
        let cli = |arguments: &[&str]| {
            let output = Command::new(DCOS)
                .args(arguments)
                .env("DCOS_URL", format!("http://{}", cluster.router()))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
        };
        let (_, list) = cli(&["image", "list"]);
        assert!(list.contains(&reference) && list.contains("1 container"), "{list}");
        let (removed, text) = cli(&["image", "rm", &reference]);
        assert!(!removed && text.contains("is used by"), "{text}");
        // The registry is not asked for what is here.
        drop(registry);
        let more = json!({"instances": 2});
        let answer = cluster.request("PUT", "/marathon/v2/apps/pulled", Some(&more));
        assert_eq!(answer.status, 200, "{}", answer.text());
        settled(cluster, "pulled", 2);
        gone(cluster, "pulled");
        let (pruned, text) = cli(&["image", "prune"]);
        assert!(pruned && text.contains(&reference), "{text}");
        let (_, list) = cli(&["image", "list", "--quiet"]);
        assert_eq!(list, "");
        let (pulled, text) = cli(&["image", "pull", &reference]);
        assert!(!pulled && text.contains(Registry::ADDRESS), "{text}");
    });
}

/// A server that takes connections and never answers.
struct Silence(std::net::TcpListener);

impl Silence {
    fn new() -> Silence {
        Silence(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn image(&self) -> String {
        format!("{}/never:1", self.0.local_addr().unwrap())
    }
}

#[test]
fn an_agent_that_is_killed_in_the_middle_of_a_pull_leaves_nothing() {
    with_cluster(&json!({}), |_, cluster| {
        let silence = Silence::new();
        cluster.create_app(&of_image("waits", &silence.image()));
        let status = eventually("the pull is told", || {
            let answer = cluster.request("POST", "/mesos/api/v1", Some(&json!({"type": "GET_TASKS"})));
            let task = answer.json()["get_tasks"]["tasks"][0].clone();
            let status = task["statuses"].as_array()?.last()?.clone();
            (task["state"] == "TASK_STARTING").then_some(status)
        });
        let text = status["message"].as_str().unwrap_or_default();
        assert!(text.starts_with("Resolving image 127.0.0.1:"), "{status}");
        cluster.up_again();
        let message = failure(cluster, "waits");
        // The master may have come back first, and then it tells what it hears of the agent.
        let told =
            ["Agent restarted while the container was being started", "Reconciliation: Latest task state"];
        assert!(told.iter().any(|text| message.contains(text)), "{message}");
        gone(cluster, "waits");
    });
}

#[test]
fn a_kill_ends_a_pull_at_once() {
    with_cluster(&json!({}), |_, cluster| {
        let silence = Silence::new();
        cluster.create_app(&of_image("waits", &silence.image()));
        eventually("the task is there", || {
            let app = app(cluster, "waits");
            app["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()).then_some(())
        });
        gone(cluster, "waits");
    });
}

#[test]
fn what_is_fetched_is_there_when_the_task_starts() {
    with_cluster(&json!({"Env": ["PATH=/bin"], "User": "app"}), |image, cluster| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("note"), "fetched").unwrap();
        let archive = dir.path().join("notes.tar.gz");
        let status =
            Command::new("tar").arg("-C").arg(dir.path()).arg("-czf").arg(&archive).arg("note").status();
        assert!(status.unwrap().success());
        let fetch = json!([{"uri": format!("file://{}", archive.display())}]);
        let line = "cat $MESOS_SANDBOX/note; echo; echo more >> $MESOS_SANDBOX/note; exec sleep 3600";
        let mut inside = of_image("inside", image);
        (inside["cmd"], inside["fetch"]) = (line.into(), fetch.clone());
        cluster.create_app(&inside);
        let app = settled(cluster, "inside", 1);
        assert_eq!(output(cluster, "inside", "\n"), "fetched\n");
        // The user of the image may change it.
        eventually("it is changed", || {
            sandbox_file(cluster, &app, "note").filter(|text| text.ends_with("more\n"))
        });
        let outside = json!({
            "id": "/outside", "cpus": 0.1, "mem": 32, "instances": 1, "cmd": line, "fetch": fetch,
        });
        cluster.create_app(&outside);
        assert_eq!(output(cluster, "outside", "\n"), "fetched\n");
        delete(cluster, "outside");
        gone(cluster, "inside");
    });
}
