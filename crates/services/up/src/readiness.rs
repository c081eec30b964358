//! Whether a cluster is what it is to be, as its master tells.

use std::net::SocketAddr;
use std::time::Duration;

use base::Auth;
use http_kit::{
    Address, Body, Client, ClientConfig, ClientError, ErrorKind, Request, StatusCode, Timeouts, Uri,
};
use serde::Deserialize;

/// Asks a master over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Master {
    client: Client,
    address: Address,
    /// Whether a token is shown to it.
    shows_token: bool,
}

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(1), response_head: Some(Duration::from_secs(5)) };
/// The longest answer read: `/slaves` of some hundred agents.
const MOST: usize = 8 * 1024 * 1024;

#[derive(Debug, Deserialize)]
pub(crate) struct Slaves {
    slaves: Vec<Slave>,
}

/// What of an agent's JSON is needed. Mesos: `Slave` in src/master/readonly_handler.cpp.
#[derive(Debug, Deserialize)]
struct Slave {
    pid: String,
    active: bool,
    resources: Amounts,
    used_resources: Amounts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amounts {
    cpus: f64,
    mem: f64,
}

impl Slave {
    /// Whether the allocator would offer what is left of it. Mesos: MIN_CPUS and MIN_MEM.
    fn has_something_left(&self) -> bool {
        self.resources.cpus - self.used_resources.cpus >= 0.01
            || self.resources.mem - self.used_resources.mem >= 32.0
    }
}

impl Master {
    pub(crate) fn at(address: SocketAddr, auth: &Auth) -> Master {
        let client = Client::new(ClientConfig::showing(auth));
        Master { client, address: Address::Tcp(address), shows_token: auth.is_on() }
    }

    async fn get(&self, path: &'static str) -> Result<Vec<u8>, String> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(path);
        let body_timeout = Duration::from_secs(5);
        let answer = self.client.fetch(&self.address, request, TIMEOUTS, MOST, body_timeout).await;
        let answer = answer.map_err(|error| unanswered(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer.into_body().to_vec()),
            StatusCode::UNAUTHORIZED if self.shows_token => {
                Err("the master refuses the token: it is not the one in the master's DIR/token".to_owned())
            }
            StatusCode::UNAUTHORIZED => {
                let advice = "name a copy of the master's DIR/token with --token-file";
                Err(format!("the master demands a token: {advice}"))
            }
            status => Err(format!("{path} of {} answers {status}", self.address)),
        }
    }

    async fn metrics(&self) -> Result<serde_json::Map<String, serde_json::Value>, String> {
        let body = self.get("/metrics/snapshot").await?;
        serde_json::from_slice(&body).map_err(|error| format!("/metrics/snapshot: {error}"))
    }

    /// How many tasks have not ended.
    pub(crate) async fn tasks(&self) -> Result<u64, String> {
        let metrics = self.metrics().await?;
        let states = ["staging", "starting", "running", "killing", "unreachable"];
        let count = |state: &str| metrics.get(&format!("master/tasks_{state}")).and_then(|n| n.as_f64());
        Ok(states.into_iter().filter_map(count).sum::<f64>() as u64)
    }

    /// What is missing until all `agents` are registered and, if that is asked for, were offered;
    /// none if nothing is.
    pub(crate) async fn missing(&self, agents: &[SocketAddr], offered: bool) -> Option<String> {
        if agents.is_empty() {
            return None;
        }
        let slaves = match self.get("/slaves").await {
            Ok(body) => serde_json::from_slice::<Slaves>(&body).map_err(|error| format!("/slaves: {error}")),
            Err(error) => Err(error),
        };
        let slaves = match slaves {
            Ok(slaves) => slaves,
            Err(error) => return Some(error),
        };
        if let Some(missing) = unregistered(&slaves, agents) {
            return Some(missing);
        }
        if !offered {
            return None;
        }
        let wanted = slaves.slaves.iter().filter(|slave| slave.active && slave.has_something_left()).count();
        match self.metrics().await {
            Ok(metrics) => Frameworks::of(&metrics).unoffered(wanted),
            Err(error) => Some(error),
        }
    }
}

/// Why the master did not answer, as its user sees it.
fn unanswered(error: &ClientError) -> String {
    let address = &error.address;
    let why = match std::error::Error::source(error).map(base::with_causes) {
        // The number of the kernel's error tells its user nothing.
        Some(why) => why.split(" (os error").next().unwrap_or_default().to_owned(),
        None => error.to_string(),
    };
    match error.kind {
        ErrorKind::ConnectTimeout => {
            format!("the master at {address} cannot be reached (no answer)")
        }
        ErrorKind::Connect => format!("the master at {address} cannot be reached ({why})"),
        _ => format!("the master at {address} does not answer ({error})"),
    }
}

fn unregistered(slaves: &Slaves, agents: &[SocketAddr]) -> Option<String> {
    let registered = |agent: &&SocketAddr| {
        let suffix = format!("@{agent}");
        !slaves.slaves.iter().any(|slave| slave.active && slave.pid.ends_with(&suffix))
    };
    let missing: Vec<String> = agents.iter().filter(registered).map(|agent| agent.ip().to_string()).collect();
    match &missing[..] {
        [] => None,
        [agent] => Some(format!("agent {agent} is not registered yet")),
        agents => Some(format!("agents {} are not registered yet", agents.join(", "))),
    }
}

/// What the metrics say about frameworks. Mesos: `master/frameworks/<name>/<id>/...`.
#[derive(Debug, PartialEq)]
struct Frameworks {
    /// Those that are subscribed.
    subscribed: usize,
    /// Those of them that want offers.
    wanting: usize,
    /// Offers sent to all that ever were.
    offers_sent: f64,
}

impl Frameworks {
    fn of(metrics: &serde_json::Map<String, serde_json::Value>) -> Frameworks {
        let is = |key: &str, number: f64| metrics.get(key).and_then(|found| found.as_f64()) == Some(number);
        let all = || metrics.keys().filter(|key| key.starts_with("master/frameworks/"));
        let subscribed: Vec<&str> =
            all().filter(|key| is(key, 1.0)).filter_map(|key| key.strip_suffix("/subscribed")).collect();
        // A framework wants offers for every role that it did not suppress.
        let wants = |framework: &&&str| {
            let roles = format!("{framework}/roles/");
            all().any(|key| key.starts_with(&roles) && key.ends_with("/suppressed") && is(key, 0.0))
        };
        let sent = all().filter(|key| key.ends_with("/offers/sent")).filter_map(|key| metrics[key].as_f64());
        let wanting = subscribed.iter().filter(wants).count();
        Frameworks { subscribed: subscribed.len(), wanting, offers_sent: sent.sum() }
    }

    /// What is missing until `agents` agents were offered; none if nothing is. What nobody wants
    /// counts as offered: it is as soon as somebody does.
    fn unoffered(&self, agents: usize) -> Option<String> {
        if self.subscribed == 0 {
            return Some("no framework is subscribed".to_owned());
        }
        let enough = self.wanting == 0 || self.offers_sent >= agents as f64;
        (!enough).then(|| format!("{} of {agents} agents offered", self.offers_sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_apart_by_their_address() {
        let slave = |pid: &str, active| {
            let json = serde_json::json!({"pid": pid, "active": active,
                "resources": {"cpus": 1.0, "mem": 64.0, "ports": "[1-2]"}, "used_resources": {}});
            serde_json::from_value::<Slave>(json).unwrap()
        };
        let slaves = Slaves {
            slaves: vec![slave("slave(1)@127.0.0.2:5051", true), slave("slave(1)@127.0.0.3:5051", false)],
        };
        let check = |agents: &[&str], expected: Option<&str>| {
            let agents: Vec<SocketAddr> = agents.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(unregistered(&slaves, &agents).as_deref(), expected);
        };
        check(&["127.0.0.2:5051"], None);
        check(
            &["127.0.0.2:5051", "127.0.0.3:5051", "127.0.0.4:5051"],
            Some("agents 127.0.0.3, 127.0.0.4 are not registered yet"),
        );
        check(&["127.0.0.4:5051"], Some("agent 127.0.0.4 is not registered yet"));
    }

    #[test]
    fn what_is_used_up_need_not_be_offered() {
        let check = |cpus, mem, expected| {
            let (resources, used_resources) = (Amounts { cpus: 4.0, mem: 1024.0 }, Amounts { cpus, mem });
            let slave = Slave { pid: String::new(), active: true, resources, used_resources };
            assert_eq!(slave.has_something_left(), expected);
        };
        check(0.0, 0.0, true);
        check(4.0, 0.0, true);
        check(3.995, 1000.0, false);
    }

    #[test]
    fn agents_are_offered_when_somebody_wants_them() {
        let check = |metrics: serde_json::Value, agents, missing: Option<&str>| {
            let metrics = metrics.as_object().unwrap();
            assert_eq!(Frameworks::of(metrics).unoffered(agents).as_deref(), missing, "{metrics:?}");
        };
        let of = |subscribed, suppressed, sent| {
            serde_json::json!({
                "master/frameworks/a/1/subscribed": subscribed,
                "master/frameworks/a/1/roles/x/suppressed": suppressed,
                "master/frameworks/a/1/offers/sent": sent,
                "master/frameworks/a/1/offers/declined": 9.0,
                "master/frameworks/b/2/subscribed": 0.0,
                "master/frameworks/b/2/roles/x/suppressed": 0.0,
                "master/frameworks/b/2/offers/sent": 1.0,
            })
        };
        check(serde_json::json!({}), 0, Some("no framework is subscribed"));
        check(of(0.0, 0.0, 5.0), 1, Some("no framework is subscribed"));
        check(of(1.0, 0.0, 1.0), 2, None);
        check(of(1.0, 0.0, 1.0), 3, Some("2 of 3 agents offered"));
        check(of(1.0, 1.0, 0.0), 3, None);
    }
}
