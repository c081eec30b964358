//! Connections to ports of tasks, for whoever reaches the agent and not the tasks: `dcos port-forward`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_core::{Agent, Executor, Framework};
use api_mesos::Query;
use http_kit::mesos::{bad_request, refusal};
use http_kit::{Request, Response, StatusCode, header, respond, upgrade};
use resources::Resources;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tracing::Instrument;

use crate::http::{Api, not_recovered};

/// What the connection is upgraded to: the bytes of the task's connection.
const PROTOCOL: &str = "dcos-port-forward";
/// How long a task may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Connections at a time.
pub(crate) const MOST: usize = 1024;

/// `/dcos/port-forward?port=`: connects to a port of the host that a task here has, and upgrades the
/// connection to it. Tasks in networks of their own are reached by the ports that are mapped to theirs.
pub(crate) async fn answer(api: &Arc<Api>, mut request: Request) -> Response {
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(reason) => return bad_request(reason),
    };
    let Some(port) = query.get("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0)
    else {
        let found = query.get("port").unwrap_or_default();
        return bad_request(format!("port: found '{found}', allowed is a number from 1 to 65535"));
    };
    let Some(upgrade) = upgrade::take(&mut request, PROTOCOL) else {
        let mut response =
            refusal(StatusCode::UPGRADE_REQUIRED, format!("Expecting an upgrade to {PROTOCOL}"));
        let protocol = http_kit::HeaderValue::from_static(PROTOCOL);
        response.headers_mut().insert(header::UPGRADE, protocol);
        return response;
    };
    match api.mailbox.read(move |agent| is_of_a_task(agent, port)).await {
        Ok(true) => {}
        Ok(false) => {
            return refusal(StatusCode::NOT_FOUND, format!("no task of this agent has the port {port}"));
        }
        Err(_) => return not_recovered(),
    }
    let Ok(slot) = Arc::clone(&api.forwards).try_acquire_owned() else {
        let text = format!("this agent forwards {MOST} connections already, and no more are allowed");
        return refusal(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let address = SocketAddr::new(api.config.ip.into(), port);
    let mut task = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(task)) => task,
        Ok(Err(error)) => return respond::text(StatusCode::BAD_GATEWAY, format!("{address}: {error}")),
        Err(_) => {
            let text = format!("{address} does not take connections");
            return respond::text(StatusCode::GATEWAY_TIMEOUT, text);
        }
    };
    // What cannot be set makes it slower, not wrong.
    let _ = task.set_nodelay(true);
    let carrying = async move {
        if let Ok(mut client) = upgrade.connection().await {
            // Either side may break it off; there is nobody to tell.
            let _ = copy_bidirectional(&mut client, &mut task).await;
        }
        drop(slot);
    };
    tokio::spawn(carrying.in_current_span());
    upgrade::accept(PROTOCOL)
}

fn is_of_a_task(agent: &Agent, port: u16) -> bool {
    let has = |executor: &Executor| {
        let all = executor.resources();
        Resources::from_wire(&all).is_ok_and(|all| all.ports().has(u64::from(port)))
    };
    agent.frameworks().flat_map(Framework::executors).any(has)
}
