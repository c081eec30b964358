//! What the recordings tell of the clusters that they were made on, and the clusters of ours for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::cluster::{AGENT, Cluster, MASTER, Setup};
use crate::compare::Difference;
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
];

/// The recordings, and what they tell.
pub(crate) struct Plan<'a> {
    program: PathBuf,
    hosts: BTreeMap<String, Who>,
    shapes: Shapes,
    pending: BTreeMap<String, &'a Recording>,
    all: BTreeMap<String, &'a Recording>,
    /// Names of those that were driven, in their order.
    driven: Vec<String>,
    outcomes: Vec<Outcome>,
}

impl<'a> Plan<'a> {
    /// Of a folder, with the program to start.
    pub(crate) fn new(book: &'a Book, program: PathBuf) -> Self {
        let hosts = hosts(book);
        let mut shapes: Vec<(String, String)> = Vec::new();
        for (host, who) in &hosts {
            let name = if *who == Who::Agent { "<agent's address>" } else { "<master's address>" };
            shapes.push((host.clone(), name.to_owned()));
            if let Some((address, _)) = host.rsplit_once(':') {
                shapes.push((address.to_owned(), "<host>".to_owned()));
            }
        }
        let executors = book.recordings.iter().filter_map(missing_executor);
        shapes.extend(executors.map(|command| (command, OWN_EXECUTOR.to_owned())));
        let all: BTreeMap<_, _> =
            book.recordings.iter().map(|recording| (recording.name.clone(), recording)).collect();
        let pending = all.clone();
        Self {
            program,
            hosts,
            shapes: Shapes::new(shapes),
            pending,
            all,
            driven: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    /// Drives all of them, and tells what came of each.
    pub(crate) fn drive(mut self) -> Vec<Outcome> {
        for recording in self.of(Who::Standby).values() {
            self.unasked(recording, "not asked: there is one master, and it leads");
        }
        let (guarded, alone) = (self.of(Who::Guarded), self.of(Who::Alone));
        for stage in STAGES {
            if self.pending.is_empty() {
                break;
            }
            let is_typical = |recording: &Recording| {
                stage.typical.iter().any(|part| recording.name.contains(part)) && recording.master.is_some()
            };
            let typical = self.all.values().filter(|recording| is_typical(recording));
            let masters = typical.filter_map(|recording| recording.master.clone()).collect();
            let setup = self.setup(&masters);
            let pending = std::mem::take(&mut self.pending);
            self.pending = self.stage(stage.name, &setup, pending, None, |run| {
                stage.course.iter().for_each(|part| part(run));
            });
        }
        self.left();
        let order = BTreeMap::new();
        if !alone.is_empty() {
            let setup = self.bare(Who::Alone, Vec::new());
            let left =
                self.stage("a master without agents", &setup, alone, None, |run| course::replay(run, &order));
            self.pending.extend(left);
        }
        if !guarded.is_empty() {
            let dir = tempfile::tempdir().ok();
            let flags = dir.as_ref().map(|dir| self.guard(&guarded, dir.path())).unwrap_or_default();
            let setup = self.bare(Who::Guarded, flags);
            let left = self.stage("a master that wants credentials", &setup, guarded, None, course::guarded);
            self.pending.extend(left);
        }
        for recording in std::mem::take(&mut self.pending).values() {
            self.unasked(recording, "not asked: its stream could not be opened");
        }
        self.outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        self.outcomes
    }

    /// Drives what no stage took, in the order of time: one cluster for each master that was recorded, with
    /// all that was asked of that one.
    fn left(&mut self) {
        let left = std::mem::take(&mut self.pending);
        let eras: BTreeSet<Option<String>> = left.values().map(|recording| self.era(recording)).collect();
        for era in eras {
            let same = |recording: &Recording| self.era(recording) == era;
            let wanted =
                left.values().filter(|recording| same(recording)).map(|recording| recording.name.clone());
            let wanted: BTreeSet<String> = wanted.collect();
            let is_ours = |recording: &Recording| {
                matches!(who(recording, &self.hosts), Who::Master | Who::Agent | Who::Executor)
            };
            let all = self.all.iter().filter(|(_, recording)| is_ours(recording) && same(recording));
            let all = all.map(|(name, recording)| (name.clone(), *recording)).collect();
            let order = self.driven.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
            let setup = self.setup(&era.into_iter().collect());
            let name = "what is left of one master, in the order of time";
            let rest = self.stage(name, &setup, all, Some(&wanted), |run| course::replay(run, &order));
            self.pending.extend(rest.into_iter().filter(|(name, _)| wanted.contains(name)));
        }
    }

    /// The master that was recorded: as the recording says, else as the one nearest in time does.
    fn era(&self, recording: &Recording) -> Option<String> {
        let distance =
            |other: &Recording| other.second.zip(recording.second).map_or(u32::MAX, |(a, b)| a.abs_diff(b));
        let near = || {
            let told = self.all.values().filter(|other| other.master.is_some());
            told.min_by_key(|other| distance(other)).and_then(|other| other.master.clone())
        };
        recording.master.clone().or_else(near)
    }

    fn setup(&self, masters: &BTreeSet<String>) -> Setup {
        let of_masters = self
            .all
            .values()
            .filter(|recording| recording.master.as_ref().is_some_and(|master| masters.contains(master)));
        let said = of_masters.flat_map(|recording| values(recording)).find_map(|value| resources_in(&value));
        let resources = said.unwrap_or_else(|| RESOURCES.to_owned());
        Setup { program: self.program.clone(), resources, port: MASTER, master: Vec::new(), agent: true }
    }

    fn bare(&self, who: Who, master: Vec<String>) -> Setup {
        let port = self.port(who);
        Setup { program: self.program.clone(), resources: String::new(), port, master, agent: false }
    }

    /// Runs one cluster through its course; gives back what was not driven. Only those that are `wanted`
    /// count, if that is said.
    fn stage(
        &mut self,
        name: &str,
        setup: &Setup,
        mut pending: BTreeMap<String, &'a Recording>,
        wanted: Option<&BTreeSet<String>>,
        course: impl FnOnce(&mut Run<'_>),
    ) -> BTreeMap<String, &'a Recording> {
        eprintln!("conformance: {name} ({} recordings to go)", wanted.map_or(pending.len(), BTreeSet::len));
        let cluster = match Cluster::start(setup) {
            Ok(cluster) => cluster,
            Err(error) => {
                let why = format!("not asked: {error}");
                eprintln!("conformance: {why}");
                for recording in pending
                    .values()
                    .filter(|recording| wanted.is_none_or(|wanted| wanted.contains(&recording.name)))
                {
                    self.unasked(recording, &why);
                }
                return BTreeMap::new();
            }
        };
        let mut run = Run::new(&cluster, &self.shapes, &self.hosts, pending.clone());
        if let Some(wanted) = wanted {
            run.wanted = wanted.clone();
        }
        course(&mut run);
        let Run { outcomes, done, .. } = run;
        pending.retain(|name, _| !done.contains(name));
        self.outcomes.extend(outcomes);
        self.driven.extend(done);
        pending
    }

    fn unasked(&mut self, recording: &Recording, why: &str) {
        let said = recording.head().map(|head| head.status_line).unwrap_or_default();
        let differences = vec![Difference::new("status", said, why)];
        let exchange = label(recording, &self.hosts, &self.shapes);
        let name = recording.name.clone();
        self.outcomes.push(Outcome { name, exchange, differences, ours: Value::Null });
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
    // An agent may show in answers only.
    let agents: Vec<String> =
        hosts.keys().filter_map(|host| Some(format!("{}:{AGENT}", host.rsplit_once(':')?.0))).collect();
    hosts.extend(agents.into_iter().map(|agent| (agent, Who::Agent)));
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
    use crate::http::Answer;
    use serde_json::json;

    #[test]
    fn answers_tell_who_was_asked() {
        let book = |exchanges: &[(&str, &str, &str)]| {
            let recording = |(host, status, body): &(&str, &str, &str)| {
                let headers = vec![("Host".to_owned(), (*host).to_owned())];
                let request =
                    Request::Parts { method: "GET".into(), path: "/state".into(), headers, body: None };
                let mut answer = Answer { status_line: format!("HTTP/1.1 {status}"), ..Answer::default() };
                answer.headers.push(("Location".to_owned(), "//a:1/state".to_owned()));
                answer.body = body.as_bytes().to_vec();
                let (name, reply) = (format!("{host}{status}"), Reply::Whole(answer));
                Recording { name, request, reply, elapsed: 0.0, second: None, master: None }
            };
            Book { recordings: exchanges.iter().map(recording).collect(), others: Vec::new() }
        };
        let id = "307d575e-a796-4f6e-aef8-46deb3140b24-S0";
        let found = hosts(&book(&[
            ("a:1", "307 Temporary Redirect", ""),
            ("b:1", "307 Temporary Redirect", ""),
            ("c:1", "401 Unauthorized", ""),
            ("d:1", "200 OK", id),
            ("e:5051", "200 OK", ""),
        ]));
        let expected = [
            ("a:1", Who::Alone),
            ("b:1", Who::Standby),
            ("c:1", Who::Guarded),
            ("d:1", Who::Master),
            ("e:5051", Who::Agent),
        ];
        for (host, who) in expected {
            assert_eq!(found.get(host), Some(&who), "{host}");
        }
    }

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
