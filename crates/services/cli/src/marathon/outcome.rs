//! How a deployment ends, as Marathon's events tell.

use std::time::Duration;

use http_kit::sse::{Decoder, Event};
use http_kit::{Body, HeaderValue, Request, header, sse};
use serde_json::Value;
use tokio::time::timeout;

use super::api::Marathon;

/// The events of Marathon that end deployments.
const EVENTS: &str = "/service/marathon/v2/events?event_type=deployment_success&event_type=deployment_failed";
/// The largest event that is read, in bytes.
const LIMIT: usize = 4 << 20;
/// How long Marathon may take to begin its events.
const OPENING: Duration = Duration::from_secs(5);

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it was done.
    Success,
    /// It was undone, stopped, or overridden by another one.
    Failed,
}

/// Waits for the end of one deployment.
pub(super) struct Ending {
    id: String,
    /// None once there is nothing more to be heard.
    body: Option<Body>,
    decoder: Decoder,
}

impl Ending {
    /// Listens from now on. Where Marathon's events are not to be had, nothing is ever heard.
    pub(super) async fn of(marathon: &Marathon, id: &str) -> Ending {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http_kit::Uri::from_static(EVENTS);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(sse::CONTENT_TYPE));
        let body = match timeout(OPENING, marathon.client().send(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Some(response.into_body()),
            _ => None,
        };
        Ending { id: id.to_owned(), body, decoder: Decoder::new(LIMIT) }
    }

    /// Completes when the deployment has ended; never, if that is not heard. Nothing is lost when it is
    /// dropped before.
    pub(super) async fn heard(&mut self) -> Outcome {
        let mut events = Vec::new();
        while let Some(body) = &mut self.body {
            match body.next().await {
                Some(Ok(piece)) if self.decoder.push(&piece, &mut events).is_ok() => {}
                _ => self.body = None,
            }
            let found = events.drain(..).find_map(|event| outcome(&event, &self.id));
            if let Some(outcome) = found {
                return outcome;
            }
        }
        std::future::pending().await
    }
}

/// What the event says of the deployment.
fn outcome(event: &Event, id: &str) -> Option<Outcome> {
    let data: Value = serde_json::from_str(&event.data).ok()?;
    if data["id"] != id {
        return None;
    }
    match event.event.as_str() {
        "deployment_success" => Some(Outcome::Success),
        "deployment_failed" => Some(Outcome::Failed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_events_of_the_deployment_count() {
        let check = |name: &str, data: &str, expected| {
            assert_eq!(outcome(&Event::new(name, data), "d1"), expected, "{name} {data}");
        };
        check("deployment_success", r#"{"id": "d1"}"#, Some(Outcome::Success));
        check("deployment_failed", r#"{"id": "d1"}"#, Some(Outcome::Failed));
        check("deployment_success", r#"{"id": "d2"}"#, None);
        check("deployment_info", r#"{"id": "d1"}"#, None);
        check("deployment_success", "{", None);
    }
}
