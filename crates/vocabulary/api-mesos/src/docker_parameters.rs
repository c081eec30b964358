//! `docker.parameters`: options of `docker run`, as far as they have a meaning here.
//!
//! There is no docker daemon: what an option asks for, this system does itself. One table says which
//! options are understood; every other one is refused by name, so that none is ignored silently. Marathon
//! refuses an app by it, and the agent a task of any other framework.

mod value;

use std::net::IpAddr;

use mesos_proto::v1::r_limit_info::RLimit;

/// What all parameters of a container together ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerParameters {
    /// `env`: variables that come after the image's and before the task's own.
    pub environment: Vec<(String, String)>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `user`: a name or number, with a group after a colon if wanted. It replaces the image's.
    pub user: Option<String>,
    /// `workdir`: absolute. It replaces the image's.
    pub working_dir: Option<String>,
    /// `entrypoint`: it replaces the image's, and its cmd is then not used, as with docker.
    pub entrypoint: Option<String>,
    /// `volume`, in the order given.
    pub volumes: Vec<BindVolume>,
    /// `tmpfs`, in the order given.
    pub tmpfs: Vec<Tmpfs>,
    /// `cap-add`, without `CAP_`; `ALL` stands for all.
    pub add_capabilities: Vec<String>,
    /// `cap-drop`, likewise. What is added stays although it is dropped, as with docker.
    pub drop_capabilities: Vec<String>,
    /// `privileged`; None when it is not said.
    pub privileged: Option<bool>,
    /// `shm-size` in bytes.
    pub shm_bytes: Option<u64>,
    /// `ulimit`.
    pub rlimits: Vec<RLimit>,
    /// `read-only`: the image's root cannot be written to.
    pub read_only: bool,
    /// `add-host`: further lines of `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// `dns`: the servers of `/etc/resolv.conf`, instead of the agent's.
    pub dns_servers: Vec<IpAddr>,
    /// `dns-search`: the domains of `/etc/resolv.conf`, instead of the agent's.
    pub dns_search: Vec<String>,
    /// `dns-opt`: the options of `/etc/resolv.conf`, instead of the agent's.
    pub dns_options: Vec<String>,
    /// `security-opt seccomp=unconfined`.
    pub seccomp_unconfined: bool,
    /// `security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `pids-limit`: processes and threads.
    pub pids_limit: Option<u64>,
    /// `oom-score-adj`, -1000 to 1000.
    pub oom_score_adjustment: Option<i16>,
}

/// A directory or file of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindVolume {
    /// On the host, absolute.
    pub source: String,
    /// In the container, absolute.
    pub target: String,
    /// Whether the container cannot write to it.
    pub read_only: bool,
}

/// A directory of the container that is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// In the container, absolute.
    pub target: String,
    /// How large it may grow; half of the memory without it, as the kernel has it.
    pub bytes: Option<u64>,
    /// Whether the container cannot write to it.
    pub read_only: bool,
}

/// Why a parameter is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The option means nothing here.
    #[error("docker parameter '{key}' has no meaning here; {}", instead(key))]
    Unknown {
        /// As given.
        key: String,
    },
    /// The option is known and its value is not what it allows.
    #[error("docker parameter '{key}' is '{found}'; allowed is {allowed}")]
    Value {
        /// As given.
        key: String,
        /// As given.
        found: String,
        /// In words.
        allowed: &'static str,
    },
}

/// What an option does with its value: the error is what is allowed.
type Apply = fn(&mut DockerParameters, &str) -> Result<(), &'static str>;

/// Every option with a meaning here.
const TABLE: &[(&str, Apply)] = &[
    ("add-host", value::add_host),
    ("cap-add", |all, value| value::capability(value).map(|name| all.add_capabilities.push(name))),
    ("cap-drop", |all, value| value::capability(value).map(|name| all.drop_capabilities.push(name))),
    ("dns", |all, value| value::address(value).map(|address| all.dns_servers.push(address))),
    ("dns-opt", |all, value| value::word(value).map(|option| all.dns_options.push(option))),
    ("dns-search", |all, value| value::word(value).map(|domain| all.dns_search.push(domain))),
    ("entrypoint", |all, value| {
        all.entrypoint = Some(value.to_owned());
        Ok(())
    }),
    ("env", value::environment),
    ("hostname", |all, value| value::hostname(value).map(|name| all.hostname = Some(name))),
    // A container always has an init that reaps: see below.
    ("init", |_, value| value::flag(value).map(drop)),
    // Labels are for whoever looks at the app: they are shown with it.
    ("label", |_, _| Ok(())),
    ("no-healthcheck", |_, value| value::flag(value).map(drop)),
    ("oom-score-adj", |all, value| {
        value::oom_score(value).map(|score| all.oom_score_adjustment = Some(score))
    }),
    ("pids-limit", |all, value| value::pids(value).map(|limit| all.pids_limit = limit)),
    ("privileged", |all, value| value::flag(value).map(|is| all.privileged = Some(is))),
    ("read-only", |all, value| value::flag(value).map(|is| all.read_only = is)),
    // Nothing of a container is left anyhow.
    ("rm", |_, value| match value::flag(value) {
        Ok(true) => Ok(()),
        _ => Err("true: nothing of a container that ended is left"),
    }),
    ("security-opt", value::security),
    ("shm-size", |all, value| value::bytes(value).map(|bytes| all.shm_bytes = Some(bytes))),
    ("tmpfs", |all, value| value::tmpfs(value).map(|tmpfs| all.tmpfs.push(tmpfs))),
    ("ulimit", |all, value| value::ulimit(value).map(|limit| all.rlimits.push(limit))),
    ("user", |all, value| value::user(value).map(|user| all.user = Some(user))),
    ("volume", |all, value| value::volume(value).map(|volume| all.volumes.push(volume))),
    ("workdir", |all, value| value::absolute(value).map(|dir| all.working_dir = Some(dir))),
];

/// The short names of options that have one, as `docker run` takes them.
const SHORT: &[(&str, &str)] = &[
    ("e", "env"),
    ("h", "hostname"),
    ("l", "label"),
    ("u", "user"),
    ("v", "volume"),
    ("w", "workdir"),
    ("dns-option", "dns-opt"),
];

impl DockerParameters {
    /// Reads parameters, each a key and a value.
    ///
    /// # Errors
    /// For the first one that means nothing here, or whose value is not allowed.
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<DockerParameters, ParameterError> {
        let mut all = DockerParameters::default();
        for (key, value) in parameters {
            let name = SHORT.iter().find(|(short, _)| *short == key).map_or(key, |(_, long)| long);
            let Some((_, apply)) = TABLE.iter().find(|(known, _)| *known == name) else {
                return Err(ParameterError::Unknown { key: key.to_owned() });
            };
            apply(&mut all, value).map_err(|allowed| ParameterError::Value {
                key: key.to_owned(),
                found: value.to_owned(),
                allowed,
            })?;
        }
        Ok(all)
    }
}

/// The options that are understood, for documentation and errors.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Where to say what the option says, or what else there is.
fn instead(key: &str) -> String {
    let field = match key {
        "name" => "Mesos names containers itself",
        "net" | "network" => "say it with 'networks'",
        "p" | "publish" | "expose" => "say it with 'portMappings'",
        "memory" | "m" => "say it with 'mem'",
        "cpus" | "cpu-shares" | "cpu-quota" => "say it with 'cpus'",
        "health-cmd" | "health-interval" | "health-retries" | "health-timeout" => {
            "say it with 'healthChecks'"
        }
        _ => return format!("these have one: {}", names().collect::<Vec<_>>().join(", ")),
    };
    field.to_owned()
}

#[cfg(test)]
mod tests;
