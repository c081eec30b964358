//! What the recordings tell of the clusters that they were made on, and the clusters of ours for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::cluster::{AGENT, Cluster, MASTER, Setup};
use crate::course;
use crate::run::{OWN_EXECUTOR, Outcome, Run, Who, label, missing_executor, who};
use crate::shape::Shapes;
use crate::transcript::{Book, Recording, Reply, Request, header};

/// What an agent offers that no recording describes.
const RESOURCES: &str = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]";

/// One cluster, what is done with it, and which recordings tell how its agent was started.
struct Stage {
    name: &'static str,
    course: &'static [fn(&mut Run<'_>)],
    typical: &'static [&'static str],
}

/// The clusters, in the order of the recordings.
const STAGES: &[Stage] = &[
    Stage {
        name: "a fresh cluster, a framework that declines, one that launches",
        course: &[course::fresh, course::subscribed, course::launch],
        typical: &[
            "_running/",
            "_completed/",
            "scheduler/LAUNCH_stream",
            "scheduler/SUBSCRIBE_stream",
            "master/GET_state",
            "master/GET_slaves",
        ],
    },
    Stage {
        name: "an operator",
        course: &[course::operations],
        typical: &["_reserved", "operator/RESERVE", "scheduler/MAINTENANCE"],
    },
    Stage {
        name: "task groups, checks and executors; bytes on the wire",
        course: &[course::group, course::wire],
        typical: &["_group/", "scheduler/GROUP", "executor/"],
    },
    Stage {
        name: "failover",
        course: &[course::failover],
        typical: &["scheduler/failover", "errors/subscribe"],
    },
    Stage { name: "whatever is left, in the order of time", course: &[course::replay], typical: &[] },
];

/// The recordings, and what they tell.
pub(crate) struct Plan<'a> {
    program: PathBuf,
    hosts: BTreeMap<String, Who>,
    shapes: Shapes,
    pending: BTreeMap<String, &'a Recording>,
}

impl<'a> Plan<'a> {
    /// Of a folder, with the program to start.
    pub(crate) fn new(book: &'a Book, program: PathBuf) -> Self {
        let hosts = hosts(book);
        let mut shapes: Vec<(String, String)> = Vec::new();
        for (host, who) in &hosts {
            let name = if *who == Who::Agent { "<agent>" } else { "<master>" };
            shapes.push((host.clone(), name.to_owned()));
            if let Some((address, _)) = host.rsplit_once(':') {
                shapes.push((address.to_owned(), "<host>".to_owned()));
            }
        }
        let executors = book.recordings.iter().filter_map(missing_executor);
        shapes.extend(executors.map(|command| (command, OWN_EXECUTOR.to_owned())));
        let pending = book.recordings.iter().map(|recording| (recording.name.clone(), recording)).collect();
        Self { program, hosts, shapes: Shapes::new(shapes), pending }
    }

    /// Drives all of them, and tells what came of each.
    pub(crate) fn drive(mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.standby(&mut outcomes);
        let guarded = self.of(Who::Guarded);
        let alone = self.of(Who::Alone);
        for stage in STAGES {
            // The last one is for what the others left.
            if self.pending.is_empty() {
                break;
            }
            let resources = self.resources(stage.typical);
            let setup = Setup {
                program: self.program.clone(),
                resources,
                port: MASTER,
                master: Vec::new(),
                agent: true,
            };
            let pending = std::mem::take(&mut self.pending);
            self.pending = self.stage(stage.name, &setup, pending, stage.course, &mut outcomes);
        }
        let mut left = std::mem::take(&mut self.pending);
        let bare = |who: Who, master: Vec<String>| {
            let port = self.port(who);
            Setup { program: self.program.clone(), resources: String::new(), port, master, agent: false }
        };
        if !alone.is_empty() {
            left.extend(self.stage(
                "a master without agents",
                &bare(Who::Alone, Vec::new()),
                alone,
                &[course::replay],
                &mut outcomes,
            ));
        }
        if !guarded.is_empty() {
            let dir = tempfile::tempdir().ok();
            let flags = dir.as_ref().map(|dir| self.guard(&guarded, dir.path())).unwrap_or_default();
            left.extend(self.stage(
                "a master that wants credentials",
                &bare(Who::Guarded, flags),
                guarded,
                &[course::guarded],
                &mut outcomes,
            ));
        }
        for recording in left.values() {
            self.unasked(recording, "not asked: its stream could not be opened", &mut outcomes);
        }
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        outcomes
    }

    /// Runs one cluster through its course; gives back what was not compared.
    fn stage(
        &self,
        name: &str,
        setup: &Setup,
        mut pending: BTreeMap<String, &'a Recording>,
        course: &[fn(&mut Run<'_>)],
        outcomes: &mut Vec<Outcome>,
    ) -> BTreeMap<String, &'a Recording> {
        eprintln!("conformance: {name} ({} recordings to go)", pending.len());
        let cluster = match Cluster::start(setup) {
            Ok(cluster) => cluster,
            Err(error) => {
                let why = format!("not asked: {error}");
                eprintln!("conformance: {why}");
                for recording in pending.values() {
                    self.unasked(recording, &why, outcomes);
                }
                return BTreeMap::new();
            }
        };
        let mut run = Run::new(&cluster, &self.shapes, &self.hosts, pending.clone());
        for part in course {
            part(&mut run);
        }
        outcomes.append(&mut run.outcomes);
        pending.retain(|name, _| !run.done.contains(name));
        pending
    }

    fn unasked(&self, recording: &Recording, why: &str, outcomes: &mut Vec<Outcome>) {
        let said = recording.head().map(|head| head.status_line).unwrap_or_default();
        let differences = vec![crate::compare::Difference::new("status", said, why)];
        let exchange = label(recording, &self.hosts, &self.shapes);
        let name = recording.name.clone();
        outcomes.push(Outcome { name, exchange, differences, ours: Value::Null });
    }

    /// There is one master, and it leads.
    fn standby(&mut self, outcomes: &mut Vec<Outcome>) {
        for recording in self.of(Who::Standby).values() {
            self.unasked(recording, "not asked: there is one master, and it leads", outcomes);
        }
    }

    /// Takes the recordings of somebody out of those that are to be compared.
    fn of(&mut self, wanted: Who) -> BTreeMap<String, &'a Recording> {
        let hosts = &self.hosts;
        let of_wanted = |recording: &Recording| who(recording, hosts) == wanted;
        let found: BTreeMap<_, _> = self
            .pending
            .iter()
            .filter(|(_, recording)| of_wanted(recording))
            .map(|(name, recording)| (name.clone(), *recording))
            .collect();
        self.pending.retain(|name, _| !found.contains_key(name));
        found
    }

    /// The port that somebody had in the recordings.
    fn port(&self, wanted: Who) -> u16 {
        let host = self.hosts.iter().find(|(_, who)| **who == wanted).map(|(host, _)| host);
        host.and_then(|host| host.rsplit_once(':')?.1.parse().ok()).unwrap_or(MASTER)
    }

    /// What the agent of the recordings that are typical for a stage had.
    fn resources(&self, typical: &[&str]) -> String {
        let is_typical = |recording: &Recording| {
            typical.is_empty() || typical.iter().any(|part| recording.name.contains(part))
        };
        let masters: BTreeSet<_> = self
            .pending
            .values()
            .filter(|recording| is_typical(recording))
            .filter_map(|recording| recording.master.clone())
            .collect();
        let of_masters = self
            .pending
            .values()
            .filter(|recording| recording.master.as_ref().is_some_and(|master| masters.contains(master)));
        let said = of_masters.flat_map(|recording| values(recording)).find_map(|value| resources_in(&value));
        said.unwrap_or_else(|| RESOURCES.to_owned())
    }

    /// The flags of a master that wants the credentials which the recordings show to be good.
    fn guard(&self, recordings: &BTreeMap<String, &Recording>, dir: &std::path::Path) -> Vec<String> {
        let good = recordings.values().find_map(|recording| {
            let Request::Parts { headers, path, .. } = &recording.request else { return None };
            let is_good = recording.head()?.status() == 200
                && !path.ends_with("/health")
                && !path.ends_with("/version");
            let encoded = header(headers, "authorization")?.strip_prefix("Basic ")?;
            let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
            is_good.then(|| {
                pair.split_once(':').map(|(principal, secret)| (principal.to_owned(), secret.to_owned()))
            })?
        });
        let (principal, secret) = good.unwrap_or(("admin".to_owned(), "s3cret".to_owned()));
        let path = dir.join("credentials.json");
        let credentials = serde_json::json!({"credentials": [{"principal": principal, "secret": secret}]});
        if let Err(error) = std::fs::write(&path, credentials.to_string()) {
            eprintln!("conformance: write {}: {error}", path.display());
        }
        let flags =
            ["readonly", "readwrite", "frameworks"].map(|what| format!("--authenticate_http_{what}=true"));
        let more =
            ["--http_framework_authenticators=basic".to_owned(), format!("--credentials={}", path.display())];
        flags.into_iter().chain(more).collect()
    }
}

/// Who is behind the addresses in the recordings: an agent has an agent's port, a standby sends to another
/// master, a guarded one asks for credentials.
fn hosts(book: &Book) -> BTreeMap<String, Who> {
    let mut hosts: BTreeMap<String, Who> = BTreeMap::new();
    let mut with_agents: BTreeSet<&str> = BTreeSet::new();
    for recording in &book.recordings {
        let Some(host) = recording.host() else { continue };
        let found = hosts.entry(host.to_owned()).or_insert(Who::Alone);
        let head = recording.head().unwrap_or_default();
        let away = head.header("location").is_some_and(|location| !location.contains(host));
        if host.ends_with(&format!(":{AGENT}")) {
            *found = Who::Agent;
        } else if head.status() == 307 && away {
            *found = Who::Standby;
        } else if head.status() == 401 {
            *found = Who::Guarded;
        }
        let agents = recording.reply_text().contains("-S");
        if agents || host.ends_with(":5050") {
            with_agents.insert(host);
        }
    }
    for (host, who) in &mut hosts {
        if *who == Who::Alone && with_agents.contains(host.as_str()) {
            *who = Who::Master;
        }
    }
    hosts
}

/// The JSON of an answer and of its events.
fn values(recording: &Recording) -> Vec<Value> {
    match &recording.reply {
        Reply::Whole(answer) => serde_json::from_slice(&answer.body).into_iter().collect(),
        Reply::Stream { events, .. } => events.iter().map(|event| event.event.clone()).collect(),
        Reply::Raw { .. } => Vec::new(),
    }
}

/// The resources of the first agent that shows in a value: what has a host name and resources, and is no
/// offer.
fn resources_in(value: &Value) -> Option<String> {
    let inner = || match value {
        Value::Object(map) => map.values().find_map(resources_in),
        Value::Array(list) => list.iter().find_map(resources_in),
        _ => None,
    };
    let is_agent = value.get("hostname").is_some()
        && value.get("agent_id").is_none()
        && value.get("framework_id").is_none();
    let resources = value.get("resources").filter(|_| is_agent);
    resources.and_then(text_of).or_else(inner)
}

/// Resources as an agent's flag takes them.
fn text_of(resources: &Value) -> Option<String> {
    let parts: Vec<String> = match resources {
        Value::Object(map) => in_order(map)
            .filter(|(_, value)| value.as_f64() != Some(0.0))
            .map(|(name, value)| {
                format!("{name}:{}", value.as_str().map_or(value.to_string(), str::to_owned))
            })
            .collect(),
        Value::Array(list) => list.iter().filter_map(resource).collect(),
        _ => Vec::new(),
    };
    (!parts.is_empty()).then(|| parts.join(";"))
}

/// As agents name them, the usual ones first.
fn in_order(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    const USUAL: [&str; 4] = ["cpus", "mem", "disk", "ports"];
    let usual = USUAL.into_iter().filter_map(|name| map.get_key_value(name));
    usual.chain(map.iter().filter(|(name, _)| !USUAL.contains(&name.as_str())))
}

fn resource(resource: &Value) -> Option<String> {
    let name = resource.get("name")?.as_str()?;
    if let Some(value) = resource.pointer("/scalar/value") {
        return Some(format!("{name}:{value}"));
    }
    let ranges = resource.pointer("/ranges/range")?.as_array()?;
    let ranges: Vec<String> =
        ranges.iter().map(|range| format!("{}-{}", range["begin"], range["end"])).collect();
    Some(format!("{name}:[{}]", ranges.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agents_resources_are_found_in_both_forms() {
        let old =
            json!({"slaves": [{"hostname": "h", "resources": {"cpus": 4.0, "gpus": 0.0, "ports": "[1-2]"}}]});
        assert_eq!(resources_in(&old).as_deref(), Some("cpus:4.0;ports:[1-2]"));
        let ranges = json!({"range": [{"begin": 1, "end": 2}]});
        let resources =
            json!([{"name": "cpus", "scalar": {"value": 8.0}}, {"name": "ports", "ranges": ranges}]);
        let new = json!({"agent_info": {"hostname": "h", "resources": resources}});
        assert_eq!(resources_in(&new).as_deref(), Some("cpus:8.0;ports:[1-2]"));
        assert_eq!(resources_in(&json!({"hostname": "h", "agent_id": {}, "resources": resources})), None);
    }
}
