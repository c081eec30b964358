//! Follows Marathon: the apps that have a service's name, and their tasks.
//!
//! Events only tell that something changed; then the apps are read again, so that no event has to
//! be understood and none that is missed does harm.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_kit::header::ACCEPT;
use http_kit::sse::{self, Decoder, EventTooLarge};
use http_kit::{
    Address, Body, BodyError, Client, ClientError, HeaderValue, Request, StatusCode, Timeouts, Uri,
};
use router_core::{App, Task};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use crate::Backoff;
use crate::routes::Routes;

const EVENTS: &str = "/v2/events?plan_format=light";
const APPS: &str = "/v2/apps?embed=apps.tasks&label=DCOS_SERVICE_NAME";
/// The longest event: one about a deployment holds all its steps.
const LONGEST_EVENT: usize = 16 << 20;
/// The longest list of apps.
const LONGEST_LIST: usize = 256 << 20;
/// How long reading the apps may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time between two readings: what happens within it is seen at once with the next.
const GAP: Duration = Duration::from_millis(25);
/// After this much silence the stream is opened again, in case its other end is gone unnoticed.
const SILENCE: Duration = Duration::from_secs(60);

/// Why following broke off.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("cannot subscribe")]
    Call(#[source] ClientError),
    #[error("{path} is answered with {status}")]
    Refused { path: &'static str, status: StatusCode },
    #[error("the stream broke")]
    Stream(#[source] BodyError),
    #[error("the stream ended")]
    Ended,
    #[error("the stream was silent for {SILENCE:?}")]
    Silent,
    #[error("the stream is no event stream")]
    Events(#[source] EventTooLarge),
    #[error("the apps cannot be read")]
    Apps(#[source] serde_json::Error),
}

/// Follows Marathon at `address` for ever. While it is away, what it said last stays.
pub(crate) async fn follow(address: SocketAddr, routes: &Routes, client: &Client) {
    let marathon = Marathon { address: Address::Tcp(address), routes, client };
    let mut backoff = Backoff::new();
    loop {
        match marathon.subscription(&mut backoff).await {
            Err(FollowError::Silent) => debug!(%address, "Marathon was silent, subscribing again"),
            Err(error) => {
                warn!(%address, error = &error as &dyn std::error::Error, "the events of Marathon are away");
                backoff.wait().await;
            }
        }
    }
}

struct Marathon<'a> {
    address: Address,
    routes: &'a Routes,
    client: &'a Client,
}

impl Marathon<'_> {
    /// One subscription, until it breaks.
    async fn subscription(&self, backoff: &mut Backoff) -> Result<Infallible, FollowError> {
        let request = get(EVENTS, sse::CONTENT_TYPE);
        let sent = self.client.send(&self.address, request, Timeouts::default()).await;
        let response = sent.map_err(FollowError::Call)?;
        if response.status() != StatusCode::OK {
            return Err(FollowError::Refused { path: EVENTS, status: response.status() });
        }
        // Subscribed first and read then: nothing happens unseen in between.
        let changed = Notify::new();
        changed.notify_one();
        tokio::select! {
            ended = listen(response.into_body(), &changed) => ended,
            ended = self.read_after(&changed, backoff) => ended,
        }
    }

    /// Reads the apps after each change and when somebody asks; changes during one reading together cause the next.
    async fn read_after(&self, changed: &Notify, backoff: &mut Backoff) -> Result<Infallible, FollowError> {
        loop {
            let freshness = &self.routes.freshness;
            tokio::select! {
                () = changed.notified() => {}
                () = freshness.wanted() => {}
            }
            let (begun, ticket) = (Instant::now(), freshness.begin());
            self.routes.set_marathon(self.apps().await?);
            freshness.done(ticket);
            backoff.reset();
            sleep_until(begun + GAP).await;
        }
    }

    async fn apps(&self) -> Result<Vec<App>, FollowError> {
        let request = get(APPS, "application/json");
        let fetched =
            self.client.fetch(&self.address, request, Timeouts::default(), LONGEST_LIST, LIST_TIMEOUT);
        let response = fetched.await.map_err(FollowError::Call)?;
        match response.status() {
            StatusCode::OK => parse(response.body()).map_err(FollowError::Apps),
            status => Err(FollowError::Refused { path: APPS, status }),
        }
    }
}

fn get(path: &'static str, accept: &'static str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(path);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
    request
}

/// Notes each event that can have changed where an app is.
async fn listen(mut body: Body, changed: &Notify) -> Result<Infallible, FollowError> {
    let mut decoder = Decoder::new(LONGEST_EVENT);
    let mut events = Vec::new();
    loop {
        let piece = timeout(SILENCE, body.next()).await.map_err(|_| FollowError::Silent)?;
        let piece = piece.ok_or(FollowError::Ended)?.map_err(FollowError::Stream)?;
        decoder.push(&piece, &mut events).map_err(FollowError::Events)?;
        // Those two are about who listens, also about ourselves.
        let is_change = |event: sse::Event| !event.event.starts_with("event_stream_");
        if events.drain(..).map(is_change).fold(false, |any, change| any | change) {
            changed.notify_one();
        }
    }
}

fn parse(json: &[u8]) -> Result<Vec<App>, serde_json::Error> {
    let apps: Apps = serde_json::from_slice(json)?;
    Ok(apps.apps.into_iter().map(App::from).collect())
}

/// What of Marathon's answer is read. Other fields may come and go.
#[derive(Deserialize)]
struct Apps {
    apps: Vec<AppAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppAnswer {
    id: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    health_checks: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    tasks: Vec<TaskAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskAnswer {
    #[serde(default)]
    host: String,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    health_check_results: Vec<Option<HealthAnswer>>,
}

#[derive(Deserialize)]
struct HealthAnswer {
    alive: bool,
}

impl From<AppAnswer> for App {
    fn from(app: AppAnswer) -> Self {
        App {
            id: app.id,
            labels: app.labels,
            health_checks: app.health_checks.len(),
            tasks: app.tasks.into_iter().map(Task::from).collect(),
        }
    }
}

impl From<TaskAnswer> for Task {
    fn from(task: TaskAnswer) -> Self {
        Task {
            host: task.host,
            ports: task.ports,
            state: task.state,
            health: task.health_check_results.into_iter().flatten().map(|health| health.alive).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_read_as_marathon_writes_them() {
        let json = br#"{"apps":[
            {"id":"/web","labels":{"DCOS_SERVICE_NAME":"web"},"healthChecks":[{"protocol":"HTTP"}],"instances":2,
             "tasks":[
               {"id":"web.1","host":"127.0.7.2","ports":[31001],"servicePorts":[10000],"state":"TASK_RUNNING",
                "healthCheckResults":[{"alive":true,"instanceId":"x"}],"ipAddresses":[]},
               {"id":"web.2","host":"127.0.7.3","ports":[],"state":"TASK_STAGING","startedAt":null}]},
            {"id":"/bare"}]}"#;
        let task = |host: &str, ports: &[u16], state: &str, health: &[bool]| Task {
            host: host.into(),
            ports: ports.into(),
            state: state.into(),
            health: health.into(),
        };
        let web = App {
            id: "/web".into(),
            labels: BTreeMap::from([("DCOS_SERVICE_NAME".into(), "web".into())]),
            health_checks: 1,
            tasks: vec![
                task("127.0.7.2", &[31001], "TASK_RUNNING", &[true]),
                task("127.0.7.3", &[], "TASK_STAGING", &[]),
            ],
        };
        assert_eq!(parse(json).unwrap(), [web, App { id: "/bare".into(), ..App::default() }]);
        for broken in
            ["", "{}", "[]", r#"{"apps":[{}]}"#, r#"{"apps":[{"id":"/a","tasks":[{"ports":[70000]}]}]}"#]
        {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
