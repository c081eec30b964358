//! `dcos master`, `dcos agent` and `dcos up` as a person starts them: what they say and keep.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use testkit::{eventually, own_subnet, until};

use crate::apps::DCOS;

/// A `dcos` in the foreground, and what it said. Killed on drop, its cluster or node ended,
/// unless it was killed before and another goes on with it.
pub(crate) struct Foreground {
    child: Child,
    dir: Option<std::path::PathBuf>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Foreground {
    pub(crate) fn start(arguments: &[&str], dir: &Path) -> Foreground {
        let mut command = Command::new(DCOS);
        command.args(arguments).arg("--dir").arg(dir).env("DCOS_LOG", "off").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let streams: [Box<dyn std::io::Read + Send>; 2] = [Box::new(out), Box::new(err)];
        for stream in streams {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().unwrap().push(line);
                }
            });
        }
        Foreground { child, dir: Some(dir.to_owned()), said }
    }

    fn lines(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits for a line that starts so.
    #[track_caller]
    pub(crate) fn says(&self, start: &str) -> String {
        let found = || self.lines().into_iter().find(|line| line.starts_with(start));
        let line = until(Duration::from_secs(60), found);
        line.unwrap_or_else(|| panic!("{start:?} was not said: {:#?}", self.lines()))
    }

    /// Ctrl-C.
    #[track_caller]
    fn interrupt(&mut self) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::INT).unwrap();
        let ended = until(Duration::from_secs(20), || self.child.try_wait().unwrap());
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{:#?}", self.lines());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `dcos down`, whatever it runs.
    #[track_caller]
    pub(crate) fn end(mut self) {
        down(&self.dir.take().expect("it was not killed"));
    }

    pub(crate) fn kill(&mut self) {
        self.dir = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let dir = self.dir.take();
        self.kill();
        if let Some(dir) = dir {
            let _ = Command::new(DCOS).args(["down", "--dir"]).arg(dir).output();
        }
    }
}

/// `dcos down` of a directory.
#[track_caller]
pub(crate) fn down(dir: &Path) {
    let down = Command::new(DCOS).args(["down", "--dir"]).arg(dir).output().unwrap();
    assert!(down.status.success(), "{down:?}");
}

/// An address of a subnet of this test's own.
fn node(subnet: &str, number: u8) -> String {
    format!("{}{number}", subnet.trim_end_matches("0/24"))
}

fn dirs() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[track_caller]
fn answers(ip: &str, port: u16, path: &str, status: u16) {
    let address = format!("{ip}:{port}").parse().unwrap();
    eventually("it answers", || {
        let answer = testkit::request(address, "GET", path, &[], None).ok()?;
        (answer.status == status).then_some(())
    });
}

#[test]
fn what_was_closed_is_never_open_again() {
    let (dirs, subnet) = (dirs(), own_subnet());
    let (up, master, agent) = (dirs.path().join("up"), dirs.path().join("m"), dirs.path().join("a"));
    let (first, second, third) = (node(&subnet, 1), node(&subnet, 9), node(&subnet, 10));
    let check = |closed: &[&str], asked: &[&str], dir: &Path, ip: &str| {
        let mut run = Foreground::start(closed, dir);
        run.says("READY ");
        run.kill();
        let again = Foreground::start(asked, dir);
        again.says("READY ");
        answers(ip, 5050, "/slaves", 401);
        answers(ip, 8080, "/v2/info", 401);
        again
    };
    drop(check(&["up", "--subnet", &subnet, "--auth"], &["up"], &up, &first));
    let master_arguments = ["master", "--ip", &second];
    let _master = check(&["master", "--ip", &second, "--auth"], &master_arguments, &master, &second);

    let token = master.join("token");
    let open = ["agent", "--master", &second, "--ip", &third];
    let closed = [&open[..], &["--token-file", token.to_str().unwrap()]].concat();
    let mut run = Foreground::start(&closed, &agent);
    run.says("READY ");
    answers(&third, 5051, "/state", 401);
    run.kill();
    let mut again = Foreground::start(&open, &agent);
    again.says(&format!("Error: the agent in {} was made with --token-file", agent.display()));
    assert_eq!(again.child.wait().unwrap().code(), Some(1));
}

#[test]
fn an_agent_says_what_it_waits_for() {
    let (dirs, subnet) = (dirs(), own_subnet());
    let (agent, master) = (node(&subnet, 2), node(&subnet, 1));
    let master_dir = dirs.path().join("master");
    let wrong = dirs.path().join("wrong");
    std::fs::write(&wrong, "0".repeat(64)).unwrap();
    let arguments = ["agent", "--master", &master, "--ip", &agent];
    let with_wrong = [&arguments[..], &["--token-file", wrong.to_str().unwrap()]].concat();

    let first = Foreground::start(&with_wrong, &dirs.path().join("first"));
    first.says(&format!(
        "waiting: the master at {master}:5050 cannot be reached (Connection refused), trying again"
    ));
    let running = Foreground::start(&["master", "--ip", &master, "--auth"], &master_dir);
    running.says("READY ");
    first.says("waiting: the master refuses the token");
    assert!(!first.lines().iter().any(|line| line.starts_with("READY ")));
    drop(first);

    let mut second = Foreground::start(&arguments, &dirs.path().join("second"));
    second.says("waiting: the master demands a token");
    second.interrupt();
    second.says("Stopped. Its tasks, if any, go on running.");
}

#[test]
fn nodes_end_with_a_clean_line() {
    let (dirs, subnet) = (dirs(), own_subnet());
    let (agent, master) = (node(&subnet, 2), node(&subnet, 1));
    let (agent_dir, master_dir) = (dirs.path().join("agent"), dirs.path().join("master"));
    let mut running = Foreground::start(&["master", "--ip", &master], &master_dir);
    let mut joined = Foreground::start(&["agent", "--master", &master, "--ip", &agent], &agent_dir);
    running.says("READY ");
    joined.says("READY ");
    for (node, dir, line) in [
        (&mut joined, &agent_dir, "Stopped. Its tasks, if any, go on running. "),
        (&mut running, &master_dir, "Stopped. Tasks go on running on their agents. "),
    ] {
        node.interrupt();
        let said = node.says(line);
        assert!(said.contains(&format!("dcos down --dir {}", dir.display())), "{said}");
    }
}

/// What a process was just starting when it died has its locks for a moment, and no name in the kernel's table.
#[test]
fn down_waits_for_a_lock_whose_holder_is_dead() {
    let (dirs, subnet) = (dirs(), own_subnet());
    let mut run = Foreground::start(&["master", "--ip", &node(&subnet, 1)], dirs.path());
    run.says("READY ");
    run.kill();
    // flock has the lock and dies, its child keeps the file open.
    let line = "exec 9>lock; flock 9; sleep 0.7 >/dev/null 2>&1 &";
    let held = Command::new("sh").args(["-c", line]).current_dir(dirs.path()).status().unwrap();
    assert!(held.success());
    down(dirs.path());
    assert!(!dirs.path().join("master").exists());
}

/// Whoever adds agents to a cluster whose first one has all of the machine is told so.
#[test]
fn agents_that_offer_too_much_are_named() {
    let (dirs, subnet) = (dirs(), own_subnet());
    let mut run = Foreground::start(&["up", "--subnet", &subnet], dirs.path());
    run.says("READY ");
    run.interrupt();
    run.kill();
    let start = "The agents together offer more than this machine has (";
    assert!(!run.lines().iter().any(|line| line.starts_with(start)));
    let grown = Foreground::start(&["up", "--agents", "2"], dirs.path());
    let said = grown.says(start);
    assert!(said.contains("agent 1 offers cpus:") && said.contains("; agent 2 offers cpus:"), "{said}");
    grown.says("READY ");
}
