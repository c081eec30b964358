//! Requests read and answers written as every process of Mesos does. Sources: process::http and the
//! `Master::Http`, `Agent::Http` that use it.

use std::time::Duration;

use http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};

use crate::{Budget, Bytes, ReadBodyError, Request, Reserved, Response, respond};

/// A refusal in plain text.
pub fn refusal(status: StatusCode, reason: impl Into<String>) -> Response {
    respond::bytes(status, "text/plain; charset=utf-8", reason.into())
}

/// 400 with its reason.
pub fn bad_request(reason: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, reason)
}

/// 404 as for every path that means nothing.
pub fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "404 Not Found.")
}

/// 401 to who does not prove to be somebody in `realm`. `scheme` is `Basic` or `Bearer`.
pub fn unauthorized(scheme: &str, realm: &str) -> Response {
    let mut response = refusal(StatusCode::UNAUTHORIZED, "401 Unauthorized.");
    let challenge = HeaderValue::from_str(&format!("{scheme} realm=\"{realm}\""));
    let challenge = challenge.expect("realms are constants of plain letters");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// 405 of an endpoint that only takes POST.
pub fn only_post(found: &Method) -> Response {
    only(&["POST"], found)
}

/// 405 of an endpoint that only takes these methods.
pub fn only(methods: &[&str], found: &Method) -> Response {
    let listed = methods.join("', '");
    let reason =
        format!("405 Method Not Allowed. Expecting one of {{ '{listed}' }}, but received '{found}'.");
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, reason);
    if let Ok(allowed) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// A JSON document, wrapped in a call of `jsonp` if the client asked for that.
pub fn document(body: impl Into<Bytes>, jsonp: Option<&str>) -> Response {
    let body = body.into();
    let Some(function) = jsonp else { return respond::json_bytes(StatusCode::OK, body) };
    let mut script = Vec::with_capacity(function.len() + body.len() + 2);
    script.extend_from_slice(function.as_bytes());
    script.push(b'(');
    script.extend_from_slice(&body);
    script.push(b')');
    respond::bytes(StatusCode::OK, "text/javascript", script)
}

/// A request's whole body of at most `longest` bytes.
///
/// # Errors
/// The answer that says why not: 413, 408 when it did not come within `limit`, or 400.
pub async fn read_body(request: Request, longest: usize, limit: Duration) -> Result<Bytes, Response> {
    request.into_body().read_within(longest, limit).await.map_err(not_read)
}

/// [`read_body`] out of a budget of bytes that all bodies share.
///
/// # Errors
/// As [`read_body`], or 503 when too many bytes are held already.
pub async fn read_body_from(
    budget: &Budget,
    request: Request,
    longest: usize,
    limit: Duration,
) -> Result<(Bytes, Reserved), Response> {
    request.into_body().read_from(budget, longest, limit).await.map_err(not_read)
}

fn not_read(error: ReadBodyError) -> Response {
    let status = match &error {
        ReadBodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ReadBodyError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ReadBodyError::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
        ReadBodyError::Broken(_) => StatusCode::BAD_REQUEST,
    };
    refusal(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;

    async fn check(response: Response, expected: (u16, &str, &str)) {
        let (head, body) = response.into_parts();
        let body = body.read(1 << 20).await.unwrap();
        let found = (
            head.status.as_u16(),
            head.headers["content-type"].to_str().unwrap(),
            std::str::from_utf8(&body).unwrap(),
        );
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn answers_are_those_of_mesos() {
        let text = "text/plain; charset=utf-8";
        check(bad_request("why"), (400, text, "why")).await;
        check(not_found(), (404, text, "404 Not Found.")).await;
        let reason = "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.";
        assert_eq!(only_post(&Method::GET).headers()["allow"], "POST");
        assert_eq!(unauthorized("Basic", "r").headers()["www-authenticate"], "Basic realm=\"r\"");
        check(unauthorized("Basic", "r"), (401, text, "401 Unauthorized.")).await;
        check(only_post(&Method::GET), (405, text, reason)).await;
        check(document("{}", None), (200, "application/json", "{}")).await;
        check(document("{}", Some("call")), (200, "text/javascript", "call({})")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded_in_length_and_time() {
        let limit = Duration::from_secs(1);
        let read = async |body| read_body(Request::new(body), 4, limit).await;
        assert_eq!(read(Body::full("four")).await.unwrap(), "four");
        assert_eq!(read(Body::full("fives")).await.unwrap_err().status(), 413);
        let (_sender, never) = Body::channel(1);
        assert_eq!(read(never).await.unwrap_err().status(), 408);
    }
}
