//! From the active set to another: `activate`, `swap`, `rollback`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use activation::{Host, Root, RootLayout};
use api_pkgpanda::step::LOCK;
use api_pkgpanda::{PackageId, Role};
use pkgpanda_core::{HostLayout, Layout, Package, Plan, Set, plan, plan_takeover, same_unit_directory};
use systemd::SystemState;

use crate::repository::Repository;
use crate::session::{self, Session};
use crate::{Config, Error, check, files, install, machine};

/// What is done after an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing: whether the set is good will be seen.
    Nothing,
    /// The checks of the new set run; if one fails, or a unit does not start, the last good set comes back.
    Check,
}

/// Makes these packages the active ones, and no others. What happens beside is told on `err`, failed checks on
/// `out`.
///
/// # Errors
/// Whatever they say, the root is as it was, unless they say that it is not.
pub fn activate(
    config: &Config,
    ids: &[String],
    afterwards: Afterwards,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let ids = parse(ids)?;
    let is_new = !config.root.exists();
    drop(Root::create(&config.root)?);
    let activated = session::change(config, err, |session| {
        let roles = install::roles(config)?;
        change(session, &load(config, &ids)?, &roles, afterwards, out)
    });
    if is_new && activated.is_err() {
        // Stays if anything else came into it.
        let _ = files::remove(&config.root.join(LOCK));
        let _ = std::fs::remove_dir(&config.root);
    }
    activated
}

/// Puts a package in the place of the active one of its name.
///
/// # Errors
/// As [`activate`]; [`Error::NotActive`] if there is none of that name.
pub fn swap(
    config: &Config,
    id: &str,
    afterwards: Afterwards,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let id: PackageId = id.parse()?;
    if !config.root.exists() {
        return Err(Error::NotInstalled { root: config.root.clone() });
    }
    session::change(config, err, |session| {
        let mut ids: BTreeMap<String, PackageId> =
            parse(&install::active(config)?)?.into_iter().map(|id| (id.name().to_owned(), id)).collect();
        match ids.get_mut(id.name()) {
            Some(active) => *active = id.clone(),
            None => return Err(Error::NotActive { name: id.name().to_owned() }),
        }
        let ids: Vec<PackageId> = ids.into_values().collect();
        let roles = install::roles(config)?;
        change(session, &load(config, &ids)?, &roles, afterwards, out)
    })
}

/// Makes the last good set the active one again, for the roles that it was active for.
///
/// # Errors
/// [`Error::NothingToRollBackTo`], and as [`activate`].
pub fn rollback(config: &Config, err: &mut dyn Write) -> Result<(), Error> {
    if !config.root.exists() {
        return Err(Error::NotInstalled { root: config.root.clone() });
    }
    session::change(config, err, |session| {
        let ids = back(session)?;
        session.say(format_args!("Active again: {}", ids.join(" ")));
        Ok(())
    })
}

/// Activates packages, and checks them if that is asked for.
pub(crate) fn change(
    session: &mut Session<'_>,
    packages: &[Package],
    roles: &[Role],
    afterwards: Afterwards,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let activated = apply(session, packages, roles);
    if afterwards == Afterwards::Nothing {
        return activated;
    }
    let failure = match activated {
        // The set is active, and no good.
        Err(error @ Error::Root(activation::Error::Start { .. })) => base::with_causes(&error),
        Err(error) => return Err(error),
        Ok(()) => {
            let checks = checks(session.config, session.err)?;
            if check::run(&checks, out, session.err)? {
                session.locked.set_proven(true)?;
                return Ok(());
            }
            "not all checks passed".to_owned()
        }
    };
    let outcome = match back(session) {
        Ok(ids) => format!("the last good set is active again: {}", ids.join(" ")),
        Err(Error::NothingToRollBackTo) => {
            "there is no last good set to go back to, so it stays active".to_owned()
        }
        Err(error) => format!("going back to the last good set failed: {}", base::with_causes(&error)),
    };
    Err(Error::NoGood { failure, outcome })
}

/// The checks of the active packages; what is no check is told on `err`.
pub(crate) fn checks(config: &Config, err: &mut dyn Write) -> Result<Vec<check::Checks>, Error> {
    let repository = Repository::new(&config.repository);
    let mut packages = Vec::new();
    for id in install::active(config)? {
        let dir = repository.path(&id.parse()?);
        if !dir.is_dir() {
            return Err(Error::Missing { id });
        }
        packages.push((id, dir));
    }
    Ok(check::find(packages, err)?)
}

/// Activates the last good set, and gives its ids.
fn back(session: &mut Session<'_>) -> Result<Vec<String>, Error> {
    let root = session.locked.root();
    let good = root.last_good()?.ok_or(Error::NothingToRollBackTo)?;
    // One that cannot be read is one to get away from.
    if root.current().is_ok_and(|current| current.is_some_and(|current| current.set == good.set)) {
        return Err(Error::NothingToRollBackTo);
    }
    let ids: Vec<String> = good.set.ids().into_iter().map(str::to_owned).collect();
    let roles: Result<Vec<Role>, _> = good.set.roles.iter().map(|role| role.parse()).collect();
    let roles = roles.map_err(|problem: api_pkgpanda::RoleProblem| Error::Set(vec![problem.to_string()]))?;
    apply(session, &load(session.config, &parse(&ids)?)?, &roles)?;
    // It was good before, and is the same.
    if good.state.proven {
        session.locked.set_proven(true)?;
    }
    Ok(ids)
}

/// Activates packages for these roles.
fn apply(session: &mut Session<'_>, packages: &[Package], roles: &[Role]) -> Result<(), Error> {
    let layout = layout(session.config)?;
    let set = Set::of(packages, roles, &layout).map_err(problems)?;
    let problems = session.machine.problems(&set.accounts);
    if !problems.is_empty() {
        return Err(Error::Set(problems));
    }
    systemd_is_there(session.config)?;
    take_over(session, roles, &layout)?;
    // What the original left half done is known to nobody.
    let is_broken = session.locked.root().layout()? == RootLayout::OriginalBroken;
    let (current, is_lost) = match session.locked.root().current() {
        Err(error @ activation::Error::Damaged { .. }) => {
            session.say(format_args!(
                "WARNING: {}: all units are stopped, and links that are not of the new set are searched for",
                base::with_causes(&error)
            ));
            (None, true)
        }
        current => (current?.map(|current| current.set), is_broken),
    };
    if let Some(current) = &current {
        same_unit_directory(current, &layout)
            .map_err(|(recorded, asked)| Error::OtherUnits { recorded, asked })?;
    }
    let mut plan = plan(current.as_ref(), &set);
    if is_lost {
        if is_broken {
            plan = Plan { units: plan.units, ..plan_takeover(&set) };
        }
        plan.units.stop = machine::linked_units(session.config)?;
        plan.units.reload = true;
    }
    let activated = session.locked.activate(&plan, &mut session.machine);
    if is_lost && matches!(activated, Ok(_) | Err(activation::Error::Start { .. })) {
        session.locked.repair(&mut session.machine)?;
    }
    activated?;
    if plan.units.start.is_empty() {
        // No unit is concerned, but those that do not run have to.
        let all: Vec<String> = set.active.units.into_keys().collect();
        session.machine.start_units(&all).map_err(|source| activation::Error::Start { source })?;
    }
    Ok(())
}

/// Makes a root of the original one of ours, with the same packages active.
fn take_over(session: &mut Session<'_>, roles: &[Role], layout: &Layout) -> Result<(), Error> {
    let RootLayout::Original(_) = session.locked.root().layout()? else { return Ok(()) };
    let ids = parse(&install::active(session.config)?)?;
    let set = Set::of(&load(session.config, &ids)?, roles, layout).map_err(problems)?;
    session.locked.activate(&plan_takeover(&set), &mut session.machine)?;
    Ok(())
}

/// Refuses to begin what would end half way.
pub(crate) fn systemd_is_there(config: &Config) -> Result<(), Error> {
    if !config.units.manage {
        return Ok(());
    }
    match config.systemd.is_system_running() {
        Ok(SystemState::Other(state)) if state == "offline" => Err(Error::NoSystemd(state)),
        Ok(_) => Ok(()),
        Err(error) => Err(Error::NoSystemd(base::with_causes(&error))),
    }
}

/// All packages, each as its manifest says it is.
pub(crate) fn load(config: &Config, ids: &[PackageId]) -> Result<Vec<Package>, Error> {
    let repository = Repository::new(&config.repository);
    ids.iter().map(|id| Ok(repository.load_verified(id)?)).collect()
}

/// The ids, each once.
pub(crate) fn parse(ids: &[String]) -> Result<Vec<PackageId>, Error> {
    let mut parsed = ids.iter().map(|id| id.parse()).collect::<Result<Vec<PackageId>, _>>()?;
    parsed.sort();
    parsed.dedup();
    Ok(parsed)
}

pub(crate) fn layout(config: &Config) -> Result<Layout, Error> {
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::Set(vec![format!(
            "{} is not UTF-8, which links and environment files are",
            path.display()
        )])),
    };
    Ok(Layout {
        root: text(&config.root)?,
        repository: text(&config.repository)?,
        host: Some(HostLayout {
            unit_directory: text(&config.unit_dir())?,
            state_root: text(&config.state_dir_root)?,
        }),
    })
}

fn problems(problems: Vec<pkgpanda_core::Problem>) -> Error {
    Error::Set(problems.iter().map(ToString::to_string).collect())
}
