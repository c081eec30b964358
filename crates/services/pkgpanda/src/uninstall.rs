//! Away with all of it.

use std::io::{self, Write};
use std::path::Path;

use activation::Root;
use api_pkgpanda::step::{CURRENT, GENERATIONS, JOURNAL, LOCK, MADE};
use pkgpanda_core::units::{DCOS_DOWNLOAD, DCOS_SETUP, DCOS_TARGET, dcos_target};
use systemd::Block;

use crate::files::{self, failed};
use crate::machine::{self, Machine};
use crate::session::{self, Session};
use crate::{Config, Error, activate, bootstrap, config};

/// Names of which a root has at least one: in a directory without any, nothing is removed.
const OURS: [&str; 10] = [
    CURRENT,
    GENERATIONS,
    JOURNAL,
    LOCK,
    MADE,
    "active",
    "active.old",
    "active.new",
    "bootstrap",
    "packages",
];

/// What of the host's units goes with a root.
struct Units {
    /// The unit files that no package brings, with the links by which they start with the machine.
    files: Vec<String>,
    /// Whether `dcos.target` is among them.
    has_target: bool,
}

/// Removes units, links, users and directories that were made here, and the root with all that is in it: of a
/// broken root, too. pkgpanda: uninstall.
pub(crate) fn uninstall(config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Error> {
    refuse_foreign(config)?;
    let config = &as_recorded(config);
    activate::systemd_is_there(config)?;
    writeln!(out, "Uninstalling DC/OS")?;
    let target = config.unit_dir().join(DCOS_TARGET);
    writeln!(out, "Removing {DCOS_TARGET}\n{}", target.display())?;
    writeln!(out, "Deactivating all packages")?;
    writeln!(out, "Removing all runtime / activation directories")?;
    out.flush()?;
    no_download(config)?;
    let root = match Root::open(&config.root) {
        Err(activation::Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return without_root(config);
        }
        root => root?.with_units_in(&config.unit_dir()),
    };
    let locked = session::lock(&root, err)?;
    let mut session = Session { config, locked, machine: Machine::new(config), err };
    // What a broken set wanted cannot be known; links of it are found by where they lead.
    let active = session.locked.root().current().ok().flatten().map(|current| current.set);
    let mut layout = activate::layout(config)?;
    if config.shares_units() && config.repository.starts_with(config::ROOT) {
        // Links to packages of the usual root are not this one's.
        layout.repository = format!("{}/packages", layout.root);
    }
    let units = units(config, active.is_some())?;
    let files: Vec<&str> = units.files.iter().map(String::as_str).collect();
    let mut removal = pkgpanda_core::uninstall(active.as_ref(), &layout, &files);
    if active.is_none() {
        removal.stop = machine::linked_units(config)?;
    }
    if units.has_target {
        no_longer_with_the_machine(config)?;
    }
    session.locked.uninstall(&removal, &mut session.machine)?;
    forget(config, &removal.stop)
}

/// The same with units where the active set has them, whatever the options say of another root than the usual one. A
/// set that keeps them below the root has none among the host's, so that there is nothing to stop, either.
fn as_recorded(config: &Config) -> Config {
    let mut config = config.clone();
    if config.root == Path::new(config::ROOT) {
        return config;
    }
    let active = Root::open(&config.root).and_then(|root| root.current()).ok().flatten();
    match active.and_then(|active| active.set.unit_directory) {
        Some(directory) if Path::new(&directory) == config.system_units => config.units.rooted = false,
        Some(directory) if Path::new(&directory) == config.root && !config.units.rooted => {
            config.units.rooted = true;
            config.units.manage = false;
        }
        _ => {}
    }
    config
}

/// Whether it is something to be removed at all; nothing is changed before.
fn refuse_foreign(config: &Config) -> Result<(), Error> {
    let real = config.root.canonicalize().unwrap_or_else(|_| config.root.clone());
    if real == Path::new("/") || config.root == Path::new("/") {
        return Err(Error::UninstallTop);
    }
    let is_ours = |name: &&str| config.root.join(name).symlink_metadata().is_ok();
    let entries = std::fs::read_dir(&config.root);
    let is_empty = entries
        .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |mut entries| entries.next().is_none());
    let root = || config.root.clone();
    match OURS.iter().any(is_ours) {
        true => Ok(()),
        // What is outside of the usual root may have outlived it.
        false if is_empty && config.root == Path::new(config::ROOT) => Ok(()),
        false if is_empty => Err(Error::NotInstalled { root: root() }),
        false => Err(Error::UninstallForeign { root: root() }),
    }
}

/// What of the host's units goes with the root: of another one than the usual only the target, and that only if nobody
/// else has units that it wants. `is_known` tells that the active set can be read, which had it written.
fn units(config: &Config, is_known: bool) -> Result<Units, Error> {
    let mut units = Vec::new();
    let has_target = !config.shares_units() || is_last_user(config, is_known)?;
    if has_target {
        units.push(DCOS_TARGET);
    }
    if !config.shares_units() {
        units.extend([DCOS_SETUP, DCOS_DOWNLOAD]);
    }
    let links = units.iter().map(|unit| format!("multi-user.target.wants/{unit}"));
    let files = links.chain(units.iter().map(|unit| (*unit).to_owned())).collect();
    Ok(Units { files, has_target })
}

/// Whether the host's target is pkgpanda's, and only units of this root are wanted by it.
fn is_last_user(config: &Config, is_known: bool) -> Result<bool, Error> {
    if files::read(&config.unit_dir().join(DCOS_TARGET))?.is_none_or(|text| text != dcos_target()) {
        return Ok(false);
    }
    let wants = config.wants_dir();
    let entries = match std::fs::read_dir(&wants) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(is_known),
        entries => entries.map_err(failed("list", &wants))?,
    };
    let mut is_used = is_known;
    for entry in entries {
        let path = entry.map_err(failed("list", &wants))?.path();
        if !std::fs::read_link(path).is_ok_and(|target| config.is_own_unit(&target)) {
            return Ok(false);
        }
        is_used = true;
    }
    Ok(is_used)
}

fn no_longer_with_the_machine(config: &Config) -> Result<(), Error> {
    if !config.units.manage {
        return Ok(());
    }
    // While its file still says what it belongs to.
    config.systemd.disable(DCOS_TARGET)?;
    Ok(config.systemd.stop(&[DCOS_TARGET], Block::UntilDone)?)
}

/// Ends a download, which would bring the root back, and takes away what it has left.
fn no_download(config: &Config) -> Result<(), Error> {
    // Downloads come to the usual root only.
    if config.units.rooted || config.root != Path::new(config::ROOT) {
        return Ok(());
    }
    if config.units.manage && config.unit_dir().join(DCOS_DOWNLOAD).exists() {
        config.systemd.stop(&[DCOS_DOWNLOAD], Block::UntilDone)?;
        config.systemd.reset_failed(&[DCOS_DOWNLOAD, DCOS_SETUP])?;
    }
    for leftover in bootstrap::leftovers(config) {
        match std::fs::remove_dir_all(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &leftover)(error).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// That units failed while they went is of no interest any more.
fn forget(config: &Config, units: &[String]) -> Result<(), Error> {
    if config.units.manage {
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        config.systemd.reset_failed(&units)?;
    }
    Ok(())
}

/// The root is gone already; what is outside of it may not be.
fn without_root(config: &Config) -> Result<(), Error> {
    no_longer_with_the_machine(config)?;
    for unit in units(config, false)?.files {
        files::remove(&config.unit_dir().join(unit))?;
    }
    if config.units.manage {
        config.systemd.daemon_reload()?;
    }
    Ok(())
}
