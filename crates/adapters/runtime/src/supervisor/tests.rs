use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const QUICK: Backoff = Backoff {
    first: Duration::from_millis(1),
    most: Duration::from_millis(4),
    forgiven_after: Duration::from_secs(60),
};

async fn next(changes: &mut mpsc::Receiver<StateChange>) -> State {
    let change = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
    change.expect("a state change in time").expect("a supervisor").state
}

#[tokio::test]
async fn a_component_that_fails_is_started_again() {
    let (mut supervisor, mut changes) = Supervisor::new(QUICK, 64);
    let runs = AtomicU32::new(0);
    supervisor.start(Component::new("flaky", move |ctx: Ctx| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            match run {
                0 => Err("no luck"),
                1 => panic!("run {run}"),
                2 => Ok(()),
                _ => {
                    ctx.ready();
                    ctx.shutdown().requested().await;
                    Ok(())
                }
            }
        }
    }));
    let mut check = async |reason: &str, restart_in: u64| {
        assert_eq!(next(&mut changes).await, State::Starting);
        let restart_in = Duration::from_millis(restart_in);
        assert_eq!(next(&mut changes).await, State::Failed { reason: reason.into(), restart_in });
    };
    check("no luck", 1).await;
    check("panic: run 1", 2).await;
    check("it ended without being asked", 4).await;
    assert_eq!(next(&mut changes).await, State::Starting);
    assert_eq!(next(&mut changes).await, State::Ready);
    assert!(supervisor.stop(Duration::from_secs(10)).await.is_empty());
    assert_eq!(next(&mut changes).await, State::Stopped);
}

#[tokio::test]
async fn stopping_is_bounded_and_names_who_was_late() {
    let (mut supervisor, mut changes) = Supervisor::new(QUICK, 64);
    let alive = Arc::new(());
    let held = alive.clone();
    supervisor.start(Component::new("deaf", move |ctx: Ctx| {
        let held = held.clone();
        async move {
            ctx.ready();
            std::future::pending::<()>().await;
            drop(held);
            Ok::<(), BoxError>(())
        }
    }));
    assert_eq!(next(&mut changes).await, State::Starting);
    assert_eq!(next(&mut changes).await, State::Ready);
    let late = supervisor.stop(Duration::from_millis(10)).await;
    assert_eq!(late, [Arc::from("deaf")]);
    tokio::time::timeout(Duration::from_secs(10), async {
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("what was cut off holds nothing any more");
}

#[tokio::test]
async fn one_component_stops_alone() {
    let (mut supervisor, mut changes) = Supervisor::new(QUICK, 64);
    for name in ["a", "b"] {
        supervisor.start(Component::new(name, |ctx: Ctx| async move {
            ctx.shutdown().requested().await;
            Ok::<(), BoxError>(())
        }));
    }
    assert!(supervisor.stop_one("a", Duration::from_secs(10)).await);
    assert!(supervisor.stop_one("none", Duration::ZERO).await);
    let mut stopped = Vec::new();
    while let Ok(change) = changes.try_recv() {
        stopped.extend((change.state == State::Stopped).then_some(change.component));
    }
    assert_eq!(stopped, [Arc::from("a")]);
    assert!(supervisor.stop(Duration::from_secs(10)).await.is_empty());
}
