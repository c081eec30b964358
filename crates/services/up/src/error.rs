use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use host::{CapacityError, Listener, PortLeaseError};

use crate::{Subnet, SubnetError};

/// Why a cluster or node was not started or ended. Whatever was asked, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--subnet` is no subnet.
    #[error("--subnet {0}")]
    Subnet(SubnetError),
    /// More nodes than the subnet has addresses.
    #[error(
        "--subnet {subnet} has addresses for {} agents, --agents and --public-agents ask for {asked}",
        .subnet.hosts() - 1
    )]
    SubnetTooSmall {
        /// The subnet.
        subnet: Subnet,
        /// How many agents were asked for.
        asked: u32,
    },
    /// No agent at all.
    #[error("--agents 0 and --public-agents 0 leave a cluster without agents, allowed is 1 or more together")]
    NoAgents,
    /// `--resources` is not Mesos' text form.
    #[error("--resources {text:?}")]
    Resources {
        /// What was found.
        text: String,
        /// What is wrong with it.
        source: resources::ParseResourcesError,
    },
    /// The same ports for several agents of one machine.
    #[error(
        "--resources {0:?} gives the same ports to more than one agent of this machine, allowed is to \
         leave ports out: each agent then takes a block of its own"
    )]
    SharedPorts(String),
    /// Somebody else has the directory.
    #[error(
        "{} is in use by {}: one cluster at a time runs on a directory; stop that one, or name another --dir",
        .dir.display(),
        match .owner { Some(pid) => format!("process {pid}"), None => "another process".to_owned() }
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that has it.
        owner: Option<u32>,
    },
    /// The cluster of that directory was made otherwise.
    #[error(
        "{option} {asked}: the cluster in {} has {recorded}{why}; leave {option} out, name another --dir, \
         or end that cluster with: dcos down --dir {}",
        .dir.display(), .dir.display()
    )]
    Differs {
        /// The option.
        option: &'static str,
        /// Its value.
        asked: String,
        /// What the cluster was made with.
        recorded: String,
        /// Why it cannot change.
        why: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// A port of a node is taken.
    #[error("{}", taken(.address, .owner.as_ref(), .free.as_ref(), .of_subnet))]
    Taken {
        /// The address and port.
        address: SocketAddr,
        /// Who has it.
        owner: Option<Listener>,
        /// A subnet on which all ports are free.
        free: Option<Subnet>,
        /// Whether another subnet could help.
        of_subnet: bool,
    },
    /// The address is not one of this machine.
    #[error("{0} is no address of this machine")]
    NotHere(Ipv4Addr),
    /// The record of the cluster is of another program or damaged.
    #[error("{}: {problem}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An agent that demanded a token is to run without one.
    #[error(
        "the agent in {} was made with --token-file and would answer everybody without; name the file \
         again, or end that agent with: dcos down --dir {}",
        .0.display(), .0.display()
    )]
    TokenLeftOut(PathBuf),
    /// `--token-file` names no token.
    #[error(
        "--token-file {}: {problem}; it is to be a copy of the file token in the directory of the \
         cluster's master (its DIR/token)",
        .path.display()
    )]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The process that runs the cluster does not end.
    #[error("process {pid}, which runs the cluster in {}, did not end within {seconds} seconds", .dir.display())]
    DoesNotEnd {
        /// The directory.
        dir: PathBuf,
        /// The process.
        pid: u32,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Some tasks could not be ended.
    #[error("end the tasks recorded in {}: {problem}", .dir.display())]
    EndTasks {
        /// The agent's directory.
        dir: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The components did not come up.
    #[error("not ready after {seconds} seconds: {missing}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// What was missing.
        missing: String,
    },
    /// Who was asked does not answer.
    #[error("{address} does not answer {path} as it should: {problem}")]
    Unanswered {
        /// Who.
        address: String,
        /// What was asked for.
        path: String,
        /// What came instead.
        problem: String,
    },
    /// The machine's capacity could not be told.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// No ports for an agent.
    #[error(transparent)]
    Ports(#[from] PortLeaseError),
    /// A file or directory could not be used.
    #[error("{attempted} {}", .path.display())]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Signals could not be waited for.
    #[error("wait for signals")]
    Signals(#[source] std::io::Error),
}

fn taken(address: &SocketAddr, owner: Option<&Listener>, free: Option<&Subnet>, of_subnet: &bool) -> String {
    let mut text = format!("port {} of {} is taken", address.port(), address.ip());
    if let Some(owner) = owner {
        match owner.pid {
            Some(pid) => text.push_str(&format!(" by process {pid}")),
            None => text.push_str(" by a process of another user"),
        }
        if let Some(command) = &owner.command {
            text.push_str(&format!(" ({command})"));
        }
        if owner.address.ip().is_unspecified() {
            text.push_str(" on every address");
        }
    }
    match free {
        Some(free) => text.push_str(&format!("; try --subnet {free}")),
        None if *of_subnet => text.push_str("; no other subnet has its ports free, stop that process"),
        None => {}
    }
    text
}

impl From<SubnetError> for Error {
    fn from(error: SubnetError) -> Error {
        Error::Subnet(error)
    }
}

impl Error {
    pub(crate) fn io(
        attempted: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { attempted, path, source }
    }
}
