//! The files API: what tasks wrote into their sandboxes, and the agent's log (Mesos: `FilesProcess`).
//!
//! A path is that of a sandbox, or of something in one, by its real name
//! (`<dir>/slaves/<agent>/frameworks/<fw>/executors/<ex>/runs/<container>/...`) or its virtual one
//! (`/frameworks/<fw>/executors/<ex>/runs/latest/...`), or `/slave/log`. What a path leads to must lie in
//! the sandbox it begins with: a task can make any link it likes.

mod listing;
mod resolve;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};

use api_mesos::Query;
use api_mesos::json::{Array, Object};
use http_kit::mesos::{bad_request, document, refusal};
use http_kit::{Body, BodySender, HeaderValue, Response, StatusCode, header, respond};
use mesos_proto::v1::FileInfo;

use crate::http::{Api, not_recovered};
pub(crate) use resolve::Files;

/// The most that one read gives (Mesos: 16 pages).
const LONGEST_READ: u64 = 16 * 4096;
/// The pieces in which a file is downloaded, and how many may wait.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 4;

/// Why a file is not shown (Mesos: `FilesError`).
#[derive(Debug)]
pub(crate) enum FilesError {
    /// The request makes no sense; with its reason.
    Invalid(String),
    /// There is no such file.
    NotFound,
    /// It is there and cannot be read.
    Failed(String),
    /// The agent is stopping.
    Stopping,
}

impl FilesError {
    pub(crate) fn response(self) -> Response {
        match self {
            FilesError::Invalid(reason) => bad_request(reason),
            FilesError::NotFound => refusal(StatusCode::NOT_FOUND, ""),
            FilesError::Failed(reason) => refusal(StatusCode::INTERNAL_SERVER_ERROR, reason),
            FilesError::Stopping => not_recovered(),
        }
    }
}

/// Runs work on files where it disturbs nobody.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(FilesError::Stopping))
}

fn path_of(query: &Query) -> Result<String, FilesError> {
    match query.get("path") {
        Some(path) if !path.is_empty() => Ok(path.to_owned()),
        _ => Err(FilesError::Invalid("Expecting 'path=value' in query.\n".to_owned())),
    }
}

/// The entries of a directory, by name; none of what is no directory.
pub(crate) async fn list(api: &Api, path: String) -> Result<Vec<FileInfo>, FilesError> {
    let files = api.files.clone();
    aside(move || listing::list(&files.resolve(&path)?, &path)).await
}

/// `/files/browse`
pub(crate) async fn browse(api: &Api, query: &Query) -> Response {
    let listed = match path_of(query) {
        Ok(path) => list(api, path).await,
        Err(error) => Err(error),
    };
    match listed {
        Ok(entries) => {
            let mut out = Vec::with_capacity(256 * entries.len() + 2);
            let mut array = Array::open(&mut out);
            entries.iter().for_each(|entry| array.object(|o| listing::write(o, entry)));
            drop(array);
            document(out, query.get("jsonp"))
        }
        Err(error) => error.response(),
    }
}

/// Part of a file: its size and the bytes from `offset`. No length means as much as one read gives.
pub(crate) async fn part(
    api: &Api,
    path: String,
    offset: u64,
    length: Option<u64>,
) -> Result<(u64, Vec<u8>), FilesError> {
    let files = api.files.clone();
    aside(move || {
        let (mut file, size) = files.resolve(&path)?.open("read")?;
        let length = length.unwrap_or(LONGEST_READ).min(LONGEST_READ);
        if offset >= size || length == 0 {
            return Ok((size, Vec::new()));
        }
        let failed =
            |error: std::io::Error| FilesError::Failed(format!("Failed to read '{path}': {error}.\n"));
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::with_capacity(length.min(size - offset) as usize);
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok((size, bytes))
    })
    .await
}

/// A number of the query, -1 meaning that it is not given.
fn number(query: &Query, name: &str) -> Result<Option<u64>, FilesError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| {
        FilesError::Invalid(format!("Failed to parse {name}: Failed to convert '{text}' to number.\n"))
    })?;
    match number {
        -1 => Ok(None),
        ..-1 => Err(FilesError::Invalid(format!("Negative {name} provided: {number}.\n"))),
        _ => Ok(Some(number as u64)),
    }
}

/// `/files/read`: without an offset only the size is told, as `offset`.
pub(crate) async fn read(api: &Api, query: &Query) -> Response {
    match read_query(api, query).await {
        Ok(body) => document(body, query.get("jsonp")),
        Err(error) => error.response(),
    }
}

async fn read_query(api: &Api, query: &Query) -> Result<Vec<u8>, FilesError> {
    let path = path_of(query)?;
    let offset = number(query, "offset")?;
    let length = number(query, "length")?;
    let length = if offset.is_none() { Some(0) } else { length };
    let (size, bytes) = part(api, path, offset.unwrap_or(0), length).await?;
    let at_end = offset.unwrap_or(0) + bytes.len() as u64 >= size;
    Ok(api_mesos::json::document(|o: &mut Object<'_>| {
        o.field("data", text_of(&bytes, at_end)).field("offset", offset.unwrap_or(size));
    }))
}

/// Bytes as JSON can say them. A character that the end of the part cuts is left for the next read.
fn text_of(bytes: &[u8], at_end: bool) -> String {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
        && !at_end
    {
        return String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// `/files/download`
pub(crate) async fn download(api: &Api, query: &Query) -> Response {
    match start_download(api, query).await {
        Ok(response) => response,
        Err(error) => error.response(),
    }
}

async fn start_download(api: &Api, query: &Query) -> Result<Response, FilesError> {
    let path = path_of(query)?;
    let files = api.files.clone();
    let (file, size, name) = aside(move || {
        let found = files.resolve(&path)?;
        let (file, size) = found.open("download")?;
        Ok((file, size, found.name()))
    })
    .await?;
    let (sender, body) = Body::channel(PIECES);
    // Not beyond the length that was promised, although the task may be writing on.
    tokio::spawn(send_all(file.take(size), sender));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(&name)));
    let disposition = format!("attachment; filename={name}");
    let plain = HeaderValue::from_static("attachment");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).unwrap_or(plain));
    Ok(response)
}

/// Sends a file in pieces. A thread is held while one is read and not while the client takes it: who does
/// not read what he asked for must not hold up what else waits for threads, such as the start of tasks.
async fn send_all(mut file: Take<File>, sender: BodySender) {
    loop {
        let piece = aside(move || {
            let mut piece = Vec::with_capacity(PIECE);
            match file.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
                Ok(_) => Ok((file, piece)),
                Err(error) => Err(FilesError::Failed(error.to_string())),
            }
        });
        match piece.await {
            Ok((_, piece)) if piece.is_empty() => break,
            Ok((rest, piece)) => {
                if sender.send(piece).await.is_err() {
                    break;
                }
                file = rest;
            }
            Err(FilesError::Failed(reason)) => return sender.abort(reason),
            Err(_) => return sender.abort("the agent is stopping"),
        }
    }
}

/// The types that browsers show without running them; everything else is just bytes.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("txt" | "log" | "text") => "text/plain",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("gz") => "application/gzip",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// `/files/debug`: what the virtual paths of living executors lead to.
pub(crate) async fn debug(api: &Api, query: &Query) -> Response {
    let files = api.files.clone();
    let body = api.mailbox.read(move |agent| {
        api_mesos::json::document(|o| {
            for (name, path) in files.attached(agent) {
                o.field(&name, path);
            }
        })
    });
    match body.await {
        Ok(body) => document(body, query.get("jsonp")),
        Err(_) => respond::status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests;
