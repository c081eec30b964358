//! The conversation with the Mesos master: the v1 scheduler API over HTTP, in protobuf.
//!
//! One session is one SUBSCRIBE: its response streams events for as long as it lives, and every call goes with the
//! stream's id. A session ends when the stream breaks or falls silent, or when a call is not taken; then the core is
//! told, and after a pause another session begins with the same framework id.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api_mesos::Credential;
use base::{Auth, Rng};
use http_kit::{
    Address, Body, Client, ClientConfig, ClientError, HeaderValue, Method, Request, Response, StatusCode,
    Timeouts, header,
};
use mesos_proto::v1::scheduler::{Call, Event, event};
use mesos_proto::{binary, recordio};
use prost::Message;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// Calls that may wait to be sent: a kill for each instance that an app may have comes at once when it is deleted. More
/// mean that the master does not take them.
const MAX_WAITING_CALLS: usize = 128 * 1024;
/// Larger events are refused: the offers of thousands of agents have less.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
const PATH: &str = "/api/v1/scheduler";
const STREAM_ID: &str = "mesos-stream-id";
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a refusal is read and logged.
const MAX_REASON_BYTES: usize = 4096;

/// How the master is found and when it counts as gone.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The master's address; it may redirect to another.
    pub(crate) master: SocketAddr,
    /// How many heartbeats in a row may be missing (`--mesos_heartbeat_failure_threshold`).
    pub(crate) missed_heartbeats: u32,
    /// Pause before the second attempt to subscribe; doubled for each further one.
    pub(crate) first_pause: Duration,
    /// The longest pause.
    pub(crate) longest_pause: Duration,
    /// What the master is shown.
    pub(crate) auth: Auth,
    /// What it is shown if there is no token.
    pub(crate) credential: Option<Credential>,
}

/// What the scheduler tells the event loop.
#[derive(Debug)]
pub(crate) enum FromMaster {
    /// A session is about to begin: which SUBSCRIBE is to be sent?
    Connecting(oneshot::Sender<Box<Call>>),
    /// An event of the session.
    Event(Box<Event>),
    /// The session has ended.
    Disconnected,
}

/// The event loop's end of the queue of calls.
#[derive(Clone, Debug)]
pub(crate) struct CallSender {
    queue: mpsc::Sender<Box<Call>>,
    overflow: Arc<Notify>,
}

/// The scheduler's end of it.
#[derive(Debug)]
pub(crate) struct Calls {
    queue: mpsc::Receiver<Box<Call>>,
    overflow: Arc<Notify>,
}

/// A queue of calls.
pub(crate) fn calls() -> (CallSender, Calls) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING_CALLS);
    let overflow = Arc::new(Notify::new());
    (CallSender { queue: sender, overflow: Arc::clone(&overflow) }, Calls { queue: receiver, overflow })
}

impl CallSender {
    /// Puts a call behind the others. Calls made while there is no session are forgotten. If too many wait, the session
    /// is ended, which the event loop is told.
    pub(crate) fn send(&self, call: Box<Call>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(call) {
            self.overflow.notify_one();
        }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("could not {what}")]
    Call {
        what: &'static str,
        #[source]
        source: ClientError,
    },
    #[error("the master refused to {what}: {status} {reason}")]
    Refused { what: &'static str, status: StatusCode, reason: String },
    #[error("the master redirects to {0}")]
    Redirected(SocketAddr),
    #[error("the master's stream of events cannot be read")]
    Stream(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the master ended the stream of events")]
    Ended,
    #[error("the master was silent for {0:?}")]
    Silent(Duration),
    #[error("the master takes calls too slowly")]
    Lagging,
}

/// Subscribes again and again until the event loop is gone.
pub(crate) async fn run(settings: Settings, to_loop: mpsc::Sender<FromMaster>, mut calls: Calls) {
    let limits = match &settings.credential {
        Some(credential) if !settings.auth.is_on() => ClientConfig::saying(&credential.authorization()),
        _ => ClientConfig::showing(&settings.auth),
    };
    let client = Client::new(ClientConfig { max_idle_per_address: 2, max_idle: 2, ..limits });
    let mut rng = Rng::seeded(runtime::entropy());
    let mut pause = settings.first_pause;
    let mut master = settings.master;
    loop {
        let (ask, answer) = oneshot::channel();
        if to_loop.send(FromMaster::Connecting(ask)).await.is_err() {
            return;
        }
        let Ok(subscribe) = answer.await else { return };
        let began = Instant::now();
        let mut session =
            Session { client: &client, settings: &settings, master, to_loop: &to_loop, subscribed: false };
        let ended = session.run(&subscribe, &mut calls).await;
        if session.subscribed {
            // A session that ends at once is no success: the pause must grow.
            if began.elapsed() > settings.longest_pause {
                pause = settings.first_pause;
            }
            if to_loop.send(FromMaster::Disconnected).await.is_err() {
                return;
            }
        }
        match ended {
            SessionError::Redirected(leader) if leader != master => {
                tracing::info!(%leader, "the master redirects to its leader");
                master = leader;
            }
            error => {
                tracing::warn!(%master, pause = ?pause, error = %base::with_causes(&error), "not subscribed with the master");
                master = settings.master;
            }
        }
        // Between half and the whole of it, so that frameworks do not come all at once.
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * (rng.below(1000) as f64 / 1000.0))).await;
        pause = (pause * 2).min(settings.longest_pause);
    }
}

struct Session<'a> {
    client: &'a Client,
    settings: &'a Settings,
    master: SocketAddr,
    to_loop: &'a mpsc::Sender<FromMaster>,
    /// Whether the event loop knows of this session.
    subscribed: bool,
}

impl Session<'_> {
    async fn run(&mut self, subscribe: &Call, calls: &mut Calls) -> SessionError {
        let response = match self.post("subscribe", subscribe, None).await {
            Ok(response) => response,
            Err(error) => return error,
        };
        let stream_id = response.headers().get(STREAM_ID).cloned();
        // What was to be sent in an earlier session means nothing in this one.
        while calls.queue.try_recv().is_ok() {}
        let (client, master) = (self.client, self.master);
        let overflow = Arc::clone(&calls.overflow);
        let sending = async {
            while let Some(call) = calls.queue.recv().await {
                if let Err(error) = send(client, master, &call, stream_id.as_ref()).await {
                    return error;
                }
            }
            SessionError::Ended
        };
        tokio::select! {
            error = self.read(response.into_body()) => error,
            error = sending => error,
            () = overflow.notified() => SessionError::Lagging,
        }
    }

    async fn post(
        &self,
        what: &'static str,
        call: &Call,
        stream_id: Option<&HeaderValue>,
    ) -> Result<Response, SessionError> {
        post(self.client, self.master, what, call, stream_id).await
    }

    /// Hands on events until the stream ends.
    async fn read(&mut self, mut body: Body) -> SessionError {
        let mut decoder = recordio::Decoder::new(MAX_EVENT_BYTES);
        let mut patience = CALL_TIMEOUT;
        loop {
            let arrived = match timeout(patience, body.next()).await {
                Err(_) => return SessionError::Silent(patience),
                Ok(None) => return SessionError::Ended,
                Ok(Some(Err(error))) => return SessionError::Stream(error.into()),
                Ok(Some(Ok(bytes))) => bytes,
            };
            decoder.push(&arrived);
            loop {
                let record = match decoder.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(error) => return SessionError::Stream(error.into()),
                };
                let event = match binary::decode_checked::<Event>(&record) {
                    Ok(event) => event,
                    Err(error) => return SessionError::Stream(error.into()),
                };
                if let Some(subscribed) = &event.subscribed {
                    patience = self.patience(subscribed);
                }
                if event.r#type() == event::Type::Heartbeat {
                    continue;
                }
                self.subscribed = true;
                if self.to_loop.send(FromMaster::Event(Box::new(event))).await.is_err() {
                    return SessionError::Ended;
                }
            }
        }
    }

    /// How long the master may be silent.
    fn patience(&self, subscribed: &event::Subscribed) -> Duration {
        let interval = subscribed.heartbeat_interval_seconds.filter(|seconds| *seconds > 0.0).unwrap_or(15.0);
        Duration::from_secs_f64(interval.min(3600.0)) * self.settings.missed_heartbeats.max(1)
    }
}

async fn send(
    client: &Client,
    master: SocketAddr,
    call: &Call,
    stream_id: Option<&HeaderValue>,
) -> Result<(), SessionError> {
    let response = post(client, master, call.r#type().as_str_name(), call, stream_id).await?;
    // Answers are empty; reading to their end lets the connection be used again.
    let _ = response.into_body().read_within(MAX_REASON_BYTES, CALL_TIMEOUT).await;
    Ok(())
}

async fn post(
    client: &Client,
    master: SocketAddr,
    what: &'static str,
    call: &Call,
    stream_id: Option<&HeaderValue>,
) -> Result<Response, SessionError> {
    let mut request = Request::new(Body::full(call.encode_to_vec()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http_kit::Uri::from_static(PATH);
    request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
    request.headers_mut().insert(header::ACCEPT, PROTOBUF);
    if let Some(id) = stream_id {
        request.headers_mut().insert(STREAM_ID, id.clone());
    }
    let timeouts = Timeouts { connect: Duration::from_secs(5), response_head: Some(CALL_TIMEOUT) };
    let address = Address::Tcp(master);
    let sent = client.send(&address, request, timeouts).await;
    let response = sent.map_err(|source| SessionError::Call { what, source })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if let Some(leader) = redirect(&response) {
        return Err(SessionError::Redirected(leader));
    }
    let reason = response.into_body().read_within(MAX_REASON_BYTES, CALL_TIMEOUT).await.unwrap_or_default();
    Err(SessionError::Refused { what, status, reason: String::from_utf8_lossy(&reason).into_owned() })
}

/// The leader that a standby master names: `Location: //host:port/...`.
fn redirect(response: &Response) -> Option<SocketAddr> {
    if response.status() != StatusCode::TEMPORARY_REDIRECT {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let (_, rest) = location.split_once("//")?;
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_of_all_tasks_of_the_largest_app_fit_into_the_queue() {
        let (sender, mut calls) = calls();
        let instances = 100_000;
        (0..instances).for_each(|_| sender.send(Box::default()));
        let overflow = timeout(Duration::from_millis(1), calls.overflow.notified()).await;
        assert!(overflow.is_err(), "no session is ended");
        let mut waiting = 0;
        while calls.queue.try_recv().is_ok() {
            waiting += 1;
        }
        assert_eq!(waiting, instances);
    }

    #[test]
    fn a_standby_names_its_leader() {
        let check = |status, location: Option<&str>, leader: Option<&str>| {
            let mut response = http_kit::respond::status(status);
            if let Some(location) = location {
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(location).unwrap());
            }
            assert_eq!(redirect(&response), leader.map(|leader| leader.parse().unwrap()), "{location:?}");
        };
        let moved = StatusCode::TEMPORARY_REDIRECT;
        check(moved, Some("//127.0.0.1:5050/api/v1/scheduler"), Some("127.0.0.1:5050"));
        check(moved, Some("http://127.0.0.1:5050"), Some("127.0.0.1:5050"));
        check(moved, Some("/elsewhere"), None);
        check(moved, None, None);
        check(StatusCode::OK, Some("//127.0.0.1:5050/"), None);
    }
}
