//! What was asked for on the command line, read as docopt reads it: options anywhere, long ones by any
//! prefix that fits only one of them, their values after `=` or as the next word; commands and operands
//! by their order.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::Config;
use crate::bootstrap::Request;

/// What bad usage is answered with.
pub(crate) const USAGE: &str = "\
Usage:
  pkgpanda activate <id>... [--rollback-on-failed-checks] [options]
  pkgpanda swap <package-id> [--rollback-on-failed-checks] [options]
  pkgpanda rollback [options]
  pkgpanda active [options]
  pkgpanda fetch --repository-url=<url> <id>... [options]
  pkgpanda add <package-tarball> [options]
  pkgpanda list [options]
  pkgpanda remove <id>... [options]
  pkgpanda verify [<id>...] [options]
  pkgpanda bootstrap --repository-url=<url> [--sha256=<hash>] [--role=<role>]... <bootstrap-id>
                     [--no-systemd] [--no-block-systemd]
  pkgpanda setup [options]
  pkgpanda uninstall [options]
  pkgpanda check [--list] [options]
";

/// What `--help` prints below the usage.
const OPTIONS_HELP: &str = "\
Options:
    --config-dir=<conf-dir>     The host's configuration: roles, setup flags, setup packages
                                [default: /etc/mesosphere]
    --no-systemd                Neither stop nor start units; only keep their links, those of another
                                <root> than the default below it, as with --rooted-systemd
    --no-block-systemd          Do not wait until units have started or stopped
    --root=<root>               Where packages are activated [default: /opt/mesosphere]
    --repository=<repository>   The directory of packages [default: /opt/mesosphere/packages]
    --rooted-systemd            Link units below the root, in dcos.target.wants, instead of in
                                /etc/systemd/system/dcos.target.wants
    --rollback-on-failed-checks
                                Run the checks after activation, and go back to the last good set of
                                packages if one of them fails
    --list                      Print the checks instead of running them
    --repository-url=<url>      Where packages are fetched from: BASE of BASE/packages/NAME/ID.tar.xz
                                and of BASE/bootstrap/ID.bootstrap.tar.xz
    --sha256=<hash>             The SHA-256 that the bootstrap must have; without this option the server
                                is asked for it, and trusted
    --role=<role>               A role that this host gets beside those in <conf-dir>/roles: master, slave,
                                slave_public
";

/// What `--help` prints.
pub(crate) fn help() -> String {
    format!("Host packages of DC/OS: what is there, what is active.\n\n{USAGE}\n{OPTIONS_HELP}")
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A command, on what.
    Run(Command, Box<Config>),
    /// `--help`.
    Help,
    /// Nothing that exists: what is wrong, if more can be said than the usage does.
    Bad(String),
}

/// A command of the usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Activate { ids: Vec<String>, check: bool },
    Swap { id: String, check: bool },
    Rollback,
    Active,
    Fetch { repository_url: String, ids: Vec<String> },
    Add { tarball: PathBuf },
    List,
    Remove { ids: Vec<String> },
    Verify { ids: Vec<String> },
    Bootstrap(Request),
    Setup,
    Uninstall,
    Check { list: bool },
}

/// The long options, and whether they have a value.
const OPTIONS: [(&str, bool); 11] = [
    ("--config-dir", true),
    ("--no-systemd", false),
    ("--no-block-systemd", false),
    ("--root", true),
    ("--repository", true),
    ("--rooted-systemd", false),
    ("--rollback-on-failed-checks", false),
    ("--list", false),
    ("--repository-url", true),
    ("--sha256", true),
    (ROLE, true),
];

/// The option that may be given more than once.
const ROLE: &str = "--role";

/// What `bootstrap` does not take: its units work on the usual paths.
const NOT_FOR_BOOTSTRAP: [&str; 4] = ["--config-dir", "--root", "--repository", "--rooted-systemd"];

/// Reads the words after the program's name; relative paths are taken against `directory`.
/// `usual` is what the command works on where no option says otherwise.
pub(crate) fn parse(words: &[OsString], directory: &Path, usual: &Config) -> Asked {
    let words = match Words::read(words) {
        Ok(words) => words,
        Err(bad) => return Asked::Bad(bad),
    };
    if words.help {
        return Asked::Help;
    }
    let mut given = Given(words.options);
    let Some(command) = command(&words.operands, &mut given) else { return Asked::Bad(String::new()) };
    if let Command::Bootstrap(_) = command {
        let other = given.0.iter().map(|(name, _)| *name).find(|name| NOT_FOR_BOOTSTRAP.contains(name));
        if let Some(name) = other {
            let root = crate::config::ROOT;
            return Asked::Bad(format!(
                "{name} is not for bootstrap, whose units work on {root} and nowhere else"
            ));
        }
    }
    match config(&mut given, directory, usual.clone()) {
        Err(bad) => Asked::Bad(bad),
        // An option of another command.
        Ok(_) if !given.0.is_empty() => Asked::Bad(String::new()),
        Ok(config) => Asked::Run(command, Box::new(config)),
    }
}

/// A command line, taken apart.
#[derive(Default)]
struct Words {
    help: bool,
    options: Vec<(&'static str, OsString)>,
    operands: Vec<OsString>,
}

impl Words {
    fn read(words: &[OsString]) -> Result<Words, String> {
        let mut read = Words::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                read.operands.extend(rest.cloned());
                break;
            }
            if bytes == b"-h" || bytes == b"--help" {
                read.help = true;
            } else if bytes.starts_with(b"--") {
                read.option(bytes, &mut rest)?;
            } else if bytes.len() > 1 && bytes[0] == b'-' {
                return Err(format!("{} is not an option", word.display()));
            } else {
                read.operands.push(word.clone());
            }
        }
        Ok(read)
    }

    fn option(&mut self, word: &[u8], rest: &mut std::slice::Iter<'_, OsString>) -> Result<(), String> {
        let (given, value) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]).to_owned())),
            None => (word, None),
        };
        let (name, valued) = named(given)?;
        let value = match (valued, value) {
            (false, Some(_)) => return Err(format!("{name} must not have an argument")),
            (false, None) => OsString::new(),
            (true, Some(value)) => value,
            (true, None) => match rest.next() {
                Some(value) if value != "--" => value.clone(),
                _ => return Err(format!("{name} requires argument")),
            },
        };
        if name != ROLE && self.options.iter().any(|(other, _)| *other == name) {
            return Err(format!("{name} is given twice"));
        }
        self.options.push((name, value));
        Ok(())
    }
}

/// The option of that name, or the only one whose name begins like that.
fn named(given: &[u8]) -> Result<(&'static str, bool), String> {
    if let Some(option) = OPTIONS.iter().find(|(name, _)| name.as_bytes() == given) {
        return Ok(*option);
    }
    let fitting: Vec<_> = OPTIONS.iter().filter(|(name, _)| name.as_bytes().starts_with(given)).collect();
    let given = String::from_utf8_lossy(given);
    match fitting[..] {
        [option] => Ok(*option),
        [] => Err(format!("{given} is not an option")),
        _ => {
            let names: Vec<_> = fitting.iter().map(|(name, _)| *name).collect();
            Err(format!("{given} is not a unique prefix: {}?", names.join(", ")))
        }
    }
}

/// Options that nobody has asked for yet.
struct Given(Vec<(&'static str, OsString)>);

impl Given {
    fn take(&mut self, name: &str) -> Option<OsString> {
        let at = self.0.iter().position(|(given, _)| *given == name)?;
        Some(self.0.remove(at).1)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }
}

/// The command of the usage that these operands fit, with the options that only some commands have.
fn command(operands: &[OsString], given: &mut Given) -> Option<Command> {
    let (name, operands) = operands.split_first()?;
    let text = |operand: &OsString| operand.to_string_lossy().into_owned();
    let all = || operands.iter().map(text).collect::<Vec<_>>();
    let some = || (!operands.is_empty()).then(all);
    Some(match (name.to_str()?, operands) {
        ("activate", _) => {
            Command::Activate { ids: some()?, check: given.flag("--rollback-on-failed-checks") }
        }
        ("swap", [id]) => Command::Swap { id: text(id), check: given.flag("--rollback-on-failed-checks") },
        ("fetch", _) => {
            let repository_url = text(&given.take("--repository-url")?);
            Command::Fetch { repository_url, ids: some()? }
        }
        ("add", [tarball]) => Command::Add { tarball: tarball.into() },
        ("remove", _) => Command::Remove { ids: some()? },
        ("verify", _) => Command::Verify { ids: all() },
        ("rollback", []) => Command::Rollback,
        ("active", []) => Command::Active,
        ("list", []) => Command::List,
        ("bootstrap", [id]) => Command::Bootstrap(Request {
            repository_url: text(&given.take("--repository-url")?),
            id: text(id),
            sha256: given.take("--sha256").as_ref().map(text),
            roles: std::iter::from_fn(|| given.take(ROLE)).map(|role| text(&role)).collect(),
        }),
        ("setup", []) => Command::Setup,
        ("uninstall", []) => Command::Uninstall,
        ("check", []) => Command::Check { list: given.flag("--list") },
        _ => return None,
    })
}

fn config(given: &mut Given, directory: &Path, mut config: Config) -> Result<Config, String> {
    let usual = config.root.clone();
    let paths = [
        ("--root", &mut config.root),
        ("--config-dir", &mut config.config_dir),
        ("--repository", &mut config.repository),
    ];
    for (name, path) in paths {
        let Some(value) = given.take(name) else { continue };
        if value.is_empty() {
            return Err(format!("{name} is empty, allowed is a path"));
        }
        *path = absolute(directory, Path::new(&value));
    }
    config.units.manage &= !given.flag("--no-systemd");
    config.units.block &= !given.flag("--no-block-systemd");
    // Links among the host's units would be to what another root than the host's has active.
    let is_aside = !config.units.manage && config.root != usual;
    config.units.rooted |= given.flag("--rooted-systemd") || is_aside;
    Ok(config)
}

/// The path without `.`, `..` and doubled slashes, by its text alone (Python: os.path.abspath).
fn absolute(directory: &Path, path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in directory.join(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        let words: Vec<OsString> = line.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
        parse(&words, Path::new("/srv/dir"), &Config::default())
    }

    fn check(line: &str, command: Command) {
        let Asked::Run(found, config) = asked(line) else { panic!("{line}") };
        assert_eq!(found, command, "{line}");
        assert_eq!(config.repository, Path::new("/opt/mesosphere/packages"));
    }

    fn bad(line: &str, message: &str) {
        let Asked::Bad(found) = asked(line) else { panic!("{line}") };
        assert_eq!(found, message, "{line}");
    }

    #[test]
    fn every_command_of_the_usage_is_read() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        check("activate a--1 b--2", Command::Activate { ids: ids(&["a--1", "b--2"]), check: false });
        check("activate --rollback a--1", Command::Activate { ids: ids(&["a--1"]), check: true });
        check("swap a--1", Command::Swap { id: "a--1".into(), check: false });
        check("rollback", Command::Rollback);
        check("active", Command::Active);
        let fetch = Command::Fetch { repository_url: "http://x".into(), ids: ids(&["a--1"]) };
        check("fetch --repository-url=http://x a--1", fetch.clone());
        check("fetch a--1 --repository-url http://x", fetch);
        check("add x/a--1.tar.xz", Command::Add { tarball: "x/a--1.tar.xz".into() });
        check("list", Command::List);
        check("remove list", Command::Remove { ids: ids(&["list"]) });
        check("remove -- --list", Command::Remove { ids: ids(&["--list"]) });
        check("verify", Command::Verify { ids: vec![] });
        check("verify a--1", Command::Verify { ids: ids(&["a--1"]) });
        let asked = |sha256: Option<&str>, roles: &[&str]| {
            let (repository_url, id) = ("http://x".to_owned(), "8e0d".to_owned());
            Command::Bootstrap(Request {
                repository_url,
                id,
                sha256: sha256.map(Into::into),
                roles: ids(roles),
            })
        };
        check("bootstrap --repository-url=http://x 8e0d", asked(None, &[]));
        let line = "bootstrap --role=master 8e0d --repository-url http://x --role slave --sha 12 --no-block";
        check(line, asked(Some("12"), &["master", "slave"]));
        check("setup", Command::Setup);
        check("uninstall", Command::Uninstall);
        check("check", Command::Check { list: false });
        check("--li check", Command::Check { list: true });
    }

    #[test]
    fn options_stand_anywhere_and_paths_become_absolute() {
        let Asked::Run(Command::List, config) =
            asked("--root=r/../s/. list --repository /p//q/ --conf c --no-s --no-b --roote")
        else {
            panic!()
        };
        assert_eq!(config.root, Path::new("/srv/dir/s"));
        assert_eq!(config.repository.as_os_str(), "/p/q");
        assert_eq!(config.config_dir, Path::new("/srv/dir/c"));
        assert!(!config.units.manage && !config.units.block && config.units.rooted);
    }

    #[test]
    fn without_systemd_another_root_keeps_its_units_below_it() {
        let check = |line: &str, rooted: bool| {
            let Asked::Run(_, config) = asked(line) else { panic!("{line}") };
            assert_eq!(config.units.rooted, rooted, "{line}");
        };
        check("active --no-systemd", false);
        check("active --no-systemd --root=/opt//mesosphere/", false);
        check("active --no-systemd --root=/srv/other", true);
        check("active --root=/srv/other", false);
    }

    #[test]
    fn help_is_given_whatever_else_is_there() {
        for line in ["--help", "-h", "activate --help", "nonsense -h"] {
            assert!(matches!(asked(line), Asked::Help), "{line}");
        }
    }

    #[test]
    fn bad_usage_says_what_is_bad() {
        for line in
            ["", "nothing", "activate", "swap", "swap a b", "list a", "list --list", "fetch a--1", "add"]
        {
            bad(line, "");
        }
        bad("list --rollback-on-failed-checks", "");
        bad("list --repository-url=x", "");
        bad(
            "list --ro=x",
            "--ro is not a unique prefix: --root, --rooted-systemd, --rollback-on-failed-checks, --role?",
        );
        bad("list --repo x", "--repo is not a unique prefix: --repository, --repository-url?");
        bad("list --root", "--root requires argument");
        bad("list --root --", "--root requires argument");
        bad("list --no-systemd=1", "--no-systemd must not have an argument");
        bad("list --root=a --root=b", "--root is given twice");
        bad("list --root=", "--root is empty, allowed is a path");
        bad("bootstrap --repository-url=http://x", "");
        bad("bootstrap 8e0d", "");
        bad("setup --role=master", "");
        for option in ["--root=/x", "--repository=/x", "--config-dir=/x", "--rooted-systemd"] {
            let name = option.split('=').next().unwrap();
            bad(
                &format!("bootstrap --repository-url=http://x 8e0d {option}"),
                &format!("{name} is not for bootstrap, whose units work on /opt/mesosphere and nowhere else"),
            );
        }
        bad("list --nope", "--nope is not an option");
        bad("list -x", "-x is not an option");
    }

    #[test]
    fn options_of_the_table_are_those_of_the_help() {
        for (name, valued) in OPTIONS {
            let line = help().lines().map(str::trim).find(|line| line.starts_with(name)).map(str::to_owned);
            let line = line.unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(line.contains("=<"), valued, "{line}");
        }
    }
}
