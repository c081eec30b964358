use std::sync::Arc;
use std::time::Duration;

use base::ContainerId;
use host::LockError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use web_client::WebClient;

use crate::pull::{ImageKey, Shared};
use crate::store::{Failed, Store};
use crate::{
    Config, HoldError, Image, ImageSummary, OpenError, Phase, Progress, Pruned, Pull, PullError, Reference,
    RemoveError,
};

/// How often a pull's progress is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long an owner in this process, which is being closed, is waited for.
const CLOSING: Duration = Duration::from_secs(30);
/// How long an owner that is not to be seen: it may have just gone.
const UNSEEN: Duration = Duration::from_secs(1);

/// The images of an agent. Clones are the same images.
#[derive(Clone)]
pub struct Images {
    shared: Arc<Shared>,
}

impl Images {
    /// Takes the directory; reads what is known of images there, not the images. What a killed process
    /// left half done is removed in the background.
    ///
    /// # Errors
    /// [`OpenError::Lock`] if another process owns the directory.
    pub async fn open(config: Config, web: WebClient) -> Result<Images, OpenError> {
        let started = Instant::now();
        let store = loop {
            let dir = config.dir.clone();
            let opened = spawn_blocking(move || Store::open(&dir)).await;
            match opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                // Work of a service of this process that was ended, and is about to be started again.
                Err(OpenError::Lock(LockError::Held { owner, .. }))
                    if match owner {
                        Some(owner) => owner == std::process::id() && started.elapsed() < CLOSING,
                        None => started.elapsed() < UNSEEN,
                    } =>
                {
                    sleep(Duration::from_millis(20)).await;
                }
                opened => break opened?,
            }
        };
        Ok(Images { shared: Arc::new(Shared::new(config, store, web)) })
    }

    /// Brings an image here, if it is not: an image of a registry that is here is taken as it is unless
    /// forced; a tarball is looked at, whether it has changed.
    ///
    /// Pulls of the same share their work; layers are shared between all. It ends with the last future
    /// that waits for it, and leaves nothing but layers that were whole.
    ///
    /// # Errors
    /// In words for the user; see [`PullError`].
    pub async fn pull(&self, reference: &Reference, how: Pull) -> Result<Image, PullError> {
        if !how.force
            && matches!(reference, Reference::Registry(_))
            && let Some(image) = self.find(reference)
        {
            return Ok(image);
        }
        let key = ImageKey {
            reference: reference.clone(),
            force: how.force,
            credentials: how.credentials,
            names: how.names,
        };
        let shared = self.shared.clone();
        let start = |meter| shared.pull(key.clone(), meter);
        let (flight, _) = self.shared.images.join(&key, start);
        let mut told = Progress::default();
        let mut tell = |now: Progress| {
            if now != told {
                (how.progress)(now);
                told = now;
            }
        };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = flight.outcome();
        tokio::pin!(outcome);
        let outcome = loop {
            tokio::select! {
                outcome = &mut outcome => break outcome,
                _ = ticks.tick() => tell(flight.meter.progress()),
            }
        };
        let image = outcome.unwrap_or_else(|| Err(PullError::Closed { image: reference.familiar() }))?;
        tell(Progress { phase: Phase::Done, ..flight.meter.progress() });
        Ok(image)
    }

    /// The image of a reference, if it is here.
    pub fn find(&self, reference: &Reference) -> Option<Image> {
        self.shared.store.find(reference).map(|(image, _)| image)
    }

    /// Keeps the image for `holder`, until released, whatever becomes of this process. A holder holds
    /// one image: a second call replaces the first.
    ///
    /// # Errors
    /// Then nothing is held.
    pub async fn hold(&self, image: &Image, holder: &ContainerId) -> Result<(), HoldError> {
        let (store, image, holder) = (self.shared.store.clone(), image.clone(), holder.clone());
        finish(spawn_blocking(move || store.hold(&image, holder.as_str())).await)
    }

    /// Gives up what `holder` holds; nothing happens if that is nothing. Its image stays, until the
    /// quota wants its place.
    ///
    /// # Errors
    /// Then it is still held.
    pub async fn release(&self, holder: &ContainerId) -> Result<(), HoldError> {
        let (shared, holder) = (self.shared.clone(), holder.clone());
        let released = spawn_blocking(move || {
            shared.store.release(holder.as_str())?;
            if let Err(error) = shared.store.collect(shared.config.quota_bytes) {
                tracing::warn!(%error, "unused images could not be collected");
            }
            Ok(())
        });
        finish(released.await)
    }

    /// Who holds images, those from before the start included.
    pub fn holders(&self) -> Vec<ContainerId> {
        self.shared.store.holders().into_iter().map(ContainerId::from).collect()
    }

    /// What is here, by reference.
    pub fn list(&self) -> Vec<ImageSummary> {
        self.shared.store.list()
    }

    /// Takes one image away, with the layers that no other needs.
    ///
    /// # Errors
    /// [`RemoveError::Held`] names who uses it.
    pub async fn remove(&self, reference: &Reference) -> Result<Pruned, RemoveError> {
        let (store, reference) = (self.shared.store.clone(), reference.clone());
        finish(spawn_blocking(move || store.remove(&reference)).await)
    }

    /// Takes all images away that nobody uses, except `excluded`. Mesos: PRUNE_IMAGES.
    ///
    /// # Errors
    /// Some may be gone then.
    pub async fn prune(&self, excluded: &[Reference]) -> Result<Pruned, RemoveError> {
        let (store, excluded) = (self.shared.store.clone(), excluded.to_vec());
        finish(spawn_blocking(move || store.prune(&excluded).map_err(Failed::remove)).await)
    }
}

/// What a blocking thread returned. It cannot be cancelled, and its panic is the caller's.
fn finish<T>(done: Result<T, tokio::task::JoinError>) -> T {
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
