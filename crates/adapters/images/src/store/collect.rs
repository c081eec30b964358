use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::files::{Failed, act, remove_tree};
use super::{Kept, State, Store};
use crate::{Digest, Pruned, Reference, RemoveError};

impl Store {
    /// If all take more than `quota` bytes: takes away layers that no image needs (they are of pulls that
    /// failed, and may spare the next attempt, or of tags that moved), then images that nobody uses, the
    /// least recently used first.
    pub(crate) fn collect(&self, quota: u64) -> Result<Pruned, Failed> {
        let mut state = self.state();
        let all = state.layers.values().map(|layer| layer.record.bytes);
        if all.fold(0, u64::saturating_add) <= quota {
            return Ok(Pruned::default());
        }
        let mut pruned = self.drop_orphans(&mut state)?;
        while state.bytes() > quota {
            let unused = state.records.values().filter(|kept| state.is_unused(kept));
            let Some(oldest) = unused.min_by_key(|kept| kept.used) else { break };
            let reference = oldest.record.reference.clone();
            self.forget(&mut state, &reference)?;
            pruned.references.push(reference);
            pruned.add(self.drop_orphans(&mut state)?);
        }
        drop(state);
        self.sweep();
        Ok(pruned)
    }

    /// Takes away all images that nobody uses, except these.
    pub(crate) fn prune(&self, excluded: &[Reference]) -> Result<Pruned, Failed> {
        let excluded: BTreeSet<String> = excluded.iter().map(Reference::to_string).collect();
        let mut state = self.state();
        let unused = state.records.values().filter(|kept| state.is_unused(kept));
        let references = unused.map(|kept| kept.record.reference.clone());
        let references: Vec<String> = references.filter(|reference| !excluded.contains(reference)).collect();
        for reference in &references {
            self.forget(&mut state, reference)?;
        }
        let mut pruned = self.drop_orphans(&mut state)?;
        pruned.references = references;
        drop(state);
        self.sweep();
        Ok(pruned)
    }

    /// Takes away one image, unless it is used.
    pub(crate) fn remove(&self, reference: &Reference) -> Result<Pruned, RemoveError> {
        let text = reference.to_string();
        let mut state = self.state();
        let Some(kept) = state.records.get(&text) else {
            return Err(RemoveError::NotFound { reference: text });
        };
        if !state.is_unused(kept) {
            let mut holders = state.holders_of(&kept.record.id);
            if holders.is_empty() {
                holders.push("a pull or launch that is under way".to_owned());
            }
            return Err(RemoveError::Held { reference: text, holders });
        }
        self.forget(&mut state, &text).map_err(Failed::remove)?;
        let mut pruned = self.drop_orphans(&mut state).map_err(Failed::remove)?;
        pruned.references.push(text);
        drop(state);
        self.sweep();
        Ok(pruned)
    }

    fn forget(&self, state: &mut State, reference: &str) -> Result<(), Failed> {
        let path = self.record_path(reference);
        act("remove", &path, fs::remove_file(&path))?;
        state.records.remove(reference);
        Ok(())
    }

    /// Layers of no record, no hold and no image in use.
    fn drop_orphans(&self, state: &mut State) -> Result<Pruned, Failed> {
        let needed = state.needed();
        let orphan = state
            .layers
            .iter()
            .filter(|(id, layer)| !needed.contains(id) && Arc::strong_count(&layer.pin) == 1);
        let orphans: Vec<Digest> = orphan.map(|(id, _)| id.clone()).collect();
        let mut pruned = Pruned::default();
        for id in orphans {
            self.discard(&self.layer_dir(&id))?;
            let layer = state.layers.remove(&id);
            pruned.layers += 1;
            pruned.bytes += layer.map_or(0, |layer| layer.record.bytes);
        }
        Ok(pruned)
    }

    /// Removes what is in the trash, in a thread of its own: it may be gigabytes.
    pub(super) fn sweep(&self) {
        let trash = self.dir.join("trash");
        let empty = fs::read_dir(&trash).map_or(true, |mut entries| entries.next().is_none());
        if empty || self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweeping = self.sweeping.clone();
        let sweeper = std::thread::Builder::new().name("images-sweeper".to_owned()).spawn(move || {
            // One that comes while this round ends is taken by the next round, at the latest at open.
            for entry in fs::read_dir(&trash).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove_tree(&entry.path());
                } else {
                    let _ = fs::remove_file(entry.path());
                }
            }
            sweeping.store(false, Ordering::Release);
        });
        if sweeper.is_err() {
            self.sweeping.store(false, Ordering::Release);
        }
    }
}

impl State {
    /// Layers of a record or a hold.
    fn needed(&self) -> BTreeSet<&Digest> {
        let recorded = self.records.values().flat_map(|kept| &kept.record.layers);
        let held = self.holds.values().flat_map(|hold| &hold.layers);
        recorded.chain(held).collect()
    }

    /// Of what is needed. What is not, but in somebody's hand for a moment, goes without taking away
    /// anything else for it.
    fn bytes(&self) -> u64 {
        let layers = self.needed().into_iter().filter_map(|id| self.layers.get(id));
        layers.map(|layer| layer.record.bytes).fold(0, u64::saturating_add)
    }

    /// Whether no container holds it and nobody in this process has it in hand.
    fn is_unused(&self, kept: &Kept) -> bool {
        Arc::strong_count(&kept.pin) == 1 && !self.holds.values().any(|hold| hold.image == kept.record.id)
    }
}

impl Pruned {
    fn add(&mut self, other: Pruned) {
        self.references.extend(other.references);
        self.layers += other.layers;
        self.bytes += other.bytes;
    }
}
