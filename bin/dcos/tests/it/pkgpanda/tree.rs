//! A tree of packages that `mkpanda` builds, in an image of a busybox.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::host::Said;
use crate::apps::DCOS;

/// A folder with packages, and their image beside it.
pub(super) struct Tree {
    dir: TempDir,
}

impl Tree {
    pub(super) fn new() -> Tree {
        let tree = Tree { dir: tempfile::tempdir().unwrap() };
        let image = tree.dir.path().join("docker/tiny");
        let bin = image.join("root/bin");
        fs::create_dir_all(&bin).unwrap();
        let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(found.expect("busybox-static is installed"), bin.join("busybox")).unwrap();
        for name in ["sh", "cat", "chmod", "cp", "mkdir"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        fs::write(bin.join("bash"), "#!/bin/sh\nexec sh \"$@\"\n").unwrap();
        fs::set_permissions(bin.join("bash"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(image.join("image.json"), r#"{"debian": [], "environment": {}}"#).unwrap();
        tree.write("treeinfo.json", "{}");
        tree
    }

    fn packages(&self) -> PathBuf {
        self.dir.path().join("packages")
    }

    /// Where packages and bootstraps come to lie, as a server has them.
    pub(super) fn cache(&self) -> PathBuf {
        self.packages().join("cache")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.packages().join(path);
        fs::create_dir_all(path.parent().expect("it is below the packages")).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A package with a unit that runs a script, and a program that says `says`.
    pub(super) fn service(&self, name: &str, mut info: Value, says: &str, script: &str) {
        info["docker"] = json!("tiny");
        self.write(&format!("{name}/buildinfo.json"), &info.to_string());
        let unit = format!("[Service]\nRestart=always\nKillMode=process\nExecStart=/bin/sh -c '{script}'\n");
        self.write(&format!("{name}/extra/dcos-{name}.service"), &unit);
        self.write(&format!("{name}/extra/{name}"), &format!("#!/bin/sh\necho {says}\n"));
        let build = "mkdir $PKG_PATH/bin $PKG_PATH/dcos.target.wants\n\
                     cp /pkg/extra/$PKG_NAME $PKG_PATH/bin; chmod 755 $PKG_PATH/bin/$PKG_NAME\n\
                     cp /pkg/extra/*.service $PKG_PATH/dcos.target.wants\n";
        self.write(&format!("{name}/build"), build);
    }

    /// A package that is only there to require others.
    pub(super) fn group(&self, name: &str, requires: &[&str]) {
        let info = json!({"docker": "tiny", "requires": requires});
        self.write(&format!("{name}/buildinfo.json"), &info.to_string());
        self.write(&format!("{name}/build"), ":\n");
    }

    /// A package with the command `pkgpanda` of machines that have the program under test.
    pub(super) fn command(&self) {
        self.write("command/buildinfo.json", r#"{"docker": "tiny"}"#);
        self.write("command/extra/pkgpanda", "#!/bin/sh\nexec /usr/local/bin/dcos pkgpanda \"$@\"\n");
        let build =
            "mkdir $PKG_PATH/bin; cp /pkg/extra/pkgpanda $PKG_PATH/bin; chmod 755 $PKG_PATH/bin/pkgpanda\n";
        self.write("command/build", build);
    }

    /// Builds all of it.
    #[track_caller]
    pub(super) fn build(&self) {
        let mut mkpanda = Command::new(DCOS);
        mkpanda.args(["mkpanda", "tree", "--mkbootstrap"]).current_dir(self.packages());
        let said = Said::from(mkpanda.output().unwrap());
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// The id of a package, as it was built last.
    pub(super) fn id(&self, name: &str) -> String {
        self.text(&format!("packages/{name}/latest"))
    }

    /// The tarball of the bootstrap that was built last.
    pub(super) fn bootstrap(&self) -> PathBuf {
        let id = self.text("bootstrap/bootstrap.latest");
        self.cache().join(format!("bootstrap/{id}.bootstrap.tar.xz"))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.cache().join(path)).unwrap().trim().to_owned()
    }
}
