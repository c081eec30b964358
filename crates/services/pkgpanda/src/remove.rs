//! Packages that nobody needs leave the repository: `remove`.

use std::collections::BTreeSet;
use std::io::Write;

use api_pkgpanda::PackageId;

use crate::repository::Repository;
use crate::session::{self, Session};
use crate::{Config, Error, install};

/// Removes packages, one after the other until one cannot be removed, and tells `out` of each. One that is not
/// there is no error; one that only the last good set needs takes that set with it, which is told on `err`.
/// pkgpanda: actions.remove_package.
///
/// # Errors
/// [`Error::Active`], and whatever the file system says. Those before it are gone.
pub fn remove(
    config: &Config,
    ids: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    if !config.root.exists() {
        return Err(Error::NotInstalled { root: config.root.clone() });
    }
    session::change(config, err, |session| {
        let active = install::active(config)?;
        ids.iter().try_for_each(|id| one(session, id, &active, out))
    })
}

fn one(session: &mut Session<'_>, id: &str, active: &[String], out: &mut dyn Write) -> Result<(), Error> {
    if active.iter().any(|active| active == id) {
        return Err(Error::Active { id: id.to_owned() });
    }
    write!(out, "\rRemoving: {id}")?;
    out.flush()?;
    let removed = from_repository(session, id);
    if let Ok(true) = removed {
        write!(out, "\rRemoved: {id}")?;
    }
    writeln!(out)?;
    removed.map(drop)
}

/// Whether there was such a package.
fn from_repository(session: &mut Session<'_>, id: &str) -> Result<bool, Error> {
    let id: PackageId =
        id.parse().map_err(|why| Error::Set(vec![format!("Invalid package id {id}: {why}")]))?;
    let repository = Repository::new(&session.config.repository);
    if !repository.has(&id) {
        return Ok(false);
    }
    let last_good = session.locked.root().last_good().unwrap_or_default();
    if last_good.is_some_and(|last_good| last_good.set.ids().contains(&id.as_str())) {
        session.locked.drop_last_good()?;
        session.say(format_args!(
            "WARNING: {id} was part of the last good set of packages: there is none to roll back to any more"
        ));
    }
    Ok(repository.remove(&id, &BTreeSet::new())?)
}
