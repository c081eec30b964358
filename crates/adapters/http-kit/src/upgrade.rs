//! Connections that stop being HTTP: WebSocket, the agents' link to their master.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Body, Request, Response};

/// The raw connection after an upgrade. What the peer sent right behind its head is read first.
pub struct Upgraded(TokioIo<hyper::upgrade::Upgraded>);

/// The connection failed before the upgrade was complete.
#[derive(Debug, thiserror::Error)]
#[error("the connection was not upgraded")]
pub struct UpgradeError(#[source] hyper::Error);

/// The promise of an upgraded connection.
///
/// On a server it is kept after the 101 response has been sent, on a client it is kept at once.
/// Awaiting it inside the handler would wait for ever: hand it to a task.
#[derive(Debug)]
pub struct Upgrade(OnUpgrade);

impl Upgrade {
    /// Waits for the connection.
    pub async fn connection(self) -> Result<Upgraded, UpgradeError> {
        self.0.await.map(|io| Upgraded(TokioIo::new(io))).map_err(UpgradeError)
    }
}

/// The protocol that a message asks to switch to (or confirms), in the case it was written in.
/// `None` unless `Connection` names `upgrade`, too.
pub fn requested(headers: &HeaderMap) -> Option<&str> {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = connection.flat_map(|value| value.split(','));
    if !options.any(|option| option.trim().eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    headers.get(UPGRADE)?.to_str().ok()
}

/// Takes the promise out of a request that asks for `protocol` (compared without case).
pub fn take(request: &mut Request, protocol: &str) -> Option<Upgrade> {
    if !requested(request.headers())?.eq_ignore_ascii_case(protocol) {
        return None;
    }
    take_any(request)
}

/// Takes the promise out of a request, whatever protocol it asks for.
pub(crate) fn take_any(request: &mut Request) -> Option<Upgrade> {
    request.extensions_mut().remove::<OnUpgrade>().map(Upgrade)
}

/// Takes the promise out of a client's 101 response.
pub fn take_response(response: &mut Response) -> Option<Upgrade> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    response.extensions_mut().remove::<OnUpgrade>().map(Upgrade)
}

/// The 101 response that switches to `protocol`.
pub fn accept(protocol: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    offer(response.headers_mut(), protocol);
    response
}

/// Sets the two headers with which a client asks for `protocol`.
pub fn offer(headers: &mut HeaderMap, protocol: &'static str) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
