use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{HttpError, Response, request};
use crate::{Events, until};

/// How long a cluster may take to become ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A loopback subnet that no other test of this machine uses now: from the pid and a count.
pub fn own_subnet() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number =
        std::process::id().wrapping_mul(8).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % 60_000;
    format!("127.{}.{}.0/24", 1 + number / 250, 1 + number % 250)
}

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Private agents.
    pub agents: u32,
    /// Public agents.
    pub public_agents: u32,
    /// Of each agent; `None` leaves it to the program.
    pub resources: Option<String>,
    /// The subnet; `None` is one that no other test uses. In a network of its own a test may have any.
    pub subnet: Option<String>,
    /// More arguments of `dcos up`.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { agents: 1, public_agents: 0, resources: None, subnet: None, arguments: Vec::new() }
    }
}

/// A running `dcos up`. Dropping it ends the cluster and its tasks.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    options: Options,
    subnet: String,
    dir: TempDir,
    up: Up,
}

#[derive(Debug)]
struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    ready_after: Duration,
}

impl Cluster {
    /// Starts `program up` on a subnet and directory of its own and waits for READY.
    ///
    /// # Panics
    /// If READY does not come; with what the program said instead.
    #[track_caller]
    pub fn start(program: impl Into<PathBuf>, options: Options) -> Cluster {
        let program = program.into();
        let dir = tempfile::Builder::new().prefix("dcos-").tempdir().expect("a temporary directory");
        let subnet = options.subnet.clone().unwrap_or_else(own_subnet);
        let up = Up::start(&program, &options, &subnet, dir.path());
        Cluster { program, options, subnet, dir, up }
    }

    /// The cluster's subnet, as `--subnet` takes it.
    pub fn subnet(&self) -> &str {
        &self.subnet
    }

    /// The cluster's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The pid of `dcos up`.
    pub fn pid(&self) -> u32 {
        self.up.child.id()
    }

    /// From the start of the process to its READY line.
    pub fn ready_after(&self) -> Duration {
        self.up.ready_after
    }

    /// What `dcos up` has printed so far on stdout.
    pub fn lines(&mut self) -> &[String] {
        self.up.seen.extend(self.up.lines.try_iter());
        &self.up.seen
    }

    /// The address of node `node` (the master is 1, agents follow) with a port.
    pub fn at(&self, node: u8, port: u16) -> SocketAddr {
        let base: Ipv4Addr = self.subnet.trim_end_matches("/24").parse().expect("own_subnet made it");
        let [a, b, c, _] = base.octets();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, node)), port)
    }

    /// Admin Router of the master.
    pub fn router(&self) -> SocketAddr {
        let ready = self.up.seen.iter().find_map(|line| line.strip_prefix("READY http://"));
        let authority = ready.expect("start waited for it").trim_end_matches('/');
        authority.parse().unwrap_or_else(|_| self.at(1, 80))
    }

    /// Sends a request to Admin Router.
    ///
    /// # Errors
    /// No answer came.
    pub fn try_request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response, HttpError> {
        let body = body.map(|value| value.to_string().into_bytes());
        request(self.router(), method, path, &[], body.as_deref())
    }

    /// Sends a request to Admin Router.
    ///
    /// # Panics
    /// If no answer came.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        match self.try_request(method, path, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path}: {error:?}"),
        }
    }

    /// `GET` of JSON through Admin Router.
    ///
    /// # Panics
    /// If the answer is not 200 with JSON.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.request("GET", path, None);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Posts an app definition to Marathon and gives back the answer's JSON.
    ///
    /// # Panics
    /// If Marathon does not take it.
    #[track_caller]
    pub fn create_app(&self, app: &Value) -> Value {
        let answer = self.request("POST", "/marathon/v2/apps", Some(app));
        assert_eq!(answer.status, 201, "POST /v2/apps: {}", answer.text());
        answer.json()
    }

    /// Marathon's event stream.
    ///
    /// # Panics
    /// If Marathon does not answer.
    #[track_caller]
    pub fn events(&self) -> Events {
        match Events::open(self.at(1, 8080), "/v2/events") {
            Ok(events) => events,
            Err(error) => panic!("GET /v2/events: {error:?}"),
        }
    }

    /// Kills `dcos up` with SIGKILL and waits until it is gone. Tasks go on running.
    pub fn kill(&mut self) {
        let _ = self.up.child.kill();
        let _ = self.up.child.wait();
    }

    /// Sends a signal to `dcos up`.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until `dcos up` has ended by itself; `None` if it does not.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        until(PATIENCE, || self.up.child.try_wait().ok().flatten())
    }

    /// Starts `dcos up` again on the same directory and waits for READY.
    ///
    /// # Panics
    /// If READY does not come.
    #[track_caller]
    pub fn up_again(&mut self) {
        self.kill();
        self.up = Up::start(&self.program, &self.options, &self.subnet, self.dir.path());
    }
}

impl Up {
    #[track_caller]
    fn start(program: &Path, options: &Options, subnet: &str, dir: &Path) -> Up {
        let started = Instant::now();
        let mut command = Command::new(program);
        command
            .args(["up", "--subnet", subnet, "--agents", &options.agents.to_string()])
            .args(["--public-agents", &options.public_agents.to_string()])
            .arg("--dir")
            .arg(dir)
            .args(options.resources.iter().flat_map(|text| ["--resources", text]))
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
        let stdout = child.stdout.take().expect("asked for above");
        let (said, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| said.send(line).is_ok())
        });
        let mut up = Up { child, lines, seen: Vec::new(), ready_after: Duration::ZERO };
        while let Ok(line) = up.lines.recv_timeout(PATIENCE.saturating_sub(started.elapsed())) {
            let is_ready = line.starts_with("READY ");
            up.seen.push(line);
            if is_ready {
                up.ready_after = started.elapsed();
                return up;
            }
        }
        let _ = up.child.kill();
        let ended = up.child.wait();
        panic!("dcos up did not get READY ({ended:?}); it said: {:#?}", up.seen);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        let down = Command::new(&self.program).arg("down").arg("--dir").arg(self.dir.path()).output();
        if !matches!(&down, Ok(output) if output.status.success()) && !std::thread::panicking() {
            panic!("dcos down failed: {down:?}");
        }
    }
}
