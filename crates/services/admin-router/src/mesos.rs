//! Follows the Mesos master: its agents and frameworks.

use std::net::SocketAddr;
use std::time::Duration;

use base::{AgentId, FrameworkId};
use http_kit::header::{ACCEPT, CONTENT_TYPE};
use http_kit::{
    Address, Body, BodyError, Client, ClientError, HeaderValue, Method, Request, StatusCode, Timeouts,
};
use mesos_proto::recordio::{Decoder, RecordIoError};
use mesos_proto::v1::master::response::{GetState, get_agents, get_frameworks};
use mesos_proto::v1::master::{Call, Event, call, event};
use mesos_proto::v1::{AgentInfo, FrameworkInfo};
use mesos_proto::{DecodeError, binary};
use router_core::{Agent, Framework, MesosState};
use tracing::{debug, warn};

use crate::Backoff;
use crate::routes::Routes;

/// The longest event. The first one holds every task of the cluster.
const LONGEST_EVENT: usize = 256 << 20;
/// The master sends a heartbeat every 15 s; this much silence means that it is gone.
const SILENCE: Duration = Duration::from_secs(75);

/// Why following broke off.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("cannot subscribe")]
    Call(#[source] ClientError),
    #[error("the subscription is answered with {0}")]
    Refused(StatusCode),
    #[error("the stream broke")]
    Stream(#[source] BodyError),
    #[error("the stream ended")]
    Ended,
    #[error("the stream was silent for {SILENCE:?}")]
    Silent,
    #[error("the stream is no RecordIO")]
    RecordIo(#[source] RecordIoError),
    #[error("an event cannot be read")]
    Event(#[source] DecodeError),
}

/// Follows the master at `address` for ever. While it is away, what it said last stays.
pub(crate) async fn follow(address: SocketAddr, routes: &Routes, client: &Client) {
    let mut backoff = Backoff::new();
    loop {
        let Err(error) = subscription(address, routes, client, &mut backoff).await;
        warn!(%address, error = &error as &dyn std::error::Error, "the events of the Mesos master are away");
        backoff.wait().await;
    }
}

/// One subscription, until it breaks.
async fn subscription(
    address: SocketAddr,
    routes: &Routes,
    client: &Client,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, FollowError> {
    let response = client
        .send(&Address::Tcp(address), subscribe(), Timeouts::default())
        .await
        .map_err(FollowError::Call)?;
    if response.status() != StatusCode::OK {
        return Err(FollowError::Refused(response.status()));
    }
    let mut body = response.into_body();
    let mut records = Decoder::new(LONGEST_EVENT);
    let mut state = MesosState::default();
    loop {
        let piece = tokio::time::timeout(SILENCE, body.next()).await.map_err(|_| FollowError::Silent)?;
        records.push(&piece.ok_or(FollowError::Ended)?.map_err(FollowError::Stream)?);
        while let Some(record) = records.next_record().map_err(FollowError::RecordIo)? {
            let event = binary::decode_checked::<Event>(&record).map_err(FollowError::Event)?;
            if apply(&mut state, event) {
                backoff.reset();
                routes.set_mesos(state.clone());
            }
        }
    }
}

fn subscribe() -> Request {
    let call = Call { r#type: Some(call::Type::Subscribe.into()), ..Call::default() };
    let mut request = Request::new(Body::full(binary::encode(&call)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http_kit::Uri::from_static("/api/v1");
    for name in [CONTENT_TYPE, ACCEPT] {
        request.headers_mut().insert(name, HeaderValue::from_static("application/x-protobuf"));
    }
    request
}

/// Takes an event over; false if it says nothing about agents or frameworks.
fn apply(state: &mut MesosState, event: Event) -> bool {
    use event::Type;
    match event.r#type() {
        Type::Subscribed => {
            let whole = event.subscribed.and_then(|subscribed| subscribed.get_state).unwrap_or_default();
            *state = whole_state(whole);
        }
        Type::AgentAdded => state.agents.extend(event.agent_added.and_then(|added| agent(added.agent))),
        Type::AgentRemoved => {
            if let Some(removed) = event.agent_removed {
                state.agents.remove(removed.agent_id.value.as_str());
            }
        }
        Type::FrameworkAdded => {
            state.frameworks.extend(event.framework_added.and_then(|added| framework(added.framework)));
        }
        Type::FrameworkUpdated => {
            state.frameworks.extend(event.framework_updated.and_then(|updated| framework(updated.framework)));
        }
        Type::FrameworkRemoved => {
            if let Some(id) = event.framework_removed.and_then(|removed| removed.framework_info.id) {
                state.frameworks.remove(id.value.as_str());
            }
        }
        Type::Unknown | Type::TaskAdded | Type::TaskUpdated | Type::Heartbeat => return false,
    }
    true
}

fn whole_state(whole: GetState) -> MesosState {
    let agents = whole.get_agents.unwrap_or_default();
    let frameworks = whole.get_frameworks.unwrap_or_default();
    // Recovered ones were there before the master started and have not come back yet.
    let recovered_agents = agents.recovered_agents.into_iter().filter_map(|info| agent_at(info, None));
    let recovered = frameworks.recovered_frameworks.into_iter().filter_map(|info| framework_of(info, false));
    MesosState {
        agents: recovered_agents.chain(agents.agents.into_iter().filter_map(agent)).collect(),
        frameworks: recovered.chain(frameworks.frameworks.into_iter().filter_map(framework)).collect(),
    }
}

fn agent(agent: get_agents::Agent) -> Option<(AgentId, Agent)> {
    // `slave(1)@127.0.7.2:5051`
    let pid = agent.pid.as_deref().and_then(|pid| pid.rsplit_once('@')?.1.parse().ok());
    agent_at(agent.agent_info, pid)
}

fn agent_at(info: AgentInfo, pid: Option<SocketAddr>) -> Option<(AgentId, Agent)> {
    let id = AgentId::from(info.id?.value);
    let by_name = || {
        let port = u16::try_from(info.port.unwrap_or(5051)).ok()?;
        Some(SocketAddr::new(info.hostname.parse().ok()?, port))
    };
    let Some(address) = pid.or_else(by_name) else {
        debug!(agent = %id, "an agent has no address");
        return None;
    };
    Some((id, Agent { address, hostname: info.hostname }))
}

fn framework(framework: get_frameworks::Framework) -> Option<(FrameworkId, Framework)> {
    framework_of(framework.framework_info, framework.connected)
}

fn framework_of(info: FrameworkInfo, connected: bool) -> Option<(FrameworkId, Framework)> {
    let webui_url = info.webui_url.filter(|url| !url.is_empty());
    Some((FrameworkId::from(info.id?.value), Framework { name: info.name, webui_url, connected }))
}
