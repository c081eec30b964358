//! A container with an executor in it, and its agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use containers::{Config, ContainerSpec, Containers, Exit, Isolation, Launched, Limits, Mount, RootFs};
use mesos_proto::v1::executor::{Event, event};
use mesos_proto::v1::{CommandInfo, TaskId, TaskInfo};

use crate::agent::{Agent, PATIENCE};

static SCENES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Scene {
    pub(crate) directory: PathBuf,
    pub(crate) containers: Containers,
    pub(crate) spec: ContainerSpec,
    runtime: tokio::runtime::Runtime,
}

/// Runs the scene once in each isolation that can be had here.
pub(crate) fn in_each_isolation(play: impl Fn(Scene)) {
    play(Scene::new(Isolation::Plain));
    if let Some(scene) = Scene::full() {
        play(scene);
    }
}

impl Scene {
    /// `None`, said aloud, where it cannot be had.
    pub(crate) fn full() -> Option<Scene> {
        let probe = containers::probe(Path::new("dcos-test"));
        if probe.isolation == Isolation::Full {
            return Some(Scene::new(Isolation::Full));
        }
        eprintln!("SKIP: full isolation is not possible here: {:?}", probe.missing);
        None
    }

    pub(crate) fn new(isolation: Isolation) -> Scene {
        let name = format!("ex-{}-{}", std::process::id(), SCENES.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        let sandbox = directory.join("sandbox");
        fs::create_dir_all(&sandbox).unwrap();
        let mut config = Config::new(directory.join("run"), Path::new("dcos-test").join(&name), isolation);
        config.helper = vec![program().into(), "container-init".into()];
        let containers = Containers::new(config).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let environment = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("MESOS_DOMAIN_SOCKET", text(directory.join("agent.sock"))),
            ("MESOS_FRAMEWORK_ID", "framework".to_owned()),
            ("MESOS_EXECUTOR_ID", "task".to_owned()),
            ("MESOS_SANDBOX", text(sandbox.clone())),
            ("MESOS_CHECKPOINT", "1".to_owned()),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "100ms".to_owned()),
            ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "secret".to_owned()),
        ];
        let argv = vec!["dcos".into(), "executor".into()];
        let spec = ContainerSpec {
            env: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            limits: Limits { cpu_milli: 100, ..Limits::default() },
            oom_score_adjustment: -500,
            ..ContainerSpec::new(name.into(), "/proc/self/exe", argv, sandbox)
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Scene { directory, containers, spec, runtime }
    }

    /// The same in an image: a layer with what `fill` puts there, and the configuration of `config`.
    pub(crate) fn in_image(config: &str, fill: impl FnOnce(&Path)) -> Option<Scene> {
        let mut scene = Scene::full()?;
        let layer = scene.directory.join("layer");
        fs::create_dir(&layer).unwrap();
        fill(&layer);
        let upper_dir = scene.directory.join("upper");
        scene.spec.root = Some(RootFs { layers: vec![layer], upper_dir, read_only: false });
        scene.spec.seccomp = containers::Seccomp::Default;
        let socket = Path::new("/mnt/mesos/agent/agent.sock");
        let agent = scene.directory.join("agent");
        fs::create_dir(&agent).unwrap();
        scene.spec.mounts = vec![
            Mount::bind(&scene.spec.working_directory, "/mnt/mesos/sandbox"),
            Mount::bind(agent, "/mnt/mesos/agent").read_only(),
        ];
        scene.spec.working_directory = "/mnt/mesos/sandbox".into();
        scene.set("MESOS_SANDBOX", "/mnt/mesos/sandbox");
        scene.set("MESOS_DOMAIN_SOCKET", socket.to_str().unwrap());
        scene.set("DCOS_IMAGE_CONFIG", config);
        Some(scene)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        let inside = self.directory.join("agent");
        if inside.exists() { inside.join("agent.sock") } else { self.directory.join("agent.sock") }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.spec.env.retain(|(known, _)| known != name);
        self.spec.env.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn launch(&self) -> Launched {
        self.runtime.block_on(self.containers.launch(self.spec.clone(), |_| Ok(()))).unwrap()
    }

    /// An agent, an executor subscribed at it, and its container.
    pub(crate) fn subscribed(&self) -> (Agent, Launched) {
        let agent = Agent::start(&self.socket());
        let launched = self.launch();
        let subscribe = agent.expect_subscribe();
        assert_eq!(subscribe, Default::default());
        (agent, launched)
    }

    /// How the executor left.
    pub(crate) fn exit(&self, launched: &Launched) -> Exit {
        let wait = self.containers.wait(&launched.process);
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, wait).await })
            .expect("the executor's end")
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.spec.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.spec.stderr).unwrap()
    }

    /// Processes of the container, whatever they are.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let variable = format!("{}={}", containers::CONTAINER_ID_VARIABLE, self.spec.container_id);
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            })
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let destroyed = self.runtime.block_on(self.containers.destroy(&self.spec.container_id));
        let retired = self.containers.clone().retire();
        let left = self.processes();
        if std::thread::panicking() {
            eprintln!("the executor's stderr: {}", fs::read_to_string(&self.spec.stderr).unwrap_or_default());
        }
        let _ = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            destroyed.unwrap();
            retired.unwrap();
            assert_eq!(left, [0u32; 0], "processes");
        }
    }
}

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/task_process");
    assert!(program.exists(), "{} is missing: build the crate's examples", program.display());
    program
}

/// A task that runs a shell command.
pub(crate) fn task(script: &str) -> TaskInfo {
    let command = CommandInfo { value: Some(script.to_owned()), ..Default::default() };
    TaskInfo {
        name: "task".to_owned(),
        task_id: TaskId { value: "task".to_owned() },
        command: Some(command),
        ..Default::default()
    }
}

pub(crate) fn launch(task: TaskInfo) -> Event {
    let launch = Some(event::Launch { task });
    Event { r#type: Some(event::Type::Launch as i32), launch, ..Default::default() }
}

/// Looks again until it holds; fails the test when patience ends.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
