//! A root that nobody else changes meanwhile, and in which nothing is half done.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use activation::{Locked, Recovery, Root};
use api_pkgpanda::step::LOCK;
use host::ProcessIdentity;

use crate::machine::Machine;
use crate::{Config, Error};

/// How long one who writes waits for another.
const WAIT: Duration = Duration::from_secs(10);

/// How long the lock of a process that was killed may outlive it.
const ORPHANED: Duration = Duration::from_secs(2);

/// What is done to a root goes through here.
pub(crate) struct Session<'a> {
    pub(crate) config: &'a Config,
    pub(crate) locked: Locked<'a>,
    pub(crate) machine: Machine<'a>,
    /// Where is told what is not what was asked for.
    pub(crate) err: &'a mut dyn Write,
}

impl Session<'_> {
    /// Tells something beside the output. What cannot be told is lost.
    pub(crate) fn say(&mut self, what: impl Display) {
        let _ = writeln!(self.err, "{what}");
    }
}

/// Does something to a root that exists: takes its lock, finishes or takes back what a crash left half done,
/// and then does it. Says on `err` whom it waits for, and what it found.
pub(crate) fn change<T>(
    config: &Config,
    err: &mut dyn Write,
    work: impl FnOnce(&mut Session<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let root = Root::open(&config.root)?.with_units_in(&config.unit_dir());
    let locked = lock(&root, err)?;
    let mut session = Session { config, locked, machine: Machine::new(config), err };
    match recover(&mut session)? {
        Recovery::Uninstalled => Err(Error::NotInstalled { root: config.root.clone() }),
        _ => work(&mut session),
    }
}

/// Keeps others away from the root, and says whom it waits for.
pub(crate) fn lock<'a>(root: &'a Root, err: &mut dyn Write) -> Result<Locked<'a>, Error> {
    let waiting = |owner: Option<u32>| {
        let who = owner.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        let (path, seconds) = (root.path().display(), WAIT.as_secs());
        let _ =
            writeln!(err, "Another pkgpanda{who} is at work on {path}: waiting for it, {seconds} s at most");
    };
    Ok(root.lock(WAIT, waiting)?)
}

/// Finishes or takes back what a crash left half done, for a command that only reads. Whatever another process
/// is doing just now is left to it: what is read is the old set or the new one.
pub(crate) fn settle(config: &Config, err: &mut dyn Write) -> Result<(), Error> {
    let root = match Root::open(&config.root) {
        Err(activation::Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(());
        }
        root => root?.with_units_in(&config.unit_dir()),
    };
    if !root.is_interrupted() {
        return Ok(());
    }
    let mut locked = root.lock(Duration::ZERO, |_| {});
    if matches!(&locked, Err(activation::Error::Busy { owner, .. }) if owner.is_none_or(is_gone)) {
        locked = root.lock(ORPHANED, |_| {});
    }
    let locked = match locked {
        Err(activation::Error::Busy { .. }) => return Ok(()),
        // Who may not take the lock is not told by it that another has it.
        Err(_) if host::lock_owner(&config.root.join(LOCK)).is_some() => return Ok(()),
        Err(source) => return Err(Error::Interrupted { root: config.root.clone(), source }),
        Ok(locked) => locked,
    };
    recover(&mut Session { config, locked, machine: Machine::new(config), err }).map(drop)
}

/// Whether a process has ended. What it had just begun to start may hold its lock until it is another program. In
/// containers the kernel tells no owner of such a lock.
fn is_gone(pid: u32) -> bool {
    ProcessIdentity::of(pid).is_none()
}

fn recover(session: &mut Session<'_>) -> Result<Recovery, Error> {
    let recovery = match session.locked.recover(&mut session.machine) {
        // All is recovered but these units, which may be just what the command is to change.
        Err(error @ (activation::Error::Start { .. } | activation::Error::Restart { .. })) => {
            session
                .say(format_args!("WARNING: a change had been interrupted: {}", base::with_causes(&error)));
            return Ok(Recovery::Nothing);
        }
        recovery => recovery?,
    };
    let done = match recovery {
        Recovery::Nothing => return Ok(recovery),
        Recovery::TakenBack(_) => "it was taken back, and the former packages are active",
        Recovery::Finished(_) => "it was finished, and the new packages are active",
        Recovery::Uninstalled => "it was an uninstall, and was finished",
        Recovery::Repaired(_) => {
            "what it was about could not be read; links and units were made what the active packages want"
        }
    };
    let root = session.config.root.display();
    session.say(format_args!("A change of {root} had been interrupted: {done}"));
    Ok(recovery)
}

/// The number of the active generation, as far as it can be read.
pub(crate) fn generation(config: &Config) -> Option<u64> {
    Root::open(&config.root).ok()?.current_number().ok()?
}

/// Takes note that this generation has passed its checks, if it still is the active one: checks take their time.
/// Where that cannot be, because this process may not write, or another changes the set just now, the next check
/// does it.
pub(crate) fn prove(config: &Config, checked: Option<u64>) {
    let Ok(root) = Root::open(&config.root) else { return };
    let is_proven = root.current().is_ok_and(|current| current.is_none_or(|current| current.state.proven));
    if !is_proven
        && let Ok(mut locked) = root.lock(Duration::ZERO, |_| {})
        && root.current_number().is_ok_and(|now| now == checked)
    {
        let _ = locked.set_proven(true);
    }
}
