//! `/reserve` and `/unreserve`: forms that say the same as calls of the operator API.

use api_mesos::Query;
use http_kit::mesos::{bad_request, only_post};
use http_kit::{Method, Request, Response};
use mesos_proto::v1::master::{Call, call};
use mesos_proto::v1::offer::operation::Unreserve;
use mesos_proto::v1::{AgentId, Resource};

use super::{Api, read_body};

impl Api {
    /// `/reserve` with `slaveId`, `resources`, and maybe `source`. Mesos: Master::Http::reserve.
    pub(super) async fn reserve(&self, request: Request) -> Result<Response, Response> {
        let form = form(request).await?;
        let agent_id = agent_id(&form).map_err(bad_request)?;
        let parsing = "Error parsing";
        let resources = resources(&form, "resources", parsing).map_err(bad_request)?;
        let source = match form.get("source") {
            Some(_) => self::resources(&form, "source", parsing).map_err(bad_request)?,
            None => Vec::new(),
        };
        self.change(Call {
            r#type: Some(call::Type::ReserveResources.into()),
            reserve_resources: Some(call::ReserveResources { agent_id, source, resources }),
            ..Call::default()
        })
        .await
    }

    /// `/unreserve` with `slaveId` and `resources`. Mesos: Master::Http::unreserve.
    pub(super) async fn unreserve(&self, request: Request) -> Result<Response, Response> {
        let form = form(request).await?;
        let agent_id = agent_id(&form).map_err(bad_request)?;
        let resources = resources(&form, "resources", "Error in parsing").map_err(bad_request)?;
        self.change(Call {
            r#type: Some(call::Type::UnreserveResources.into()),
            unreserve_resources: Some(call::UnreserveResources { agent_id, resources }),
            ..Call::default()
        })
        .await
    }
}

async fn form(request: Request) -> Result<Query, Response> {
    if request.method() != Method::POST {
        return Err(only_post(request.method()));
    }
    let body = read_body(request).await?;
    Query::parse(&String::from_utf8_lossy(&body))
        .map_err(|error| bad_request(format!("Unable to decode query string: {error}")))
}

fn missing(key: &str) -> String {
    format!("Missing '{key}' query parameter in the request body")
}

fn agent_id(form: &Query) -> Result<AgentId, String> {
    let value = form.get("slaveId").ok_or_else(|| missing("slaveId"))?;
    Ok(AgentId { value: value.to_owned() })
}

/// The list of resources under `key`. An error begins with `parsing`.
fn resources(form: &Query, key: &str, parsing: &str) -> Result<Vec<Resource>, String> {
    let text = form.get(key).ok_or_else(|| missing(key))?;
    // Any message that is nothing but a list of resources will do to read one.
    let wrapped = format!("{{\"resources\":{text}}}");
    let list: Unreserve = mesos_proto::json::from_json(wrapped.as_bytes())
        .map_err(|error| format!("{parsing} '{key}' query parameter in the request body: {error}"))?;
    Ok(list.resources)
}
