//! The agent's images, for operators. Mesos has one call for them, PRUNE_IMAGES; the rest is ours:
//!
//! | request | answer |
//! |---|---|
//! | `GET /images` | `{"images": [...]}` |
//! | `POST /images/pull` `{"reference", "force"}` | lines of JSON: how far it is, then `image` or `error` |
//! | `POST /images/prune` `{"excluded": [...]}` | what went |
//! | `DELETE /images?reference=` | what went |

use std::sync::Arc;

use api_mesos::Query;
use http_kit::mesos::{bad_request, refusal};
use http_kit::{Body, BodySender, Method, Request, Response, StatusCode, header, respond};
use images::{DockerConfig, Images, Progress, Pull, Reference, RemoveError};
use mesos_proto::v1::agent::call::PruneImages;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::{Api, read_body};
use crate::provision::progress_text;
use base::with_causes;

/// Lines that may wait for a client that does not read.
const BACKLOG: usize = 16;
/// Many lines in one answer.
const LINES: &str = "application/x-ndjson";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PullRequest {
    reference: String,
    #[serde(default)]
    force: bool,
    /// A docker `config.json` with the logins for it.
    docker_config: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PruneRequest {
    #[serde(default)]
    excluded: Vec<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    status: &'a str,
    bytes_done: u64,
    bytes_total: u64,
    layers_done: u32,
    layers_total: u32,
}

/// Whether the path is one of these.
pub(crate) fn is_about_images(path: &str) -> bool {
    path == "/images" || path.starts_with("/images/")
}

/// Answers a request to a path below `/images`.
pub(crate) async fn answer(api: &Api, path: &str, query: &Query, request: Request) -> Response {
    let images = match api.provider.images() {
        Ok(images) => images,
        Err(why) => return refusal(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let allowed = |allowed: &[Method]| respond::method_not_allowed(request.method(), allowed);
    match (path, request.method()) {
        ("/images", &Method::GET) => respond::json(StatusCode::OK, &json!({"images": images.list()})),
        ("/images", &Method::DELETE) => remove(images, query).await,
        ("/images", _) => allowed(&[Method::GET, Method::DELETE]),
        ("/images/pull", &Method::POST) => done(pull(images, request).await),
        ("/images/prune", &Method::POST) => done(prune(images, request).await),
        ("/images/pull" | "/images/prune", _) => allowed(&[Method::POST]),
        _ => http_kit::mesos::not_found(),
    }
}

fn done(answer: Result<Response, Response>) -> Response {
    answer.unwrap_or_else(|refused| refused)
}

async fn remove(images: &Images, query: &Query) -> Response {
    let Some(text) = query.get("reference") else {
        return bad_request("Expecting 'reference' to be present: DELETE /images?reference=busybox:latest");
    };
    let reference = match Reference::parse(text) {
        Ok(reference) => reference,
        Err(error) => return bad_request(error.to_string()),
    };
    match images.remove(&reference).await {
        Ok(pruned) => respond::json(StatusCode::OK, &pruned),
        Err(error) => refused(&error),
    }
}

fn refused(error: &RemoveError) -> Response {
    let status = match error {
        RemoveError::NotFound { .. } => StatusCode::NOT_FOUND,
        RemoveError::Held { .. } => StatusCode::CONFLICT,
        RemoveError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal(status, with_causes(error))
}

async fn read<T: for<'a> Deserialize<'a>>(request: Request) -> Result<T, Response> {
    let body = read_body(request).await?;
    serde_json::from_slice(&body)
        .map_err(|error| bad_request(format!("The body is not as expected: {error}")))
}

async fn prune(images: &Images, request: Request) -> Result<Response, Response> {
    let wanted: PruneRequest = read(request).await?;
    let excluded = wanted.excluded.iter().map(|text| Reference::parse(text)).collect::<Result<Vec<_>, _>>();
    let excluded = excluded.map_err(|error| bad_request(format!("excluded: {error}")))?;
    match images.prune(&excluded).await {
        Ok(pruned) => Ok(respond::json(StatusCode::OK, &pruned)),
        Err(error) => Err(refused(&error)),
    }
}

/// Mesos: PRUNE_IMAGES.
pub(crate) async fn prune_call(api: &Api, call: Option<PruneImages>) -> Result<Response, Response> {
    let images = api.provider.images().map_err(|why| refusal(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let names = call.iter().flat_map(|call| &call.excluded_images).filter_map(|image| image.docker.as_ref());
    let excluded = names.map(|docker| Reference::parse(&docker.name)).collect::<Result<Vec<_>, _>>();
    let excluded = excluded.map_err(|error| bad_request(format!("excluded_images: {error}")))?;
    images.prune(&excluded).await.map_err(|error| refused(&error))?;
    Ok(respond::status(StatusCode::OK))
}

async fn pull(images: &Images, request: Request) -> Result<Response, Response> {
    let wanted: PullRequest = read(request).await?;
    let reference = Reference::parse(&wanted.reference).map_err(|error| bad_request(error.to_string()))?;
    let parse = |config: Value| DockerConfig::parse(config.to_string().as_bytes());
    let credentials = wanted.docker_config.map(parse).transpose();
    let credentials = credentials.map_err(|error| bad_request(format!("docker_config: {error}")))?;
    let (sender, body) = Body::channel(BACKLOG);
    let images = images.clone();
    let work = async move {
        // Who goes away ends the pull, unless somebody else waits for it, too.
        tokio::select! {
            () = stream(&images, &reference, wanted.force, credentials, &sender) => {}
            () = sender.closed() => {}
        }
    };
    tokio::spawn(work);
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(LINES));
    Ok(response)
}

async fn stream(
    images: &Images,
    reference: &Reference,
    force: bool,
    credentials: Option<DockerConfig>,
    sender: &BodySender,
) {
    let (tell, mut told) = watch::channel(Progress::default());
    let progress = move |progress| {
        tell.send_replace(progress);
    };
    let how = Pull { force, names: true, credentials, progress: Arc::new(progress) };
    let pulling = images.pull(reference, how);
    tokio::pin!(pulling);
    let name = reference.familiar();
    let outcome = loop {
        tokio::select! {
            outcome = &mut pulling => break outcome,
            changed = told.changed() => {
                if changed.is_err() {
                    break pulling.await;
                }
                let now = *told.borrow_and_update();
                let status = progress_text(&name, &now);
                let Progress { bytes_done, bytes_total, layers_done, layers_total, .. } = now;
                let line = Line { status: &status, bytes_done, bytes_total, layers_done, layers_total };
                send(sender, &line).await;
            }
        }
    };
    let last = match outcome {
        Ok(image) => {
            let summary =
                images.list().into_iter().find(|found| found.reference == image.reference.to_string());
            json!({"image": summary.map_or(Value::Null, |summary| json!(summary))})
        }
        Err(error) => json!({"error": with_causes(&error)}),
    };
    send(sender, &last).await;
}

/// One that goes away is noticed elsewhere.
async fn send(sender: &BodySender, line: &impl Serialize) {
    // Cannot fail: strings and numbers.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    let _ = sender.send(text).await;
}
