//! Answers made smaller for clients that take gzip. Mesos: HttpResponseEncoder.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};

use crate::server::{BoxFuture, Handler, Peer};
use crate::{Body, Bytes, Request, Response};

/// Shorter bodies are sent as they are. Mesos: GZIP_MINIMUM_BODY_LENGTH.
const SHORTEST: usize = 1024;
/// Longer bodies are compressed on a thread that may block: a document of a large cluster takes a while.
const QUICK: usize = 64 << 10;

/// Compresses what `handler` answers as a whole, for clients that say `Accept-Encoding: gzip`. Streams go
/// through as they are: each of their records is to arrive when it is sent.
pub fn compressed(handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
    Arc::new(Compressed { handler })
}

struct Compressed {
    handler: Arc<dyn Handler>,
}

impl Handler for Compressed {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        if !accepted.is_some_and(accepts_gzip) {
            return self.handler.handle(request, peer);
        }
        Box::pin(async move { compress(self.handler.handle(request, peer).await).await })
    }
}

async fn compress(response: Response) -> Response {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match body.into_whole() {
        Ok(bytes) if bytes.len() >= SHORTEST => bytes,
        Ok(bytes) => return Response::from_parts(head, Body::full(bytes)),
        Err(stream) => return Response::from_parts(head, stream),
    };
    let packed = match body.len() > QUICK {
        false => gzip(&body),
        true => {
            let body = body.clone();
            // A thread that cannot be had is no reason to answer nothing.
            tokio::task::spawn_blocking(move || gzip(&body)).await.unwrap_or(None)
        }
    };
    head.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(packed) = packed else { return Response::from_parts(head, Body::full(body)) };
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, Body::full(packed))
}

/// None when it cannot be done, which writing to memory gives no reason for.
fn gzip(body: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether an `Accept-Encoding` names gzip, or else everything, without refusing it by `q=0`.
/// Mesos: Request::acceptsEncoding.
fn accepts_gzip(accepted: &str) -> bool {
    let entry = |name: &str| {
        accepted.split(',').find_map(|entry| {
            let (coding, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            coding.trim().eq_ignore_ascii_case(name).then_some(parameters)
        })
    };
    let quality = |parameters: &str| {
        let value = parameters.split(';').find_map(|it| it.trim().strip_prefix("q=")).unwrap_or("1");
        value.trim().parse::<f64>().unwrap_or(1.0)
    };
    entry("gzip").or_else(|| entry("*")).is_some_and(|parameters| quality(parameters) > 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::respond;
    use http::StatusCode;

    #[test]
    fn gzip_is_taken_when_it_is_named() {
        let check = |accepted, expect| assert_eq!(accepts_gzip(accepted), expect, "{accepted}");
        check("gzip", true);
        check("deflate, GZIP;q=0.5", true);
        check("*", true);
        check("gzip;q=0", false);
        check("gzip;q=0.0, *", false);
        check("*;q=0", false);
        check("identity", false);
        check("", false);
        check("gzipped", false);
    }

    #[tokio::test]
    async fn mp24_what_is_long_and_whole_is_compressed() {
        let of = async |length: usize| {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let answer = compress(respond::bytes(StatusCode::OK, "text/plain", body.clone())).await;
            (body, answer)
        };
        for length in [SHORTEST, QUICK + 1] {
            let (body, answer) = of(length).await;
            assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
            let packed = answer.into_body().read(1 << 20).await.unwrap();
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert!(packed.len() < length && unpacked == body, "{length}");
        }
        let (body, answer) = of(SHORTEST - 1).await;
        assert!(!answer.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(answer.into_body().read(1 << 20).await.unwrap(), body);
        let (sender, stream) = Body::channel(1);
        let answer = compress(Response::new(stream)).await;
        assert!(!answer.headers().contains_key(CONTENT_ENCODING));
        drop(sender);
    }
}
