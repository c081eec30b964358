//! One URL into one file, resumed after what broke.

use std::path::Path;
use std::time::Duration;

use http_kit::{Bytes, HeaderValue, StatusCode, header};
use tracing::debug;
use web_client::{Answer, Call, Url, WebClient};

use crate::error::Problem;
use crate::part::{Part, Sink};
use crate::space;

/// Bytes that are written at once.
const BATCH: usize = 512 << 10;
/// How many bytes are written before the disk is looked at again.
const LOOK: u64 = 16 << 20;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Attempts of one download, however much each brings.
const ATTEMPTS: u32 = 100;

/// What tells one content of a URL from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// What is known of a copy that is here.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) size: u64,
    pub(crate) validators: Validators,
}

/// How downloads are made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Attempts after the first, without one that brought more, before it is given up.
    pub(crate) retries: u32,
    /// The first pause; it doubles.
    pub(crate) pause: Duration,
    /// Bytes of the disk that stay free.
    pub(crate) reserve: u64,
}

/// A whole file.
#[derive(Debug)]
pub(crate) struct Downloaded {
    pub(crate) part: Part,
    pub(crate) size: u64,
    /// If it was asked for.
    pub(crate) sha256: Option<String>,
    pub(crate) validators: Validators,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Downloaded(Downloaded),
    /// What is known is still what the server has.
    Unchanged,
}

/// A wish to download.
pub(crate) struct Wish<'a> {
    pub(crate) client: &'a WebClient,
    pub(crate) url: &'a Url,
    pub(crate) settings: &'a Settings,
    /// Where the file is made, and its number there.
    pub(crate) directory: &'a Path,
    pub(crate) number: u64,
    /// Nothing is downloaded if the server still has this.
    pub(crate) known: Option<Known>,
    /// Whether the SHA-256 is wanted.
    pub(crate) hash: bool,
    /// Told bytes that came and bytes in all, if known; first before any came.
    pub(crate) progress: &'a (dyn Fn(u64, Option<u64>) + Send + Sync),
}

/// Why an attempt ended.
enum Failure {
    /// Trying again may help.
    Transient(Problem),
    Final(Problem),
}

/// What goes from one attempt to the next.
struct State {
    /// Away while a batch is written.
    sink: Option<Sink>,
    validators: Validators,
    /// The next attempt begins at the first byte.
    afresh: bool,
    attempts: u32,
    looked: u64,
}

impl Wish<'_> {
    /// Downloads.
    ///
    /// # Errors
    /// When all attempts failed, or one failed so that another cannot help.
    pub(crate) async fn run(self) -> Result<Outcome, Problem> {
        let store = |source| Problem::Store {
            attempt: format!("make a file in {}", self.directory.display()),
            source,
        };
        let (part, file) = Part::create(self.directory, self.number).map_err(store)?;
        let mut state = State {
            sink: Some(Sink::new(file, self.hash)),
            validators: Validators::default(),
            afresh: false,
            attempts: 0,
            looked: 0,
        };
        let (mut most, mut failures) = (0, 0);
        loop {
            state.attempts += 1;
            let problem = match self.attempt(&mut state).await {
                Ok(false) => return Ok(Outcome::Unchanged),
                Ok(true) => break,
                Err(Failure::Final(problem)) => return Err(problem),
                Err(Failure::Transient(problem)) => problem,
            };
            let written = state.sink.as_ref().map_or(0, Sink::written);
            // Bytes that came a second time are no progress.
            failures = if written > most { 1 } else { failures + 1 };
            most = most.max(written);
            if failures > self.settings.retries || state.attempts == ATTEMPTS || state.sink.is_none() {
                return Err(problem);
            }
            debug!(url = %self.url, %problem, written, "the download will be tried again");
            let pause = self.settings.pause.saturating_mul(1 << (failures - 1).min(10));
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
        let sink = state.sink.take().ok_or_else(lost)?;
        let size = sink.written();
        Ok(Outcome::Downloaded(Downloaded {
            part,
            size,
            sha256: sink.finish(),
            validators: state.validators,
        }))
    }

    /// One request. Gives false if nothing had to be downloaded.
    async fn attempt(&self, state: &mut State) -> Result<bool, Failure> {
        let attempts = state.attempts;
        let mut call = Call::get(self.url.clone())
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let offset = self.rewind_unless_resumable(state)?;
        if offset > 0 {
            let unchanged = state.validators.for_range().map(HeaderValue::from_str);
            if let Some(Ok(unchanged)) = unchanged {
                call = call.from_byte(offset).with_header(header::IF_RANGE, unchanged);
            }
        } else if let Some(known) = &self.known {
            call = known.validators.condition(call);
        }
        let answer = self.client.send(call).await.map_err(|error| web(error, attempts))?;
        match answer.status {
            StatusCode::OK => {
                if self.known.as_ref().is_some_and(|known| known.is_still(&answer)) {
                    return Ok(false);
                }
                // It is not the same any more, or the server knows no ranges.
                state.sink.as_mut().ok_or_else(|| Failure::Final(lost()))?.clear().map_err(store)?;
                state.validators = Validators::of(&answer);
            }
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                let begins = answer.content_range().map(|(first, _)| first);
                if begins != Some(offset) || !state.validators.agree(&Validators::of(&answer)) {
                    state.afresh = true;
                    return Err(Failure::Transient(Problem::Changes { attempts }));
                }
            }
            StatusCode::NOT_MODIFIED if self.known.is_some() => return Ok(false),
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                state.afresh = true;
                return Err(Failure::Transient(Problem::Changes { attempts }));
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failure::Transient(status(&answer, attempts)));
            }
            other if other.is_server_error() => return Err(Failure::Transient(status(&answer, attempts))),
            _ => return Err(Failure::Final(status(&answer, attempts))),
        }
        self.receive(state, answer).await?;
        Ok(true)
    }

    /// From where to go on.
    fn rewind_unless_resumable(&self, state: &mut State) -> Result<u64, Failure> {
        let sink = state.sink.as_mut().ok_or_else(|| Failure::Final(lost()))?;
        if std::mem::take(&mut state.afresh) || state.validators.for_range().is_none() {
            sink.clear().map_err(store)?;
        }
        Ok(sink.written())
    }

    /// Reads the body; the next piece comes while the last batch is written.
    async fn receive(&self, state: &mut State, answer: Answer) -> Result<(), Failure> {
        let attempts = state.attempts;
        let begin = state.sink.as_ref().map_or(0, Sink::written);
        let total = answer.body.length().map(|length| begin.saturating_add(length));
        if let Some(sink) = &state.sink {
            let needed = total.map(|total| total - begin);
            space::check(sink.file(), self.settings.reserve, needed, self.directory)
                .map_err(Failure::Final)?;
        }
        (self.progress)(begin, total);
        let mut body = answer.body;
        let mut received = begin;
        let (mut batch, mut length) = (Vec::new(), 0);
        loop {
            let piece = body.next().await;
            let more = matches!(piece, Some(Ok(_)));
            if let Some(Ok(bytes)) = &piece {
                length += bytes.len();
                received += bytes.len() as u64;
                batch.push(bytes.clone());
            }
            if length >= BATCH || (!more && length > 0) {
                self.write(state, std::mem::take(&mut batch), received).await?;
                length = 0;
                (self.progress)(received, total);
            }
            match piece {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(web(error, attempts)),
                None => return Ok(()),
            }
        }
    }

    async fn write(&self, state: &mut State, batch: Vec<Bytes>, received: u64) -> Result<(), Failure> {
        let mut sink = state.sink.take().ok_or_else(|| Failure::Final(lost()))?;
        if received >= state.looked + LOOK {
            state.looked = received;
            space::check(sink.file(), self.settings.reserve, None, self.directory).map_err(Failure::Final)?;
        }
        let writing = tokio::task::spawn_blocking(move || {
            let result = sink.write(&batch);
            (sink, result)
        });
        let (sink, result) = writing.await.map_err(|_| Failure::Final(lost()))?;
        state.sink = Some(sink);
        result.map_err(store)
    }
}

fn store(source: std::io::Error) -> Failure {
    Failure::Final(Problem::Store { attempt: "store what was downloaded".to_owned(), source })
}

fn lost() -> Problem {
    let source = std::io::Error::other("the writing thread panicked");
    Problem::Store { attempt: "store what was downloaded".to_owned(), source }
}

fn web(error: web_client::Error, attempts: u32) -> Failure {
    let transient = error.is_transient();
    let problem = Problem::Web { error, attempts };
    if transient { Failure::Transient(problem) } else { Failure::Final(problem) }
}

fn status(answer: &Answer, attempts: u32) -> Problem {
    Problem::Status { status: answer.status.to_string(), attempts }
}

impl Known {
    /// Whether an answer that was not asked to be conditional, or does not care, has the same.
    fn is_still(&self, answer: &Answer) -> bool {
        let theirs = Validators::of(answer);
        match (&self.validators, &theirs) {
            (Validators { etag: Some(ours), .. }, Validators { etag: Some(theirs), .. }) => ours == theirs,
            (
                Validators { last_modified: Some(ours), .. },
                Validators { last_modified: Some(theirs), .. },
            ) => ours == theirs && answer.body.length().is_none_or(|length| length == self.size),
            // All that is left to compare.
            _ => answer.body.length() == Some(self.size),
        }
    }
}

impl Validators {
    fn of(answer: &Answer) -> Validators {
        Validators {
            etag: answer.header(header::ETAG).map(str::to_owned),
            last_modified: answer.header(header::LAST_MODIFIED).map(str::to_owned),
        }
    }

    /// What is strong enough to put two parts together by (RFC 9110, 13.1.5).
    fn for_range(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(if self.etag.is_none() { self.last_modified.as_deref() } else { None })
    }

    fn agree(&self, other: &Validators) -> bool {
        let same = |ours: &Option<String>, theirs: &Option<String>| theirs.is_none() || ours == theirs;
        same(&self.etag, &other.etag) && same(&self.last_modified, &other.last_modified)
    }

    fn condition(&self, call: Call) -> Call {
        let value = |text: &Option<String>| text.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        match (value(&self.etag), value(&self.last_modified)) {
            (Some(etag), _) => call.with_header(header::IF_NONE_MATCH, etag),
            (None, Some(time)) => call.with_header(header::IF_MODIFIED_SINCE, time),
            (None, None) => call,
        }
    }
}
