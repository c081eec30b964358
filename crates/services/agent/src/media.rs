//! Which encodings a call of the v1 API has and asks for, streams among them (Mesos: `Http::api`).
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]

use api_mesos::{Encoding, accepts};
use http_kit::mesos::{bad_request, refusal};
use http_kit::{HeaderName, Request, Response, StatusCode, header};

use crate::http::header_text;

/// The media type of streams of records.
pub(crate) const RECORDIO: &str = "application/recordio";
/// How the records of a request are encoded.
pub(crate) const MESSAGE_CONTENT_TYPE: HeaderName = HeaderName::from_static("message-content-type");
/// How the records of the answer may be encoded.
const MESSAGE_ACCEPT: HeaderName = HeaderName::from_static("message-accept");

/// How messages stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// One message is the whole body. A call that answers with a stream writes its records in this
    /// encoding and calls the stream by it.
    Whole(Encoding),
    /// A stream of records in this encoding.
    Records(Encoding),
}

/// What a request is written in, and what its answer is to be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaTypes {
    pub(crate) content: Media,
    pub(crate) accept: Media,
}

impl MediaTypes {
    /// # Errors
    /// The answer that says which header is wrong.
    pub(crate) fn of(request: &Request) -> Result<MediaTypes, Response> {
        Ok(MediaTypes { content: content(request)?, accept: accept(request)? })
    }
}

fn content(request: &Request) -> Result<Media, Response> {
    let content_type = header_text(request, header::CONTENT_TYPE)
        .ok_or_else(|| bad_request("Expecting 'Content-Type' to be present"))?;
    let of_messages = header_text(request, MESSAGE_CONTENT_TYPE);
    let unsupported = |text| refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    if content_type == RECORDIO {
        let of_messages = of_messages.ok_or_else(|| {
            bad_request("Expecting 'Message-Content-Type' to be set for streaming requests")
        })?;
        let text = "Expecting 'Message-Content-Type' of application/json or application/x-protobuf";
        return Encoding::of_content_type(&of_messages).map(Media::Records).ok_or_else(|| unsupported(text));
    }
    let encoding = Encoding::of_content_type(&content_type).ok_or_else(|| {
        unsupported(
            "Expecting 'Content-Type' of application/json or application/x-protobuf or application/recordio",
        )
    })?;
    if of_messages.is_some() {
        let text = "Expecting 'Message-Content-Type' to be not set for non-streaming requests";
        return Err(unsupported(text));
    }
    Ok(Media::Whole(encoding))
}

fn accept(request: &Request) -> Result<Media, Response> {
    let accept = header_text(request, header::ACCEPT);
    let of_messages = header_text(request, MESSAGE_ACCEPT);
    let not_acceptable = |text| refusal(StatusCode::NOT_ACCEPTABLE, text);
    if let Some(encoding) = Encoding::for_answer(accept.as_deref()) {
        if of_messages.is_some() {
            let text = "Expecting 'Message-Accept' to be not set for non-streaming responses";
            return Err(not_acceptable(text));
        }
        return Ok(Media::Whole(encoding));
    }
    if !accepts(accept.as_deref(), RECORDIO) {
        return Err(not_acceptable(
            "Expecting 'Accept' to allow application/json or application/x-protobuf or application/recordio",
        ));
    }
    let text = "Expecting 'Message-Accept' to allow application/json or application/x-protobuf";
    Encoding::for_answer(of_messages.as_deref()).map(Media::Records).ok_or_else(|| not_acceptable(text))
}

#[cfg(test)]
mod tests {
    use http_kit::{Body, HeaderValue};

    use super::*;

    const JSON: &str = "application/json";
    const PROTOBUF: &str = "application/x-protobuf";

    async fn check(headers: &[(&'static str, &'static str)], expect: Result<(Media, Media), (u16, &str)>) {
        let mut request = Request::new(Body::empty());
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        match (MediaTypes::of(&request), expect) {
            (Ok(found), Ok(expect)) => assert_eq!((found.content, found.accept), expect, "{headers:?}"),
            (Err(refused), Err((status, text))) => {
                assert_eq!(refused.status(), status, "{headers:?}");
                assert_eq!(refused.into_body().read(1 << 16).await.unwrap(), text, "{headers:?}");
            }
            (found, _) => panic!("{headers:?}: {found:?}"),
        }
    }

    #[tokio::test]
    async fn headers_are_understood_or_refused_in_the_words_of_mesos() {
        let whole = Media::Whole(Encoding::Json);
        check(&[("content-type", JSON)], Ok((whole, whole))).await;
        let stream = ("content-type", RECORDIO);
        let of_protobuf = ("message-content-type", PROTOBUF);
        let protobuf = Media::Records(Encoding::Protobuf);
        check(&[stream, of_protobuf], Ok((protobuf, whole))).await;
        let answer = [("content-type", JSON), ("accept", RECORDIO), ("message-accept", PROTOBUF)];
        check(&answer, Ok((whole, protobuf))).await;
        let unsaid = Media::Records(Encoding::Json);
        check(&[("content-type", JSON), ("accept", RECORDIO)], Ok((whole, unsaid))).await;

        check(&[], Err((400, "Expecting 'Content-Type' to be present"))).await;
        let unset = "Expecting 'Message-Content-Type' to be set for streaming requests";
        check(&[stream], Err((400, unset))).await;
        let media = "Expecting 'Message-Content-Type' of application/json or application/x-protobuf";
        check(&[stream, ("message-content-type", RECORDIO)], Err((415, media))).await;
        let set = "Expecting 'Message-Content-Type' to be not set for non-streaming requests";
        check(&[("content-type", JSON), of_protobuf], Err((415, set))).await;
        let set = "Expecting 'Message-Accept' to be not set for non-streaming responses";
        check(&[("content-type", JSON), ("message-accept", JSON)], Err((406, set))).await;
        let media = "Expecting 'Message-Accept' to allow application/json or application/x-protobuf";
        let bad = [("content-type", JSON), ("accept", RECORDIO), ("message-accept", "text/html")];
        check(&bad, Err((406, media))).await;
    }
}
