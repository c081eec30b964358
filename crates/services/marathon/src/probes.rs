//! Health checks that Marathon does by itself: HTTP and TCP, over the network.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use api_marathon::{HealthCheck, Protocol};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_kit::{Address, Client, ClientConfig, HeaderValue, Request, Timeouts, header};
use marathon_core::{HealthResult, InstanceId, Probe};
use tokio::time::{Instant, sleep_until, timeout};

/// Checks that run at the same time. Further ones wait, so that thousands of tasks do not need as many sockets.
const MAX_RUNNING: usize = 256;
/// Shorter times in definitions are taken for this.
const SHORTEST: Duration = Duration::from_secs(1);
/// Pause before the first of the extra checks of a task that was not healthy yet.
const FIRST_EXTRA: Duration = Duration::from_millis(100);

/// All tasks under observation. It does nothing but inside of [`Prober::next`].
pub(crate) struct Prober {
    probes: BTreeMap<InstanceId, Active>,
    due: BinaryHeap<Reverse<Due>>,
    running: FuturesUnordered<Running>,
    started: u64,
    client: Client,
}

type Running = Pin<Box<dyn Future<Output = (Due, Outcome)> + Send>>;

/// What a check found: healthy, or why not.
type Outcome = Result<(), String>;

struct Active {
    probe: Probe,
    /// Tells this observation of the instance from earlier ones.
    number: u64,
}

/// A check to come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    instance: InstanceId,
    number: u64,
    /// Index in [`Probe::checks`].
    index: usize,
    /// When the next regular check is due. A failure before that time is not told: Marathon's users count on the
    /// interval. Success is, so that a task counts as healthy soon after it is.
    regular: Instant,
    /// The pause to the next extra check; `None` once the task was healthy.
    extra: Option<Duration>,
}

impl Prober {
    pub(crate) fn new() -> Prober {
        // A connection kept to a task would be one more thing that breaks when the task is replaced.
        let client = Client::new(ClientConfig {
            max_idle_per_address: 0,
            max_idle: 0,
            max_head_bytes: 16 * 1024,
            ..ClientConfig::default()
        });
        Prober {
            probes: BTreeMap::new(),
            due: BinaryHeap::new(),
            running: FuturesUnordered::new(),
            started: 0,
            client,
        }
    }

    /// Begins to probe a task, at once.
    pub(crate) fn start(&mut self, probe: Probe) {
        self.started += 1;
        let now = Instant::now();
        for index in 0..probe.checks.len() {
            self.due.push(Reverse(Due {
                at: now,
                instance: probe.instance.clone(),
                number: self.started,
                index,
                regular: now,
                extra: Some(FIRST_EXTRA),
            }));
        }
        self.probes.insert(probe.instance.clone(), Active { probe, number: self.started });
    }

    /// Ends probing an instance's task; what is under way is not told any more.
    pub(crate) fn stop(&mut self, instance: &InstanceId) {
        self.probes.remove(instance);
    }

    /// How many tasks are under observation.
    pub(crate) fn len(&self) -> usize {
        self.probes.len()
    }

    /// The next result. Never completes while nothing is under observation. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> HealthResult {
        loop {
            self.launch();
            let next_due = self.due.peek().filter(|_| self.running.len() < MAX_RUNNING).map(|due| due.0.at);
            let wake = async {
                match next_due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((due, outcome)) = self.running.next(), if !self.running.is_empty() => {
                    if let Some(result) = self.conclude(due, outcome) {
                        return result;
                    }
                }
                () = wake => {}
            }
        }
    }

    /// Begins the checks that are due.
    fn launch(&mut self) {
        let now = Instant::now();
        while self.running.len() < MAX_RUNNING && self.due.peek().is_some_and(|due| due.0.at <= now) {
            if let Some(Reverse(due)) = self.due.pop() {
                self.launch_one(due);
            }
        }
    }

    fn launch_one(&mut self, due: Due) {
        let Some(active) = self.probes.get(&due.instance).filter(|active| active.number == due.number) else {
            return;
        };
        let (_, check) = &active.probe.checks[due.index];
        let (host, port, check) = (active.probe.host.clone(), active.probe.port(check), check.clone());
        let client = self.client.clone();
        self.running.push(Box::pin(async move {
            let limit = check.timeout().max(SHORTEST);
            let outcome = match timeout(limit, probe(&client, &host, port, &check)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} seconds", limit.as_secs())),
            };
            (due, outcome)
        }));
    }

    /// Plans the next check and says what to tell.
    fn conclude(&mut self, due: Due, outcome: Outcome) -> Option<HealthResult> {
        let active = self.probes.get(&due.instance).filter(|active| active.number == due.number)?;
        let (check, definition) = &active.probe.checks[due.index];
        let interval = definition.interval().max(SHORTEST);
        let result = HealthResult {
            instance: due.instance.clone(),
            task: active.probe.task.clone(),
            check: *check,
            failure: outcome.err(),
        };
        let now = Instant::now();
        let is_regular = due.at >= due.regular;
        let regular = if is_regular { (due.regular + interval).max(now) } else { due.regular };
        let extra = due.extra.filter(|_| result.failure.is_some());
        let at = extra.map_or(regular, |pause| (now + pause).min(regular));
        let extra = extra.map(|pause| (pause * 2).min(interval));
        self.due.push(Reverse(Due { at, regular, extra, ..due }));
        (is_regular || result.failure.is_none()).then_some(result)
    }
}

async fn probe(client: &Client, host: &str, port: Option<u16>, check: &HealthCheck) -> Outcome {
    let port = port.ok_or_else(|| "the task has no such port".to_owned())?;
    let address = resolve(host, port).await?;
    match check.protocol {
        Protocol::Tcp => tcp(address).await,
        Protocol::Http => http(client, address, host, check).await,
        other => Err(format!("{} is not checked from here", other.as_str())),
    }
}

async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = tokio::net::lookup_host((host, port)).await;
    found.map_err(|error| format!("{host}: {error}"))?.next().ok_or_else(|| format!("{host} has no address"))
}

async fn tcp(address: SocketAddr) -> Outcome {
    tokio::net::TcpStream::connect(address).await.map(drop).map_err(|error| format!("{address}: {error}"))
}

async fn http(client: &Client, address: SocketAddr, host: &str, check: &HealthCheck) -> Outcome {
    let path = check.path.as_deref().unwrap_or("");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = Request::default();
    *request.uri_mut() = path.parse().map_err(|error| format!("path '{path}': {error}"))?;
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&format!("{host}:{}", address.port())) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("marathon-health-check"));
    let limit = check.timeout().max(SHORTEST);
    let timeouts = Timeouts { connect: limit, response_head: Some(limit) };
    let response = client
        .send(&Address::Tcp(address), request, timeouts)
        .await
        .map_err(|error| base::with_causes(&error))?;
    // Marathon: HealthCheckWorker.acceptableResponses
    match response.status().as_u16() {
        200..=399 => Ok(()),
        _ => Err(response.status().to_string()),
    }
}
