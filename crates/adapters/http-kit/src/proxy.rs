//! Passing a request on to another server and its answer back, bodies streaming both ways.
//!
//! Which server, and what to do when it fails, is the caller's decision.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::copy_bidirectional_with_sizes;
use tracing::debug;

use crate::address::Address;
use crate::client::{Client, ClientError, Timeouts};
use crate::upgrade::{self, Upgrade};
use crate::{Request, Response};

/// The buffer of an upgraded connection, for each direction.
const RELAY_BUFFER: usize = 16 * 1024;
/// How long the two handshakes of an upgrade may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The headers that are about one connection only and must not be passed on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the headers that are about one connection only, and those that `Connection` names.
///
/// Beside `Transfer-Encoding` a `Content-Length` counts for nothing (RFC 9112, 6.3); it goes, too, so
/// that the next server cannot take the end of this body for the beginning of another request.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// A request without its connection's headers, ready for another connection.
#[derive(Debug)]
pub struct Forwarded {
    /// The request to send.
    pub request: Request,
    /// The client's side of an upgrade, when it asked for one.
    pub upgrade: Option<Upgrade>,
}

impl Forwarded {
    /// Takes a request off its connection. An upgrade that it asks for is asked for again.
    pub fn from(mut request: Request) -> Self {
        let protocol =
            upgrade::requested(request.headers()).and_then(|name| HeaderValue::from_str(name).ok());
        let upgrade = protocol.as_ref().and_then(|_| upgrade::take_any(&mut request));
        let headers = request.headers_mut();
        strip_hop_by_hop(headers);
        // Our own server answers the expectation as it reads the body.
        headers.remove(http::header::EXPECT);
        if let (Some(protocol), Some(_)) = (protocol, &upgrade) {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        Forwarded { request, upgrade }
    }
}

/// Takes a response off its connection. If both sides upgrade, a task passes bytes between the two
/// until one side closes or `shutdown` resolves.
pub fn give_back(
    mut response: Response,
    client: Option<Upgrade>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let upgraded = upgrade::take_response(&mut response);
    let protocol = response.headers().get(UPGRADE).cloned();
    strip_hop_by_hop(response.headers_mut());
    match (response.status(), upgraded, client, protocol) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(server), Some(client), Some(protocol)) => {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, protocol);
            tokio::spawn(async move {
                tokio::select! {
                    () = relay(client, server) => {}
                    () = shutdown => {}
                }
            });
            response
        }
        (StatusCode::SWITCHING_PROTOCOLS, ..) => crate::respond::text(
            StatusCode::BAD_GATEWAY,
            "the upstream switched protocols without being asked to\n",
        ),
        _ => response,
    }
}

async fn relay(client: Upgrade, server: Upgrade) {
    let both = tokio::time::timeout(UPGRADE_TIMEOUT, async {
        tokio::try_join!(client.connection(), server.connection())
    });
    match both.await {
        Ok(Ok((mut client, mut server))) => {
            // An error is one side closing without a farewell; the other one is closed by the drop.
            let _ = copy_bidirectional_with_sizes(&mut client, &mut server, RELAY_BUFFER, RELAY_BUFFER).await;
        }
        Ok(Err(error)) => debug!(%error, "an upgrade failed"),
        Err(_) => debug!("an upgrade took too long"),
    }
}

/// Passes one request on to one address: [`Forwarded`], [`Client::send`], [`give_back`].
pub async fn forward(
    client: &Client,
    address: &Address,
    request: Request,
    timeouts: Timeouts,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Response, ClientError> {
    let Forwarded { request, upgrade } = Forwarded::from(request);
    let response = client.send(address, request, timeouts).await?;
    Ok(give_back(response, upgrade, shutdown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_what_is_about_the_connection() {
        let check = |found: &[(&'static str, &str)], expect: &[&str]| {
            let mut headers = HeaderMap::new();
            for (name, value) in found {
                headers.append(*name, value.parse().unwrap());
            }
            strip_hop_by_hop(&mut headers);
            let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, expect, "{found:?}");
        };
        check(
            &[
                ("connection", "close, X-Private"),
                ("x-private", "1"),
                ("te", "trailers"),
                ("keep-alive", "5"),
                ("x-public", "1"),
                ("content-length", "3"),
            ],
            &["content-length", "x-public"],
        );
        check(&[("connection", "a"), ("connection", "b"), ("a", "1"), ("b", "1"), ("c", "1")], &["c"]);
        check(&[("content-length", "3"), ("transfer-encoding", "chunked"), ("host", "x")], &["host"]);
    }
}
