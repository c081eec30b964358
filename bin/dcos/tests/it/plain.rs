//! As an ordinary user: command apps are plain processes, and what is missing is said.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use testkit::{eventually, own_subnet, until};

use crate::apps::{DCOS, executor_of, is_root};

/// Debian's `nobody`.
const USER: &str = "65534";

#[test]
fn an_ordinary_user_gets_plain_processes_and_is_told_so() {
    if !is_root("becoming another user") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // The program may lie where an ordinary user cannot look.
    let program = dir.path().join("dcos");
    std::fs::copy(DCOS, &program).unwrap();
    let state = dir.path().join("state");
    let as_user = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            USER,
            "--regid",
            USER,
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]);
        command.arg(&program).args(arguments).arg("--dir").arg(&state);
        command.env("HOME", dir.path()).env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
        command
    };
    let said = dir.path().join("said");
    let output = std::fs::File::create(&said).unwrap();
    let mut up = as_user(&["up", "--subnet", &own_subnet()])
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&said).unwrap();
    let ready = until(std::time::Duration::from_secs(60), || {
        let text = said();
        let line = text.lines().find_map(|line| line.strip_prefix("READY http://"))?;
        line.trim_end_matches('/').parse().ok()
    });
    let text = said();
    let Some(router) = ready else { panic!("no READY with a port in: {text}") };
    let router: std::net::SocketAddr = router;
    assert_eq!(router.port(), 8000);
    for missing in ["memory", "namespace"] {
        assert!(text.to_lowercase().contains(missing), "{missing} is not named in: {text}");
    }
    let app = br#"{"id":"/plain","cmd":"id -u > who; exec sleep 3600","cpus":0.1,"mem":32}"#;
    let answer = testkit::request(router, "POST", "/marathon/v2/apps", &[], Some(app)).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    eventually("the task runs", || {
        let app = testkit::request(router, "GET", "/marathon/v2/apps/plain", &[], None).ok()?.json();
        (app["app"]["tasksRunning"] == 1).then_some(())
    });
    let tasks = || {
        let found = testkit::running("sleep 3600").into_iter();
        found.filter(|process| owner(process.pid) == Some(65534)).collect::<Vec<_>>()
    };
    let of_user = || tasks().len();
    assert_eq!(of_user(), 1);
    assert_eq!(executor_of(tasks()[0].pid), "dcos executor");
    up.kill().unwrap();
    up.wait().unwrap();
    assert_eq!(of_user(), 1, "the task outlives the control plane");
    let down = as_user(&["down"]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    eventually("the task is ended", || (of_user() == 0).then_some(()));
}

fn owner(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|found| found.uid())
}
