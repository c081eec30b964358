//! HTTP as every service speaks it: listeners, client, streams, upgrades, proxying.
//!
//! One place wraps hyper, so that limits, timeouts and the end of a connection mean the same in
//! every component. Requests and responses are the types of the `http` crate with our [`Body`].
//!
//! What it deliberately does not do: no routing (each service matches on method and path segments
//! by hand, because the error bodies and prefix rules of Mesos and Marathon must be exact), no TLS,
//! no name resolution (an [`Address`] is a socket address or a path), no HTTP/2, no content coding but
//! [`compress`].
//!
//! Entry points: [`serve`] and [`Handler`] for servers, [`Client`] for clients, [`Body::channel`]
//! for streams, [`outbox`] for what waits for a slow reader, [`upgrade`] for connections that stop being HTTP, [`guard`] for the refusal of
//! requests that a foreign web page sent, [`respond`] and [`target`] for the everyday work of a
//! handler, [`mesos`] for answers in the words of Mesos.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use http_kit::{Address, Handler, Listener, Peer, Request, StatusCode, respond};
//! # async fn example() -> Result<(), http_kit::BindError> {
//! let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 8080).into())).await?;
//! let handler: Arc<dyn Handler> =
//!     Arc::new(|_request: Request, _peer: Peer| async { respond::text(StatusCode::OK, "pong") });
//! http_kit::serve(listener, handler, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

mod address;
mod body;
mod client;
pub mod compress;
pub mod guard;
pub mod mesos;
pub mod outbox;
mod pool;
pub mod proxy;
pub mod respond;
mod server;
pub mod sse;
mod stream;
pub mod target;
pub mod upgrade;

pub use address::{Address, BindError, Listener, ParseAddressError};
pub use body::{
    Body, BodyError, BodySender, Budget, ReadBodyError, Reserved, SendBodyError, TrySendBodyError,
};
pub use bytes::Bytes;
pub use client::{Client, ClientConfig, ClientError, ErrorKind, Fetched, Timeouts, copy, send_over};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
pub use server::{BoxFuture, Handler, Peer, ServerConfig, serve, serve_with};
pub use upgrade::Upgraded;

/// A request with our body.
pub type Request = http::Request<Body>;
/// A response with our body.
pub type Response = http::Response<Body>;
