//! Answers as Mesos writes them.

use http_kit::{Bytes, HeaderValue, Method, Response, StatusCode, header, respond};

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

/// 405 of an endpoint that only takes POST.
pub(crate) fn only_post(method: &Method) -> Response {
    let reason = format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, reason);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// A document of the v0 API, wrapped in a call of `jsonp` if the client asked for that.
pub(crate) fn document(body: impl Into<Bytes>, jsonp: Option<&str>) -> Response {
    let body = body.into();
    match jsonp {
        None => respond::json_bytes(StatusCode::OK, body),
        Some(function) => {
            let mut script = Vec::with_capacity(function.len() + body.len() + 2);
            script.extend_from_slice(function.as_bytes());
            script.push(b'(');
            script.extend_from_slice(&body);
            script.push(b')');
            respond::bytes(StatusCode::OK, "text/javascript", script)
        }
    }
}
