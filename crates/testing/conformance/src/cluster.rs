//! A master and an agent of ours, as processes, on an address and a directory of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process has to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The port of masters where nothing says another one.
pub(crate) const MASTER: u16 = 5050;
/// The port of agents.
pub(crate) const AGENT: u16 = 5051;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No directory could be made.
    #[error("make a directory")]
    Directory(#[source] std::io::Error),
    /// The program could not be started.
    #[error("start {}", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It ended, or does not answer.
    #[error("{part} is not there; it said: {said}")]
    NotThere {
        /// The component.
        part: &'static str,
        /// The end of its log.
        said: String,
    },
}

/// How a cluster is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) program: PathBuf,
    /// What the agent offers.
    pub(crate) resources: String,
    /// The port of the master.
    pub(crate) port: u16,
    /// More arguments of the master.
    pub(crate) master: Vec<String>,
    /// Whether there is an agent.
    pub(crate) agent: bool,
}

/// The running processes. Dropping it ends them and the tasks.
#[derive(Debug)]
pub(crate) struct Cluster {
    ip: Ipv4Addr,
    port: u16,
    dir: TempDir,
    processes: Vec<(&'static str, Child)>,
}

impl Cluster {
    /// Starts a master and an agent, and waits until the agent is registered.
    pub(crate) fn start(setup: &Setup) -> Result<Self, Error> {
        let dir = tempfile::Builder::new().prefix("dcos-conformance-").tempdir().map_err(Error::Directory)?;
        let subnet = testkit::own_subnet();
        let base: Ipv4Addr = subnet.trim_end_matches("/24").parse().expect("own_subnet made it");
        let [a, b, c, _] = base.octets();
        let mut cluster =
            Self { ip: Ipv4Addr::new(a, b, c, 1), port: setup.port, dir, processes: Vec::new() };
        let mut arguments = vec!["mesos-master".to_owned(), format!("--port={}", setup.port)];
        arguments.extend(setup.master.iter().cloned());
        cluster.spawn("mesos-master", &setup.program, arguments)?;
        cluster.wait("mesos-master", |cluster| cluster.ask(cluster.port, "/health").is_some())?;
        if setup.agent {
            let master = format!("{}:{}", cluster.ip, cluster.port);
            let arguments = ["mesos-agent", "--master", &master, "--resources", &setup.resources];
            cluster.spawn("mesos-agent", &setup.program, arguments.map(str::to_owned).to_vec())?;
            cluster.wait("mesos-agent", |cluster| cluster.agent().is_some())?;
        }
        Ok(cluster)
    }

    fn spawn(&mut self, part: &'static str, program: &Path, arguments: Vec<String>) -> Result<(), Error> {
        let work_dir = self.dir.path().join(part);
        let said = std::fs::File::create(self.dir.path().join(format!("{part}.stderr")))
            .map_err(Error::Directory)?;
        let child = Command::new(program)
            .args(arguments)
            .args(["--ip", &self.ip.to_string(), "--work_dir"])
            .arg(work_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|source| Error::Start { program: program.to_owned(), source })?;
        self.processes.push((part, child));
        Ok(())
    }

    fn wait(&mut self, part: &'static str, there: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let ended = |cluster: &mut Self| {
            cluster.processes.iter_mut().any(|(_, child)| !matches!(child.try_wait(), Ok(None)))
        };
        let found = testkit::until(PATIENCE, || match there(self) {
            true => Some(true),
            false => ended(self).then_some(false),
        });
        if found == Some(true) {
            return Ok(());
        }
        let said =
            std::fs::read_to_string(self.dir.path().join(format!("{part}.stderr"))).unwrap_or_default();
        Err(Error::NotThere { part, said: said.trim().to_owned() })
    }

    /// Where the agent keeps everything.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.dir.path().join("mesos-agent")
    }

    /// The address of both.
    pub(crate) fn ip(&self) -> IpAddr {
        self.ip.into()
    }

    /// The port of the master.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address with a port.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// The JSON at a path, or null for an answer without.
    pub(crate) fn ask(&self, port: u16, path: &str) -> Option<Value> {
        let answer = testkit::request(self.at(port), "GET", path, &[], None).ok()?;
        Some(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// The id of the agent that is registered and active.
    pub(crate) fn agent(&self) -> Option<String> {
        let slaves = self.ask(self.port, "/slaves")?;
        let active =
            slaves.get("slaves")?.as_array()?.iter().find(|slave| slave["active"] == Value::Bool(true))?;
        active.get("id")?.as_str().map(str::to_owned)
    }

    /// The id of a container that runs on the agent, the newest framework's first.
    pub(crate) fn container(&self) -> Option<String> {
        let state = self.ask(AGENT, "/state")?;
        let executors =
            state.get("frameworks")?.as_array()?.last()?.get("executors")?.as_array()?.first()?.clone();
        executors.get("container")?.as_str().map(str::to_owned)
    }
}

/// Ends all frameworks, and waits until nothing of theirs runs.
fn teardown(cluster: &Cluster) {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let frameworks = cluster.ask(cluster.port, "/frameworks").unwrap_or_default();
    for framework in frameworks["frameworks"].as_array().unwrap_or(&Vec::new()) {
        let body = format!("frameworkId={}", framework["id"].as_str().unwrap_or_default());
        let _ = testkit::request(
            cluster.at(cluster.port),
            "POST",
            "/master/teardown",
            &form,
            Some(body.as_bytes()),
        );
    }
    testkit::until(LAST_WORDS, || {
        let containers = cluster.ask(AGENT, "/containers");
        containers.is_none_or(|containers| containers.as_array().is_none_or(Vec::is_empty)).then_some(())
    });
}

impl Drop for Cluster {
    fn drop(&mut self) {
        teardown(self);
        // Executors outlive their agent: those of its tasks are below it now.
        let mut below: Vec<u32> = Vec::new();
        for (_, child) in &self.processes {
            below.extend(testkit::descendants(child.id()).into_iter().map(|process| process.pid));
        }
        for (_, child) in self.processes.iter_mut().rev() {
            if let Some(pid) = Pid::from_raw(child.id() as i32) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if testkit::until(LAST_WORDS, || child.try_wait().ok().flatten()).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let dir = self.dir.path().to_string_lossy().into_owned();
        let left = testkit::running(&dir).into_iter().filter(|process| below.contains(&process.pid));
        for pid in left.filter_map(|process| Pid::from_raw(process.pid as i32)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
