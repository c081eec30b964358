//! Packages that nobody needs leave the repository: `remove`.

use std::collections::BTreeSet;
use std::io::Write;

use api_pkgpanda::PackageId;

use crate::repository::Repository;
use crate::session::{self, Session};
use crate::{Config, Error, install};

/// Removes packages, one after the other, and tells `out` of each; none if one of them is active. One that is not
/// there is no error, and told on `err`; one that only the last good set needs takes that set with it, which is told
/// on `err`, too. pkgpanda: actions.remove_package.
///
/// # Errors
/// [`Error::Active`] and [`Error::Set`] for what is no id: nothing is removed then. Whatever the file system says:
/// those before it are gone.
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
        let parsed = ids.iter().map(|id| removable(id, &active)).collect::<Result<Vec<_>, _>>()?;
        let repository = Repository::new(&config.repository);
        for id in parsed.iter().filter(|id| !repository.has(id)) {
            let dir = repository.dir().display();
            session.say(format_args!(
                "{id} is not in the repository {dir}, and cannot be removed: `pkgpanda list` tells what is there"
            ));
        }
        parsed.iter().try_for_each(|id| one(session, &repository, id, out))
    })
}

/// The id, if nothing keeps its package from being removed.
fn removable(id: &str, active: &[String]) -> Result<PackageId, Error> {
    if active.iter().any(|active| active == id) {
        return Err(Error::Active { id: id.to_owned() });
    }
    id.parse().map_err(|why| Error::Set(vec![format!("Invalid package id {id}: {why}")]))
}

fn one(
    session: &mut Session<'_>,
    repository: &Repository,
    id: &PackageId,
    out: &mut dyn Write,
) -> Result<(), Error> {
    write!(out, "\rRemoving: {id}")?;
    out.flush()?;
    let removed = from_repository(session, repository, id);
    if let Ok(true) = removed {
        write!(out, "\rRemoved: {id}")?;
    }
    writeln!(out)?;
    removed.map(drop)
}

/// Whether there was such a package.
fn from_repository(
    session: &mut Session<'_>,
    repository: &Repository,
    id: &PackageId,
) -> Result<bool, Error> {
    if !repository.has(id) {
        return Ok(false);
    }
    let last_good = session.locked.root().last_good().unwrap_or_default();
    if last_good.is_some_and(|last_good| last_good.set.ids().contains(&id.as_str())) {
        session.locked.drop_last_good()?;
        session.say(format_args!(
            "WARNING: {id} was part of the last good set of packages: there is none to roll back to any more"
        ));
    }
    Ok(repository.remove(id, &BTreeSet::new())?)
}
