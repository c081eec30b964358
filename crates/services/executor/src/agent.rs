//! The way to the agent: a subscription that events come over, and calls one at a time beside it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use base::{Mono, Rng};
use mesos_proto::binary::decode_checked;
use mesos_proto::recordio::Decoder;
use mesos_proto::v1::executor::Event;
use rustix::event::PollFlags;

use crate::connection::{Broken, Connection};
use crate::http::{self, Part};
use crate::settings::Settings;

/// What comes from the agent, or of it.
#[derive(Debug)]
pub(crate) enum News {
    Event(Box<Event>),
    /// The subscription ended; it is tried again by itself.
    Lost(String),
    /// The agent knows neither this executor nor its framework, or does not let us in: there is no use in
    /// trying again.
    Refused(u16),
}

/// The longest event that is taken: a task's description.
const EVENT_LIMIT: usize = 4 << 20;
/// The pause before the first new attempt; it doubles from there.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// How long an answer to a call or a subscription may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The agent, as an executor sees it.
pub(crate) struct Agent {
    socket: PathBuf,
    token: Option<String>,
    backoff_max: Duration,
    rng: Rng,
    state: State,
    calls: Calls,
    failures: u32,
    /// When the agent was last seen; `None` while subscribed.
    pub(crate) away_since: Option<Mono>,
}

enum State {
    Away {
        retry_at: Mono,
    },
    /// SUBSCRIBE was sent.
    Subscribing {
        stream: Box<Stream>,
        give_up_at: Mono,
    },
    Subscribed {
        stream: Box<Stream>,
    },
}

struct Stream {
    connection: Connection,
    status: Option<u16>,
    events: Decoder,
}

#[derive(Default)]
struct Calls {
    connection: Option<Connection>,
    /// The call whose answer is awaited, and until when. Kept to be sent again over a new connection.
    in_flight: Option<(Vec<u8>, Mono)>,
    /// Whether it was sent again already.
    retried: bool,
}

const PATH: &str = "/api/v1/executor";

impl Agent {
    pub(crate) fn new(settings: &Settings, now: Mono, rng: Rng) -> Agent {
        Agent {
            socket: settings.socket.clone(),
            token: settings.token.clone(),
            backoff_max: settings.subscription_backoff_max,
            rng,
            state: State::Away { retry_at: now },
            calls: Calls::default(),
            failures: 0,
            away_since: Some(now),
        }
    }

    /// Whether [`Agent::subscribe`] is due.
    pub(crate) fn wants_subscription(&self, now: Mono) -> bool {
        matches!(self.state, State::Away { retry_at } if retry_at <= now)
    }

    /// Whether [`Agent::call`] may be used now.
    pub(crate) fn takes_call(&self) -> bool {
        matches!(self.state, State::Subscribed { .. })
            && self.away_since.is_none()
            && self.calls.in_flight.is_none()
    }

    /// When something is to be done without the agent saying anything.
    pub(crate) fn next_due(&self) -> Option<Mono> {
        let answer = self.calls.in_flight.as_ref().map(|(_, until)| *until);
        let state = match &self.state {
            State::Away { retry_at } => Some(*retry_at),
            State::Subscribing { give_up_at, .. } => Some(*give_up_at),
            State::Subscribed { .. } => None,
        };
        answer.into_iter().chain(state).min()
    }

    /// Connects and sends the subscription.
    pub(crate) fn subscribe(&mut self, now: Mono, call: &[u8]) -> Option<News> {
        let request = http::post(PATH, self.token.as_deref(), call);
        let opened = Connection::unix(&self.socket).map_err(Broken::from);
        match opened.and_then(|mut connection| connection.send(&request).map(|()| connection)) {
            Ok(connection) => {
                let stream = Box::new(Stream { connection, status: None, events: Decoder::new(EVENT_LIMIT) });
                self.state = State::Subscribing { stream, give_up_at: now + ANSWER_TIMEOUT };
                None
            }
            Err(error) => Some(self.lost(now, format!("cannot connect: {error}"))),
        }
    }

    /// SUBSCRIBED came: calls may be made.
    pub(crate) fn subscribed(&mut self) {
        self.failures = 0;
        self.away_since = None;
    }

    /// Sends a call; an answer other than success is [`News`].
    pub(crate) fn call(&mut self, now: Mono, call: &[u8]) -> Option<News> {
        let request = http::post(PATH, self.token.as_deref(), call);
        self.calls.retried = false;
        self.calls.in_flight = Some((request, now + ANSWER_TIMEOUT));
        self.send_call(now)
    }

    fn send_call(&mut self, now: Mono) -> Option<News> {
        let (request, _) = self.calls.in_flight.as_ref()?;
        let connection = match self.calls.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::unix(&self.socket).map_err(Broken::from),
        };
        match connection.and_then(|mut connection| connection.send(request).map(|()| connection)) {
            Ok(connection) => {
                self.calls.connection = Some(connection);
                None
            }
            Err(error) => self.call_failed(now, &error),
        }
    }

    /// A kept connection may have been closed just when it was used: once more over a new one.
    fn call_failed(&mut self, now: Mono, error: &Broken) -> Option<News> {
        self.calls.connection = None;
        self.calls.in_flight.as_ref()?;
        if std::mem::replace(&mut self.calls.retried, true) {
            return Some(self.lost(now, format!("a call failed: {error}")));
        }
        self.send_call(now)
    }

    /// What to poll: the stream first, then the calls' connection.
    pub(crate) fn interests(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 2] {
        let stream = match &self.state {
            State::Away { .. } => None,
            State::Subscribing { stream, .. } | State::Subscribed { stream } => Some(&stream.connection),
        };
        [stream, self.calls.connection.as_ref()]
            .map(|connection| connection.map(|connection| (connection.fd(), connection.interest())))
    }

    /// The stream's socket is ready.
    pub(crate) fn stream_ready(&mut self, now: Mono, news: &mut VecDeque<News>) {
        let (State::Subscribing { stream, .. } | State::Subscribed { stream }) = &mut self.state else {
            return;
        };
        let mut parts = Vec::new();
        let result = stream.connection.flush().and_then(|()| stream.connection.receive(&mut parts));
        let mut ended = result.err().map(|error| error.to_string());
        for part in parts {
            match part {
                Part::Status(status) => stream.status = Some(status),
                Part::Data(bytes) if stream.status == Some(200) => {
                    if let Err(why) = read_events(&mut stream.events, &bytes, news) {
                        ended = Some(why);
                    }
                }
                Part::Data(_) => {}
                Part::End => ended = Some("the agent ended the stream".to_owned()),
            }
        }
        match stream.status {
            // The request was understood and refused; a proxy or an agent that starts up says otherwise.
            Some(status @ (400 | 401 | 403)) => {
                news.push_back(News::Refused(status));
                self.lost(now, format!("refused with {status}"));
            }
            Some(200) => {
                if let State::Subscribing { .. } = self.state {
                    let away = State::Away { retry_at: now };
                    if let State::Subscribing { stream, .. } = std::mem::replace(&mut self.state, away) {
                        self.state = State::Subscribed { stream };
                    }
                }
                if let Some(why) = ended {
                    news.push_back(self.lost(now, why));
                }
            }
            Some(status) => news.push_back(self.lost(now, format!("the agent answers {status}"))),
            None => {
                if let Some(why) = ended {
                    news.push_back(self.lost(now, why));
                }
            }
        }
    }

    /// The calls' socket is ready.
    pub(crate) fn calls_ready(&mut self, now: Mono, news: &mut VecDeque<News>) {
        let Some(connection) = &mut self.calls.connection else { return };
        let mut parts = Vec::new();
        let result = connection.flush().and_then(|()| connection.receive(&mut parts));
        for part in parts {
            match part {
                Part::Status(200..300) | Part::Data(_) => {}
                Part::Status(status) => {
                    news.push_back(self.lost(now, format!("the agent answers {status} to a call")));
                    return;
                }
                Part::End => self.calls.in_flight = None,
            }
        }
        if let Err(error) = result {
            news.extend(self.call_failed(now, &error));
        }
    }

    /// Time went on.
    pub(crate) fn tick(&mut self, now: Mono) -> Option<News> {
        let late = match &self.state {
            State::Subscribing { give_up_at, .. } if *give_up_at <= now => true,
            _ => self.calls.in_flight.as_ref().is_some_and(|(_, until)| *until <= now),
        };
        late.then(|| self.lost(now, format!("no answer within {ANSWER_TIMEOUT:?}")))
    }

    /// Closes everything and plans the next attempt, later with every failure and never for all executors
    /// of a restarted agent at one moment.
    fn lost(&mut self, now: Mono, why: String) -> News {
        let backoff = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(20)).min(self.backoff_max);
        let half = backoff / 2;
        let jitter = Duration::from_nanos(self.rng.below(half.as_nanos() as u64 + 1));
        self.failures += 1;
        self.state = State::Away { retry_at: now + half + jitter };
        self.calls = Calls::default();
        self.away_since.get_or_insert(now);
        News::Lost(why)
    }
}

fn read_events(events: &mut Decoder, bytes: &[u8], news: &mut VecDeque<News>) -> Result<(), String> {
    events.push(bytes);
    while let Some(record) = events.next_record().map_err(|error| error.to_string())? {
        let event = decode_checked::<Event>(&record).map_err(|error| error.to_string())?;
        news.push_back(News::Event(Box::new(event)));
    }
    Ok(())
}
