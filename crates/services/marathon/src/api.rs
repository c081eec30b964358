//! The HTTP API: which request is answered by what.

mod apps;
mod deployments;
mod embed;
mod groups;
mod info;
mod metrics;
mod queue;
mod request;
mod selector;
mod stats;
mod stream;
mod tasks;

use std::net::SocketAddr;
use std::time::Duration;

use api_marathon::{ApiError, DeploymentResult, Settings};
use http_kit::target::{Query, segments};
use http_kit::{
    BoxFuture, Handler, HeaderValue, Method, Peer, Request, Response, StatusCode, header, respond,
};
use marathon_core::Answer;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::event_loop::{Decide, Job, View};

/// How long an answer of the event loop may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const DEPLOYMENT_HEADER: &str = "marathon-deployment-id";
const LEADER_HEADER: &str = "x-marathon-leader";

/// A route's answer: a response, or the refusal that becomes one.
type Outcome = Result<Response, ApiError>;

/// Answers requests by asking the event loop.
pub(crate) struct Api {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) settings: Settings,
    pub(crate) info: info::Info,
    /// Our own address.
    pub(crate) address: SocketAddr,
}

pub(crate) use info::Info;

impl Handler for Api {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let mut response = match self.route(request, peer).await {
                Ok(response) => response,
                Err(error) => refused(&error),
            };
            if is_head {
                *response.body_mut() = http_kit::Body::empty();
            }
            self.add_headers(&mut response);
            response
        })
    }
}

impl Api {
    async fn route(&self, request: Request, peer: Peer) -> Outcome {
        let request = request::only_json(request).await?;
        let path = request.uri().path().to_owned();
        let segments = segments(&path);
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let query = Query::of(request.uri());
        // HEAD is a GET whose body is left out.
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let at = Target { method: &method, query: &query };
        match segments[..] {
            ["ping"] => at.only(Method::GET, || Ok(respond::text(StatusCode::OK, "pong"))),
            ["metrics"] => at.get(self.metrics()).await,
            ["v2", "info"] => at.get(self.info()).await,
            ["v2", "leader"] => at.get(self.leader()).await,
            ["v2", "events"] => at.get(self.events(&query, &peer)).await,
            ["v2", "apps", ..] => Box::pin(self.apps(at, &segments[2..], request, peer)).await,
            ["v2", "tasks"] => at.get(self.tasks(&query, &request)).await,
            ["v2", "tasks", "delete"] => at.of(Method::POST, self.delete_tasks(&query, request)).await,
            ["v2", "deployments"] => at.get(self.deployments()).await,
            ["v2", "deployments", id] => at.of(Method::DELETE, self.cancel_deployment(id, &query)).await,
            ["v2", "queue"] => at.get(self.queue(&query)).await,
            ["v2", "queue", ref id @ .., "delay"] if !id.is_empty() => {
                at.of(Method::DELETE, self.reset_delay(&id.join("/"))).await
            }
            ["v2", "groups", ref id @ ..] => Box::pin(self.groups(at, &id.join("/"), request, peer)).await,
            ["v2", "plugins"] => at.only(Method::GET, || Ok(info::plugins())),
            _ => Err(ApiError::message(404, "URI not found")),
        }
    }

    /// Reads the state.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (sender, answer) = oneshot::channel();
        let read = Box::new(move |view: &View<'_>| drop(sender.send(look(view))));
        self.ask(Job::Read(read), answer).await
    }

    /// [`Api::read`] of something that becomes JSON, written where the state is.
    async fn read_json<T: Serialize>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Outcome {
        self.read(|view| look(view).map(|value| respond::json(StatusCode::OK, &value))).await?
    }

    /// Decides on a change by the state and makes it.
    async fn change(&self, decide: Decide) -> Result<Answer, ApiError> {
        let (sender, answer) = oneshot::channel();
        self.ask(Job::Change(decide, sender), answer).await?
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Result<T, ApiError> {
        let unavailable = |why: &str| ApiError::message(503, why);
        self.jobs
            .try_send(job)
            .map_err(|_| unavailable("Marathon has too many requests to answer; try again later"))?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(unavailable("Marathon is shutting down")),
            Err(_) => Err(unavailable("Marathon did not answer in time")),
        }
    }

    /// Marathon: `LeaderProxyFilter`, `CacheDisablingFilter`.
    fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        let leader = HeaderValue::from_str(&format!("http://{}", self.address));
        headers.insert(LEADER_HEADER, leader.expect("addresses have no control characters"));
        headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    }
}

/// How a route is asked for.
#[derive(Clone, Copy)]
struct Target<'a> {
    method: &'a Method,
    query: &'a Query,
}

impl Target<'_> {
    fn only(self, method: Method, answer: impl FnOnce() -> Outcome) -> Outcome {
        if *self.method == method { answer() } else { self.not_allowed(&[method]) }
    }

    async fn get(self, answer: impl Future<Output = Outcome>) -> Outcome {
        self.of(Method::GET, answer).await
    }

    async fn of(self, method: Method, answer: impl Future<Output = Outcome>) -> Outcome {
        if *self.method == method { answer.await } else { self.not_allowed(&[method]) }
    }

    fn not_allowed(self, allowed: &[Method]) -> Outcome {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("Method Not Allowed: found {}, allowed are {allowed}", self.method);
        let mut response = refused(&ApiError::message(405, message));
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_str(&allowed).expect("methods are tokens"));
        Ok(response)
    }
}

fn refused(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond::json(status, &error.body)
}

/// `{deploymentId, version}` and the header of the same.
fn deployed(status: StatusCode, deployment: &DeploymentResult) -> Response {
    let mut response = respond::json(status, deployment);
    name_deployment(&mut response, deployment);
    response
}

fn name_deployment(response: &mut Response, deployment: &DeploymentResult) {
    if let Ok(id) = HeaderValue::from_str(&deployment.deployment_id) {
        response.headers_mut().insert(DEPLOYMENT_HEADER, id);
    }
}

/// The deployment that an answer names.
fn deployment_of(answer: Answer) -> Result<DeploymentResult, ApiError> {
    match answer {
        Answer::Deployed { deployment, .. } => Ok(deployment),
        Answer::Killed(_) | Answer::Done => Err(ApiError::message(500, "no deployment was made")),
    }
}
