use api_pkgpanda::step::{Change, JOURNAL, Journal};
use rustix::fs::AtFlags;
use serde_json::Value;

use crate::root::UNFINISHED_FILES;
use crate::{Error, Host, Locked, RootLayout};

/// What recovery found to be done, and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was interrupted.
    Nothing,
    /// An activation had not flipped: all of it was taken back, and this generation is active as before.
    TakenBack(Option<u64>),
    /// An activation had flipped: it was finished, and this generation is active.
    Finished(u64),
    /// An uninstall was finished: there is no root any more.
    Uninstalled,
    /// The journal could not be read: the tree was made to be what the active generation says, none if there is none.
    Repaired(Option<u64>),
}

impl Locked<'_> {
    /// Ends what another process began and did not end: to exactly the former set, or to exactly the new one.
    /// May be interrupted and repeated itself.
    ///
    /// # Errors
    /// What cannot be done; the journal stays then, and the next recovery tries again. [`Error::Start`] and
    /// [`Error::Restart`]: recovered, but units do not start.
    pub fn recover(&mut self, host: &mut dyn Host) -> Result<Recovery, Error> {
        for name in UNFINISHED_FILES {
            // Whatever is wrong with the root shows when something has to be recovered.
            let _ = rustix::fs::unlinkat(&self.root.top.fd, name, AtFlags::empty());
        }
        let Some(text) = self.root.read(JOURNAL)? else { return Ok(Recovery::Nothing) };
        let journal = match serde_json::from_slice::<Journal>(&text) {
            Ok(journal) if journal.format == Journal::FORMAT => journal,
            _ => return self.without_journal(&text, host),
        };
        match &journal.change {
            Change::Activation { from, to, .. } => {
                if self.root.current_number()? == Some(*to) {
                    let started = self.finish(&journal, *to, host)?;
                    started.map(|()| Recovery::Finished(*to)).map_err(|source| Error::Start { source })
                } else {
                    let started = self.take_back(&journal, *from, *to, host)?;
                    started.map(|()| Recovery::TakenBack(*from)).map_err(|source| Error::Restart { source })
                }
            }
            Change::Uninstall { .. } => {
                self.remove_all(&journal, host)?;
                Ok(Recovery::Uninstalled)
            }
        }
    }

    /// A journal that is not one of ours.
    fn without_journal(&mut self, text: &[u8], host: &mut dyn Host) -> Result<Recovery, Error> {
        let value = serde_json::from_slice::<Value>(text).unwrap_or_default();
        if let Some(format) = value["format"].as_u64().filter(|format| *format != u64::from(Journal::FORMAT))
        {
            let reason =
                format!("its format is {format}, known is {}: a later pkgpanda wrote it", Journal::FORMAT);
            return Err(self.root.damaged(JOURNAL, &reason));
        }
        let layout = self.root.layout()?;
        let is_originals = matches!(layout, RootLayout::Original(_) | RootLayout::OriginalBroken);
        if is_originals || value.get("stage").is_some() {
            return Err(Error::OriginalInterrupted(self.root.path().join(JOURNAL)));
        }
        self.repair(host).map(Recovery::Repaired)
    }
}
