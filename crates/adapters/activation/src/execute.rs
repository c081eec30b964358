use std::path::Path;

use api_pkgpanda::step::{
    CURRENT, Change, GENERATIONS, GenerationState, JOURNAL, Journal, Place, Plan, STAGED, STAGED_UNITS,
    STATE, STOPPING, Step,
};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::preflight::Checked;
use crate::root::UNFINISHED_FILES;
use crate::tree::Opened;
use crate::{Error, Host, HostError, Locked};

/// The link that becomes `current`.
const NEXT: &str = UNFINISHED_FILES[2];

impl Locked<'_> {
    /// Carries a plan out and says the number of the generation that is active then.
    ///
    /// A plan from nothing (`plan(None, ..)`) works on a root with an active set, too: so one whose files cannot be read
    /// any more is changed. Links that only the former set had are left then; [`Locked::repair`] finds them.
    ///
    /// # Errors
    /// Whatever fails before the flip leaves the former set active, and the tree as it was. [`Error::Start`] and
    /// [`Error::Unfinished`] say that the new set is active. [`Error::NotTakenBack`] leaves the journal for
    /// [`Locked::recover`], which has to come first if a journal is there.
    pub fn activate(&mut self, plan: &Plan, host: &mut dyn Host) -> Result<u64, Error> {
        if self.root.is_interrupted() {
            return Err(self.root.damaged(JOURNAL, "a change was interrupted and has to be recovered first"));
        }
        let from = self.root.current_number()?;
        if let Some(from) = from.filter(|_| plan.unchanged) {
            self.make_for_host(plan, host)?;
            return Ok(from);
        }
        // A state that cannot be read is no reason to keep a host from changing.
        let state = |from| self.root.state(from).unwrap_or_default();
        let last_good = from.and_then(|from| {
            let state = state(from);
            let candidates = [Some(state.next_last_good(from)), state.last_good];
            // One that cannot be read can never be returned to.
            candidates.into_iter().flatten().find(|number| self.root.generation(*number).is_ok())
        });
        let to = self.root.generations()?.last().copied().max(from).unwrap_or(0) + 1;
        let Checked { build, before, after } = self.check(plan)?;
        let journal = Journal {
            format: Journal::FORMAT,
            change: Change::Activation { from, to, before: before.clone(), after },
            unit_directory: plan.unit_directory.clone(),
            units: plan.units.clone(),
        };
        self.write_journal(&journal)?;
        let steps = plan.build.iter().chain(&build).chain(&before);
        let prepared = self.prepare(plan, steps, to, last_good, host).and_then(|()| self.flip());
        match prepared {
            Ok(()) => match self.finish(&journal, to, host) {
                Ok(started) => started.map(|()| to).map_err(|source| Error::Start { source }),
                Err(error) => Err(Error::Unfinished { source: Box::new(error) }),
            },
            Err(failure) => match self.take_back(&journal, from, to, host) {
                Ok(_) => Err(failure),
                Err(rollback) => {
                    Err(Error::NotTakenBack { failure: Box::new(failure), rollback: Box::new(rollback) })
                }
            },
        }
    }

    pub(crate) fn write_journal(&mut self, journal: &Journal) -> Result<(), Error> {
        let text = serde_json::to_vec(journal).expect("texts and numbers are JSON");
        self.replace(JOURNAL, &text)
    }

    /// All that comes before the flip.
    fn prepare<'s>(
        &mut self,
        plan: &Plan,
        steps: impl Iterator<Item = &'s Step> + Clone,
        to: u64,
        last_good: Option<u64>,
        host: &mut dyn Host,
    ) -> Result<(), Error> {
        self.make_for_host(plan, host)?;
        let path = format!("{GENERATIONS}/{to}");
        let needs_units = steps.clone().any(|step| step.place() == Place::Units);
        let mut tree = self.tree(None, None);
        tree.apply(&Step::Directory { place: Place::Root, path: GENERATIONS.to_owned() })?;
        tree.apply(&Step::Directory { place: Place::Root, path: path.clone() })?;
        let generation = Opened::open(&self.root.path().join(&path))?;
        let units = match &plan.unit_directory {
            Some(directory) if needs_units => Some(made(Path::new(directory))?),
            _ => None,
        };
        let mut tree = self.tree(units, Some(generation));
        steps.clone().try_for_each(|step| tree.apply(step))?;
        let state = GenerationState { last_good, proven: false };
        tree.apply(&Step::File {
            place: Place::Generation,
            path: STATE.to_owned(),
            text: serde_json::to_string(&state).expect("numbers and booleans are JSON"),
        })?;
        let stops = !plan.units.stop.is_empty();
        if stops {
            // Units that nobody stopped must not be started if all of this is taken back.
            let (place, path) = (Place::Generation, STOPPING.to_owned());
            tree.apply(&Step::File { place, path, text: String::new() })?;
        }
        tree.apply(&Step::RemoveTree { place: Place::Root, path: NEXT.to_owned() })?;
        tree.apply(&Step::Link { place: Place::Root, path: NEXT.to_owned(), target: path })?;
        let units = tree.units.take();
        self.sync(units.as_ref())?;
        if stops {
            let attempted = || format!("stop {}", plan.units.stop.join(" "));
            host.stop_units(&plan.units.stop)
                .map_err(|source| Error::Host { attempted: attempted(), source })?;
            self.done(format_args!("stop units"));
        }
        Ok(())
    }

    /// The one change that decides.
    fn flip(&mut self) -> Result<(), Error> {
        let top = &self.root.top.fd;
        rustix::fs::renameat(top, NEXT, top, CURRENT)
            .map_err(|errno| Error::file("replace", self.root.path().join(CURRENT), errno))?;
        self.done(format_args!("flip"));
        Ok(())
    }

    /// All that comes after the flip. The inner error is of units that do not start: everything else is done then.
    pub(crate) fn finish(
        &mut self,
        journal: &Journal,
        to: u64,
        host: &mut dyn Host,
    ) -> Result<Result<(), HostError>, Error> {
        // What goes now must not be missing beside the former set if the power fails.
        self.sync_top()?;
        let generation = Opened::open(&self.root.path().join(format!("{GENERATIONS}/{to}")))?;
        let units = opened(journal)?;
        let mut tree = self.tree(units, Some(generation));
        let steps = journal.recovery(Some(to));
        let is_there = |step: &&Step| step.place() != Place::Units || tree.units.is_some();
        let steps: Vec<&Step> = steps.iter().filter(is_there).collect();
        steps.into_iter().try_for_each(|step| tree.apply(step))?;
        for path in [STAGED, STOPPING] {
            tree.apply(&Step::RemoveTree { place: Place::Generation, path: path.to_owned() })?;
        }
        if tree.units.is_some() {
            tree.apply(&Step::RemoveTree { place: Place::Units, path: STAGED_UNITS.to_owned() })?;
        }
        let units = tree.units.take();
        let kept: Vec<u64> = [Some(to), self.root.state(to)?.last_good].into_iter().flatten().collect();
        self.remove_generations(&kept)?;
        self.sync(units.as_ref())?;
        let started = start(journal.units.reload, &journal.units.start, host);
        self.done(format_args!("start units"));
        self.forget_journal()?;
        Ok(started)
    }

    /// Takes back what was done before the flip. The inner error is of units that do not start again.
    pub(crate) fn take_back(
        &mut self,
        journal: &Journal,
        from: Option<u64>,
        to: u64,
        host: &mut dyn Host,
    ) -> Result<Result<(), HostError>, Error> {
        let mark = self.root.path().join(format!("{GENERATIONS}/{to}/{STOPPING}"));
        let is_stopped = mark.symlink_metadata().is_ok();
        let units = opened(journal)?;
        let mut tree = self.tree(units, None);
        let steps = journal.recovery(from);
        let is_there = |step: &&Step| step.place() != Place::Units || tree.units.is_some();
        let steps: Vec<&Step> = steps.iter().filter(is_there).collect();
        steps.into_iter().try_for_each(|step| tree.apply(step))?;
        if tree.units.is_some() {
            tree.apply(&Step::RemoveTree { place: Place::Units, path: STAGED_UNITS.to_owned() })?;
        }
        let tree_units = tree.units.take();
        let started = match is_stopped {
            true => start(journal.units.reload, &journal.units.stop, host),
            false => Ok(()),
        };
        // The mark goes after what it stands for, so that a recovery that is killed is not the last to know.
        let mut tree = self.tree(tree_units, None);
        let place = Place::Root;
        tree.apply(&Step::RemoveTree { place, path: format!("{GENERATIONS}/{to}") })?;
        tree.apply(&Step::RemoveDirectory { place, path: GENERATIONS.to_owned() })?;
        tree.apply(&Step::RemoveTree { place, path: NEXT.to_owned() })?;
        let units = tree.units.take();
        self.sync(units.as_ref())?;
        self.forget_journal()?;
        Ok(started)
    }

    /// The last change of all.
    pub(crate) fn forget_journal(&mut self) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.root.top.fd, JOURNAL, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::file("remove", self.root.path().join(JOURNAL), errno)),
        }
        self.done(format_args!("remove {JOURNAL}"));
        Ok(())
    }
}

fn start(reload: bool, units: &[String], host: &mut dyn Host) -> Result<(), HostError> {
    if reload {
        host.reload_units()?;
    }
    if units.is_empty() { Ok(()) } else { host.start_units(units) }
}

/// The directory of units, if there is one.
pub(crate) fn opened(journal: &Journal) -> Result<Option<Opened>, Error> {
    let Some(directory) = &journal.unit_directory else { return Ok(None) };
    match Opened::open(Path::new(directory)) {
        Ok(opened) => Ok(Some(opened)),
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory of units, which is made where there is none.
fn made(directory: &Path) -> Result<Opened, Error> {
    std::fs::create_dir_all(directory).map_err(|source| Error::file("make directory", directory, source))?;
    Opened::open(directory)
}
