use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use api_pkgpanda::step::{Change, JOURNAL, Journal, LOCK, Removal, Step, UnitActions};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::execute::opened;
use crate::tree::names;
use crate::{Error, Host, Locked};

impl Locked<'_> {
    /// Removes all that pkgpanda made: links of units, state directories and users that it made, and the root with all
    /// that is in it. Works on a broken root, too. Once begun it is always finished, by recovery if need be.
    ///
    /// # Errors
    /// Units that do not stop: nothing is changed then. Otherwise what cannot be removed: the next recovery or
    /// uninstall goes on.
    pub fn uninstall(&mut self, removal: &Removal, host: &mut dyn Host) -> Result<(), Error> {
        let path = self.root.path();
        if path.canonicalize().map_err(|source| Error::file("look at", path, source))? == Path::new("/") {
            return Err(self.root.damaged("", "it is the host's own root, which is not removed"));
        }
        let journal = Journal {
            format: Journal::FORMAT,
            change: Change::Uninstall {
                steps: removal.steps.clone(),
                // If that cannot be read, nobody knows what was made.
                made: self.made().unwrap_or_default(),
            },
            unit_directory: removal.unit_directory.clone(),
            units: UnitActions { stop: removal.stop.clone(), start: Vec::new(), reload: true },
        };
        // An activation that was interrupted goes with all the rest, whatever its journal says.
        self.write_journal(&journal)?;
        if let Err(source) = stop(&journal, host) {
            // They run again as far as they can; that some did not even stop is what counts.
            let _ = host.start_units(&removal.stop);
            self.forget_journal()?;
            return Err(Error::Host { attempted: format!("stop {}", removal.stop.join(" ")), source });
        }
        self.done(format_args!("stop units"));
        self.remove_all(&journal, host)
    }

    /// Removes everything a journal of an uninstall names, and the root.
    pub(crate) fn remove_all(&mut self, journal: &Journal, host: &mut dyn Host) -> Result<(), Error> {
        let Change::Uninstall { steps, made } = &journal.change else {
            return Err(self.root.damaged(JOURNAL, "it is of no uninstall"));
        };
        // After a crash, what does not stop must not keep the rest.
        let stopped = stop(journal, host);
        if let Some(units) = opened(journal)? {
            let mut tree = self.tree(Some(units), None);
            steps.iter().try_for_each(|step: &Step| tree.apply(step))?;
            let units = tree.units.take();
            self.sync(units.as_ref())?;
        }
        let reloaded = host.reload_units();
        for path in &made.directories {
            ::host::remove_tree(Path::new(path)).map_err(|source| Error::file("remove", path, source))?;
            self.done(format_args!("remove state directory {path}"));
        }
        for user in &made.users {
            let attempted = || format!("remove user {user}");
            host.remove_user(user).map_err(|source| Error::Host { attempted: attempted(), source })?;
            self.done(format_args!("remove user {user}"));
        }
        self.remove_root()?;
        stopped
            .and(reloaded)
            .map_err(|source| Error::Host { attempted: "stop and forget units".to_owned(), source })
    }

    /// The journal is the last to go but the root itself.
    fn remove_root(&mut self) -> Result<(), Error> {
        let root = self.root;
        let path = root.path();
        let failed = |errno: Errno| Error::file("read directory", path, errno);
        for name in names(root.top.fd.as_fd()).map_err(failed)? {
            let Ok(name) = name.into_string() else {
                return Err(root.damaged("", "a name in it is not UTF-8: remove it"));
            };
            if name == JOURNAL || name == LOCK {
                continue;
            }
            let path = path.join(&name);
            ::host::remove_tree(&path).map_err(|source| Error::file("remove", path, source))?;
            self.done(format_args!("remove {name}"));
        }
        for name in [LOCK, JOURNAL] {
            match rustix::fs::unlinkat(&root.top.fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => self.done(format_args!("remove {name}")),
                Err(errno) => return Err(Error::file("remove", path.join(name), errno)),
            }
        }
        match std::fs::remove_dir(path) {
            Ok(()) => {}
            // A mount point stays, and so does what somebody made a moment ago.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ResourceBusy | ErrorKind::DirectoryNotEmpty
                ) => {}
            Err(source) => return Err(Error::file("remove", path, source)),
        }
        self.done(format_args!("remove the root"));
        Ok(())
    }
}

fn stop(journal: &Journal, host: &mut dyn Host) -> Result<(), crate::HostError> {
    match journal.units.stop.is_empty() {
        true => Ok(()),
        false => host.stop_units(&journal.units.stop),
    }
}
