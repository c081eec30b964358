use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base::ContainerId;
use containers::{
    CONTAINER_ID_VARIABLE, Config, ContainerSpec, Containers, Exit, Isolation, LaunchError, Launched, Limits,
    RootFs,
};

static SCENES: AtomicU32 = AtomicU32::new(0);

/// A directory, a cgroup root and containers of one test. Dropping it asserts that nothing is left.
pub(crate) struct Scene {
    pub(crate) config: Config,
    pub(crate) containers: Containers,
    name: String,
    pub(crate) directory: PathBuf,
}

impl Scene {
    /// `None`, said aloud, where full isolation cannot be had.
    pub(crate) fn new(isolation: Isolation) -> Option<Scene> {
        let name = format!("it-{}-{}", std::process::id(), SCENES.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        let mut config = Config::new(directory.join("run"), Path::new("dcos-test").join(&name), isolation);
        config.helper = vec![helper().into()];
        if isolation == Isolation::Full {
            let probe = containers::probe(&config.cgroup_root);
            if probe.isolation != Isolation::Full {
                eprintln!("SKIP: full isolation is not possible here: {:?}", probe.missing);
                return None;
            }
        }
        let containers = Containers::new(config.clone()).unwrap();
        Some(Scene { config, containers, name, directory })
    }

    /// A container that runs a shell script.
    pub(crate) fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        let sandbox = self.directory.join(format!("sandbox-{id}"));
        fs::create_dir_all(&sandbox).unwrap();
        let container_id = ContainerId::from(format!("{}-{id}", self.name));
        let argv = vec!["sh".into(), "-c".into(), script.into()];
        ContainerSpec {
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            limits: Limits { cpu_milli: 500, ..Limits::default() },
            ..ContainerSpec::new(container_id, "/bin/sh", argv, sandbox)
        }
    }

    /// A layer with a busybox and nothing else: `/bin/sh` and all that it can be.
    pub(crate) fn busybox(&self) -> PathBuf {
        let layer = self.layer("busybox");
        let bin = layer.join("bin");
        if bin.exists() {
            return layer;
        }
        fs::create_dir(&bin).unwrap();
        let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = found.expect("busybox-static is installed");
        fs::copy(busybox, bin.join("busybox")).unwrap();
        let list = std::process::Command::new(busybox).arg("--list").output().unwrap();
        for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        layer
    }

    /// An empty layer.
    pub(crate) fn layer(&self, name: &str) -> PathBuf {
        let layer = self.directory.join("layers").join(name);
        fs::create_dir_all(&layer).unwrap();
        layer
    }

    /// A container that runs a shell script in a root made of these layers above a busybox.
    pub(crate) fn image_spec(&self, id: &str, above: &[&Path], script: &str) -> ContainerSpec {
        let mut layers = vec![self.busybox()];
        layers.extend(above.iter().map(|layer| layer.to_path_buf()));
        let upper_dir = self.directory.join(format!("upper-{id}"));
        let mut spec = self.spec(id, script);
        spec.root = Some(RootFs { layers, upper_dir, read_only: false });
        spec.env = vec![("PATH".into(), "/bin".into())];
        spec.working_directory = "/".into();
        spec
    }

    /// Runs a container to its end and gives what it wrote to standard output, and how it ended.
    pub(crate) fn run(&self, spec: &ContainerSpec) -> (String, Exit) {
        let exit = block_on(async {
            let launched = self.launch(spec).await.unwrap();
            let exit = self.containers.wait(&launched.process).await;
            self.containers.destroy(&spec.container_id).await.unwrap();
            exit
        });
        self.assert_gone(&spec.container_id);
        (self.stdout(spec), exit)
    }

    pub(crate) async fn launch(&self, spec: &ContainerSpec) -> Result<Launched, LaunchError> {
        self.containers.launch(spec.clone(), |_| Ok(())).await
    }

    pub(crate) fn stdout(&self, spec: &ContainerSpec) -> String {
        fs::read_to_string(&spec.stdout).unwrap_or_default()
    }

    /// The container's directory in every cgroup tree.
    pub(crate) fn groups(&self, id: &ContainerId) -> Vec<PathBuf> {
        let trees = ["", "cpu", "cpu,cpuacct", "cpuacct", "memory", "pids", "freezer", "systemd", "unified"];
        let path = |tree: &str| {
            Path::new("/sys/fs/cgroup").join(tree).join(&self.config.cgroup_root).join(id.as_str())
        };
        trees.into_iter().map(path).filter(|path| path.exists()).collect()
    }

    /// A control file of the container, from whichever tree has it.
    pub(crate) fn control(&self, id: &ContainerId, file: &str) -> Option<String> {
        let read = |group: PathBuf| fs::read_to_string(group.join(file)).ok();
        self.groups(id).into_iter().find_map(read).map(|text| text.trim().to_owned())
    }

    pub(crate) fn members(&self, id: &ContainerId) -> Vec<u32> {
        processes_with(&format!("{CONTAINER_ID_VARIABLE}={id}"))
    }

    /// Nothing of the container is to be found on this machine.
    pub(crate) fn assert_gone(&self, id: &ContainerId) {
        assert_eq!(self.members(id), [0u32; 0], "processes");
        assert!(self.groups(id).is_empty(), "cgroups: {:?}", self.groups(id));
        assert!(!self.config.runtime_dir.join(id.as_str()).exists(), "runtime directory");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(id.as_str()), "mounts: {mounts}");
        let name = id.as_str().strip_prefix(&self.name).unwrap_or("");
        assert!(!self.directory.join(format!("upper{name}")).exists(), "what it wrote");
        assert!(self.containers.list().unwrap().iter().all(|found| found.container_id != *id), "list");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for found in self.containers.list().unwrap_or_default() {
                let containers = self.containers.clone();
                let end = std::thread::spawn(move || {
                    block_on(async { containers.destroy(&found.container_id).await })
                });
                let _ = end.join();
            }
        }
        let retired = self.containers.clone().retire();
        let _ = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            retired.expect("the runtime directory is empty");
        }
    }
}

fn helper() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let helper = test.parent().unwrap().parent().unwrap().join("examples/container_init");
    assert!(helper.exists(), "{} is missing: build the crate's examples", helper.display());
    helper
}

pub(crate) fn processes_with(variable: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        })
        .collect()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Looks again until it holds; fails the test after 20 s.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does something that takes this long, on a thread for blocking work.
pub(crate) fn take(time: Duration) {
    let (_held, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}
