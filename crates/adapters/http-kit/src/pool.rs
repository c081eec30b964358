//! Connections kept for the next request.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout};

use crate::address::Address;
use crate::body::{Body, BodyError};

/// A connection that can carry a request.
pub(crate) type Connection = SendRequest<Body>;

/// How long a connection whose response was just read may take to become ready for the next.
const SETTLE: Duration = Duration::from_millis(5);

/// Idle connections by address, bounded in number and age.
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    max_per_address: usize,
    max_total: usize,
    max_age: Duration,
}

#[derive(Default)]
struct Idle {
    by_address: HashMap<Address, Vec<(Instant, Connection)>>,
    total: usize,
    reaping: bool,
}

impl Pool {
    pub(crate) fn new(max_per_address: usize, max_total: usize, max_age: Duration) -> Arc<Self> {
        Arc::new(Pool { idle: Mutex::default(), max_per_address, max_total, max_age })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Every change below is complete before anything could panic.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `address` that was used last and is still alive.
    pub(crate) async fn take(&self, address: &Address) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop(address, self.max_age)?;
            if connection.is_closed() {
                continue;
            }
            // Right after a response the connection's task may not have run yet.
            if connection.is_ready() || matches!(timeout(SETTLE, connection.ready()).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose response has been read to its end.
    pub(crate) fn put(self: &Arc<Self>, address: Address, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.idle();
        if idle.total >= self.max_total {
            return;
        }
        let list = idle.by_address.entry(address).or_default();
        if list.len() >= self.max_per_address {
            return;
        }
        list.push((Instant::now(), connection));
        idle.total += 1;
        if !std::mem::replace(&mut idle.reaping, true) {
            tokio::spawn(reap(Arc::downgrade(self), self.max_age));
        }
    }
}

impl Idle {
    fn pop(&mut self, address: &Address, max_age: Duration) -> Option<Connection> {
        let list = self.by_address.get_mut(address)?;
        let newest = list.pop();
        self.total -= usize::from(newest.is_some());
        if list.is_empty() {
            self.by_address.remove(address);
        }
        newest.filter(|(since, _)| since.elapsed() < max_age).map(|(_, connection)| connection)
    }

    fn drop_old(&mut self, max_age: Duration) {
        let mut total = 0;
        self.by_address.retain(|_, list| {
            list.retain(|(since, connection)| since.elapsed() < max_age && !connection.is_closed());
            total += list.len();
            !list.is_empty()
        });
        self.total = total;
    }
}

/// Closes connections that idled too long; ends when none is left or the pool is gone.
async fn reap(pool: Weak<Pool>, max_age: Duration) {
    loop {
        tokio::time::sleep(max_age / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.drop_old(max_age);
        if idle.total == 0 {
            idle.reaping = false;
            return;
        }
    }
}

/// A response body that gives its connection back to the pool at its end.
///
/// Dropped before its end it closes the connection.
pub(crate) struct PooledBody {
    incoming: Incoming,
    home: Option<(Arc<Pool>, Address, Connection)>,
}

impl PooledBody {
    pub(crate) fn new(incoming: Incoming, pool: Arc<Pool>, address: Address, connection: Connection) -> Self {
        PooledBody { incoming, home: Some((pool, address, connection)) }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.home = None,
            _ if frame.is_none() || self.incoming.is_end_stream() => {
                if let Some((pool, address, connection)) = self.home.take() {
                    pool.put(address, connection);
                }
            }
            _ => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Connection)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
