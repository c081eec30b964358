//! Every app in `examples/`, as it stands there, through the command line and through the API. Each cluster is alone in
//! a network of its own, so that the addresses and ports in the examples are free.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Cluster, Options, eventually, in_own_network};

use crate::apps::{DCOS, app, is_root, settled};

/// How a user brings an app to the cluster.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    CommandLine,
    Api,
}

/// A cluster with the addresses of the examples, and a directory for what they need.
struct Lab {
    cluster: Cluster,
    dir: TempDir,
    way: Way,
    registry: Option<Child>,
}

#[test]
fn examples_run_through_the_command_line() {
    run(Way::CommandLine);
}

#[test]
fn examples_run_through_the_api() {
    run(Way::Api);
}

fn run(way: Way) {
    if !is_root("examples") {
        return;
    }
    in_own_network(|| {
        let options = Options { subnet: Some("127.0.0.0/24".to_owned()), ..Options::default() };
        let cluster = Cluster::start(DCOS, options);
        let mut lab = Lab { cluster, dir: tempfile::tempdir().unwrap(), way, registry: None };
        lab.crash_loop_and_memory_hog();
        lab.web_service_and_fetch();
        lab.image();
        lab.registry();
        lab.rolling_update();
        lab.batch();
    });
}

impl Lab {
    fn crash_loop_and_memory_hog(&self) {
        self.add("crash-loop/app.json");
        self.add("memory-hog/app.json");
        self.failed("crash-loop", "Command exited with status 3");
        self.failed("memory-hog", "Memory limit exceeded");
        self.remove("crash-loop");
        self.remove("memory-hog");
    }

    fn web_service_and_fetch(&self) {
        self.add("web-service/app.json");
        settled(&self.cluster, "web-service", 2);
        self.answers("web-service", "hello from web-service");
        self.reached_by_name();
        self.add("fetch/app.json");
        settled(&self.cluster, "fetch", 1);
        self.says("fetch", "packed\nhello");
        self.remove("fetch");
        self.remove("web-service");
    }

    /// What streams both ways does so over a connection of its own when the cluster has a name.
    fn reached_by_name(&self) {
        let tasks = self.dcos(&["task", "list", "--quiet", "web-service"]);
        let task = tasks.lines().next().unwrap();
        let mut exec = self.command(&["task", "exec", "-i", task, "sh", "-c", "cat; exit 7"]);
        exec.env("DCOS_URL", "http://dcos.localhost").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut exec = exec.spawn().unwrap();
        exec.stdin.take().unwrap().write_all(b"over there").unwrap();
        let output = exec.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"over there"[..]), "{output:?}");
    }

    fn image(&self) {
        let tarball = self.tarball();
        if self.way == Way::CommandLine {
            self.dcos(&["image", "pull", tarball.to_str().unwrap()]);
            self.add("image/app.json");
        } else {
            // Without the command line the tarball itself is the image's name.
            let mut definition = example("image/app.json");
            definition["container"]["docker"]["image"] = Value::from(tarball.to_str().unwrap());
            self.cluster.create_app(&definition);
        }
        settled(&self.cluster, "image", 1);
        self.answers("image", "image set by the app, user web, in /home/web");
        self.remove("image");
    }

    fn registry(&mut self) {
        let dir = self.dir.path();
        let config = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:5000\"}}\n",
            dir.join("registry").display()
        );
        std::fs::write(&config, text).unwrap();
        let registry =
            Command::new("docker-registry").arg("serve").arg(&config).stderr(Stdio::null()).spawn();
        self.registry = Some(registry.unwrap());
        let from = format!("docker-archive:{}", self.tarball().display());
        let to = "docker://127.0.0.1:5000/hello:1";
        let copy = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, to];
        eventually("the registry takes an image", || {
            let copied = Command::new("skopeo").args(copy).env("TMPDIR", dir).output().unwrap();
            copied.status.success().then_some(())
        });
        self.add("registry/app.json");
        settled(&self.cluster, "registry", 1);
        self.answers("registry", "hello from an image");
        self.remove("registry");
    }

    fn rolling_update(&self) {
        self.add("rolling-update/v1.json");
        settled(&self.cluster, "rolling-update", 3);
        self.answers("rolling-update", "1");
        match self.way {
            Way::Api => {
                let body = example("rolling-update/v2.json");
                let answer = self.cluster.request("PUT", "/marathon/v2/apps/rolling-update", Some(&body));
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            Way::CommandLine => {
                let file = std::fs::File::open(path("rolling-update/v2.json")).unwrap();
                let mut update = self.command(&["marathon", "app", "update", "/rolling-update"]);
                done(update.stdin(file).output().unwrap());
            }
        }
        eventually("the new version serves", || {
            let answer = self.cluster.request("GET", "/service/rolling-update/", None);
            assert_eq!(answer.status, 200, "the service answers all the time: {}", answer.text());
            let apps = self.cluster.get("/marathon/v2/deployments");
            (answer.text() == "2\n" && apps.as_array().is_some_and(Vec::is_empty)).then_some(())
        });
        self.remove("rolling-update");
    }

    fn batch(&self) {
        self.add("batch/app.json");
        eventually("the batch ends and is run again", || {
            let tasks = self.cluster.get("/mesos/tasks?limit=1000");
            let of_batch = |task: &&Value| task["id"].as_str().is_some_and(|id| id.starts_with("batch."));
            let ended = tasks["tasks"].as_array().into_iter().flatten().filter(of_batch);
            (ended.filter(|task| task["state"] == "TASK_FINISHED").count() >= 2).then_some(())
        });
        if self.way == Way::CommandLine {
            let log = self.dcos(&["task", "log", "--completed", "batch"]);
            assert!(log.contains("the sum is 500500"), "{log}");
        }
        self.remove("batch");
    }

    fn tarball(&self) -> PathBuf {
        let tarball = self.dir.path().join("hello.tar");
        done(Command::new(path("image/build")).arg(&tarball).output().unwrap());
        tarball
    }

    fn add(&self, name: &str) {
        match self.way {
            Way::Api => drop(self.cluster.create_app(&example(name))),
            Way::CommandLine => {
                let said = self.dcos(&["marathon", "app", "add", path(name).to_str().unwrap()]);
                assert!(said.starts_with("Created deployment "), "{said}");
            }
        }
    }

    fn remove(&self, id: &str) {
        match self.way {
            Way::Api => {
                let answer =
                    self.cluster.request("DELETE", &format!("/marathon/v2/apps/{id}?force=true"), None);
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            Way::CommandLine => drop(self.dcos(&["marathon", "app", "remove", "--force", id])),
        }
        eventually(&format!("{id} is gone"), || {
            let answer = self.cluster.request("GET", &format!("/marathon/v2/apps/{id}"), None);
            let deployments = self.cluster.get("/marathon/v2/deployments");
            (answer.status == 404 && deployments.as_array().is_some_and(Vec::is_empty)).then_some(())
        });
    }

    /// The reason is seen by who only looks at the app.
    fn failed(&self, id: &str, reason: &str) {
        eventually(&format!("{id} fails: {reason}"), || {
            let found = match self.way {
                Way::Api => app(&self.cluster, id),
                Way::CommandLine => {
                    serde_json::from_str(&self.dcos(&["marathon", "app", "show", id])).unwrap()
                }
            };
            let message = found["lastTaskFailure"]["message"].as_str().unwrap_or_default().to_owned();
            message.contains(reason).then_some(())
        });
    }

    fn answers(&self, service: &str, text: &str) {
        let answer = self.cluster.request("GET", &format!("/service/{service}/"), None);
        assert!(answer.status == 200 && answer.text().starts_with(text), "{service}: {}", answer.text());
    }

    fn says(&self, id: &str, text: &str) {
        eventually(&format!("{id} says {text:?}"), || {
            self.dcos(&["task", "log", id]).contains(text).then_some(())
        });
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(DCOS);
        let url = format!("http://{}", self.cluster.router());
        command.args(arguments).env("DCOS_URL", url).env("DCOS_DIR", self.dir.path().join("dcos"));
        command.stdin(Stdio::null());
        command
    }

    fn dcos(&self, arguments: &[&str]) -> String {
        done(self.command(arguments).output().unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(registry) = &mut self.registry {
            let _ = registry.kill();
            let _ = registry.wait();
        }
    }
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn example(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}
