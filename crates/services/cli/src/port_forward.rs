//! `dcos port-forward`: a port of this machine that leads to the instances of an app. Beyond the official
//! CLI.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use http_kit::{Body, Request, StatusCode, upgrade};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::marathon::{Marathon, encoded};
use crate::{Client, Context, Error, output};

/// What the agent calls the protocol, and where it speaks it.
const PROTOCOL: &str = "dcos-port-forward";
/// How often it is looked which instances there are.
const LOOK: Duration = Duration::from_secs(1);
/// How long an instance is tried directly before its agent is asked, and how long it is remembered that it
/// cannot be reached directly.
const DIRECT: Duration = Duration::from_secs(1);
const REMEMBERED: Duration = Duration::from_secs(30);
/// Connections at a time; more wait to be accepted.
const MOST: usize = 1024;
/// How long `accept` pauses when there are too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// `dcos port-forward APP LOCAL[:PORT]`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The application ID
    app: String,
    /// The port of this machine to listen on (0 takes a free one), and the app's port to lead to: a number
    /// or a name that the app definition has, else its first
    #[arg(value_name = "LOCAL[:PORT]")]
    ports: String,
}

/// One instance that takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    task: String,
    agent: String,
    host: String,
    port: u16,
}

/// What all connections share.
struct Forward {
    client: Client,
    targets: Mutex<Targets>,
}

#[derive(Default)]
struct Targets {
    all: Vec<Target>,
    turn: usize,
    /// Hosts that could not be reached directly, and when that was found out.
    indirect: BTreeMap<String, Instant>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<ExitCode, Error> {
    let (local, port) = parse(&arguments.ports)?;
    let marathon = Marathon::new(context)?;
    let app = marathon.app(&arguments.app).await?;
    let id = app["id"].as_str().unwrap_or(&arguments.app).to_owned();
    let index = port_index(&app, port.as_deref())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(|error| {
        Error::new(format!("cannot listen on 127.0.0.1:{local}: {error}"))
            .hint("Take another port, or 0 for any that is free.")
    })?;
    let forward = Arc::new(Forward { client: context.client()?, targets: Mutex::default() });
    forward.set(targets(&app, index));
    let bound = listener.local_addr()?;
    output::line(&format!("Forwarding from {bound} to {id}"))?;
    if forward.lock().all.is_empty() {
        output::say(&format!("{id} has no instance yet that takes connections; those that come are used."));
    }
    let serving = serve(listener, Arc::clone(&forward));
    tokio::select! {
        ended = look(&marathon, &id, index, &forward) => ended.map(|()| ExitCode::SUCCESS),
        () = serving => Ok(ExitCode::SUCCESS),
        ended = tokio::signal::ctrl_c() => ended.map(|()| ExitCode::from(130)).map_err(Error::from),
    }
}

/// `LOCAL[:PORT]`.
fn parse(ports: &str) -> Result<(u16, Option<String>), Error> {
    let (local, port) = match ports.split_once(':') {
        Some((local, port)) if !port.is_empty() => (local, Some(port.to_owned())),
        Some(_) => ("", None),
        None => (ports, None),
    };
    let local = local.parse().map_err(|_| {
        Error::new(format!("'{ports}' is not LOCAL[:PORT]"))
            .hint("Allowed is a port of this machine, and behind a colon one of the app or its name, as in 8080:80.")
    })?;
    Ok((local, port))
}

/// Which of the app's ports is meant: by its number inside or outside of the container, or by its name.
fn port_index(app: &Value, wanted: Option<&str>) -> Result<usize, Error> {
    let lists = [&app["container"]["portMappings"], &app["portDefinitions"]];
    let ports: Vec<&Value> = lists
        .into_iter()
        .filter_map(Value::as_array)
        .find(|list| !list.is_empty())
        .into_iter()
        .flatten()
        .collect();
    let id = app["id"].as_str().unwrap_or_default();
    if ports.is_empty() {
        return Err(Error::new(format!("App '{id}' has no port"))
            .hint("portDefinitions, or portMappings of a container, give it one."));
    }
    let Some(wanted) = wanted else { return Ok(0) };
    let is_wanted = |port: &Value| {
        let numbers = ["containerPort", "port", "servicePort", "hostPort"].map(|name| port[name].as_u64());
        port["name"] == *wanted
            || wanted.parse().is_ok_and(|wanted: u64| wanted != 0 && numbers.contains(&Some(wanted)))
    };
    ports.iter().position(|port| is_wanted(port)).ok_or_else(|| {
        let known: Vec<String> = ports.iter().map(|port| described(port)).collect();
        Error::new(format!("App '{id}' has no port '{wanted}'"))
            .hint(format!("Its ports are: {}.", known.join(", ")))
    })
}

fn described(port: &Value) -> String {
    let number = port["containerPort"].as_u64().or_else(|| port["port"].as_u64()).unwrap_or_default();
    match port["name"].as_str() {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}

/// The instances that run and that no health check says ill of.
fn targets(app: &Value, index: usize) -> Vec<Target> {
    let is_well = |task: &&Value| {
        let results = task["healthCheckResults"].as_array();
        let is_healthy = results.is_none_or(|results| results.iter().all(|result| result["alive"] == true));
        let has_checks = app["healthChecks"].as_array().is_some_and(|checks| !checks.is_empty());
        let is_checked = !has_checks || results.is_some_and(|results| !results.is_empty());
        task["state"] == "TASK_RUNNING" && is_healthy && is_checked
    };
    let target = |task: &Value| {
        let text = |name: &str| task[name].as_str().map(str::to_owned);
        Some(Target {
            task: text("id")?,
            agent: text("slaveId")?,
            host: text("host")?,
            port: task["ports"][index].as_u64().and_then(|port| u16::try_from(port).ok())?,
        })
    };
    app["tasks"].as_array().into_iter().flatten().filter(is_well).filter_map(target).collect()
}

/// Follows which instances there are, until the app is gone.
async fn look(marathon: &Marathon, id: &str, index: usize, forward: &Forward) -> Result<(), Error> {
    loop {
        tokio::time::sleep(LOOK).await;
        match marathon.app(id).await {
            Ok(app) => forward.set(targets(&app, index)),
            Err(error) if error.http_status() == Some(404) => return Err(error),
            // Masters are restarted. Until then the instances stay those that they were.
            Err(_) => {}
        }
    }
}

async fn serve(listener: TcpListener, forward: Arc<Forward>) {
    let slots = Arc::new(Semaphore::new(MOST));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let forward = Arc::clone(&forward);
                tokio::spawn(async move {
                    if let Err(error) = forward.carry(stream).await {
                        output::say(&format!("{error}"));
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                output::say(&format!("cannot accept a connection, trying again: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Forward {
    fn lock(&self) -> std::sync::MutexGuard<'_, Targets> {
        // Nothing panics while it is held.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, all: Vec<Target>) {
        let mut targets = self.lock();
        targets.all = all;
        targets.indirect.retain(|_, since| since.elapsed() < REMEMBERED);
    }

    /// All targets, each connection beginning with another one.
    fn in_turn(&self) -> Vec<Target> {
        let mut targets = self.lock();
        let mut all = targets.all.clone();
        if !all.is_empty() {
            targets.turn = targets.turn.wrapping_add(1);
            let turn = targets.turn % all.len();
            all.rotate_left(turn);
        }
        all
    }

    /// Carries one connection to the first instance that takes it.
    async fn carry(&self, mut stream: TcpStream) -> Result<(), Error> {
        // What cannot be set makes it slower, not wrong.
        let _ = stream.set_nodelay(true);
        let mut last = None;
        for target in self.in_turn() {
            match self.reach(&target).await {
                Ok(mut reached) => {
                    // Either side may break it off; there is nobody to tell.
                    let _ = copy_bidirectional(&mut stream, &mut reached).await;
                    return Ok(());
                }
                Err(error) => last = Some((target, error)),
            }
        }
        Err(match last {
            None => Error::new("a connection was closed: no instance takes connections now"),
            Some((target, error)) => Error::new(format!(
                "a connection was closed: {} at {}:{} cannot be reached: {error}",
                target.task, target.host, target.port
            )),
        })
    }

    /// A connection to the instance: directly, else by its agent.
    async fn reach(&self, target: &Target) -> Result<Box<dyn Stream>, Error> {
        let is_indirect = self.lock().indirect.contains_key(&target.host);
        if let (false, Ok(ip)) = (is_indirect, target.host.parse::<IpAddr>()) {
            let connecting = TcpStream::connect(SocketAddr::new(ip, target.port));
            match tokio::time::timeout(DIRECT, connecting).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(Box::new(stream));
                }
                // Whoever refuses is there; its agent would be refused, too, unless the network in between did it.
                Ok(Err(_)) => {}
                Err(_) => drop(self.lock().indirect.insert(target.host.clone(), Instant::now())),
            }
        }
        self.by_agent(target).await
    }

    async fn by_agent(&self, target: &Target) -> Result<Box<dyn Stream>, Error> {
        let path = format!("/agent/{}/dcos/port-forward?port={}", encoded(&target.agent), target.port);
        let mut request = Request::new(Body::empty());
        *request.uri_mut() =
            path.parse().map_err(|_| Error::new(format!("'{path}' cannot be part of an address")))?;
        upgrade::offer(request.headers_mut(), PROTOCOL);
        let mut response = self.client.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.client.refusal(&format!("GET {path}"), response).await);
        }
        let promised = upgrade::take_response(&mut response);
        let promised =
            promised.ok_or_else(|| Error::new("the connection cannot be used for anything else"))?;
        let stream = promised.connection().await.map_err(|error| Error::new(error.to_string()))?;
        Ok(Box::new(stream))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_read() {
        let check = |text: &str, expect: Option<(u16, Option<&str>)>| {
            let found = parse(text).ok();
            assert_eq!(found.as_ref().map(|(local, port)| (*local, port.as_deref())), expect, "{text}");
        };
        check("8080", Some((8080, None)));
        check("8080:80", Some((8080, Some("80"))));
        check("0:web", Some((0, Some("web"))));
        for wrong in ["", ":80", "8080:", "70000", "web"] {
            check(wrong, None);
        }
    }

    #[test]
    fn the_apps_port_is_found_by_number_and_name() {
        let app = json!({"id": "/a", "container": {"portMappings": [
            {"containerPort": 80, "hostPort": 0, "name": "web"}, {"containerPort": 81, "servicePort": 10001},
        ]}, "portDefinitions": []});
        let check = |wanted: Option<&str>, expect: Result<usize, &str>| {
            let found = port_index(&app, wanted).map_err(|error| error.to_string());
            assert_eq!(found, expect.map_err(str::to_owned));
        };
        check(None, Ok(0));
        check(Some("81"), Ok(1));
        check(Some("10001"), Ok(1));
        check(Some("web"), Ok(0));
        check(Some("0"), Err("App '/a' has no port '0'\nIts ports are: 80 (web), 81."));
        assert!(
            port_index(&json!({"id": "/b"}), None)
                .unwrap_err()
                .to_string()
                .starts_with("App '/b' has no port")
        );
    }

    #[test]
    fn only_instances_that_are_well_get_connections() {
        let check = |task: Value, has_checks: bool, expect: usize| {
            let checks = if has_checks { json!([{}]) } else { json!([]) };
            let app = json!({"healthChecks": checks, "tasks": [task]});
            assert_eq!(targets(&app, 0).len(), expect, "{app}");
        };
        let task = |state: &str, results: Value| {
            json!({
                "id": "t", "slaveId": "S", "host": "127.0.0.2", "ports": [31000], "state": state, "healthCheckResults": results,
            })
        };
        check(task("TASK_RUNNING", json!(null)), false, 1);
        check(task("TASK_STAGING", json!(null)), false, 0);
        check(task("TASK_RUNNING", json!(null)), true, 0);
        check(task("TASK_RUNNING", json!([{"alive": true}])), true, 1);
        check(task("TASK_RUNNING", json!([{"alive": false}])), true, 0);
    }
}
