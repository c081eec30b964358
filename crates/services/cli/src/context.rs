//! Which cluster is meant.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clusters::Clusters;
use crate::local::{self, Local};
use crate::settings::Settings;
use crate::{Client, Error, Program};

/// How long the cluster may take to begin an answer, if it is not said. dcos-cli: `HTTPTimeout`.
const TIMEOUT: Duration = Duration::from_secs(180);
/// How long at most, if it is said that there is no limit.
const NO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

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

/// The time that a number of seconds in the settings means.
pub(crate) fn timeout(seconds: Option<u64>) -> Duration {
    match seconds {
        None => TIMEOUT,
        Some(0) => NO_TIMEOUT,
        Some(seconds) => Duration::from_secs(seconds).min(NO_TIMEOUT),
    }
}

/// The number of seconds for a time.
pub(crate) fn seconds(timeout: Duration) -> u64 {
    if timeout == NO_TIMEOUT { 0 } else { timeout.as_secs() }
}

/// Where the value of a variable is looked up.
type Environment = dyn Fn(&str) -> Option<String>;

/// What a command runs in.
pub(crate) struct Context {
    /// The program.
    pub(crate) program: Program,
    environment: Box<Environment>,
}

impl Context {
    /// The context of this process.
    pub(crate) fn of_process(program: Program) -> Context {
        Context { program, environment: Box::new(|name| std::env::var(name).ok()) }
    }

    /// A variable of the environment; none if it is empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The clusters that are set up.
    pub(crate) fn clusters(&self) -> Clusters {
        Clusters::new(|name| self.variable(name))
    }

    /// The settings of the cluster that is meant; none if it is not one that was set up.
    pub(crate) fn configured(&self) -> Result<Option<Settings>, Error> {
        match self.variable("DCOS_CLUSTER") {
            Some(name) => self.clusters().find(&name, true),
            None => self.clusters().current(),
        }
    }

    /// The settings of the cluster that is meant, which has to be one that was set up.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        self.configured()?.ok_or_else(|| {
            let url = self.cluster().map_or_else(|_| "<url>".to_owned(), |cluster| cluster.url);
            Error::new("no cluster is attached")
                .hint(format!("Settings are kept for clusters that are set up: dcos cluster setup {url}"))
        })
    }

    /// The cluster that is meant: what `DCOS_URL` says, else what `DCOS_CLUSTER` names, else the one
    /// that is attached, else one that runs on this machine. `DCOS_ACS_TOKEN` is shown before any other
    /// token.
    pub(crate) fn cluster(&self) -> Result<Cluster, Error> {
        let mut cluster = self.meant()?;
        if let Some(token) = self.variable("DCOS_ACS_TOKEN") {
            cluster.token = Some(token);
        }
        Ok(cluster)
    }

    fn meant(&self) -> Result<Cluster, Error> {
        if let Some(url) = self.variable("DCOS_URL") {
            let (url, source) = (url.trim_end_matches('/').to_owned(), Source::Environment);
            let settings = Settings::default();
            let (tls, timeout) = (self.tls(&settings), self.timeout(&settings)?);
            return Ok(Cluster { url, token: None, tls, timeout, source });
        }
        if let Some(settings) = self.configured()? {
            return self.cluster_of(&settings);
        }
        let variable = |name: &str| self.variable(name);
        let Some(name) = self.variable("DCOS_CLUSTER") else { return local::find(variable) };
        if let Some(local) = Local::of(Path::new(&name)) {
            return local.cluster();
        }
        match local::all(variable).into_iter().find(|local| local.id == name) {
            Some(local) => local.cluster(),
            None => Err(Error::new(format!("DCOS_CLUSTER is '{name}', and there is no such cluster")).hint(
                "Allowed is the name or ID of one that `dcos cluster list` shows, or the directory of a `dcos up`.",
            )),
        }
    }

    /// The cluster of these settings.
    pub(crate) fn cluster_of(&self, settings: &Settings) -> Result<Cluster, Error> {
        let url = settings.kept("core.dcos_url").ok_or_else(|| {
            Error::new(format!("{} has no core.dcos_url", settings.path().display()))
                .hint("Set it with `dcos config set core.dcos_url <url>`.")
        })?;
        Ok(Cluster {
            url: url.trim_end_matches('/').to_owned(),
            token: settings.kept("core.dcos_acs_token").filter(|token| !token.is_empty()),
            tls: self.tls(settings),
            timeout: self.timeout(settings)?,
            source: Source::Configured,
        })
    }

    fn tls(&self, settings: &Settings) -> Tls {
        match settings.get("core.ssl_verify", |name| self.variable(name)) {
            None => Tls::System,
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "" | "true" | "1" => Tls::System,
                "false" | "0" => Tls::Unchecked,
                _ => Tls::Bundle(PathBuf::from(text)),
            },
        }
    }

    fn timeout(&self, settings: &Settings) -> Result<Duration, Error> {
        let Some(text) = settings.get("core.timeout", |name| self.variable(name)) else {
            return Ok(TIMEOUT);
        };
        let seconds = text.parse().map_err(|_| {
            Error::new(format!("core.timeout is '{text}'"))
                .hint("Allowed is a number of seconds: dcos config set core.timeout 180")
        })?;
        Ok(timeout(Some(seconds)))
    }

    /// A client of the cluster that is meant.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        Client::new(&self.cluster()?, self.program.verbosity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(variables: &[(&str, &str)]) -> Context {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let environment = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let program = Program { version: "1", arguments: || clap::Command::new("dcos"), verbosity: 0 };
        Context { program, environment: Box::new(environment) }
    }

    #[test]
    fn the_environment_goes_before_what_is_attached() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let set_up = |id: &str, name: &str, url: &str| {
            let clusters = context(&[("DCOS_DIR", home)]).clusters();
            let mut settings = clusters.fresh(id).unwrap();
            settings.set("cluster.name", name).unwrap();
            settings.set("core.dcos_url", url).unwrap();
            settings.set("core.dcos_acs_token", "kept").unwrap();
            clusters.save(&mut settings, None).unwrap();
            clusters.attach(&settings).unwrap();
        };
        set_up("id-1", "one", "http://127.0.1.1/");
        set_up("id-2", "two", "http://127.0.2.1");
        let check = |variables: &[(&str, &str)], url: &str, token: Option<&str>| {
            let mut all = vec![("DCOS_DIR", home)];
            all.extend(variables);
            let cluster = context(&all).cluster().unwrap();
            assert_eq!((cluster.url.as_str(), cluster.token.as_deref()), (url, token), "{variables:?}");
        };
        check(&[], "http://127.0.2.1", Some("kept"));
        check(&[("DCOS_CLUSTER", "one")], "http://127.0.1.1", Some("kept"));
        check(&[("DCOS_CLUSTER", "id-1")], "http://127.0.1.1", Some("kept"));
        check(&[("DCOS_ACS_TOKEN", "t")], "http://127.0.2.1", Some("t"));
        check(&[("DCOS_URL", "http://127.0.3.1/"), ("DCOS_CLUSTER", "one")], "http://127.0.3.1", None);
        let error = context(&[("DCOS_DIR", home), ("DCOS_CLUSTER", "id")]).cluster().unwrap_err().to_string();
        assert!(error.starts_with("DCOS_CLUSTER is 'id', and there is no such cluster\n"), "{error}");
    }

    #[test]
    fn settings_say_what_is_trusted_and_how_long_is_waited() {
        let check = |variables: &[(&str, &str)], tls: Tls, timeout: u64| {
            let mut all = vec![("DCOS_URL", "http://127.0.0.1")];
            all.extend(variables);
            let cluster = context(&all).cluster().unwrap();
            assert_eq!((cluster.tls, cluster.timeout.as_secs()), (tls, timeout));
        };
        check(&[], Tls::System, 180);
        check(&[("DCOS_SSL_VERIFY", "False"), ("DCOS_TIMEOUT", "5")], Tls::Unchecked, 5);
        check(&[("DCOS_SSL_VERIFY", "/ca.crt")], Tls::Bundle("/ca.crt".into()), 180);
        let error =
            context(&[("DCOS_URL", "http://127.0.0.1"), ("DCOS_TIMEOUT", "x")]).cluster().unwrap_err();
        assert!(error.to_string().starts_with("core.timeout is 'x'\n"));
    }
}
