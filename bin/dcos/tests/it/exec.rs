//! What a user does inside of tasks: shells, logs, files, ports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;
use testkit::{Cluster, Options, eventually};

use crate::apps::{self, DCOS, settled, sleepers};

const PATIENCE: Duration = Duration::from_secs(60);

fn dcos(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(DCOS);
    command.args(arguments).env("DCOS_URL", format!("http://{}", cluster.router()));
    command
}

fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    dcos(cluster, arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a command that succeeds prints.
#[track_caller]
fn printed(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = run(cluster, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {:?} {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A program at a terminal of its own.
struct AtTerminal {
    child: Child,
    master: OwnedFd,
    /// Held open, so that its modes can be read.
    slave: OwnedFd,
    seen: String,
}

impl AtTerminal {
    fn start(mut command: Command, rows: u16, columns: u16) -> AtTerminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let at = AtTerminal::size(rows, columns);
        tcsetwinsize(&master, at).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        AtTerminal { child, master, slave, seen: String::new() }
    }

    fn size(rows: u16, columns: u16) -> Winsize {
        Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
    }

    /// The program is no session's leader here, so that the kernel's own signal goes nowhere.
    fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, AtTerminal::size(rows, columns)).unwrap();
        self.signal(Signal::WINCH);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn write(&self, text: &str) {
        rustix::io::write(&self.master, text.as_bytes()).unwrap();
    }

    /// Reads until `text` is there, and gives back all until its end.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: 0 };
            let mut polled = [rustix::event::PollFd::new(&self.master, rustix::event::PollFlags::IN)];
            let ready = rustix::event::poll(&mut polled, Some(&timeout)).unwrap();
            assert!(ready > 0, "no '{text}' in '{}'", self.seen);
            let mut piece = [0; 4096];
            let count = rustix::io::read(&self.master, &mut piece).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    #[track_caller]
    fn exit_code(&mut self) -> i32 {
        let status = eventually("the program ends", || self.child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many processes of this machine have `marker` in their command lines.
fn processes(marker: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse().ok());
    pids.filter_map(host::command_line).filter(|line| line.contains(marker)).count()
}

#[test]
fn a_shell_in_a_task_is_a_shell() {
    let cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&sleepers("shell", 1));
    settled(&cluster, "shell", 1);

    // Without a terminal: streams, and the exit code.
    let output = run(&cluster, &["task", "exec", "shell", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), out.as_str(), err.as_str()), (Some(7), "out\n", "err\n"));
    assert_eq!(run(&cluster, &["task", "exec", "shell", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    // What nobody types ends at once.
    assert_eq!(printed(&cluster, &["task", "exec", "shell", "cat"]), "");
    let mut cat = dcos(&cluster, &["task", "exec", "-i", "shell", "sh", "-c", "cat; echo over"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let data: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut stdin = cat.stdin.take().unwrap();
    let sent = data.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = cat.wait_with_output().unwrap();
    writing.join().unwrap();
    assert_eq!(output.stdout.len(), data.len() + 5);
    assert!(output.stdout[..data.len()] == data && output.status.success());
    let missing = run(&cluster, &["task", "exec", "-it", "shell", "sh"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("stdin is not a terminal"), "{missing:?}");
    let nobody = run(&cluster, &["task", "exec", "nope", "sh"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).starts_with("Error: no task ID found containing 'nope'"));

    // With one: its size, Ctrl-C to the other side, the exit code, and the old ways at the end.
    let mut shell = AtTerminal::start(dcos(&cluster, &["task", "exec", "-it", "shell", "sh"]), 33, 99);
    shell.write("echo SIZE; busybox stty size\r");
    shell.until("33 99");
    assert!(shell.is_raw());
    shell.resize(44, 132);
    eventually("the new size is seen", || {
        shell.write("busybox stty size; echo AS''KED\r");
        shell.until("ASKED").contains("44 132").then_some(())
    });
    shell.write("echo TERM=$TERM; sleep 1000\r");
    shell.until("TERM=xterm");
    shell.write("\x03");
    shell.write("echo AF''TER; exit 5\r");
    shell.until("AFTER");
    assert_eq!(shell.exit_code(), 5);
    assert!(!shell.is_raw(), "the terminal has its old ways");

    // The terminal goes away in the middle.
    let marker = format!("4713.{}", std::process::id());
    for signal in [Signal::HUP, Signal::KILL] {
        let mut shell = AtTerminal::start(dcos(&cluster, &["task", "exec", "-it", "shell", "sh"]), 24, 80);
        shell.write(&format!("(trap '' HUP; sleep {marker}) & echo STAR''TED; sleep {marker}\r"));
        shell.until("STARTED");
        eventually("it runs", || (processes(&format!("sleep {marker}")) >= 2).then_some(()));
        shell.signal(signal);
        shell.exit_code();
        assert!(signal == Signal::KILL || !shell.is_raw(), "the terminal has its old ways");
        eventually("nothing is left", || (processes(&format!("sleep {marker}")) == 0).then_some(()));
    }
    // Leaving by the escape sequence.
    let mut shell = AtTerminal::start(dcos(&cluster, &["task", "exec", "-it", "shell", "sh"]), 24, 80);
    shell.write("echo HE''RE\r");
    shell.until("HERE");
    shell.write("\x10\x11");
    assert_eq!(shell.exit_code(), 0);
}

#[test]
fn logs_and_files_of_tasks_are_at_hand() {
    let cluster = Cluster::start(DCOS, Options { agents: 2, ..Options::default() });
    let script = "mkdir -p deep/er; echo data > deep/er/file; for n in $(seq 1 30); do echo line $n; done; \
                  while ! [ -e go ]; do sleep 0.1; done; echo more; exec sleep 3600";
    cluster.create_app(&json!({"id": "/logger", "cmd": script, "cpus": 0.01, "mem": 32}));
    settled(&cluster, "logger", 1);
    let last: String = (21..=30).map(|n| format!("line {n}\n")).collect();
    eventually("all lines are there", || {
        (printed(&cluster, &["task", "log", "logger"]) == last).then_some(())
    });
    assert_eq!(printed(&cluster, &["task", "log", "--lines", "-2", "logger"]), "line 29\nline 30\n");
    assert_eq!(printed(&cluster, &["task", "log", "--lines=1", "logger", "stdout"]), "line 30\n");
    let missing = run(&cluster, &["task", "log", "logger", "nope"]);
    assert!(String::from_utf8_lossy(&missing.stderr).starts_with("Error: no file 'nope' in the sandbox"));

    let listed = printed(&cluster, &["task", "ls", "logger"]);
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["deep", "stderr", "stdout"]);
    let long = printed(&cluster, &["task", "ls", "--long", "logger", "deep/er"]);
    assert!(long.contains("MODE") && long.contains("-rw-r--r--"), "{long}");
    let missing = run(&cluster, &["task", "ls", "logger", "nope"]);
    assert!(
        String::from_utf8_lossy(&missing.stderr).contains("cannot access 'nope': no such file or directory")
    );

    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().display().to_string();
    printed(&cluster, &["task", "download", "logger", "--target-dir", &target]);
    assert_eq!(std::fs::read(dir.path().join("deep/er/file")).unwrap(), b"data\n");
    printed(&cluster, &["task", "download", "logger", "deep/er/f*", "--target-dir", &target]);
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"data\n");
    assert!(
        !run(&cluster, &["task", "download", "logger", "nope*", "--target-dir", &target]).status.success()
    );

    // What is added is followed, and the end of the task is the end.
    let follow = dcos(&cluster, &["task", "log", "-f", "--lines=1", "logger"]).stdout(Stdio::piped()).spawn();
    let mut follow = follow.unwrap();
    let mut stdout = follow.stdout.take().unwrap();
    read_until(&mut stdout, "line 30\n");
    printed(&cluster, &["task", "exec", "logger", "touch", "go"]);
    read_until(&mut stdout, "more\n");
    cluster.request("DELETE", "/marathon/v2/apps//logger", None);
    assert!(follow.wait().unwrap().success());
    let ended = printed(&cluster, &["task", "log", "--completed", "--lines=1", "logger"]);
    assert_eq!(ended, "more\n");
    let tasks = printed(&cluster, &["task", "list", "--completed"]);
    assert!(
        tasks
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .eq(["NAME", "HOST", "USER", "STATE", "ID", "AGENT", "ID", "REGION", "ZONE"]),
        "{tasks}"
    );
    assert!(tasks.contains("TASK_KILLED") && tasks.contains("logger"), "{tasks}");
    let nodes = printed(&cluster, &["node", "list"]);
    assert_eq!(nodes.lines().filter(|line| line.contains("ACTIVE")).count(), 2, "{nodes}");
    assert_eq!(nodes.lines().filter(|line| line.contains("master (leader)")).count(), 1, "{nodes}");
    let services = printed(&cluster, &["service", "list"]);
    assert!(services.lines().nth(1).unwrap().contains("marathon"), "{services}");
}

fn read_until(stream: &mut impl Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0; 1];
    while !String::from_utf8_lossy(&seen).ends_with(text) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "no '{text}' in '{}'", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn the_logs_of_all_instances_are_one_stream() {
    let cluster = Cluster::start(DCOS, Options { agents: 2, ..Options::default() });
    let script = "n=0; while [ $n -lt 200 ]; do n=$((n+1)); echo line $n; sleep 0.02; done; exec sleep 3600";
    let app = json!({"id": "/many", "cmd": script, "cpus": 0.01, "mem": 32, "instances": 19});
    cluster.create_app(&app);
    let mut logs = dcos(&cluster, &["marathon", "app", "logs", "-f", "--lines=1000", "many"]);
    let mut logs = logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let reader = std::io::BufReader::new(logs.stdout.take().unwrap());
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::BufRead;
        reader.lines().map_while(Result::ok).for_each(|line| drop(say.send(line)));
    });
    settled(&cluster, "many", 19);
    // One that comes later joins.
    cluster.request("PUT", "/marathon/v2/apps//many", Some(&json!({"instances": 20})));
    let mut seen: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    while seen.len() < 20 || seen.values().any(|last| *last < 200) {
        let line = said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no more lines after {seen:?}"));
        let (name, text) = line.split_once(' ').unwrap();
        let number: u32 = text.strip_prefix("line ").unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let last = seen.insert(name.to_owned(), number).unwrap_or(0);
        assert_eq!(number, last + 1, "{line}");
    }
    // When the app is gone, so is the stream.
    cluster.request("DELETE", "/marathon/v2/apps//many", None);
    assert!(logs.wait().unwrap().success());
}

#[test]
fn a_port_of_this_machine_leads_to_the_app() {
    let cluster = Cluster::start(DCOS, Options { agents: 2, ..Options::default() });
    cluster.create_app(&apps::web("site", 4, "hello"));
    settled(&cluster, "site", 4);
    let mut forward =
        dcos(&cluster, &["port-forward", "site", "0:web"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = read_until(forward.stdout.as_mut().unwrap(), "\n");
    let address =
        said.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    let get = |address: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    // Under load, while instances come and go.
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || {
                (0..100).filter(|_| get(&address).is_ok_and(|text| text.contains("hello"))).count()
            })
        })
        .collect();
    let answered: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(answered, 1600);
    kill_process(Pid::from_child(&forward), Signal::INT).unwrap();
    assert_eq!(forward.wait().unwrap().code(), Some(130));

    // By the agent: only to ports of its tasks.
    let agents = cluster.get("/mesos/slaves");
    let agent = agents["slaves"][0]["id"].as_str().unwrap().to_owned();
    let refused = cluster.request("GET", &format!("/agent/{agent}/dcos/port-forward?port=5051"), None);
    assert_eq!(refused.status, 426);
    let upgraded = |agent: &str, port: &str| {
        let mut stream = TcpStream::connect(cluster.router()).unwrap();
        let path = format!("/agent/{agent}/dcos/port-forward?port={port}");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: dcos-port-forward\r\n\r\n",
            cluster.router()
        )
        .unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        (stream, head)
    };
    assert!(upgraded(&agent, "5051").1.starts_with("HTTP/1.1 404 "), "that is no task's");
    let site = apps::app(&cluster, "site");
    let task = &site["tasks"][0];
    let (mut stream, head) = upgraded(task["slaveId"].as_str().unwrap(), &task["ports"][0].to_string());
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    write!(stream, "GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("hello"), "{answer}");

    let wrong = run(&cluster, &["port-forward", "site", "0:nope"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("App '/site' has no port 'nope'"), "{wrong:?}");
    let wrong = run(&cluster, &["port-forward", "site", "x"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("'x' is not LOCAL[:PORT]"), "{wrong:?}");
}
