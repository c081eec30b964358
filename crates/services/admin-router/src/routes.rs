//! The current routing table, and what it was built from.

use std::sync::{Arc, Mutex, PoisonError};

use router_core::{App, MesosState, Site, Table};
use tokio::sync::watch;

use crate::freshness::Freshness;

/// Holds the last known state and publishes a table for each change of it.
pub(crate) struct Routes {
    site: Arc<Site>,
    known: Mutex<Known>,
    tables: watch::Sender<Arc<Table>>,
    /// Of what Marathon says.
    pub(crate) freshness: Arc<Freshness>,
}

/// `None` is what was never told.
#[derive(Default)]
struct Known {
    mesos: Option<MesosState>,
    marathon: Option<Vec<App>>,
}

impl Routes {
    pub(crate) fn new(site: Site) -> Self {
        let site = Arc::new(site);
        let table = Table::build(&site, None, None);
        let (tables, _) = watch::channel(Arc::new(table));
        Routes { site, known: Mutex::default(), tables, freshness: Arc::new(Freshness::new()) }
    }

    /// The current table, and notice of each new one.
    pub(crate) fn tables(&self) -> watch::Receiver<Arc<Table>> {
        self.tables.subscribe()
    }

    pub(crate) fn set_mesos(&self, state: MesosState) {
        self.change(|known| known.mesos.replace(state.clone()).as_ref() != Some(&state));
    }

    pub(crate) fn set_marathon(&self, apps: Vec<App>) {
        self.change(|known| {
            let changed = known.marathon.as_ref() != Some(&apps);
            known.marathon = Some(apps);
            changed
        });
    }

    /// Publishes a table if `change` says that it changed something.
    fn change(&self, change: impl FnOnce(&mut Known) -> bool) {
        // A panic in `build` leaves the state complete.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut known) {
            let table = Table::build(&self.site, known.mesos.as_ref(), known.marathon.as_deref());
            // Under the lock, so that a later table never goes before an earlier one.
            self.tables.send_replace(Arc::new(table));
        }
    }
}
