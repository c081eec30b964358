//! Away with all of it.

use std::io::{self, Write};
use std::path::Path;

use activation::Root;
use api_pkgpanda::step::{CURRENT, GENERATIONS, JOURNAL, LOCK, MADE};
use pkgpanda_core::units::{DCOS_DOWNLOAD, DCOS_SETUP, DCOS_TARGET};
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

/// Removes units, links, users and directories that were made here, and the root with all that is in it: of a
/// broken root, too. pkgpanda: uninstall.
pub(crate) fn uninstall(config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Error> {
    refuse_foreign(config)?;
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
    let layout = activate::layout(config)?;
    let units = unit_files(config);
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    let mut removal = pkgpanda_core::uninstall(active.as_ref(), &layout, &units);
    if active.is_none() {
        removal.stop = machine::linked_units(config)?;
    }
    no_longer_with_the_machine(config)?;
    session.locked.uninstall(&removal, &mut session.machine)?;
    forget(config, &removal.stop)
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
    match is_empty || OURS.iter().any(is_ours) {
        true => Ok(()),
        false => Err(Error::UninstallForeign { root: config.root.clone() }),
    }
}

/// The unit files that no package brings, with the links by which they start with the machine.
fn unit_files(config: &Config) -> Vec<String> {
    let mut units = vec![DCOS_TARGET];
    // Those of another root are not this one's to remove.
    if config.units.rooted || config.root == Path::new(config::ROOT) {
        units.extend([DCOS_SETUP, DCOS_DOWNLOAD]);
    }
    let links = units.iter().map(|unit| format!("multi-user.target.wants/{unit}"));
    links.chain(units.iter().map(|unit| (*unit).to_owned())).collect()
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
    for unit in unit_files(config) {
        files::remove(&config.unit_dir().join(unit))?;
    }
    if config.units.manage {
        config.systemd.daemon_reload()?;
    }
    Ok(())
}
