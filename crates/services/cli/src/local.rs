//! The clusters that run on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use host::PortLeases;
use serde::Deserialize;

use crate::Error;
use crate::context::{Cluster, Source, Tls};

/// The record of a cluster in its directory.
const RECORD: &str = "cluster.json";
/// The file that whoever runs the cluster has locked.
const LOCK: &str = "lock";
/// How long a cluster of this machine may take to begin an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What of the record is needed to speak with the cluster.
#[derive(Debug, Deserialize)]
struct Record {
    cluster_id: Option<String>,
    /// Where Admin Router answers; a single agent has none.
    url: Option<String>,
    #[serde(default)]
    auth: bool,
}

/// A cluster of this machine, running or not.
#[derive(Debug)]
pub(crate) struct Local {
    /// Its id.
    pub(crate) id: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its URL, without a slash at its end.
    pub(crate) url: String,
    auth: bool,
}

impl Local {
    /// The cluster of that directory; none if there is none.
    pub(crate) fn of(dir: &Path) -> Option<Local> {
        let bytes = std::fs::read(dir.join(RECORD)).ok()?;
        let Record { cluster_id, url, auth } = serde_json::from_slice(&bytes).ok()?;
        let url = url?.trim_end_matches('/').to_owned();
        Some(Local { id: cluster_id?, dir: dir.to_owned(), url, auth })
    }

    /// Whether it runs now.
    pub(crate) fn runs(&self) -> bool {
        host::lock_owner(&self.dir.join(LOCK)).is_some()
    }

    /// How to speak with it.
    ///
    /// # Errors
    /// When it demands a token which this user may not read.
    pub(crate) fn cluster(self) -> Result<Cluster, Error> {
        let token = self.auth.then(|| token(&self.dir.join("token"))).transpose()?;
        let Local { dir, url, .. } = self;
        let source = Source::Local { dir };
        Ok(Cluster { url, token, tls: Tls::System, timeout: TIMEOUT, source })
    }
}

fn token(path: &Path) -> Result<String, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(Error::new(format!("the token in {} cannot be read: {error}", path.display()))
            .hint("Whoever runs the cluster can read it. With a copy of it: dcos auth login --token-file <file>")),
    }
}

/// The cluster of this machine that is meant if nothing else is said: the one in the usual directory
/// of this user, else the only one that runs.
pub(crate) fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Cluster, Error> {
    let usual = usual(&variable);
    let mut running = all(&variable);
    if let Some(at) = running.iter().position(|local| local.dir == usual) {
        return running.swap_remove(at).cluster();
    }
    if running.len() > 1 {
        let names: Vec<String> =
            running.iter().map(|local| format!("  {} in {}", local.url, local.dir.display())).collect();
        return Err(Error::new(format!("several clusters run on this machine:\n{}", names.join("\n"))).hint(
            "Say which one is meant: DCOS_CLUSTER=<its directory>, or `dcos cluster attach <its directory>`.",
        ));
    }
    match running.pop() {
        Some(local) => local.cluster(),
        None if Local::of(&usual).is_some() => Err(Error::new(format!(
            "no cluster is attached, and the one of this machine in {} does not run",
            usual.display()
        ))
        .hint("Start it again with `dcos up`, or name another one with `dcos cluster setup <url>`.")),
        None => Err(Error::new("no cluster is attached, and none runs on this machine")
            .hint("Start one here with `dcos up`, or name one with `dcos cluster setup <url>`.")),
    }
}

/// The clusters that run on this machine and that this user can know of.
pub(crate) fn all(variable: impl Fn(&str) -> Option<String>) -> Vec<Local> {
    let mut dirs = leased(variable("XDG_RUNTIME_DIR").as_deref().map(Path::new));
    dirs.extend([usual(&variable), PathBuf::from("/var/lib/dcos/up")]);
    dirs.sort();
    dirs.dedup();
    dirs.iter().filter_map(|dir| Local::of(dir)).filter(Local::runs).collect()
}

/// Where this user's cluster is if it is not said.
fn usual(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    host::state_directory(|name| variable(name).map(Into::into)).join("dcos").join("up")
}

/// The directories of the clusters that have leased ports of this machine for their agents: leases are
/// named after them.
fn leased(runtime_dir: Option<&Path>) -> Vec<PathBuf> {
    let owners = PortLeases::of_host(runtime_dir).running();
    owners.iter().filter_map(|owner| Some(PathBuf::from(directory(owner)?))).collect()
}

/// The directory in the name of an owner of ports, as in `/var/lib/dcos/up public agent 1`.
fn directory(owner: &str) -> Option<&str> {
    let (start, _) = owner.rsplit_once("agent")?;
    Some(start.trim_end().strip_suffix("public").unwrap_or(start).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_ports_name_their_directory() {
        let check = |owner, expected| assert_eq!(directory(owner), expected, "{owner}");
        check("/var/lib/dcos/up agent 1", Some("/var/lib/dcos/up"));
        check("/home/agent smith/up public agent 12", Some("/home/agent smith/up"));
        check("/var/lib/dcos/agent agent", Some("/var/lib/dcos/agent"));
        check("/x", None);
    }

    #[test]
    fn a_record_is_a_cluster_if_it_has_a_url() {
        let dir = tempfile::tempdir().unwrap();
        let check = |record: &str, url: Option<&str>| {
            std::fs::write(dir.path().join(RECORD), record).unwrap();
            assert_eq!(Local::of(dir.path()).map(|local| local.url).as_deref(), url, "{record}");
        };
        check(r#"{"format": 1, "cluster_id": "a-b", "url": "http://127.0.0.1/"}"#, Some("http://127.0.0.1"));
        check(r#"{"format": 1, "cluster_id": null, "agents": []}"#, None);
        check("{", None);
    }

    #[test]
    fn a_cluster_with_a_token_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let record = r#"{"cluster_id": "a-b", "url": "http://127.0.0.1/", "auth": true}"#;
        std::fs::write(dir.path().join(RECORD), record).unwrap();
        let cluster = || Local::of(dir.path()).unwrap().cluster();
        let error = cluster().unwrap_err().to_string();
        assert!(error.starts_with("the token in "), "{error}");
        std::fs::write(dir.path().join("token"), "abc\n").unwrap();
        assert_eq!(cluster().unwrap().token.as_deref(), Some("abc"));
    }
}
