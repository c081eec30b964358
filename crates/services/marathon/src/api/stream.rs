//! `/v2/events`.

use std::collections::BTreeSet;

use http_kit::{HeaderValue, Peer, Response, header, sse, target::Query};
use tokio::sync::oneshot;

use super::{Api, Outcome};
use crate::event_loop::Job;

impl Api {
    /// Streams events, of the types `event_type` only if any are given.
    pub(super) async fn events(&self, query: &Query, peer: &Peer) -> Outcome {
        let types: BTreeSet<String> = query.all("event_type").map(str::to_owned).collect();
        let address = peer.ip().map_or_else(|| peer.to_string(), |ip| ip.to_string());
        let (sender, answer) = oneshot::channel();
        let body = self.ask(Job::Attach(address, types, sender), answer).await??;
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(sse::CONTENT_TYPE));
        Ok(response)
    }
}
