//! The responses that every service gives.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde::Serialize;

use crate::{Body, Response};

/// A response without a body.
pub fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A response of this media type.
pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    bytes(status, "text/plain;charset=utf-8", body)
}

/// JSON of a value. Types with keys that JSON cannot express are a programmer's error.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).expect("our types have string keys and cannot fail");
    json_bytes(status, body)
}

/// JSON that was written already.
pub fn json_bytes(status: StatusCode, body: impl Into<Bytes>) -> Response {
    bytes(status, "application/json", body)
}

/// A redirect to a location, which must be without control characters: percent-encode what did not
/// come out of a request's own target.
pub fn redirect(status: StatusCode, location: &str) -> Response {
    let mut response = self::status(status);
    match HeaderValue::from_bytes(location.as_bytes()) {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the location of a redirect is no header value\n"),
    }
}

/// 405 that names the methods that are allowed.
pub fn method_not_allowed(found: &Method, allowed: &[Method]) -> Response {
    let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let body = format!("method {found} is not allowed here: allowed are {allowed}\n");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, body);
    let allowed = HeaderValue::from_str(&allowed).expect("methods are tokens");
    response.headers_mut().insert(ALLOW, allowed);
    response
}
