//! As an ordinary user: command apps are plain processes, and what is missing is said.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Process, eventually, own_subnet, request, running, until};

use crate::apps::{DCOS, executor_of, is_root};

/// Debian's `nobody`.
const USER: u32 = 65534;

/// A cluster of that user, ended on drop.
struct Plain {
    dir: TempDir,
    up: Child,
}

impl Plain {
    fn start() -> Plain {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        // The program may lie where an ordinary user cannot look.
        std::fs::copy(DCOS, dir.path().join("dcos")).unwrap();
        let said = std::fs::File::create(dir.path().join("said")).unwrap();
        let mut up = Plain::command(&dir, &["up", "--subnet", &own_subnet()]);
        let up = up.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        Plain { dir, up }
    }

    fn command(dir: &TempDir, arguments: &[&str]) -> Command {
        let user = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.args(["--inh-caps=-all", "--bounding-set=-all"]);
        command.arg(dir.path().join("dcos")).args(arguments).arg("--dir").arg(dir.path().join("state"));
        command.env("HOME", dir.path()).env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
        command
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    /// Admin Router, once READY names it.
    fn router(&self) -> SocketAddr {
        let ready = until(Duration::from_secs(60), || {
            let said = self.said();
            let line = said.lines().find_map(|line| line.strip_prefix("READY http://"))?;
            line.trim_end_matches('/').parse().ok()
        });
        ready.unwrap_or_else(|| panic!("no READY with a port in: {}", self.said()))
    }

    /// The processes of this cluster's tasks.
    fn tasks(&self) -> Vec<Process> {
        let place = self.dir.path().to_str().unwrap();
        let ours = |process: &Process| {
            let proc = format!("/proc/{}", process.pid);
            let environment = std::fs::read(format!("{proc}/environ")).unwrap_or_default();
            std::fs::metadata(proc).is_ok_and(|found| found.uid() == USER)
                && String::from_utf8_lossy(&environment).contains(place)
        };
        running("sleep 3600").into_iter().filter(ours).collect()
    }

    fn down(&self) -> bool {
        Plain::command(&self.dir, &["down"]).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
        self.down();
    }
}

#[test]
fn an_ordinary_user_gets_plain_processes_and_is_told_so() {
    if !is_root("becoming another user") {
        return;
    }
    let mut cluster = Plain::start();
    let router = cluster.router();
    assert_eq!(router.port(), 8000);
    let said = cluster.said().to_lowercase();
    for missing in ["memory", "namespace"] {
        assert!(said.contains(missing), "{missing} is not named in: {said}");
    }
    let app = br#"{"id":"/plain","cmd":"exec sleep 3600","cpus":0.1,"mem":32}"#;
    let answer = request(router, "POST", "/marathon/v2/apps", &[], Some(app)).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    eventually("the task runs", || {
        let app = request(router, "GET", "/marathon/v2/apps/plain", &[], None).ok()?.json();
        (app["app"]["tasksRunning"] == 1).then_some(())
    });
    let task = eventually("its process runs", || match &cluster.tasks()[..] {
        [task] => Some(task.clone()),
        _ => None,
    });
    assert_eq!(executor_of(task.pid), "dcos executor");
    cluster.up.kill().unwrap();
    cluster.up.wait().unwrap();
    assert_eq!(cluster.tasks().len(), 1, "the task outlives the control plane");
    assert!(cluster.down());
    eventually("the task is ended", || cluster.tasks().is_empty().then_some(()));
}
