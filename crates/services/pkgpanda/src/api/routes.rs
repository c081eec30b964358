//! What is asked for, and who answers it.

use std::sync::Arc;
use std::time::Duration;

use api_pkgpanda::{PackageId, http};
use http_kit::{Body, Method, Request, Response, StatusCode, respond, target};
use tokio::sync::Semaphore;

use super::answer::Refusal;
use super::{Log, Shared, active};
use crate::activate::{self, Afterwards};
use crate::fetch::Origin;
use crate::remove::remove as remove_packages;

/// The largest body: thousands of ids.
const BODY_LIMIT: usize = 1 << 20;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a change waits for another one.
const TURN: Duration = Duration::from_secs(10);

const LIST: &[Method] = &[Method::GET, Method::HEAD];
const SET: &[Method] = &[Method::GET, Method::HEAD, Method::PUT];
const PACKAGE: &[Method] = &[Method::GET, Method::HEAD, Method::POST, Method::DELETE];

pub(crate) async fn answer(shared: Arc<Shared>, request: Request) -> Response {
    route(shared, request).await.unwrap_or_else(Refusal::response)
}

async fn route(shared: Arc<Shared>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let segments = target::segments(head.uri.path());
    let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    match (&segments[..], &head.method) {
        (["repository"], _) if is_read => {
            work(move || Ok(respond::json(StatusCode::OK, &shared.repository.list()?))).await
        }
        (["repository"], found) => Err(Refusal::method(found, LIST)),
        (["repository", id], _) if is_read => {
            let id = id_of(id, Refusal::not_found)?;
            work(move || package(&shared, &id)).await
        }
        (["repository", id], &Method::POST) => {
            let id = id_of(id, Refusal::bad)?;
            fetch(shared, id, body).await
        }
        (["repository", id], &Method::DELETE) => {
            let id = id_of(id, Refusal::not_found)?;
            change(&shared.changes.clone(), move || remove(&shared, &id)).await
        }
        (["repository", _], found) => Err(Refusal::method(found, PACKAGE)),
        (["active"], _) if is_read => {
            work(move || Ok(respond::json(StatusCode::OK, &active(&shared.config.host)?))).await
        }
        (["active"], &Method::PUT) => {
            let ids = ids_of(body).await?;
            change(&shared.changes.clone(), move || activate(&shared, &ids)).await
        }
        (["active"], found) => Err(Refusal::method(found, SET)),
        (["active", id], _) if is_read => {
            let id = id_of(id, Refusal::not_found)?;
            work(move || {
                if !active(&shared.config.host)?.iter().any(|active| active == id.as_str()) {
                    return Err(Refusal::not_found(format!("Package {id} is not active")));
                }
                package(&shared, &id)
            })
            .await
        }
        (["active", _], found) => Err(Refusal::method(found, LIST)),
        _ => {
            let path = head.uri.path();
            Err(Refusal::not_found(format!(
                "there is no {path}: there are /repository/, /repository/ID, /active/ and /active/ID"
            )))
        }
    }
}

fn id_of(text: &str, refuse: impl FnOnce(String) -> Refusal) -> Result<PackageId, Refusal> {
    text.parse().map_err(|problem: api_pkgpanda::IdProblem| refuse(problem.to_string()))
}

/// Does something that blocks on a thread of its own, to its end even if the client leaves.
async fn work(
    work: impl FnOnce() -> Result<Response, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|failure| {
        tracing::error!(%failure, "a request ended badly");
        Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the request ended badly; the log says how"))
    })
}

/// [`work`] that nothing else changes packages beside.
async fn change(
    turns: &Arc<Semaphore>,
    done: impl FnOnce() -> Result<Response, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let turn = tokio::time::timeout(TURN, Arc::clone(turns).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        let seconds = TURN.as_secs();
        let error = format!("another request changes packages; waited {seconds} s for it: try again later");
        return Err(Refusal::new(StatusCode::CONFLICT, error));
    };
    work(move || {
        // Given back when the work is done, not when its client has gone.
        let _turn = turn;
        done()
    })
    .await
}

fn package(shared: &Shared, id: &PackageId) -> Result<Response, Refusal> {
    shared.repository.load(id)?;
    Ok(respond::json(StatusCode::OK, &http::Package::from(id)))
}

async fn fetch(shared: Arc<Shared>, id: PackageId, body: Body) -> Result<Response, Refusal> {
    let body: serde_json::Value = json(body).await?;
    let Some(url) = body.get("repository_url").and_then(serde_json::Value::as_str) else {
        let error = "the body has to be an object with repository_url, a text";
        return Err(Refusal::bad(error));
    };
    let origin =
        Origin::parse(url, &shared.config.work_dir).map_err(|error| Refusal::bad(error.to_string()))?;
    let Ok(turn) = Arc::clone(&shared.fetches).try_acquire_owned() else {
        let error = format!("{} packages are being fetched already: try again later", super::FETCHES);
        return Err(Refusal::new(StatusCode::CONFLICT, error));
    };
    work(move || {
        let _turn = turn;
        let fetched = shared.fetcher.fetch(&shared.repository, &origin, &id, &mut |_, _| {});
        fetched.map_err(crate::Error::from)?;
        Ok(respond::status(StatusCode::NO_CONTENT))
    })
    .await
}

fn remove(shared: &Shared, id: &PackageId) -> Result<Response, Refusal> {
    if !shared.repository.has(id) {
        return Err(Refusal::no_package(id));
    }
    let mut log = Log::default();
    remove_packages(&shared.config.host, &[id.to_string()], &mut std::io::sink(), &mut log)?;
    Ok(respond::status(StatusCode::NO_CONTENT))
}

fn activate(shared: &Shared, ids: &[String]) -> Result<Response, Refusal> {
    let there = shared.repository.list()?;
    let is_there = |id: &&String| !there.iter().any(|there| there.as_str() == id.as_str());
    let missing: Vec<String> = ids.iter().filter(is_there).cloned().collect();
    if !missing.is_empty() {
        return Err(Refusal::missing(missing));
    }
    let (mut out, mut err) = (Log::default(), Log::default());
    activate::activate(&shared.config.host, ids, Afterwards::Nothing, &mut out, &mut err)?;
    Ok(respond::status(StatusCode::NO_CONTENT))
}

async fn ids_of(body: Body) -> Result<Vec<String>, Refusal> {
    let body: serde_json::Value = json(body).await?;
    let ids: Option<Vec<String>> =
        body.as_array().and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
    ids.ok_or_else(|| Refusal::bad("the body has to be a list of package ids"))
}

async fn json(body: Body) -> Result<serde_json::Value, Refusal> {
    let text = body.read_within(BODY_LIMIT, BODY_TIMEOUT).await;
    let text = text.map_err(|error| Refusal::bad(base::with_causes(&error)))?;
    serde_json::from_slice(&text).map_err(|error| Refusal::bad(format!("the body is not JSON: {error}")))
}
