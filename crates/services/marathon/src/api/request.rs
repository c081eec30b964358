//! What every route needs of a request: body, query and caller.

use std::fmt::Display;
use std::time::Duration;

use api_marathon::ApiError;
use http_kit::{Body, Bytes, Method, Peer, Request, header, target::Query};
use marathon_core::Caller;

/// The largest body that is read. A definition is much smaller; `PUT /v2/apps` brings many.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";

/// Lets a request through whose body, if it has one, is JSON by its content type, also where nobody looks at the body.
/// Browsers send that type only to servers that allow it: without this a form of a foreign page could post and restart
/// apps. `DELETE` needs no such thing, as browsers ask before they send one.
pub(crate) async fn only_json(request: Request) -> Result<Request, ApiError> {
    let is_write = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let found = content_type.map(|value| value.to_str().unwrap_or("?").to_owned());
    if !is_write || request.body().is_empty() || found.as_deref().is_some_and(is_json) {
        return Ok(request);
    }
    // It may yet turn out to be empty.
    let (head, body) = request.into_parts();
    if read(body).await?.is_empty() {
        return Ok(Request::from_parts(head, Body::empty()));
    }
    let found = found.map_or("none".to_owned(), |found| format!("'{found}'"));
    Err(ApiError::message(
        415,
        format!("Unsupported Media Type: found Content-Type {found}, allowed is '{JSON}'"),
    ))
}

/// Reads the body of a request that [`only_json`] let through.
pub(crate) async fn json_body(request: Request) -> Result<Bytes, ApiError> {
    read(request.into_body()).await
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    body.read_within(MAX_BODY_BYTES, BODY_TIMEOUT).await.map_err(|error| {
        let status = if matches!(error, http_kit::ReadBodyError::TooLarge { .. }) { 413 } else { 400 };
        ApiError::message(status, error.to_string())
    })
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
        async fn check(
            method: Method,
            content_type: Option<&str>,
            body: impl Into<Body>,
            expected: Result<&[u8], (u16, &str)>,
        ) {
            let mut request = Request::new(body.into());
            *request.method_mut() = method;
            if let Some(content_type) = content_type {
                request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            let found = match only_json(request).await {
                Ok(request) => json_body(request).await,
                Err(error) => Err(error),
            };
            let found = found.as_deref().map_err(|error| (error.status, error.body.message.as_str()));
            assert_eq!(found, expected);
        }
        let none = "Unsupported Media Type: found Content-Type none, allowed is 'application/json'";
        let text = "Unsupported Media Type: found Content-Type 'text/plain', allowed is 'application/json'";
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            let check = |content_type, body: &'static str, expected| {
                check(method.clone(), content_type, body, expected)
            };
            check(Some("application/json"), "{}", Ok(b"{}")).await;
            check(Some("Application/JSON; charset=utf-8"), "{}", Ok(b"{}")).await;
            check(None, "", Ok(b"")).await;
            check(Some("text/plain"), "", Ok(b"")).await;
            check(None, "{}", Err((415, none))).await;
            check(Some("text/plain"), "{}", Err((415, text))).await;
        }
        check(Method::DELETE, None, "{}", Ok(b"{}")).await;
        // A body of unknown length that has none.
        let (sender, stream) = Body::channel(1);
        drop(sender);
        check(Method::POST, None, stream, Ok(b"")).await;
    }
}
