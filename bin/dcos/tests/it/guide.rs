//! The guide's first hour, typed as it is written.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Cluster, Options, in_own_network};

use crate::apps::{DCOS, is_root};

/// What comes before the guide's own commands: the program is built and on the PATH already.
const PRELUDE: &str = "set -euo pipefail\nmake() { dirname \"$(command -v dcos)\"; }\nset -x\n";

#[test]
fn the_first_hour_is_as_written() {
    if !is_root("the first hour") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/guide/first-hour.md")).unwrap();
    let script = format!("{PRELUDE}{}", blocks(&guide));
    assert!(script.lines().count() > 30, "{script}");
    in_own_network(|| {
        let cluster =
            Cluster::start(DCOS, Options { subnet: Some("127.0.0.0/24".into()), ..Options::default() });
        let home = tempfile::tempdir().unwrap();
        let programs = Path::new(DCOS).parent().unwrap().display().to_string();
        let mut shell = Command::new("bash")
            .current_dir(&root)
            .env("HOME", home.path())
            .env("DCOS_URL", format!("http://{}", cluster.router()))
            .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{log}\n{said}");
        for line in [
            "hello from web-service",
            "image set by the app, user web, in /home/web",
            "127.0.0.1:1/nothing:here",
            "example/hello",
        ] {
            assert!(said.contains(line), "no {line:?} in:\n{said}\n{log}");
        }
    });
}

/// The lines of all blocks that are marked as `sh`.
fn blocks(text: &str) -> String {
    let mut inside = false;
    let mut lines = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    lines
}
