//! The documents that are read with GET.

use api_mesos::Query;
use http_kit::mesos::{bad_request, document, not_found};
use http_kit::{Request, Response, StatusCode, respond};

use super::Api;
use super::routes::Endpoint;
use crate::view::{TaskQuery, View};
use api_mesos::json;
use api_mesos::version::document_of_version;

impl Api {
    /// The document of an endpoint, of any method, as in Mesos.
    pub(super) async fn document(&self, endpoint: Endpoint, request: &Request) -> Result<Response, Response> {
        let query = Query::parse(request.uri().query().unwrap_or(""))
            .map_err(|error| bad_request(format!("Unable to decode query string: {error}")))?;
        let jsonp = query.jsonp().map_err(bad_request)?;
        let only = |name: &str| query.get(name).map(str::to_owned);
        let view = match endpoint {
            Endpoint::Version => return Ok(document(document_of_version(), jsonp)),
            Endpoint::Flags => {
                let flags = json::document(|o| {
                    o.object("flags", |o| crate::v0::write_flags(o, &self.identity));
                });
                return Ok(document(flags, jsonp));
            }
            Endpoint::Metrics => {
                api_mesos::logging::timeout(&query).map_err(bad_request)?;
                View::Metrics
            }
            Endpoint::State => View::State,
            Endpoint::StateSummary => View::StateSummary,
            Endpoint::Slaves => View::Slaves(only("slave_id")),
            Endpoint::Frameworks => View::Frameworks(only("framework_id")),
            Endpoint::Tasks => View::Tasks(task_query(&query)),
            Endpoint::Roles => View::Roles,
            _ => return Err(not_found()),
        };
        Ok(document(self.inbox.read(view).await?, jsonp))
    }
}

/// Mesos: Master::ReadOnlyHandler::tasks; what is no number counts as absent.
fn task_query(query: &Query) -> TaskQuery {
    let default = TaskQuery::default();
    TaskQuery {
        framework_id: query.get("framework_id").map(str::to_owned),
        task_id: query.get("task_id").map(str::to_owned),
        ascending: query.get("order") == Some("asc"),
        offset: query.number("offset").unwrap_or(default.offset),
        limit: query.number("limit").unwrap_or(default.limit),
    }
}

const ENDPOINTS: [&str; 22] = [
    "/api/v1",
    "/api/v1/scheduler",
    "/flags",
    "/frameworks",
    "/health",
    "/help",
    "/machine/down",
    "/machine/up",
    "/maintenance/schedule",
    "/maintenance/status",
    "/metrics/snapshot",
    "/redirect",
    "/reserve",
    "/roles",
    "/slaves",
    "/state",
    "/state-summary",
    "/tasks",
    "/teardown",
    "/unreserve",
    "/version",
    "/",
];

/// `/`: where else to go.
pub(super) fn index() -> Response {
    page("Mesos master")
}

/// `/help`
pub(super) fn help() -> Response {
    page("Endpoints of the Mesos master")
}

fn page(title: &str) -> Response {
    let links: String =
        ENDPOINTS.iter().map(|path| format!("<li><a href=\"{path}\">{path}</a></li>\n")).collect();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n<ul>\n{links}</ul></body></html>\n"
    );
    respond::bytes(StatusCode::OK, "text/html", page)
}
