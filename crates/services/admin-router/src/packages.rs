//! What is installed on this node: pkgpanda's API behind its socket, and the file beside it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::with_causes;
use http_kit::header::EXPECT;
use http_kit::proxy::{give_back, strip_hop_by_hop};
use http_kit::{Address, Client, ErrorKind, Request, Response, StatusCode, Timeouts, Uri, respond};

use crate::Packages;

/// How long opening a connection to the API may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the API may take to answer: it answers when a package is downloaded, or a set active.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The largest file that is served.
const MAX_FILE: u64 = 64 << 20;

/// The file that says how each active package was built, below the root.
const ACTIVE: &str = "active.buildinfo.full.json";

/// Answers what is asked below `/pkgpanda/`.
pub(crate) struct PackagesFront {
    api: Address,
    file: PathBuf,
    client: Client,
}

impl PackagesFront {
    pub(crate) fn new(packages: Packages, client: Client) -> Self {
        PackagesFront { api: Address::Unix(packages.socket), file: packages.root.join(ACTIVE), client }
    }

    /// Passes a request on to the API.
    pub(crate) async fn ask(&self, mut request: Request, path_and_query: &str) -> Response {
        let Ok(target) = path_and_query.parse::<Uri>() else {
            return respond::text(StatusCode::BAD_REQUEST, "400 Bad Request: the path is no part of a URL\n");
        };
        *request.uri_mut() = target;
        strip_hop_by_hop(request.headers_mut());
        request.headers_mut().remove(EXPECT);
        let timeouts = Timeouts { connect: CONNECT_TIMEOUT, response_head: Some(ANSWER_TIMEOUT) };
        match self.client.send(&self.api, request, timeouts).await {
            Ok(response) => give_back(response, None, std::future::ready(())),
            Err(error) => {
                let (status, title) = match error.kind {
                    ErrorKind::HeadTimeout | ErrorKind::ConnectTimeout => {
                        (StatusCode::GATEWAY_TIMEOUT, "504 Gateway Timeout")
                    }
                    _ => (StatusCode::BAD_GATEWAY, "502 Bad Gateway"),
                };
                let advice = match error.kind {
                    ErrorKind::Connect => "; does dcos-pkgpanda-api run on this node?",
                    _ => "",
                };
                respond::text(status, format!("{title}: pkgpanda: {}{advice}\n", with_causes(&error)))
            }
        }
    }

    /// The file as it is now.
    pub(crate) async fn active(&self) -> Response {
        let path = self.file.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        match read.unwrap_or_else(|failure| Err(io::Error::other(failure))) {
            Ok(text) => respond::json_bytes(StatusCode::OK, text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = self.file.display();
                let text =
                    format!("404 Not Found: there is no {path}: no packages are active on this node\n");
                respond::text(StatusCode::NOT_FOUND, text)
            }
            Err(error) => {
                let text = format!("500 Internal Server Error: read {}: {error}\n", self.file.display());
                respond::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(io::Error::other(format!("it has more than {MAX_FILE} bytes"))),
        false => Ok(text),
    }
}
