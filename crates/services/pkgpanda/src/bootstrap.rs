//! A bare host that has nothing but this program gets a bootstrap: `bootstrap`.
//!
//! What it leaves are files alone, of which each is there whole or not at all; from them systemd downloads and sets
//! up, now and, if that was interrupted, at the next start of the host. So the same command again finishes what a
//! crash has left.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api_pkgpanda::Role;
use pkgpanda_core::units::{
    self, DCOS_DOWNLOAD, DCOS_SETUP, DCOS_TARGET, dcos_download, dcos_setup, dcos_target,
};
use systemd::Block;

use crate::fetch::{Fetcher, Origin};
use crate::files::{self, failed};
use crate::{Config, Error, activate, install};

/// How long a download may take, and then the setup, before nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What `dcos-download.service` runs, beside what every host has.
const PROGRAMS: [&str; 4] = ["curl", "sha256sum", "tar", "xz"];

/// Where systemd looks for programs.
const PROGRAM_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What is there in place of a hash as long as it is not known.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What was asked for, not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The URL below which `bootstrap/ID.bootstrap.tar.xz` lies.
    pub(crate) repository_url: String,
    /// The bootstrap's id.
    pub(crate) id: String,
    /// The SHA-256 of its tarball; otherwise the server is asked.
    pub(crate) sha256: Option<String>,
    /// Roles that the host is to have.
    pub(crate) roles: Vec<String>,
}

/// What was asked for, and is possible here.
struct Wanted {
    origin: Origin,
    bootstrap: units::Bootstrap,
    /// Those to be added to the host's.
    roles: Vec<Role>,
    /// All that the host has then.
    all_roles: Vec<Role>,
}

/// Makes a bare host a node of the bootstrap of that id. All is checked before anything is changed.
pub(crate) fn bootstrap(
    config: &Config,
    request: &Request,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let mut wanted = check(config, request)?;
    let present = present_download(config)?;
    let download = match &present {
        // It is here, whatever the server has now.
        Some(text) if has_active(config) => text.clone(),
        _ => {
            if request.sha256.is_none() {
                wanted.bootstrap.sha256 = hash(&wanted, err)?;
            }
            dcos_download(&path_text(&config.root), &wanted.bootstrap)
                .map_err(|problems| Error::Bootstrap(problems.iter().map(described).collect()))?
        }
    };
    if config.units.manage && present.is_some_and(|present| present != download) {
        // That of another bootstrap would be waited for instead of this one.
        config.systemd.stop(&[DCOS_DOWNLOAD], Block::UntilDone)?;
    }
    let id = &wanted.bootstrap.id;
    let roles: Vec<&str> = wanted.all_roles.iter().map(Role::as_str).collect();
    writeln!(
        out,
        "Roles of this host: {}",
        if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
    )?;
    write_configuration(config, &wanted)?;
    write_units(config, &download)?;
    if !config.units.manage {
        writeln!(out, "Bootstrap {id} is downloaded and set up when this host starts the next time")?;
        return Ok(());
    }
    start(config, id, out)
}

/// Everything that can be known to be wrong, at once; nothing is changed.
fn check(config: &Config, request: &Request) -> Result<Wanted, Error> {
    let mut problems = Vec::new();
    if !host::is_root() {
        problems.push("only root may change the host: run it as root (sudo)".to_owned());
    }
    if let Err(problem) = activate::systemd_is_there(config) {
        problems.push(problem.to_string());
    }
    problems.extend(PROGRAMS.iter().filter(|program| !is_installed(program)).map(|program| {
        format!("{program} is not on this host, and the bootstrap cannot be had without it: install it")
    }));
    let bootstrap = units::Bootstrap {
        url: request.repository_url.trim().trim_end_matches('/').to_owned(),
        id: request.id.clone(),
        sha256: request.sha256.as_ref().map_or_else(|| UNKNOWN.to_owned(), |hash| hash.to_lowercase()),
        scratch: path_text(&scratch(config)),
    };
    problems.extend(match is_of(config, &bootstrap) {
        Ok(is_ours) => occupied(config, is_ours),
        Err(error) => Some(base::with_causes(&error)),
    });
    let of_the_unit = bootstrap.problems(&path_text(&config.root));
    let is_url = of_the_unit.iter().all(|problem| problem.field != "url");
    problems.extend(of_the_unit.iter().map(described));
    let origin = is_url.then(|| origin(&bootstrap.url)).and_then(|origin| noted(origin, &mut problems));
    let roles: Vec<Role> = request
        .roles
        .iter()
        .filter_map(|role| noted(role.parse().map_err(|problem| format!("--role: {problem}")), &mut problems))
        .collect();
    let present = noted(install::roles(config).map_err(|error| error.to_string()), &mut problems);
    match origin {
        Some(origin) if problems.is_empty() => {
            let mut all_roles = present.unwrap_or_default();
            all_roles.extend(roles.iter().cloned());
            all_roles.sort();
            all_roles.dedup();
            Ok(Wanted { origin, bootstrap, roles, all_roles })
        }
        _ => Err(Error::Bootstrap(problems)),
    }
}

/// The value, or what is wrong among the other problems.
fn noted<T>(found: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    found.map_err(|problem| problems.push(problem)).ok()
}

/// A problem in the words of the command line.
fn described(problem: &units::BootstrapProblem) -> String {
    let units::BootstrapProblem { field, found, allowed } = problem;
    let name = match *field {
        "url" => "--repository-url",
        "id" => "<bootstrap-id>",
        "sha256" => "--sha256",
        other => other,
    };
    format!("{name} is {found:?}, allowed is {allowed}")
}

/// A URL that means the same here and to curl.
fn origin(url: &str) -> Result<Origin, String> {
    if url.strip_prefix("file://").is_some_and(|path| !path.starts_with('/')) {
        return Err(format!("--repository-url is {url:?}, allowed is an absolute path after file://"));
    }
    Origin::parse(url, Path::new("/"))
        .map_err(|error| format!("--repository-url: {}", base::with_causes(&error)))
}

fn is_installed(program: &str) -> bool {
    PROGRAM_DIRS.iter().any(|dir| Path::new(dir).join(program).is_file())
}

/// What keeps a bootstrap from coming to the root, if anything does. What a former attempt has brought there does not.
fn occupied(config: &Config, is_ours: bool) -> Option<String> {
    let root = config.root.display();
    let meta = match config.root.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("{root} cannot be looked at: {error}")),
        Ok(meta) if !meta.is_dir() => {
            return Some(format!("{root} is not a directory: move it away, the bootstrap comes there"));
        }
        Ok(meta) => meta,
    };
    let parent = config.root.parent().and_then(|parent| parent.metadata().ok());
    let is_empty = fs::read_dir(&config.root).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty && parent.is_some_and(|parent| parent.dev() != meta.dev()) {
        return Some(format!(
            "{root} is a file system of its own, which a downloaded bootstrap cannot replace: \
             unpack the bootstrap there by hand and run `pkgpanda setup`"
        ));
    }
    let has = |name: &str| config.root.join(name).symlink_metadata().is_ok();
    match is_empty || is_ours && has("active") {
        true => None,
        false if has("active") || has("packages") || has("current") => Some(format!(
            "{root} holds DC/OS already: `pkgpanda setup` finishes it, `pkgpanda fetch` and `pkgpanda activate` \
             change it, and after `pkgpanda uninstall` another bootstrap can come"
        )),
        false => Some(format!("{root} is not empty, and nothing in it is of pkgpanda: move it away")),
    }
}

/// The unit file that a former attempt has left.
fn present_download(config: &Config) -> Result<Option<String>, files::FileError> {
    files::read(&config.unit_dir().join(DCOS_DOWNLOAD))
}

/// Whether a former attempt was about the same bootstrap: then the root is what it brought.
fn is_of(config: &Config, bootstrap: &units::Bootstrap) -> Result<bool, files::FileError> {
    let units::Bootstrap { url, id, sha256, .. } = bootstrap;
    let tarball = format!(" {url}/bootstrap/{id}.bootstrap.tar.xz ");
    let is_same = |text: String| text.contains(&tarball) && (sha256 == UNKNOWN || text.contains(sha256));
    Ok(present_download(config)?.is_some_and(is_same))
}

/// Whether there is a set of packages in the root: of a bootstrap that is unpacked, set up or not.
fn has_active(config: &Config) -> bool {
    config.root.join("active").is_dir()
}

/// The hash that the server gives.
fn hash(wanted: &Wanted, err: &mut dyn Write) -> Result<String, Error> {
    let name = format!("bootstrap/{}.bootstrap.tar.xz.sha256", wanted.bootstrap.id);
    let text = Fetcher::from_environment().small_text(&wanted.origin, &name)?;
    let first = text.split_whitespace().next().unwrap_or_default().to_lowercase();
    if first.len() != 64 || !first.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(Error::NoHash { name, found: text.chars().take(80).collect() });
    }
    let _ = writeln!(
        err,
        "WARNING: {} is trusted to say what bootstrap {} is: SHA-256 {first} (--sha256 says it without trust)",
        wanted.origin, wanted.bootstrap.id
    );
    Ok(first)
}

fn write_configuration(config: &Config, wanted: &Wanted) -> Result<(), Error> {
    let (roles, flags) = (config.config_dir.join("roles"), config.config_dir.join("setup-flags"));
    for dir in [&roles, &flags] {
        fs::create_dir_all(dir).map_err(failed("make directory", dir))?;
    }
    for role in &wanted.roles {
        files::replace(&roles.join(role.as_str()), b"")?;
    }
    let url = format!("{}\n", wanted.bootstrap.url);
    Ok(files::replace(&flags.join("repository-url"), url.as_bytes())?)
}

/// Writes the units, and makes those start with the host that bring it up.
fn write_units(config: &Config, download: &str) -> Result<(), Error> {
    let dir = config.unit_dir();
    let wants = dir.join("multi-user.target.wants");
    fs::create_dir_all(&wants).map_err(failed("make directory", &wants))?;
    let setup = dcos_setup(&path_text(&config.root));
    for (unit, text) in
        [(DCOS_TARGET, dcos_target()), (DCOS_SETUP, setup), (DCOS_DOWNLOAD, download.to_owned())]
    {
        files::replace(&dir.join(unit), text.as_bytes())?;
    }
    for unit in [DCOS_SETUP, DCOS_DOWNLOAD] {
        link(&dir.join(unit), &wants.join(unit)).map_err(failed("link", &wants.join(unit)))?;
    }
    if config.units.manage {
        config.systemd.daemon_reload()?;
    }
    Ok(())
}

/// Makes `at` a link to `target`, or leaves what was there.
fn link(target: &Path, at: &Path) -> io::Result<()> {
    if fs::read_link(at).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let fresh = at.with_extension("new");
    let _ = fs::remove_file(&fresh);
    symlink(target, &fresh)?;
    fs::rename(&fresh, at)?;
    files::sync_directory_of(at)
}

fn start(config: &Config, id: &str, out: &mut dyn Write) -> Result<(), Error> {
    let both = [DCOS_DOWNLOAD, DCOS_SETUP];
    // A former attempt that failed may have reached the limit of starts.
    config.systemd.reset_failed(&both)?;
    if !config.units.block {
        // One call: they are put into their order only among what is asked for at once.
        config.systemd.start(&both, Block::Not)?;
        writeln!(
            out,
            "Bootstrap {id} is being downloaded and set up: systemctl status {} tells how far",
            both.join(" ")
        )?;
        return Ok(());
    }
    let systemd = config.systemd.clone().with_patience(PATIENCE);
    writeln!(out, "Downloading bootstrap {id}")?;
    out.flush()?;
    systemd.start(&[DCOS_DOWNLOAD], Block::UntilDone)?;
    if !has_active(config) {
        let problem = format!(
            "the tarball has no set of packages in it ({} is missing)",
            path_text(&config.root.join("active"))
        );
        return Err(Error::NoNode { unit: DCOS_DOWNLOAD, problem });
    }
    writeln!(out, "Setting it up")?;
    out.flush()?;
    if !config.root.join("bin/pkgpanda").exists() {
        // systemd would pass the unit over, and say nothing.
        let problem = format!("no package of it brings {}", path_text(&config.root.join("bin/pkgpanda")));
        return Err(Error::NoNode { unit: DCOS_SETUP, problem });
    }
    systemd.start(&[DCOS_SETUP], Block::UntilDone)?;
    let marker = config.root.join("bootstrap");
    if marker.exists() {
        let problem = format!("{} is still there, which setup takes away at its end", path_text(&marker));
        return Err(Error::NoNode { unit: DCOS_SETUP, problem });
    }
    writeln!(out, "This host is a node: `pkgpanda active` tells its packages")?;
    Ok(())
}

/// Where the tarball lies until it is unpacked.
fn scratch(config: &Config) -> PathBuf {
    beside(&config.state_dir_root, "-download")
}

/// What a download that was interrupted may have left: its tarball, and what was unpacked of it.
pub(crate) fn leftovers(config: &Config) -> [PathBuf; 2] {
    [scratch(config), beside(&config.root, ".download")]
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
