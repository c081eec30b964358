//! Requests read and answers written as Mesos does.

use http_kit::{Bytes, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, respond};

/// The longest body that any call may have.
const LONGEST_BODY: usize = 4 << 20;

/// A refusal in plain text.
pub(crate) fn refusal(status: StatusCode, reason: impl Into<String>) -> Response {
    respond::bytes(status, "text/plain; charset=utf-8", reason.into())
}

/// 400 with its reason.
pub(crate) fn bad_request(reason: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, reason)
}

/// 404 as for every path that means nothing.
pub(crate) fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "404 Not Found.")
}

/// 503 until the event loop runs, and again when it ends.
pub(crate) fn not_recovered() -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Agent has not finished recovery")
}

/// 405 of an endpoint that only takes POST.
pub(crate) fn only_post(method: &Method) -> Response {
    let reason = format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, reason);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// A JSON document, wrapped in a call of `jsonp` if the client asked for that.
pub(crate) fn document(body: impl Into<Bytes>, jsonp: Option<&str>) -> Response {
    let body = body.into();
    let Some(function) = jsonp else { return respond::json_bytes(StatusCode::OK, body) };
    let mut script = Vec::with_capacity(function.len() + body.len() + 2);
    script.extend_from_slice(function.as_bytes());
    script.push(b'(');
    script.extend_from_slice(&body);
    script.push(b')');
    respond::bytes(StatusCode::OK, "text/javascript", script)
}

/// A header's value, if it is there and text.
pub(crate) fn header_text(request: &Request, name: HeaderName) -> Option<String> {
    Some(request.headers().get(name)?.to_str().ok()?.to_owned())
}

/// The whole body.
///
/// # Errors
/// The answer that says why not.
pub(crate) async fn read_body(request: Request) -> Result<Bytes, Response> {
    request.into_body().read(LONGEST_BODY).await.map_err(|error| match error {
        http_kit::ReadBodyError::TooLarge { .. } => refusal(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        _ => bad_request(error.to_string()),
    })
}
