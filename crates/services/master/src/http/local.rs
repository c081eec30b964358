//! What is about the process and its machine, and not about the cluster.
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]

use api_mesos::{Query, json, logging};
use http_kit::mesos::{bad_request, document, not_found, refusal};
use http_kit::{Request, Response, StatusCode};

use super::Api;
use super::routes::Endpoint;
use crate::metrics;

impl Api {
    /// `/logging/toggle`. Mesos: process::Logging::toggle.
    pub(super) fn toggle_logging(&self, request: &Request) -> Result<Response, Response> {
        match logging::toggle(&query(request)?).map_err(bad_request)? {
            None => Ok(refusal(StatusCode::OK, format!("{}\n", self.logging.level()))),
            Some((level, duration)) => {
                self.logging.set(level, duration);
                Ok(http_kit::respond::status(StatusCode::OK))
            }
        }
    }

    /// The documents that need nothing but this process. The master has no files: its log goes to standard
    /// error.
    pub(super) fn local(&self, endpoint: Endpoint, request: &Request) -> Result<Response, Response> {
        let query = query(request)?;
        let jsonp = query.jsonp().map_err(bad_request)?;
        let path = request.uri().path().trim_matches('/');
        let path = path.strip_prefix("master/").unwrap_or(path);
        match endpoint {
            Endpoint::SystemStats => Ok(document(metrics::system_stats(), jsonp)),
            Endpoint::Profiler => match logging::profiler(path).ok_or_else(not_found)? {
                Ok(state) => Ok(document(state, jsonp)),
                Err(reason) => Err(bad_request(reason)),
            },
            _ if path.starts_with("files/debug") => Ok(document(json::document(|_| {}), jsonp)),
            _ if query.get("path").is_none_or(str::is_empty) => {
                Err(bad_request("Expecting 'path=value' in query.\n"))
            }
            _ => Err(refusal(StatusCode::NOT_FOUND, "")),
        }
    }
}

fn query(request: &Request) -> Result<Query, Response> {
    Query::parse(request.uri().query().unwrap_or(""))
        .map_err(|error| bad_request(format!("Unable to decode query string: {error}")))
}
