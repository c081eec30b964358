use std::sync::Arc;

use tokio::sync::watch;

/// What a service is handed by the process it runs in. Clones are the same context.
#[derive(Clone, Debug)]
pub struct Ctx {
    name: Arc<str>,
    shutdown: Shutdown,
    ready: Arc<watch::Sender<bool>>,
}

impl Ctx {
    /// The context of the component `name`, and what its owner holds: the way to stop it and the
    /// way to see that it answers.
    pub fn new(name: &str) -> (Ctx, Stop, Readiness) {
        let (stop, shutdown) = Shutdown::new();
        let (ready, seen) = watch::channel(false);
        (Ctx { name: name.into(), shutdown, ready: Arc::new(ready) }, stop, Readiness(seen))
    }

    /// A context for a test, which stops its service by dropping or asking the [`Stop`].
    pub fn for_tests() -> (Ctx, Stop, Readiness) {
        Ctx::new("test")
    }

    /// The same component's next run, which is not ready yet.
    pub(crate) fn renewed(&self) -> (Ctx, Readiness) {
        let (ready, seen) = watch::channel(false);
        let (name, shutdown) = (self.name.clone(), self.shutdown.clone());
        (Ctx { name, shutdown, ready: Arc::new(ready) }, Readiness(seen))
    }

    /// The component's name, as in its log lines: `master`, `agent 2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells when to stop. To be held by every task of the service.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Says that the service answers. Called once by each run of it.
    pub fn ready(&self) {
        self.ready.send_replace(true);
    }
}

/// Tells a service that it is to stop.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A shutdown and the [`Stop`] that requests it.
    pub fn new() -> (Stop, Shutdown) {
        let (stop, shutdown) = watch::channel(false);
        (Stop(stop), Shutdown(shutdown))
    }

    /// Completes when shutdown is requested, at once if it already was. May be awaited any number of
    /// times, by any number of tasks.
    pub async fn requested(&self) {
        // An error means that the owner is gone, and then nobody is left to run for.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// Whether shutdown was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Requests the shutdown of one service. Dropping it requests it too: a service never outlives its
/// owner.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Requests shutdown; further requests change nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// Sees when a service says that it answers.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Receiver<bool>);

impl Readiness {
    /// Completes with true when the service is ready, with false if it ended before.
    pub async fn reached(&self) -> bool {
        self.0.clone().wait_for(|ready| *ready).await.is_ok()
    }

    /// Whether the service said that it answers.
    pub fn is_reached(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_is_seen_by_all_and_for_good() {
        let (stop, shutdown) = Shutdown::new();
        assert!(!shutdown.is_requested());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        stop.request();
        waiting.await.unwrap();
        drop(stop);
        assert!(shutdown.is_requested());
        shutdown.requested().await;
    }

    #[tokio::test]
    async fn an_owner_that_is_gone_stops_its_service() {
        let (stop, shutdown) = Shutdown::new();
        drop(stop);
        assert!(shutdown.is_requested());
        shutdown.requested().await;
    }

    #[tokio::test]
    async fn readiness_tells_reached_from_ended() {
        let (ctx, _stop, readiness) = Ctx::new("a");
        assert!(!readiness.is_reached());
        ctx.ready();
        assert!(readiness.reached().await);
        let (ctx, _stop, readiness) = Ctx::new("b");
        drop(ctx);
        assert!(!readiness.reached().await);
    }
}
