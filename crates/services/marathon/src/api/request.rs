//! What every route needs of a request: body, query and caller.

use std::fmt::Display;
use std::time::Duration;

use api_marathon::ApiError;
use http_kit::{Bytes, Peer, Request, header, target::Query};
use marathon_core::Caller;

/// The largest body that is read. A definition is much smaller; `PUT /v2/apps` brings many.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";

/// Reads a body, which must be JSON by its content type. Browsers send that type only to servers that allow it: without
/// this a foreign page could post apps.
pub(crate) async fn json_body(request: Request) -> Result<Bytes, ApiError> {
    let found =
        request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?").to_owned());
    let body = request.into_body().read_within(MAX_BODY_BYTES, BODY_TIMEOUT).await;
    let body = body.map_err(|error| {
        let status = if matches!(error, http_kit::ReadBodyError::TooLarge { .. }) { 413 } else { 400 };
        ApiError::message(status, error.to_string())
    })?;
    if body.is_empty() || found.as_deref().is_some_and(is_json) {
        return Ok(body);
    }
    let found = found.map_or("none".to_owned(), |found| format!("'{found}'"));
    Err(ApiError::message(
        415,
        format!("Unsupported Media Type: found Content-Type {found}, allowed is '{JSON}'"),
    ))
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON))
}

/// A yes-or-no parameter; given without a value it means yes.
pub(crate) fn flag(query: &Query, name: &str, default: bool) -> Result<bool, ApiError> {
    match query.get(name) {
        None => Ok(default),
        Some("" | "true") => Ok(true),
        Some("false") => Ok(false),
        Some(found) => Err(bad_parameter(name, found, "true and false")),
    }
}

/// 400 for a parameter of the query.
pub(crate) fn bad_parameter(name: &str, found: impl Display, allowed: &str) -> ApiError {
    ApiError::message(400, format!("query parameter '{name}': found '{found}', allowed are {allowed}"))
}

/// Who asks for what, for `api_post_event`.
pub(crate) fn caller(request: &Request, peer: &Peer) -> Caller {
    Caller {
        client_ip: peer.ip().map_or_else(|| peer.to_string(), |ip| ip.to_string()),
        uri: request.uri().path().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        let check = |query: &str, default, expected: Option<bool>| {
            assert_eq!(flag(&Query::parse(query), "force", default).ok(), expected, "{query}");
        };
        check("", false, Some(false));
        check("", true, Some(true));
        check("force", false, Some(true));
        check("force=true", false, Some(true));
        check("force=false", true, Some(false));
        check("force=1", false, None);
    }

    #[tokio::test]
    async fn a_body_must_be_json_by_name() {
        async fn check(content_type: Option<&str>, body: &'static str, expected: Result<(), (u16, &str)>) {
            let mut request = Request::new(body.into());
            if let Some(content_type) = content_type {
                request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            let found = json_body(request).await;
            let found =
                found.as_ref().map(|_| ()).map_err(|error| (error.status, error.body.message.as_str()));
            assert_eq!(found, expected);
        }
        check(Some("application/json"), "{}", Ok(())).await;
        check(Some("Application/JSON; charset=utf-8"), "{}", Ok(())).await;
        check(None, "", Ok(())).await;
        let none = "Unsupported Media Type: found Content-Type none, allowed is 'application/json'";
        check(None, "{}", Err((415, none))).await;
        let text = "Unsupported Media Type: found Content-Type 'text/plain', allowed is 'application/json'";
        check(Some("text/plain"), "{}", Err((415, text))).await;
    }
}
