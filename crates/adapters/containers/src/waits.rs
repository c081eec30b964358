use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::process::{Exit, ProcessIdentity};

/// Who waits for which process: the kernel gives an exit status to one reader only, and whoever ends a
/// container may come first.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    waiting: Mutex<Vec<(ProcessIdentity, Slot)>>,
}

type Slot = Arc<OnceLock<Exit>>;

/// One who waits.
pub(crate) struct Waiting<'a> {
    waits: &'a Waits,
    slot: Slot,
}

impl Waits {
    /// Registers a wait; dropping the result ends it.
    pub(crate) fn enter(&self, process: &ProcessIdentity) -> Waiting<'_> {
        let slot = Slot::default();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((process.clone(), Arc::clone(&slot)));
        Waiting { waits: self, slot }
    }

    /// Tells everybody who waits for `process` how it ended; to be done before it is reaped.
    pub(crate) fn tell(&self, process: &ProcessIdentity, exit: Exit) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in waiting.iter().filter(|(waited_for, _)| waited_for == process) {
            // A second telling says the same.
            let _ = slot.set(exit);
        }
    }
}

impl Waiting<'_> {
    /// What was told meanwhile; [`Exit::Unknown`] if nothing was.
    pub(crate) fn told(&self) -> Exit {
        self.slot.get().copied().unwrap_or(Exit::Unknown)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waits.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, slot)| !Arc::ptr_eq(slot, &self.slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_for_it_is_told() {
        let waits = Waits::default();
        let process = |pid| ProcessIdentity { pid, start_time: 1, boot_id: "b".into() };
        let (first, second, other) =
            (waits.enter(&process(1)), waits.enter(&process(1)), waits.enter(&process(2)));
        waits.tell(&process(1), Exit::Code(3));
        waits.tell(&process(1), Exit::Unknown);
        let told = [&first, &second, &other].map(Waiting::told);
        assert_eq!(told, [Exit::Code(3), Exit::Code(3), Exit::Unknown]);
        drop((first, second, other));
        assert!(waits.waiting.lock().unwrap().is_empty());
    }
}
