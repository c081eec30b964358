//! A host of a test's own: a root, a repository, a configuration, state directories, users and a systemd.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use host::Accounts;
use pkgpanda::{Config, Streams};
use serde_json::{Value, json};
use systemd::Systemd;

pub(crate) struct Scene {
    dir: PathBuf,
    config: Config,
    /// Removes it all; none in a process that only works on it.
    _owned: Option<tempfile::TempDir>,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Expects success, silence on stderr and this output.
    #[track_caller]
    pub(crate) fn prints(&self, out: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (0, out, ""));
    }

    /// Expects failure, nothing on stdout and each of these on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, parts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (1, ""), "{self:?}");
        self.tells(parts);
    }

    /// Expects each of these on stderr.
    #[track_caller]
    pub(crate) fn tells(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is missing: {self:?}");
        }
    }
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let owned = tempfile::tempdir().unwrap();
        for name in ["root", "repository", "conf", "etc"] {
            fs::create_dir(owned.path().join(name)).unwrap();
        }
        let scene = Scene::at(owned.path());
        Scene { _owned: Some(owned), ..scene }
    }

    /// The scene of another process.
    pub(crate) fn at(dir: &Path) -> Scene {
        let nothing = || OsString::from("/no/such/program");
        let config = Config {
            root: dir.join("root"),
            repository: dir.join("repository"),
            config_dir: dir.join("conf"),
            state_dir_root: dir.join("state"),
            system_units: dir.join("units"),
            accounts: Accounts::of(dir.join("etc"), [nothing()]),
            systemd: Systemd::of([nothing()]),
            ..Config::default()
        };
        Scene { dir: dir.to_owned(), config, _owned: None }
    }

    pub(crate) fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A path below the root.
    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.config.root.join(name)
    }

    /// Runs a command with `--no-systemd --rooted-systemd`.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let words: Vec<&str> = words.iter().copied().chain(["--no-systemd", "--rooted-systemd"]).collect();
        self.run_plain(&words)
    }

    /// Runs a command as it stands.
    pub(crate) fn run_plain(&self, words: &[&str]) -> Ran {
        let mut err = Vec::new();
        let ran = self.run_telling(words, &mut err);
        Ran { err: String::from_utf8(err).unwrap(), ..ran }
    }

    /// Runs a command as it stands; what it tells goes to `err` as it is told.
    pub(crate) fn run_telling(&self, words: &[&str], err: &mut dyn Write) -> Ran {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let mut out = Vec::new();
        let streams = Streams { out: &mut out, err, is_terminal: false };
        let code = pkgpanda::run(&words, &self.dir, &self.config, streams);
        Ran { code, out: String::from_utf8(out).unwrap(), err: String::new() }
    }

    /// Writes a file (mode 0755 if its text is a script's), with its directories.
    pub(crate) fn file(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Puts a package into the repository: its pkginfo and its files.
    pub(crate) fn package(&self, id: &str, info: &Value, files: &[(&str, &str)]) {
        self.package_in("repository", id, info, files);
    }

    /// Puts a package into a directory of the scene.
    pub(crate) fn package_in(&self, directory: &str, id: &str, info: &Value, files: &[(&str, &str)]) {
        let package = Path::new(directory).join(id);
        self.file(package.join("pkginfo.json"), &info.to_string());
        for (path, text) in files {
            self.file(package.join(path), text);
        }
    }

    /// Packs a package as a tarball into a directory of the scene, and gives its path.
    pub(crate) fn tarball(&self, directory: &str, id: &str, files: &[(&str, &str)]) -> String {
        self.package_in("packing", id, &json!({}), files);
        let tarball = self.path(directory).join(format!("{id}.tar.xz"));
        fs::create_dir_all(tarball.parent().unwrap()).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.args(["--numeric-owner", "--owner=0", "--group=0", "-cJf"]).arg(&tarball);
        assert!(tar.arg("-C").arg(self.path("packing").join(id)).arg(".").status().unwrap().success());
        tarball.display().to_string()
    }

    /// Three packages that belong together, two of them in two versions.
    pub(crate) fn packages(&self) {
        for version in ["1", "2"] {
            let unit = format!("[Service]\nExecStart=/bin/mesos {version}\n");
            self.package(
                &format!("mesos--{version}"),
                &json!({"requires": ["lib"], "environment": {"MESOS": version}}),
                &[
                    ("bin/mesos", version),
                    (&format!("bin/only-{version}"), version),
                    ("bin_master/mesos-master", version),
                    ("dcos.target.wants_master/dcos-mesos-master.service", &unit),
                    ("etc/mesos/conf", version),
                ],
            );
        }
        self.package("lib--1", &json!({}), &[("lib/libx.so", "x")]);
        for version in ["a", "b"] {
            let id = format!("config--{version}");
            self.package(&id, &json!({}), &[("etc/mesos/site", version), ("etc/site.json", "{}")]);
        }
        self.file("conf/roles/master", "");
    }

    /// All that lies in the scene: links with their targets, files with their texts, modes and owners.
    /// What is kept for speed or by the lock alone is left out.
    pub(crate) fn picture(&self, below: &str) -> BTreeMap<String, String> {
        let mut picture = BTreeMap::new();
        let top = self.dir.join(below);
        let mut next = vec![top.clone()];
        while let Some(directory) = next.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(&top).unwrap().display().to_string();
                if [".verified", ".lock", "pkgpanda.lock"]
                    .contains(&path.file_name().unwrap().to_str().unwrap())
                {
                    continue;
                }
                let what = if meta.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else if meta.is_dir() {
                    next.push(path.clone());
                    "directory".to_owned()
                } else {
                    String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
                };
                picture.insert(name, format!("{:o} {} {what}", meta.mode(), meta.uid()));
            }
        }
        picture
    }
}
