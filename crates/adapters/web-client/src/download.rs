use std::time::Duration;

use http_kit::{Body, Bytes};
use tokio::time::timeout;

use crate::error::Error;
use crate::url::Url;

/// The body of an answer as it comes. Dropping it ends the connection.
#[derive(Debug)]
pub struct Download {
    body: Body,
    url: Url,
    stall_timeout: Duration,
    received: u64,
    expected: Option<u64>,
}

impl Download {
    pub(crate) fn new(body: Body, url: Url, stall_timeout: Duration, expected: Option<u64>) -> Download {
        Download { body, url, stall_timeout, received: 0, expected }
    }

    /// How many bytes the server announced, if it did.
    pub fn length(&self) -> Option<u64> {
        self.expected
    }

    /// How many bytes came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Stalled`] and [`Error::BrokenOff`]; nothing more comes then.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let piece = match timeout(self.stall_timeout, self.body.next()).await {
            Ok(piece) => piece?,
            Err(_) => {
                let (after, received) = (self.stall_timeout, self.received);
                return Some(Err(Error::Stalled { url: self.url.clone(), after, received }));
            }
        };
        Some(match piece {
            Ok(bytes) => {
                self.received += bytes.len() as u64;
                Ok(bytes)
            }
            Err(error) => Err(Error::BrokenOff {
                url: self.url.clone(),
                received: self.received,
                expected: self.expected,
                why: base::with_causes(&error),
            }),
        })
    }

    /// All of it, if that is at most `limit` bytes.
    pub async fn read(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let too_long = |url: &Url| Error::TooLong { url: url.clone(), limit: limit as u64 };
        if self.expected.is_some_and(|expected| expected > limit as u64) {
            return Err(too_long(&self.url));
        }
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if whole.len() + piece.len() > limit {
                return Err(too_long(&self.url));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}
