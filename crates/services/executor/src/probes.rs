//! Probing a task: a command, an HTTP request or a TCP connection, each with a time limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use base::Mono;
use mesos_proto::v1::CommandInfo;
use rustix::event::PollFlags;
use rustix::process::Signal;

use crate::checks::{Checker, Outcome, Target};
use crate::command::{self, Output, Surroundings};
use crate::connection::Connection;
use crate::http::{self, Part};
use crate::task::{End, Which};

/// The probes under way: at most one for each check.
#[derive(Default)]
pub(crate) struct Probes {
    running: Vec<Probe>,
}

struct Probe {
    which: Which,
    timeout: Option<Duration>,
    deadline: Option<Mono>,
    work: Work,
}

enum Work {
    Command { pid: u32 },
    Http(Connection),
    Tcp(Connection),
}

impl Probes {
    /// Begins a probe; an outcome comes at once if it cannot even begin.
    pub(crate) fn start(
        &mut self,
        now: Mono,
        which: Which,
        checker: &Checker,
        around: &Surroundings,
    ) -> Option<Outcome> {
        match begin(&checker.target, around) {
            Ok(work) => {
                let deadline = checker.timeout.map(|timeout| now + timeout);
                self.running.push(Probe { which, timeout: checker.timeout, deadline, work });
                None
            }
            Err(error) => Some(Outcome::Failed(error.to_string())),
        }
    }

    /// Forgets all probes and kills their commands.
    pub(crate) fn stop(&mut self) {
        for probe in self.running.drain(..) {
            probe.end();
        }
    }

    /// What to poll for, in the order that [`Probes::ready`] counts in.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.running.iter().filter_map(|probe| match &probe.work {
            Work::Command { .. } => None,
            Work::Http(connection) => Some((connection.fd(), connection.interest())),
            Work::Tcp(connection) => Some((connection.fd(), PollFlags::OUT)),
        })
    }

    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.running.iter().filter_map(|probe| probe.deadline).min()
    }

    /// Goes on with those whose sockets are ready, in the order of [`Probes::interests`].
    pub(crate) fn ready(&mut self, ready: &[bool], done: &mut Vec<(Which, Outcome)>) {
        let mut ready = ready.iter();
        self.running.retain_mut(|probe| {
            let outcome = match &mut probe.work {
                Work::Command { .. } => None,
                Work::Http(connection) if ready.next() == Some(&true) => http_outcome(connection),
                Work::Tcp(connection) if ready.next() == Some(&true) => {
                    Some(Outcome::Connected(connection.established().is_ok()))
                }
                Work::Http(_) | Work::Tcp(_) => None,
            };
            let goes_on = outcome.is_none();
            done.extend(outcome.map(|outcome| (probe.which, outcome)));
            goes_on
        });
    }

    /// A child ended: a probe's command, or not.
    pub(crate) fn reaped(&mut self, ended: u32, end: End) -> Option<(Which, Outcome)> {
        let is = |probe: &Probe| matches!(probe.work, Work::Command { pid } if pid == ended);
        let found = self.running.iter().position(is)?;
        let probe = self.running.swap_remove(found);
        let outcome = match end {
            End::Exited(status) => Outcome::Exited(status),
            End::Signaled { signal, .. } => {
                Outcome::Failed(format!("Command terminated with signal {signal}"))
            }
        };
        Some((probe.which, outcome))
    }

    /// Ends those whose time is up.
    pub(crate) fn expire(&mut self, now: Mono, done: &mut Vec<(Which, Outcome)>) {
        let expired = |probe: &mut Probe| probe.deadline.is_some_and(|deadline| deadline <= now);
        for probe in self.running.extract_if(.., expired) {
            let timeout = probe.timeout.unwrap_or_default();
            done.push((probe.which, Outcome::Failed(format!("timed out after {timeout:?}"))));
            probe.end();
        }
    }
}

impl Probe {
    fn end(self) {
        if let Work::Command { pid } = self.work {
            containers::signal_tree(pid, Signal::KILL);
        }
    }
}

fn begin(target: &Target, around: &Surroundings) -> io::Result<Work> {
    let local = |ipv6: bool, port: u16| {
        let host = if ipv6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        SocketAddr::new(host, port)
    };
    Ok(match target {
        Target::Command(command) => {
            let output = Output::Check(command.environment.as_ref());
            Work::Command { pid: command::start(command, around, output)? }
        }
        Target::Http { port, path, https: true, ipv6 } => {
            // TLS is not worth its weight in every task's executor: curl does it, as it does for Mesos.
            let curl = curl(local(*ipv6, *port), path);
            Work::Command { pid: command::start(&curl, around, Output::Check(None))? }
        }
        Target::Http { port, path, https: false, ipv6 } => {
            let address = local(*ipv6, *port);
            let mut connection = Connection::tcp(address)?;
            connection.send(&http::get(path, &address.to_string())).map_err(io::Error::other)?;
            Work::Http(connection)
        }
        Target::Tcp { port, ipv6 } => Work::Tcp(Connection::tcp(local(*ipv6, *port))?),
    })
}

/// A command that succeeds when the server answers below 400, whatever its certificate.
fn curl(address: SocketAddr, path: &str) -> CommandInfo {
    let url = format!("https://{address}{path}");
    let arguments = ["curl", "-s", "-S", "-f", "-k", "-g", "-o", "/dev/null", &url];
    CommandInfo {
        shell: Some(false),
        value: Some("curl".to_owned()),
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Default::default()
    }
}

fn http_outcome(connection: &mut Connection) -> Option<Outcome> {
    let mut parts = Vec::new();
    let result = connection.flush().and_then(|()| connection.receive(&mut parts));
    for part in parts {
        if let Part::Status(status) = part {
            return Some(Outcome::Status(status));
        }
    }
    result.err().map(|error| Outcome::Failed(error.to_string()))
}
