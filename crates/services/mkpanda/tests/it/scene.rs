use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder of packages beside the image that they are built in: a busybox.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

/// What a run has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub(crate) fn good(self) -> Said {
        assert!(self.ok, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn bad(self, parts: &[&str]) -> Said {
        assert!(!self.ok, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {}", self.err);
        }
        self
    }
}

impl Scene {
    /// `None`, said aloud, without root.
    pub(crate) fn new() -> Option<Scene> {
        if !host::is_root() {
            eprintln!("SKIP: builds need root");
            return None;
        }
        let scene = Scene { dir: tempfile::tempdir().unwrap() };
        let bin = scene.dir.path().join("docker/tiny/root/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(scene.root()).unwrap();
        let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(found.expect("busybox-static is installed"), bin.join("busybox")).unwrap();
        for name in [
            "sh", "cat", "chmod", "chown", "cp", "date", "env", "ls", "ln", "mkdir", "mkfifo", "sleep",
            "touch",
        ] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        fs::write(bin.join("bash"), "#!/bin/sh\nexec sh \"$@\"\n").unwrap();
        fs::set_permissions(bin.join("bash"), fs::Permissions::from_mode(0o755)).unwrap();
        let image = scene.dir.path().join("docker/tiny/image.json");
        fs::write(image, r#"{"debian": [], "environment": {"GREETING": "hello"}}"#).unwrap();
        Some(scene)
    }

    /// The folder of packages.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("packages")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root().join("cache")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A package with what its buildinfo has beside the image, and its script.
    pub(crate) fn package(&self, name: &str, info: &str, script: &str) {
        let comma = if info.is_empty() { "" } else { ", " };
        self.write(&format!("{name}/buildinfo.json"), &format!(r#"{{"docker": "tiny"{comma}{info}}}"#));
        self.write(&format!("{name}/build"), script);
    }

    pub(crate) fn command(&self, folder: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.root().join(folder)).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, folder: &str, arguments: &[&str]) -> Said {
        Said::of(&self.command(folder, arguments).output().unwrap())
    }

    pub(crate) fn start(&self, folder: &str, arguments: &[&str]) -> Child {
        self.command(folder, arguments).spawn().unwrap()
    }

    /// The id of what was built last.
    pub(crate) fn latest(&self, name: &str) -> String {
        fs::read_to_string(self.cache().join("packages").join(name).join("latest")).unwrap()
    }

    pub(crate) fn tarball(&self, name: &str) -> PathBuf {
        self.cache().join("packages").join(name).join(format!("{}.tar.xz", self.latest(name)))
    }

    /// The contents of files in a tarball by path; links by ` -> ` and their target, directories by a slash.
    pub(crate) fn contents(&self, tarball: &Path) -> BTreeMap<String, String> {
        let into = tempfile::tempdir().unwrap();
        let done = Command::new("tar").arg("-C").arg(into.path()).arg("-xf").arg(tarball).status().unwrap();
        assert!(done.success());
        let mut all = BTreeMap::new();
        gather(into.path(), into.path(), &mut all);
        all
    }

    /// All files of the cache that stay.
    pub(crate) fn cached(&self) -> Vec<String> {
        let mut all = BTreeMap::new();
        gather(&self.cache(), &self.cache(), &mut all);
        let kept =
            |path: &String| !path.starts_with("docker/") && !path.ends_with('/') && path != "mkpanda.lock";
        all.into_keys().filter(kept).collect()
    }

    /// What runs of this scene leave on the machine while they go on: a runtime directory and cgroups of one name.
    pub(crate) fn traces(&self) -> Vec<PathBuf> {
        let meta = fs::metadata(self.cache()).unwrap();
        let name = format!("{:x}-{:x}", meta.dev(), meta.ino());
        let groups = Path::new("/sys/fs/cgroup");
        let mut places = vec![groups.join("dcos-mkpanda"), PathBuf::from("/run/dcos/mkpanda")];
        let trees = fs::read_dir(groups).into_iter().flatten().flatten();
        places.extend(trees.map(|tree| tree.path().join("dcos-mkpanda")));
        let mut found: Vec<PathBuf> = places.into_iter().map(|place| place.join(&name)).collect();
        found.push(self.cache().join(".mkpanda"));
        found.retain(|path| path.exists());
        found
    }
}

fn gather(top: &Path, at: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if path.is_symlink() {
            all.insert(name, format!(" -> {}", fs::read_link(&path).unwrap().display()));
        } else if path.is_dir() {
            all.insert(format!("{name}/"), String::new());
            gather(top, &path, all);
        } else {
            let mut bytes = Vec::new();
            fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            all.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/mkpanda");
    assert!(program.exists(), "{} is missing: build the crate's examples", program.display());
    program
}

/// Looks again until it holds; fails the test after 30 s.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (_held, never) = std::sync::mpsc::channel::<()>();
    while !holds() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
}
