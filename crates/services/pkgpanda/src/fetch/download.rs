//! One URL into one part file, resumed after what broke.

use std::time::Duration;

use http_kit::{HeaderValue, StatusCode, header};
use tracing::debug;
use web_client::{Answer, Call, Url, WebClient};

use super::part::{Known, Part};
use super::{FetchError, Fetcher, OnProgress};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The most attempts, however much each of them brings.
const ATTEMPTS: u32 = 100;
/// The largest tarball, compressed.
const MAX_SIZE: u64 = 4 << 30;

/// Downloads until the part file is whole.
pub(crate) async fn download(
    fetcher: &Fetcher,
    client: &WebClient,
    url: &Url,
    part: &mut Part,
    progress: &mut OnProgress<'_>,
) -> Result<(), FetchError> {
    let (mut most, mut failures) = (part.written(), 0);
    for attempt in 1.. {
        let error = match once(client, url, part, progress).await {
            Ok(()) => break,
            Err(error) => error,
        };
        // Bytes that came a second time are no progress.
        failures = if part.written() > most { 1 } else { failures + 1 };
        most = most.max(part.written());
        if !error.is_transient() || failures >= fetcher.attempts || attempt == ATTEMPTS {
            return Err(error);
        }
        debug!(%url, %error, written = part.written(), "the download will be tried again");
        let pause = fetcher.pause.saturating_mul(1 << (failures - 1).min(10));
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
    Ok(())
}

/// One request.
async fn once(
    client: &WebClient,
    url: &Url,
    part: &mut Part,
    progress: &mut OnProgress<'_>,
) -> Result<(), FetchError> {
    if part.is_whole() {
        return Ok(());
    }
    let mut call = Call::get(url.clone());
    let asked_from = match validator(part) {
        Some(validator) => {
            call = call.from_byte(part.written()).with_header(header::IF_RANGE, validator);
            part.written()
        }
        None => 0,
    };
    let answer = client.send(call).await.map_err(|error| FetchError::Web { error })?;
    accept(url, part, &answer, asked_from)?;
    let whole = part.known().size;
    progress(part.written(), whole);
    let mut body = answer.body;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| FetchError::Web { error })?;
        if part.written() + piece.len() as u64 > MAX_SIZE {
            return Err(FetchError::TooLarge { url: url.clone(), limit: MAX_SIZE });
        }
        part.write(&piece)?;
        progress(part.written(), whole);
    }
    match whole {
        Some(expected) if expected != part.written() => {
            let found = part.written();
            // They do not fit together: the next attempt begins with nothing.
            part.restart(Known { url: url.to_string(), ..Known::default() })?;
            Err(FetchError::Size { url: url.clone(), found, expected })
        }
        _ => Ok(()),
    }
}

/// What tells the server which file the bytes that are there belong to.
fn validator(part: &Part) -> Option<HeaderValue> {
    let known = part.known().validator.as_ref().filter(|_| part.written() > 0)?;
    HeaderValue::from_str(known).ok()
}

/// Prepares the part file for the body of this answer.
fn accept(url: &Url, part: &mut Part, answer: &Answer, asked_from: u64) -> Result<(), FetchError> {
    match answer.status {
        StatusCode::PARTIAL_CONTENT if asked_from > 0 => match answer.content_range() {
            Some((first, whole)) if first == asked_from => {
                let known = part.known().size;
                match whole.zip(known) {
                    Some((found, expected)) if found != expected => {
                        part.restart(Known { url: url.to_string(), ..Known::default() })?;
                        Err(FetchError::Size { url: url.clone(), found, expected })
                    }
                    _ => Ok(()),
                }
            }
            _ => {
                part.restart(Known { url: url.to_string(), ..Known::default() })?;
                Err(FetchError::Status { url: url.clone(), status: answer.status })
            }
        },
        StatusCode::OK => {
            let size = answer.body.length();
            if size.is_some_and(|size| size > MAX_SIZE) {
                return Err(FetchError::TooLarge { url: url.clone(), limit: MAX_SIZE });
            }
            part.restart(Known { url: url.to_string(), validator: validator_of(answer), size })
        }
        status => {
            if asked_from > 0 && status == StatusCode::RANGE_NOT_SATISFIABLE {
                // The file is shorter now: the next attempt begins with nothing.
                part.restart(Known { url: url.to_string(), ..Known::default() })?;
                return Err(FetchError::Size { url: url.clone(), found: 0, expected: asked_from });
            }
            Err(FetchError::Status { url: url.clone(), status })
        }
    }
}

/// An `ETag` that is not weak, or else the `Last-Modified` (RFC 9110, 13.1.5).
fn validator_of(answer: &Answer) -> Option<String> {
    let etag = answer.header(header::ETAG).filter(|etag| !etag.starts_with("W/"));
    etag.or_else(|| answer.header(header::LAST_MODIFIED)).map(str::to_owned)
}
