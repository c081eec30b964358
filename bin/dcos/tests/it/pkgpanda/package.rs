//! Packages made by hand, as small as can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// A package: its files with their modes, and its pkginfo.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) id: String,
    files: Vec<(String, u32, String)>,
    info: Value,
}

impl Package {
    pub(super) fn new(id: &str) -> Package {
        Package { id: id.to_owned(), files: Vec::new(), info: json!({}) }
    }

    pub(super) fn name(&self) -> &str {
        self.id.split_once("--").expect("tests name them well").0
    }

    pub(super) fn info(mut self, key: &str, value: Value) -> Package {
        self.info[key] = value;
        self
    }

    pub(super) fn requires(self, names: &[&str]) -> Package {
        self.info("requires", json!(names))
    }

    pub(super) fn file(mut self, path: &str, content: &str) -> Package {
        self.files.push((path.to_owned(), 0o644, content.to_owned()));
        self
    }

    pub(super) fn script(mut self, path: &str, script: &str) -> Package {
        self.files.push((path.to_owned(), 0o755, format!("#!/bin/sh\n{script}\n")));
        self
    }

    /// With a unit `name` that runs a script for ever.
    pub(super) fn service(self, name: &str, script: &str) -> Package {
        // systemd takes a percent sign and a dollar for its own.
        let unit = format!(
            "[Unit]\nDescription={0}\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=1\n\
             KillMode=process\nTimeoutStopSec=20\nExecStart=/bin/sh -c '{script}'\n",
            self.id
        );
        self.unit(name, &unit)
    }

    /// With a unit of that text.
    pub(super) fn unit(self, name: &str, text: &str) -> Package {
        self.file(&format!("dcos.target.wants/{name}"), text)
    }

    /// Writes it into a directory of packages.
    pub(super) fn write(&self, packages: &Path) -> PathBuf {
        let dir = packages.join(&self.id);
        for (path, mode, content) in &self.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("it is below the package")).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("pkginfo.json"), self.info.to_string()).unwrap();
        let build = json!({"name": self.name(), "package_version": self.id});
        fs::write(dir.join("buildinfo.full.json"), build.to_string()).unwrap();
        dir
    }

    /// Packs it as a server of packages has it: `DIR/packages/NAME/ID.tar.xz`.
    pub(super) fn pack(&self, dir: &Path) -> PathBuf {
        let tarball = dir.join("packages").join(self.name()).join(format!("{}.tar.xz", self.id));
        fs::create_dir_all(tarball.parent().expect("it is below the directory")).unwrap();
        let made = tempfile::tempdir().unwrap();
        let content = self.write(made.path());
        let packed = Command::new("tar").arg("-cJf").arg(&tarball).arg("-C").arg(content).arg(".").status();
        assert!(packed.unwrap().success());
        tarball
    }
}
