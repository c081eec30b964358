//! How far pulls are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Phase, Progress};

/// Of one layer.
#[derive(Debug, Default)]
pub(crate) struct LayerMeter {
    bytes: AtomicU64,
    done: AtomicBool,
}

impl LayerMeter {
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Of one image.
#[derive(Debug, Default)]
pub(crate) struct ImageMeter(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    phase: Phase,
    present: u32,
    bytes_total: u64,
    /// Bytes of a tarball on its way, before layers are known.
    bytes: u64,
    missing: Vec<(u64, Arc<LayerMeter>)>,
}

impl ImageMeter {
    /// A tarball arrives: so many bytes of so many.
    pub(crate) fn tarball(&self, bytes: u64, total: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.bytes, counts.bytes_total) = (bytes, total.max(bytes));
    }

    /// So many layers are there already.
    pub(crate) fn start(&self, present: u32) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts = Counts { phase: Phase::Pulling, present, ..Counts::default() };
    }

    /// This layer of `bytes` arrives.
    pub(crate) fn layer(&self, bytes: u64, meter: Arc<LayerMeter>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.missing.push((bytes, meter));
    }

    /// It does not arrive after all; another attempt counts anew.
    pub(crate) fn forget(&self, meter: &Arc<LayerMeter>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.missing.retain(|(_, known)| !Arc::ptr_eq(known, meter));
    }

    pub(crate) fn progress(&self) -> Progress {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = |(bytes, meter): &(u64, Arc<LayerMeter>)| match meter.done.load(Ordering::Relaxed) {
            true => *bytes,
            false => meter.bytes.load(Ordering::Relaxed).min(*bytes),
        };
        let finished =
            counts.missing.iter().filter(|(_, meter)| meter.done.load(Ordering::Relaxed)).count() as u32;
        Progress {
            phase: counts.phase,
            bytes_done: counts.bytes + counts.missing.iter().map(done).sum::<u64>(),
            bytes_total: counts.bytes_total + counts.missing.iter().map(|(bytes, _)| bytes).sum::<u64>(),
            layers_done: counts.present + finished,
            layers_total: counts.present + counts.missing.len() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let (image, layer) = (ImageMeter::default(), Arc::new(LayerMeter::default()));
        image.tarball(5, 0);
        assert_eq!(image.progress(), Progress { bytes_done: 5, bytes_total: 5, ..Progress::default() });
        image.start(2);
        image.layer(10, layer.clone());
        layer.add(4);
        let pulling = Progress {
            phase: Phase::Pulling,
            bytes_done: 4,
            bytes_total: 10,
            layers_done: 2,
            layers_total: 3,
        };
        assert_eq!(image.progress(), pulling);
        layer.finish();
        assert_eq!(image.progress(), Progress { bytes_done: 10, layers_done: 3, ..pulling });
    }
}
