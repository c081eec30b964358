//! Bytes from servers that break off, and may be asked for the rest.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use http_kit::{HeaderValue, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::sleep;
use web_client::{Answer, Call, Url, WebClient};

use crate::PullError;
use crate::manifest::Descriptor;
use crate::meter::{ImageMeter, LayerMeter};
use crate::pipeline::{Piece, Pieces};
use crate::registry::{Registry, RetryOrNot};
use crate::stored::{full, is_full, malformed};

/// Attempts in a row that bring less than [`PROGRESS`].
const ATTEMPTS: u32 = 5;
/// So many bytes are worth another round of attempts.
const PROGRESS: u64 = 1 << 20;
/// The pause after the first failure; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// Pieces between the network and the disk. A piece has at most some hundred KiB.
pub(crate) const PIECES: usize = 16;

/// Counts failures in a row.
struct Patience {
    failures: u32,
    position: u64,
}

impl Patience {
    /// After a failure at this position: whether to go on, after a pause.
    async fn go_on(&mut self, position: u64, pause: Option<Duration>) -> bool {
        if position >= self.position + PROGRESS {
            *self = Patience { failures: 0, position };
        }
        self.failures += 1;
        if self.failures == ATTEMPTS {
            return false;
        }
        sleep(pause.unwrap_or(PAUSE * 2u32.pow(self.failures - 1))).await;
        true
    }
}

/// Sends a layer's bytes from the registry into a pipeline; goes on where a connection broke. Returns
/// early and without error when the pipeline does not want more: it knows why.
pub(crate) async fn layer(
    registry: &Registry,
    blob: &Descriptor,
    into: mpsc::Sender<Piece>,
    meter: &LayerMeter,
) -> Result<(), PullError> {
    let mut sent = 0;
    let mut patience = Patience { failures: 0, position: 0 };
    loop {
        let (error, pause) = match registry.blob(&blob.digest, sent).await {
            Err(RetryOrNot::GiveUp(error)) => return Err(error),
            Err(RetryOrNot::Retry(error, pause)) => (error, pause),
            Ok(answer) => match pour(registry, blob, answer, &into, &mut sent, meter).await? {
                Poured::All => {
                    let _ = into.send(Piece::End).await;
                    return Ok(());
                }
                Poured::Unwanted => return Ok(()),
                Poured::Some(error) => (error, None),
            },
        };
        tracing::debug!(layer = %blob.digest, sent, %error, "a layer's download broke off");
        if !patience.go_on(sent, pause).await {
            return Err(error);
        }
    }
}

enum Poured {
    All,
    Unwanted,
    Some(PullError),
}

async fn pour(
    registry: &Registry,
    blob: &Descriptor,
    mut answer: Answer,
    into: &mpsc::Sender<Piece>,
    sent: &mut u64,
    meter: &LayerMeter,
) -> Result<Poured, PullError> {
    let what = || format!("layer {}", blob.digest);
    let failed = |reason: String| PullError::Transfer {
        image: registry.image().to_owned(),
        what: what(),
        from: registry.host().to_owned(),
        reason,
    };
    let wrong_length = |found: String| PullError::Length {
        image: registry.image().to_owned(),
        what: what(),
        expected: blob.size,
        found,
    };
    // Servers without ranges send it all again; the digest tells whether it is the same.
    let start = match answer.status {
        StatusCode::PARTIAL_CONTENT => answer.content_range().map(|(first, _)| first),
        _ => Some(0),
    };
    let Some(mut position) = start.filter(|start| *start <= *sent) else {
        return Ok(Poured::Some(failed(format!("asked for bytes from {sent} on, got others"))));
    };
    if let Some(length) =
        answer.body.length().filter(|length| position.checked_add(*length) != Some(blob.size))
    {
        return Err(wrong_length(format!("{} bytes", position.saturating_add(length))));
    }
    while let Some(piece) = answer.body.next().await {
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                let reason = format!("it broke off after {sent} of {} bytes: {error}", blob.size);
                // A server that hangs is not asked again: the user waits.
                return match error {
                    web_client::Error::Stalled { .. } => Err(failed(reason)),
                    _ => Ok(Poured::Some(failed(reason))),
                };
            }
        };
        let known = sent.saturating_sub(position).min(piece.len() as u64);
        position += piece.len() as u64;
        let _ = piece.split_to(known as usize);
        if position > blob.size {
            return Err(wrong_length(format!("more than {} bytes", blob.size)));
        }
        if piece.is_empty() {
            continue;
        }
        let length = piece.len() as u64;
        if into.send(Piece::Bytes(piece)).await.is_err() {
            return Ok(Poured::Unwanted);
        }
        *sent += length;
        meter.add(length);
    }
    if *sent == blob.size {
        return Ok(Poured::All);
    }
    Ok(Poured::Some(failed(format!("it ended after {sent} of {} bytes", blob.size))))
}

/// What came of asking for a tarball.
pub(crate) enum Tarball {
    /// It is the one that is known.
    Same,
    /// It is in the file; what it is by its server's word.
    New(File, Option<String>),
}

/// A tarball's address, and what may come from it.
pub(crate) struct Address<'a> {
    pub(crate) web: &'a WebClient,
    pub(crate) url: &'a str,
    /// The identity of the tarball that is there already.
    pub(crate) known: Option<&'a str>,
    /// Bytes that it may have.
    pub(crate) limit: u64,
}

impl Address<'_> {
    /// Fetches the tarball into `file`.
    pub(crate) async fn fetch(&self, file: File, meter: &ImageMeter) -> Result<Tarball, PullError> {
        let url: Url = self.url.parse().map_err(|error| self.failed(web_client::Error::Url(error)))?;
        let file = Arc::new(file);
        let (mut written, mut identity) = (0, None);
        let mut patience = Patience { failures: 0, position: 0 };
        loop {
            let mut call = Call::get(url.clone());
            if let Some(tag) = self.known.and_then(|known| known.strip_prefix("etag ")) {
                let tag = HeaderValue::from_str(tag).ok();
                call = tag.into_iter().fold(call, |call, tag| call.with_header(header::IF_NONE_MATCH, tag));
            }
            if written > 0 {
                call = call.from_byte(written);
            }
            let (error, again) = match self.web.send(call).await {
                Err(error) => (self.failed_ref(&error), is_worth_it(&error)),
                Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => return Ok(Tarball::Same),
                Ok(answer) if !answer.status.is_success() => {
                    (self.unsuccessful(answer.status), answer.status.is_server_error())
                }
                Ok(answer) => {
                    let found = identify(&answer);
                    let goes_on = answer.status == StatusCode::PARTIAL_CONTENT
                        && answer.content_range().is_some_and(|(first, _)| first == written)
                        && found == identity;
                    written = if goes_on { written } else { 0 };
                    identity = found;
                    match self.write(answer, &file, &mut written, meter).await? {
                        None => break,
                        Some(error) => (self.failed_ref(&error), is_worth_it(&error)),
                    }
                }
            };
            // With a tarball at hand nobody has to wait for a server that is away.
            if !again || self.known.is_some() || !patience.go_on(written, None).await {
                return Err(error);
            }
        }
        let file = Arc::into_inner(file).expect("the writers are done");
        Ok(Tarball::New(file, identity))
    }

    /// Writes a body from byte `written` on; returns what broke it off.
    async fn write(
        &self,
        mut answer: Answer,
        file: &Arc<File>,
        written: &mut u64,
        meter: &ImageMeter,
    ) -> Result<Option<web_client::Error>, PullError> {
        let total = answer.body.length().map_or(0, |length| written.saturating_add(length));
        let (feed, pieces) = mpsc::channel(PIECES);
        let (target, from) = (file.clone(), *written);
        let writer = tokio::task::spawn_blocking(move || write_from(&target, from, Pieces::new(pieces)));
        let broken = loop {
            match answer.body.next().await {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(piece)) => {
                    *written += piece.len() as u64;
                    if *written > self.limit {
                        drop(feed);
                        let _ = writer.await;
                        let reason = format!("it has more than {} bytes", self.limit);
                        return Err(malformed(self.url, "the tarball", reason));
                    }
                    meter.tarball(*written, total);
                    if feed.send(Piece::Bytes(piece)).await.is_err() {
                        break None;
                    }
                }
            }
        };
        let _ = feed.send(Piece::End).await;
        drop(feed);
        match writer.await {
            Ok(Ok(())) => Ok(broken),
            Ok(Err(error)) if is_full(&error) => Err(full(self.url)),
            Ok(Err(error)) => Err(malformed(self.url, "the tarball's copy", error.to_string())),
            Err(_) => Err(PullError::Closed { image: self.url.to_owned() }),
        }
    }

    fn failed(&self, error: web_client::Error) -> PullError {
        self.failed_ref(&error)
    }

    fn failed_ref(&self, error: &web_client::Error) -> PullError {
        PullError::Transfer {
            image: self.url.to_owned(),
            what: "the tarball".to_owned(),
            from: "its server".to_owned(),
            reason: error.to_string(),
        }
    }

    fn unsuccessful(&self, status: StatusCode) -> PullError {
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => PullError::NoTarball {
                image: self.url.to_owned(),
                reason: format!("its server answers {}", status.as_u16()),
            },
            _ => PullError::Answer {
                image: self.url.to_owned(),
                what: "the tarball".to_owned(),
                from: "its server".to_owned(),
                status: status.as_u16(),
                message: String::new(),
            },
        }
    }
}

fn is_worth_it(error: &web_client::Error) -> bool {
    let hangs = matches!(error, web_client::Error::NoAnswer { .. } | web_client::Error::Stalled { .. });
    error.is_transient() && !hangs
}

/// What a tarball is by its server's word.
fn identify(answer: &Answer) -> Option<String> {
    let tag = answer.header(header::ETAG).map(|tag| format!("etag {tag}"));
    tag.or_else(|| answer.header(header::LAST_MODIFIED).map(|date| format!("date {date}")))
}

fn write_from(file: &File, mut at: u64, mut pieces: Pieces) -> io::Result<()> {
    file.set_len(at)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = pieces.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
}
