//! Files at URLs as sources.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_kit::{HeaderValue, StatusCode, header};
use mkpanda_core::Download;
use web_client::{Answer, Call, Url, WebClient};

use super::error::SourceProblem;
use super::tree::digest;
use super::{Place, wait_for};

/// The longest file that is taken.
const LIMIT: u64 = 64 << 30;
/// Attempts without one that brought more, before it is given up.
const RETRIES: u32 = 4;
/// Attempts in all.
const ATTEMPTS: u32 = 100;
/// The first pause between two attempts; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The file in the cache that holds what the URL has. It is fetched if the cache does not have it; what a killed run
/// has of it is taken up again.
pub(super) fn get(
    place: &Place<'_>,
    wanted: &Download,
    web: &WebClient,
    say: &dyn Fn(&str),
) -> Result<PathBuf, SourceProblem> {
    let file = place.cache.join(wanted.file_name());
    // One that another buildinfo wanted has the same name.
    if file.is_file() && digest(&file).map_err(SourceProblem::file("read", &file))? == wanted.sha1 {
        return Ok(file);
    }
    fs::create_dir_all(&place.cache).map_err(SourceProblem::file("make the directory", &place.cache))?;
    say(&format!("fetching {}", shown(&wanted.url)));
    let part = place.cache.join(format!("{}.{}.part", wanted.file_name(), wanted.sha1));
    let found = match wanted.url.strip_prefix("file://") {
        Some(path) => {
            let from = place.folder.join(path);
            fs::copy(&from, &part).map_err(SourceProblem::file("copy", &from))?;
            digest(&part).map_err(SourceProblem::file("read", &part))?
        }
        None => download(wanted, &part, web)?,
    };
    let sync = || File::open(&part).and_then(|file| file.sync_all());
    sync().map_err(SourceProblem::file("write to the disk", &part))?;
    if found != wanted.sha1 {
        let kept = place.cache.join(format!("{}.corrupt", wanted.file_name()));
        fs::rename(&part, &kept).map_err(SourceProblem::file("rename", &part))?;
        let (url, expected) = (shown(&wanted.url), wanted.sha1.clone());
        return Err(SourceProblem::Sha1 { url, expected, found, kept });
    }
    fs::rename(&part, &file).map_err(SourceProblem::file("rename", &part))?;
    Ok(file)
}

/// Downloads into `part`, from where that ends, and gives the SHA-1 of the whole.
fn download(wanted: &Download, part: &Path, web: &WebClient) -> Result<String, SourceProblem> {
    let url: Url = wanted.url.parse()?;
    let hash = || digest(part).map_err(SourceProblem::file("read", part));
    let is_resumed = wait_for(transfer(&url, part, web))?;
    let found = hash()?;
    // The server may have another file by now than when the download began.
    if is_resumed && found != wanted.sha1 {
        fs::remove_file(part).map_err(SourceProblem::file("remove", part))?;
        wait_for(transfer(&url, part, web))?;
        return hash();
    }
    Ok(found)
}

/// Downloads into `part`; says whether what is there came in several pieces.
async fn transfer(url: &Url, part: &Path, web: &WebClient) -> Result<bool, SourceProblem> {
    let options = OpenOptions::new().create(true).append(true).open(part);
    let mut file = options.map_err(SourceProblem::file("write", part))?;
    let (mut most, mut failures, mut attempts, mut is_resumed) = (0, 0, 0, false);
    loop {
        attempts += 1;
        let begin = length(&file, part)?;
        is_resumed |= begin > 0;
        let Err(failure) = attempt(url, &mut file, part, begin, web).await else { return Ok(is_resumed) };
        let length = length(&file, part)?;
        failures = if length > most { 1 } else { failures + 1 };
        most = most.max(length);
        let problem = match failure {
            Failure::Final(problem) => return Err(problem),
            Failure::Web(error) if !error.is_transient() => {
                return Err(SourceProblem::Download { attempts, source: error });
            }
            Failure::Web(error) => SourceProblem::Download { attempts, source: error },
            Failure::Status(status, is_transient) => {
                let problem = SourceProblem::Status { url: url.to_string(), status, attempts };
                if !is_transient {
                    return Err(problem);
                }
                problem
            }
        };
        if failures > RETRIES || attempts >= ATTEMPTS {
            return Err(problem);
        }
        let pause = PAUSE.saturating_mul(1 << (failures - 1).min(10));
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
}

/// Why an attempt ended.
enum Failure {
    Web(web_client::Error),
    /// The status, and whether trying again may help.
    Status(String, bool),
    Final(SourceProblem),
}

fn length(file: &File, part: &Path) -> Result<u64, SourceProblem> {
    Ok(file.metadata().map_err(SourceProblem::file("read", part))?.len())
}

/// One request, and what comes of it into the file.
async fn attempt(
    url: &Url,
    file: &mut File,
    part: &Path,
    begin: u64,
    web: &WebClient,
) -> Result<(), Failure> {
    let store = |attempt| {
        let failed = SourceProblem::file(attempt, part);
        move |error: io::Error| Failure::Final(failed(error))
    };
    let identity = HeaderValue::from_static("identity");
    let mut call = Call::get(url.clone()).with_header(header::ACCEPT_ENCODING, identity);
    if begin > 0 {
        call = call.from_byte(begin);
    }
    let answer = web.send(call).await.map_err(Failure::Web)?;
    match answer.status {
        StatusCode::OK => file.set_len(0).map_err(store("empty"))?,
        StatusCode::PARTIAL_CONTENT if begin > 0 && begins_at(&answer, begin) => {}
        // It has nothing more, or something else: either way the whole is asked for.
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if begin > 0 => {
            if is_whole(&answer, begin) {
                return Ok(());
            }
            file.set_len(0).map_err(store("empty"))?;
            return Err(Failure::Status(answer.status.to_string(), true));
        }
        status => {
            let is_transient = status.is_server_error()
                || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
            return Err(Failure::Status(status.to_string(), is_transient));
        }
    }
    let mut body = answer.body;
    let mut written = file.metadata().map_err(store("read"))?.len();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(Failure::Web)?;
        written += piece.len() as u64;
        if written > LIMIT {
            return Err(Failure::Final(SourceProblem::Long { url: url.to_string(), limit: LIMIT }));
        }
        // The thread is this download's alone.
        file.write_all(&piece).map_err(store("write"))?;
    }
    Ok(())
}

fn begins_at(answer: &Answer, begin: u64) -> bool {
    answer.content_range().is_some_and(|(first, _)| first == begin)
}

/// Whether the server says that what is here is all there is (`bytes */SIZE`).
fn is_whole(answer: &Answer, begin: u64) -> bool {
    let range = answer.header(header::CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */"));
    range.and_then(|size| size.parse().ok()) == Some(begin)
}

/// The URL without a password.
fn shown(url: &str) -> String {
    url.parse::<Url>().map_or_else(|_| url.to_owned(), |url| url.to_string())
}
