//! How long a container takes from nothing to nothing: made, run, ended, cleared away. Ours, and runc's and crun's, in
//! turn, each with the same root, limits and namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base::ContainerId;
use containers::{Config, ContainerSpec, Containers, Isolation, Limits, RootFs, Seccomp};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use serde_json::{Value, json};

use crate::image::done;
use crate::table::{Table, millis};

const ROUNDS: usize = 40;
const MEMORY: u64 = 64 << 20;
const PIDS: u64 = 100;

/// The image, the bundle and the runtime directories of all three.
struct Scene {
    dir: tempfile::TempDir,
}

pub(crate) fn start_to_end(program: &Path, table: &mut Table) {
    // The other mounts of the machine are not touched: crun refuses v1 hierarchies beside a v2 one that has a
    // controller, so this thread and what it starts do without the latter.
    let measured = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            without_unified();
            measure(program)
        });
        worker.join().expect("the measurement does not panic")
    });
    let [ours, crun, runc] = measured;
    let ratio = |other: &[f64]| ours.iter().zip(other).map(|(ours, other)| ours / other).collect::<Vec<_>>();
    let ratios = ratio(&crun);
    table.samples("container with /bin/true, start to gone", "ms", ours, "");
    table.samples("the same by crun", "ms", crun, "");
    table.samples("the same by runc", "ms", runc, "");
    table.samples("ours to crun's, same round", "", ratios, "<= 1");
}

fn without_unified() {
    #[allow(unsafe_code)]
    // SAFETY: a mount namespace is a thread's own; memory and descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("root may make namespaces");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("the mounts are this thread's own");
    // Where there is none there is nothing to do.
    let _ = rustix::mount::unmount("/sys/fs/cgroup/unified", UnmountFlags::DETACH);
}

fn measure(program: &Path) -> [Vec<f64>; 3] {
    let scene = Scene::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut config =
        Config::new(scene.path("run"), format!("dcos-bench-{}", std::process::id()), Isolation::Full);
    config.helper = vec![program.into(), "container-init".into()];
    let containers =
        runtime.block_on(async { Containers::new(config) }).expect("containers can be made here");
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        samples[0].push(millis(runtime.block_on(scene.run_ours(&containers, round))));
        samples[1].push(millis(scene.run_other("crun", round)));
        samples[2].push(millis(scene.run_other("runc", round)));
    }
    containers.retire().expect("nothing is left");
    samples
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { dir: tempfile::tempdir().expect("a temporary directory") };
        let root = scene.path("bundle/rootfs");
        for folder in ["bin", "dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(folder)).expect("the directory is writable");
        }
        let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|folder| folder.join("busybox"))
            .find(|path| path.is_file());
        fs::copy(busybox.expect("make bench installs busybox-static"), root.join("bin/busybox"))
            .expect("there is room");
        std::os::unix::fs::symlink("busybox", root.join("bin/true")).expect("the directory is writable");
        done(Command::new("runc").args(["spec", "--bundle"]).arg(scene.path("bundle")));
        let path = scene.path("bundle/config.json");
        let mut config: Value =
            serde_json::from_slice(&fs::read(&path).expect("runc wrote it")).expect("it is JSON");
        config["process"]["args"] = json!(["/bin/true"]);
        config["process"]["terminal"] = json!(false);
        config["process"].as_object_mut().expect("an object").remove("rlimits");
        config["linux"]["resources"]["memory"] = json!({"limit": MEMORY});
        config["linux"]["resources"]["pids"] = json!({"limit": PIDS});
        config["linux"]["resources"]["cpu"] = json!({"shares": 102});
        // As ours: the host's network.
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.retain(|namespace| !matches!(namespace["type"].as_str(), Some("network" | "cgroup")));
        fs::write(&path, config.to_string()).expect("there is room");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn run_ours(&self, containers: &Containers, round: usize) -> Duration {
        let sandbox = self.path(&format!("sandbox-{round}"));
        fs::create_dir_all(&sandbox).expect("the directory is writable");
        let id = ContainerId::new(format!("bench-{round}"));
        let mut spec = ContainerSpec::new(id.clone(), "/bin/true", vec!["true".to_owned()], &sandbox);
        spec.root = Some(RootFs {
            layers: vec![self.path("bundle/rootfs")],
            upper_dir: self.path(&format!("upper-{round}")),
            read_only: false,
        });
        spec.working_directory = "/".into();
        spec.limits =
            Limits { cpu_milli: 100, cpu_quota_milli: None, memory_bytes: Some(MEMORY), pids: Some(PIDS) };
        spec.seccomp = Seccomp::Default;
        spec.no_new_privileges = true;
        let from = Instant::now();
        let launched = containers.launch(spec, |_| Ok(())).await.expect("the container starts");
        containers.wait(&launched.process).await;
        containers.destroy(&id).await.expect("the container goes");
        from.elapsed()
    }

    fn run_other(&self, runtime: &str, round: usize) -> Duration {
        let mut command = Command::new(runtime);
        command.arg("--root").arg(self.path(runtime)).arg("run").arg("--bundle").arg(self.path("bundle"));
        command.arg(format!("bench-{}-{round}", std::process::id())).stdin(Stdio::null());
        let from = Instant::now();
        done(&mut command);
        from.elapsed()
    }
}
