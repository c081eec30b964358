//! Images to measure with, and how long they take to be there and to run.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Cluster, Options, until};

use crate::table::{Table, millis};

/// What `examples/image/build` calls the image.
pub(crate) const NAME: &str = "example/hello:1";
/// Of the image that is pulled: its layers, and the files in each.
const LAYERS: u64 = 4;
const FILES: u64 = 1600;
const FILE_BYTES: usize = 32 << 10;
const ROUNDS: usize = 5;

/// The image of the examples, as a tarball.
pub(crate) struct Image {
    dir: TempDir,
}

impl Image {
    pub(crate) fn build() -> Image {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/image/build");
        done(Command::new(script).arg(dir.path().join("hello.tar")));
        Image { dir }
    }

    pub(crate) fn tarball(&self) -> PathBuf {
        self.dir.path().join("hello.tar")
    }
}

/// Brings the image to the cluster's agents.
pub(crate) fn present(program: &Path, cluster: &Cluster, image: &Image) {
    done(dcos(program, cluster).args(["image", "pull"]).arg(image.tarball()));
}

fn dcos(program: &Path, cluster: &Cluster) -> Command {
    let mut command = Command::new(program);
    command.env("DCOS_URL", format!("http://{}", cluster.router()));
    command
}

/// Pulls and unpacks an image of 200 MB from a registry on this machine: ours, and skopeo with umoci.
pub(crate) fn pull(program: &Path, table: &mut Table) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let registry = Registry::start(dir.path());
    registry.fill(dir.path());
    let cluster = Cluster::start(program, Options::default());
    let name = format!("127.0.0.1:{}/big:1", registry.port);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let from = Instant::now();
        done(dcos(program, &cluster).args(["image", "pull", &name]));
        let our = from.elapsed().as_secs_f64();
        done(dcos(program, &cluster).args(["image", "rm", &name]));
        done(dcos(program, &cluster).args(["image", "prune"]));
        let layout = dir.path().join(format!("layout-{round}"));
        let from = Instant::now();
        let (source, target) = (format!("docker://{name}"), format!("oci:{}:1", layout.display()));
        done(skopeo().args(["copy", "--quiet", "--src-tls-verify=false", &source, &target]));
        let image = format!("{}:1", layout.display());
        let bundle = dir.path().join(format!("bundle-{round}"));
        done(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
        let their = from.elapsed().as_secs_f64();
        for used in [layout, bundle] {
            fs::remove_dir_all(used).expect("it was made above");
        }
        ours.push(our);
        theirs.push(their);
        ratios.push(our / their);
    }
    table.samples("pull and unpack an image of 200 MB", "s", ours, "");
    table.samples("the same by skopeo and umoci", "s", theirs, "");
    table.samples("ours to theirs, same round", "", ratios, "<= 0.7");
}

/// Debian's registry on a free port.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(dir: &Path) -> Registry {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port is free").port();
        let config = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            dir.join("registry").display()
        );
        fs::write(&config, text).expect("the directory is writable");
        let child = Command::new("docker-registry").arg("serve").arg(&config).stderr(Stdio::null()).spawn();
        let registry = Registry { child: child.expect("make bench installs docker-registry"), port };
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        until(Duration::from_secs(10), listens).expect("the registry listens");
        registry
    }

    /// Makes the image and pushes it.
    fn fill(&self, dir: &Path) {
        let root = dir.join("image");
        fs::create_dir(&root).expect("the directory is writable");
        let mut seed = 1;
        let (mut names, mut digests) = (Vec::new(), Vec::new());
        for layer in 0..LAYERS {
            let name = format!("layer-{layer}.tar");
            let files = dir.join(format!("files-{layer}"));
            for file in 0..FILES {
                let folder = files.join(format!("usr/share/part-{layer}/{}", file / 40));
                fs::create_dir_all(&folder).expect("the directory is writable");
                fs::write(folder.join(file.to_string()), content(&mut seed)).expect("there is room");
            }
            done(Command::new("tar").arg("-C").arg(&files).arg("-cf").arg(root.join(&name)).arg("."));
            let sum =
                Command::new("sha256sum").arg(root.join(&name)).output().expect("coreutils are installed");
            digests.push(format!("\"sha256:{}\"", String::from_utf8_lossy(&sum.stdout[..64])));
            names.push(format!("\"{name}\""));
        }
        let config = format!(
            "{{\"architecture\":\"{}\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
            std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            digests.join(",")
        );
        fs::write(root.join("config.json"), config).expect("there is room");
        let manifest = format!(
            "[{{\"Config\":\"config.json\",\"RepoTags\":[\"big:1\"],\"Layers\":[{}]}}]",
            names.join(",")
        );
        fs::write(root.join("manifest.json"), manifest).expect("there is room");
        let archive = dir.join("big.tar");
        done(
            Command::new("tar")
                .arg("-C")
                .arg(&root)
                .arg("-cf")
                .arg(&archive)
                .args(["config.json", "manifest.json"])
                .args(names.iter().map(|name| name.trim_matches('"'))),
        );
        let to = format!("docker://127.0.0.1:{}/big:1", self.port);
        done(
            skopeo()
                .args(["copy", "--quiet", "--dest-tls-verify=false"])
                .arg(format!("docker-archive:{}", archive.display()))
                .arg(to),
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy");
    command
}

/// Something that packs about as well as programs and libraries do: to a half.
fn content(seed: &mut u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(FILE_BYTES);
    while content.len() < FILE_BYTES {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        content.write_all(&seed.to_le_bytes()).expect("memory takes it");
        content.write_all(b"datacent").expect("memory takes it");
    }
    content
}

pub(crate) fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// From LAUNCH to TASK_RUNNING of a task in an image that is present.
pub(crate) fn launch(program: &Path, table: &mut Table) {
    let cluster = Cluster::start(program, Options::default());
    present(program, &cluster, &Image::build());
    let samples = crate::scheduler::launches_in_image(&cluster, NAME);
    let samples = samples.into_iter().map(millis).collect();
    table.samples("image task: LAUNCH to TASK_RUNNING, image present", "ms", samples, "<= 35 ms");
}
