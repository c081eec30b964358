//! Which cluster is meant.

use std::path::PathBuf;
use std::time::Duration;

use crate::local::Local;
use crate::{Client, Error, Program, local};

/// How long the cluster may take to begin an answer, if it is not said. dcos-cli: `HTTPTimeout`.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A cluster to speak with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Its URL, without a slash at its end.
    pub(crate) url: String,
    /// What shows who the user is.
    pub(crate) token: Option<String>,
    /// Which certificates are trusted.
    pub(crate) tls: Tls,
    /// How long it may take to begin an answer.
    pub(crate) timeout: Duration,
    /// How it was found.
    pub(crate) source: Source,
}

/// Which certificates of a cluster are trusted (`core.ssl_verify`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Those that the system trusts.
    #[default]
    System,
    /// Those of this file, too.
    Bundle(PathBuf),
    /// Any; which is refused, but for clusters that have none.
    Unchecked,
}

/// How a cluster was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `DCOS_URL` names it.
    Environment,
    /// It was set up.
    Configured,
    /// It runs on this machine.
    Local {
        /// Its directory.
        dir: PathBuf,
    },
}

/// What a command runs in.
pub(crate) struct Context {
    /// The program.
    pub(crate) program: Program,
    environment: fn(&str) -> Option<String>,
}

impl Context {
    /// The context of this process.
    pub(crate) fn of_process(program: Program) -> Context {
        Context { program, environment: |name| std::env::var(name).ok() }
    }

    /// A variable of the environment; none if it is empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The cluster that is meant: what `DCOS_URL` (with `DCOS_ACS_TOKEN`) says, else the one that is
    /// attached, else one that runs on this machine.
    pub(crate) fn cluster(&self) -> Result<Cluster, Error> {
        if let Some(url) = self.variable("DCOS_URL") {
            let url = url.trim_end_matches('/').to_owned();
            let token = self.variable("DCOS_ACS_TOKEN");
            let source = Source::Environment;
            return Ok(Cluster { url, token, tls: Tls::System, timeout: TIMEOUT, source });
        }
        let named = self.variable("DCOS_CLUSTER").map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(local) = named.and_then(|dir| Local::of(&dir)) {
            return local.cluster();
        }
        local::find(|name| self.variable(name))
    }

    /// A client of that cluster.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        Client::new(&self.cluster()?, self.program.verbosity)
    }
}
