//! Settings from the environment. Units give them to components in the files that operators of DC/OS know:
//! a variable `MESOS_WORK_DIR` means the flag `--work_dir` (Mesos: `FlagsBase::load`).
//!
//! They become arguments that come before those of the command line, so that there is one parser, one set of
//! rules and one kind of error for both, and the command line wins.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue};

/// Where a component's settings come from besides its command line.
struct Source {
    /// The component's command.
    command: &'static str,
    /// What its variables begin with; the rest is the flag's name.
    prefix: &'static str,
    /// Variables with names of their own, and the flags that they say.
    own: &'static [(&'static str, &'static str)],
    /// What such variables may say of flags that there are not: it is what the program does anyhow. By flag.
    usual: &'static [(&'static str, &'static [&'static str])],
}

/// Variables that mean a flag of every component. The last one is a unit's own copy, and
/// counts before the original, which only root can read.
const COMMON: &[(&str, &str)] = &[
    ("MESOS_IP_DISCOVERY_COMMAND", "ip_discovery_command"),
    ("DCOS_TOKEN_FILE", "token-file"),
    ("DCOS_UNIT_TOKEN_FILE", "token-file"),
];

const SOURCES: &[Source] = &[
    Source {
        command: "mesos-master",
        prefix: "MESOS_",
        own: &[],
        usual: &[
            ("hostname_lookup", &["false"]),
            ("allocator", &["HierarchicalDRF", "hierarchical"]),
            ("role_sorter", &["drf"]),
            ("framework_sorter", &["drf"]),
            ("authenticate_frameworks", &["false"]),
        ],
    },
    Source {
        command: "mesos-agent",
        prefix: "MESOS_",
        own: &[],
        usual: &[
            ("hostname_lookup", &["false"]),
            ("containerizers", &["mesos", "docker,mesos", "mesos,docker"]),
            ("image_providers", &["docker"]),
            ("image_provisioner_backend", &["overlay"]),
            ("http_command_executor", &["true"]),
            ("http_executor_domain_sockets", &["true"]),
            ("launcher", &["linux"]),
            ("recover", &["reconnect"]),
            ("strict", &["true"]),
            ("switch_user", &["true"]),
        ],
    },
    Source { command: "marathon-server", prefix: "MARATHON_", own: &[], usual: &[] },
    Source { command: "admin-router", prefix: "ADMINROUTER_", own: &[], usual: &[] },
    Source {
        command: "pkgpanda-api",
        prefix: "PKGPANDA_API_",
        // Those that its configuration file had.
        own: &[
            ("DCOS_ROOT", "root"),
            ("DCOS_CONFIG_DIR", "config-dir"),
            ("DCOS_REPO_DIR", "repository"),
            ("DCOS_ROOTED_SYSTEMD", "rooted-systemd"),
            ("WORK_DIR", "work-dir"),
        ],
        usual: &[],
    },
];

/// What the environment said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The flags that were taken from it, each with its variable.
    said: Vec<(String, String)>,
    /// The variables that mean nothing here.
    ignored: Vec<String>,
}

/// The arguments of a process, with those that its environment says put in where they belong. Only
/// components have such.
pub(crate) fn complete(
    mut arguments: Vec<OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    program: &clap::Command,
) -> (Vec<OsString>, Settings) {
    let is_option = |argument: &OsString| argument.as_encoded_bytes().starts_with(b"-");
    let at = arguments.iter().skip(1).position(|argument| !is_option(argument));
    let found = at.and_then(|at| {
        let command = program.find_subcommand(&arguments[at + 1])?;
        let source = SOURCES.iter().find(|source| source.command == command.get_name())?;
        Some((at + 2, command, source))
    });
    let Some((at, command, source)) = found else { return (arguments, Settings::default()) };
    let mut settings = Settings::default();
    let mut flags = Vec::new();
    let mut environment: Vec<(OsString, OsString)> = environment.into_iter().collect();
    environment.sort();
    for (variable, value) in environment {
        let Some(variable) = variable.to_str().filter(|_| !value.is_empty()) else { continue };
        let Some(name) = source.flag(variable) else { continue };
        match flag_of(command, &name) {
            Some((flag, is_alias)) => {
                let mut argument = OsString::from(format!("--{flag}="));
                argument.push(&value);
                flags.push((!is_alias, argument));
                settings.said.push((flag, variable.to_owned()));
            }
            None if is_common(variable) || source.is_usual(&name, &value) => {}
            None => settings.ignored.push(variable.to_owned()),
        }
    }
    // The last one counts: the name that is Mesos' today, not the one that it had.
    flags.sort_by_key(|(is_todays, _)| *is_todays);
    arguments.splice(at..at, flags.into_iter().map(|(_, argument)| argument));
    (arguments, settings)
}

impl Source {
    /// The flag that a variable says.
    fn flag(&self, variable: &str) -> Option<String> {
        let common = COMMON
            .iter()
            .chain(self.own)
            .find(|(name, _)| *name == variable)
            .map(|(_, flag)| (*flag).to_owned());
        common.or_else(|| Some(variable.strip_prefix(self.prefix)?.to_ascii_lowercase()))
    }

    fn is_usual(&self, flag: &str, value: &OsStr) -> bool {
        let usual = self.usual.iter().find(|(name, _)| *name == flag);
        usual.is_some_and(|(_, values)| values.iter().any(|usual| *usual == value))
    }
}

/// Whether a variable means a flag of components in general: others have it in their environment, too.
fn is_common(variable: &str) -> bool {
    COMMON.iter().any(|(name, ..)| *name == variable)
}

/// The long name of the command's flag with that name, and whether that is another name of it. Variables
/// cannot tell `-` from `_`.
fn flag_of(command: &clap::Command, name: &str) -> Option<(String, bool)> {
    let is = |long: &str| long == name || long.replace('-', "_") == name;
    command.get_arguments().find_map(|argument| {
        let long = argument.get_long()?;
        if is(long) {
            return Some((long.to_owned(), false));
        }
        let aliases = argument.get_all_aliases().unwrap_or_default();
        aliases.into_iter().any(is).then(|| (long.to_owned(), true))
    })
}

impl Settings {
    /// Tells the log which variables mean nothing. Their values are not told: they may be secrets.
    pub(crate) fn warn(&self) {
        if !self.ignored.is_empty() {
            tracing::warn!("these settings mean nothing here and are ignored: {}", self.ignored.join(", "));
        }
    }

    /// Where the argument that was refused came from, if it was the environment.
    pub(crate) fn origin(&self, error: &clap::Error) -> Option<String> {
        let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
        let flag = argument.strip_prefix("--")?.split([' ', '=', '[']).next()?;
        let (_, variable) = self.said.iter().find(|(said, _)| said == flag)?;
        Some(format!("The environment says it: {variable}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(arguments: &str, environment: &[(&str, &str)]) -> (String, Settings) {
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let arguments = arguments.split(' ').map(OsString::from).collect();
        let (arguments, settings) = complete(arguments, environment, &crate::arguments::all());
        let text = arguments.join(OsStr::new(" "));
        (text.into_string().unwrap(), settings)
    }

    #[test]
    fn variables_come_before_the_command_lines_flags() {
        let environment = [
            ("MESOS_WORK_DIR", "/srv/master"),
            ("MESOS_IP_DISCOVERY_COMMAND", "echo 10.0.0.1"),
            ("MESOS_MAX_SLAVE_PING_TIMEOUTS", "20"),
            ("MESOS_MAX_AGENT_PING_TIMEOUTS", "30"),
            ("MESOS_WEIGHTS", ""),
            ("MESOS_ZK", "zk://127.0.0.1:2181/mesos"),
            ("MESOS_HOSTNAME_LOOKUP", "false"),
            ("DCOS_UNIT_TOKEN_FILE", "/run/token"),
            ("DCOS_TOKEN_FILE", "/token"),
            ("MARATHON_ZK", "zk://"),
            ("PATH", "/bin"),
        ];
        let (arguments, settings) = completed("dcos -v mesos-master --port=5050", &environment);
        assert_eq!(
            arguments,
            "dcos -v mesos-master --max_agent_ping_timeouts=20 --token-file=/token --token-file=/run/token \
             --ip_discovery_command=echo 10.0.0.1 --max_agent_ping_timeouts=30 --work_dir=/srv/master --port=5050"
        );
        assert_eq!(settings.ignored, ["MESOS_ZK"]);
        let (arguments, settings) = completed("dcos marathon-server", &environment);
        let expected = "dcos marathon-server --token-file=/token --token-file=/run/token --ip_discovery_command=echo 10.0.0.1";
        assert_eq!(arguments, expected);
        assert_eq!(settings.ignored, ["MARATHON_ZK"]);
        let (arguments, settings) = completed("dcos pkgpanda-api", &environment);
        assert_eq!((arguments.as_str(), settings.ignored.len()), ("dcos pkgpanda-api", 0));
    }

    #[test]
    fn variables_may_have_names_of_their_own() {
        let environment = [
            ("DCOS_ROOT", "/r"),
            ("DCOS_ROOTED_SYSTEMD", "true"),
            ("PKGPANDA_API_SOCKET", "/s"),
            ("MESOS_IP", "x"),
        ];
        let (arguments, settings) = completed("dcos pkgpanda-api --root=/other", &environment);
        assert_eq!(arguments, "dcos pkgpanda-api --root=/r --rooted-systemd=true --socket=/s --root=/other");
        assert!(settings.ignored.is_empty());
        assert_eq!(completed("dcos admin-router", &environment).0, "dcos admin-router");
    }

    #[test]
    fn what_is_no_component_is_left_alone() {
        for arguments in ["dcos", "dcos node list", "dcos up --mesos-master", "dcos master --ip 1.2.3.4"] {
            let (completed, settings) = completed(arguments, &[("MESOS_PORT", "1")]);
            assert_eq!((completed.as_str(), settings), (arguments, Settings::default()));
        }
    }

    /// What packages bring as defaults means something, all of it.
    #[test]
    fn defaults_of_packages_are_settings() {
        let check = |command: &str, files: &[&str]| {
            let mut environment = Vec::new();
            for file in files {
                let path = format!("{}/../../packages/{file}", env!("CARGO_MANIFEST_DIR"));
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().filter(|line| !line.starts_with('#'));
                environment.extend(
                    lines
                        .map(|line| line.split_once('=').unwrap())
                        .map(|(name, value)| (OsString::from(name), OsString::from(value))),
                );
            }
            let count = environment.len();
            let words = ["dcos", command].map(OsString::from).to_vec();
            let (words, settings) = complete(words, environment, &crate::arguments::all());
            assert_eq!((words.len(), settings.ignored.len()), (2 + count, 0), "{files:?}");
            crate::arguments::all().try_get_matches_from(words).unwrap();
        };
        check("mesos-master", &["mesos-master/extra/defaults/mesos-master"]);
        let agent = |file| ["mesos-agent/extra/defaults/mesos-slave-common", file];
        check("mesos-agent", &agent("mesos-agent/extra/defaults/mesos-slave"));
        check("mesos-agent", &agent("mesos-agent/extra/defaults/mesos-slave-public"));
        check("marathon-server", &["marathon/extra/defaults/marathon"]);
        check("admin-router", &["adminrouter/extra/defaults/adminrouter-master.env"]);
    }

    #[test]
    fn other_values_than_the_usual_are_told() {
        let check = |value, ignored: &[&str]| {
            let variables = [("MESOS_CONTAINERIZERS", value)];
            assert_eq!(completed("dcos mesos-slave", &variables).1.ignored, ignored);
        };
        check("docker,mesos", &[]);
        check("appc", &["MESOS_CONTAINERIZERS"]);
    }

    #[test]
    fn who_is_refused_learns_where_it_was_said() {
        let check = |arguments: &str, origin: Option<&str>| {
            let (arguments, settings) = completed(arguments, &[("MESOS_OFFER_TIMEOUT", "soon")]);
            let refused = crate::arguments::all().try_get_matches_from(arguments.split(' ')).unwrap_err();
            assert_eq!(settings.origin(&refused).as_deref(), origin);
        };
        check("dcos mesos-master", Some("The environment says it: MESOS_OFFER_TIMEOUT."));
        check("dcos mesos-agent --gc_delay=soon", None);
    }
}
