//! One cluster that is driven through exchanges, each compared with its recording if there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{AGENT, Cluster};
use crate::compare::{Comparison, Difference};
use crate::http::{Answer, Connection, latin1};
use crate::names::Names;
use crate::shape::Shapes;
use crate::transcript::{Event, Recording, Reply, Request};

/// How long a whole answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a recorded stream is followed at most.
const FOLLOWED: f64 = 20_000.0;

/// What stands for the command of an executor that the recorder, or we, brought along.
pub(crate) const OWN_EXECUTOR: &str = "<own executor>";

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The leading master.
    Master,
    /// An agent.
    Agent,
    /// A leading master that has no agents.
    Alone,
    /// A master that does not lead.
    Standby,
    /// A master that wants credentials.
    Guarded,
    /// An executor asked its agent.
    Executor,
}

impl Who {
    /// The word for it in the list of deliberate differences.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Who::Master | Who::Alone => "master",
            Who::Agent => "agent",
            Who::Standby => "standby",
            Who::Guarded => "guarded",
            Who::Executor => "executor",
        }
    }
}

/// What is asked when there is no recording of it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Who is asked.
    pub(crate) who: Who,
    /// The method.
    pub(crate) method: &'static str,
    /// The path, with its query.
    pub(crate) path: String,
    /// Without `Host` and `Content-Length`.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Option<Vec<u8>>,
}

impl Ask {
    /// `GET path`.
    pub(crate) fn get(who: Who, path: &str) -> Self {
        Self { who, method: "GET", path: path.to_owned(), headers: Vec::new(), body: None }
    }

    /// A call of the v1 API, in JSON.
    pub(crate) fn call(who: Who, path: &str, call: &Value) -> Self {
        let json = "application/json".to_owned();
        let headers = vec![("Content-Type".to_owned(), json.clone()), ("Accept".to_owned(), json)];
        let body = Some(call.to_string().into_bytes());
        Self { who, method: "POST", path: path.to_owned(), headers, body }
    }

    /// As it would have been recorded.
    fn request(self) -> Request {
        let Self { method, path, headers, body, .. } = self;
        let mut headers = headers;
        headers.insert(0, ("Host".to_owned(), String::new()));
        if let Some(body) = &body {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        Request::Parts { method: method.to_owned(), path, headers, body }
    }
}

/// What became of a recording.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The recording's name.
    pub(crate) name: String,
    /// Who was asked what, as the list of deliberate differences names it.
    pub(crate) exchange: String,
    /// What is not as recorded.
    pub(crate) differences: Vec<Difference>,
    /// What we answered, in the form of a recording's answer.
    pub(crate) ours: Value,
}

/// A cluster and the recordings that are still to be compared with it.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// The cluster.
    pub(crate) cluster: &'a Cluster,
    /// The command of our own executor, for recorded ones that are not on this machine.
    pub(crate) executor: String,
    /// How recorded names are called here.
    pub(crate) names: Names,
    /// The shapes of the recordings.
    pub(crate) mesos: &'a Shapes,
    ours: Shapes,
    hosts: &'a BTreeMap<String, Who>,
    pending: BTreeMap<String, &'a Recording>,
    /// Names of those whose comparison counts; others are driven for what they change.
    pub(crate) wanted: BTreeSet<String>,
    /// Names of those that were driven, in their order.
    pub(crate) done: Vec<String>,
    /// What came of them.
    pub(crate) outcomes: Vec<Outcome>,
}

impl<'a> Run<'a> {
    /// Over a cluster, with the recordings that nobody compared yet.
    pub(crate) fn new(
        cluster: &'a Cluster,
        mesos: &'a Shapes,
        hosts: &'a BTreeMap<String, Who>,
        pending: BTreeMap<String, &'a Recording>,
    ) -> Self {
        let (ip, master) = (cluster.ip().to_string(), cluster.port());
        let program = std::env::current_exe().unwrap_or_default();
        let executor = format!("exec {} executor", program.display());
        let ours = Shapes::new(vec![
            (executor.clone(), OWN_EXECUTOR.into()),
            (format!("{ip}:{master}"), "<master's address>".into()),
            (format!("{ip}:{AGENT}"), "<agent's address>".into()),
            (ip.clone(), "<host>".into()),
        ]);
        let mut addresses: Vec<(String, String)> = Vec::new();
        for (host, who) in hosts {
            let port = if *who == Who::Agent { AGENT } else { master };
            addresses.push((host.clone(), format!("{ip}:{port}")));
            if let Some((address, _)) = host.rsplit_once(':') {
                addresses.push((address.to_owned(), ip.clone()));
            }
        }
        let mut names = Names::new(addresses);
        names.at_hand.agent = cluster.agent();
        names.at_hand.work_dir = Some(cluster.work_dir().to_string_lossy().into_owned());
        let wanted = pending.keys().cloned().collect();
        Self {
            wanted,
            cluster,
            executor,
            names,
            mesos,
            ours,
            hosts,
            pending,
            done: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    /// Takes the recording of that name out of those that are to be compared.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a Recording> {
        let found = self.pending.remove(name);
        self.done.extend(found.map(|recording| recording.name.clone()));
        found
    }

    /// The names of those that are to be compared.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &'a Recording> + '_ {
        self.pending.values().copied()
    }

    /// Whether there is one of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.pending.contains_key(name)
    }

    /// Takes the recording of that name, else one of the same call under another name, if that call changed
    /// something: it must not be done twice.
    pub(crate) fn take_same(&mut self, name: &str, ask: &Ask) -> Option<&'a Recording> {
        let found = self.take(name);
        if found.is_some() || name.is_empty() {
            return found;
        }
        let wanted = self.signature(ask.who, &ask.clone().request(), &self.ours)?;
        let same = self.pending().filter(|recording| {
            let changed = recording.head().is_some_and(|head| head.status() / 100 == 2);
            changed
                && self.signature(self.who(recording), &recording.request, self.mesos).as_ref()
                    == Some(&wanted)
        });
        let name = same.min_by_key(|recording| recording.second)?.name.clone();
        self.take(&name)
    }

    /// What a call that changes something says, the same for any cluster. Offers and times do not count.
    fn signature(&self, who: Who, request: &Request, shapes: &Shapes) -> Option<String> {
        let Request::Parts { method, path, body, .. } = request else { return None };
        let text = String::from_utf8_lossy(body.as_ref()?);
        if method == "GET" || crate::course::reads(request) {
            return None;
        }
        let call = match serde_json::from_str::<Value>(&text) {
            Ok(mut call) => {
                plain(&mut call);
                call.to_string()
            }
            Err(_) => text.into_owned(),
        };
        Some(format!("{} {method} {} {}", who.word(), shapes.text(path), shapes.text(&call)))
    }

    /// Asks, with what was recorded under that name, else with `ask`, and compares.
    pub(crate) fn step(&mut self, name: &str, ask: Ask) -> Answer {
        match self.take_same(name, &ask) {
            Some(recording) => self.replay(recording),
            None => {
                let who = ask.who;
                let bytes = self.own(ask);
                Connection::send(self.address(who), &bytes)
                    .map(|mut connection| connection.answer_within(PATIENCE))
                    .unwrap_or_default()
            }
        }
    }

    /// Asks what was recorded, and compares.
    pub(crate) fn replay(&mut self, recording: &Recording) -> Answer {
        let who = self.who(recording);
        let bytes = self.bytes(&recording.request, who);
        self.exchange(recording, &bytes)
    }

    /// Sends those bytes for what was recorded, and compares.
    pub(crate) fn exchange(&mut self, recording: &Recording, bytes: &[u8]) -> Answer {
        let who = self.who(recording);
        let mut connection = match Connection::send(self.address(who), bytes) {
            Ok(connection) => connection,
            Err(error) => {
                self.failed(recording, &format!("no connection: {error}"));
                return Answer::default();
            }
        };
        let answer = match &recording.reply {
            Reply::Whole(_) => connection.answer_within(PATIENCE),
            Reply::Stream { .. } => {
                connection
                    .read_for(Duration::from_secs_f64(recording.elapsed.clamp(500.0, FOLLOWED) / 1000.0));
                connection.answer().unwrap_or_default()
            }
            Reply::Raw { bytes, closed } => {
                // As long as the recorded answer took at most, and a moment longer to see it closed.
                let wanted = if *closed { usize::MAX } else { bytes.len() };
                for _ in 0..100 {
                    connection.pump();
                    if connection.closed || connection.bytes.len() >= wanted {
                        break;
                    }
                }
                connection.read_for(Duration::from_millis(200));
                connection.answer().unwrap_or_default()
            }
        };
        let said = match &recording.reply {
            Reply::Raw { .. } => {
                json!({"response_raw": latin1(&connection.bytes), "server_closed": connection.closed})
            }
            _ => as_recorded(&answer, &[]),
        };
        let said = merged(said, json!({"request_raw": latin1(bytes)}));
        self.compare(recording, said, |comparison, path| match &recording.reply {
            Reply::Whole(mesos) => comparison.answers(path, mesos, &answer),
            Reply::Stream { head, events } => {
                comparison.heads(head, &answer);
                if answer.status() == head.status() {
                    comparison.streams(events, &crate::events::of(&answer.body), true);
                }
            }
            Reply::Raw { bytes, closed } => {
                comparison.connections(path, (bytes, *closed), (&connection.bytes, connection.closed));
            }
        });
        answer
    }

    /// Compares a stream that was followed with its recording.
    pub(crate) fn stream(&mut self, recording: &Recording, answer: &Answer, ours: &[Event]) {
        self.compare(recording, as_recorded(answer, ours), |comparison, _| {
            if let Reply::Stream { head, events } = &recording.reply {
                comparison.heads(head, answer);
                if answer.status() == head.status() {
                    comparison.streams(events, ours, true);
                }
            }
        });
    }

    fn compare(
        &mut self,
        recording: &Recording,
        ours: Value,
        compare: impl FnOnce(&mut Comparison<'_>, &str),
    ) {
        let (path, body) = match &recording.request {
            Request::Parts { path, body, .. } => (path.clone(), body.clone().unwrap_or_default()),
            Request::Raw(bytes) => {
                let text = latin1(bytes);
                (text.split(' ').nth(1).unwrap_or_default().to_owned(), Vec::new())
            }
            Request::Executor => (String::new(), Vec::new()),
        };
        let mut comparison = Comparison::new(self.mesos, &self.ours);
        let asked = format!("{path} {}", String::from_utf8_lossy(&body));
        comparison.reads_log = ["/log", "/stderr"].iter().any(|file| asked.contains(file));
        compare(&mut comparison, &path);
        let (differences, pairs) = (comparison.differences, comparison.pairs);
        for (recorded, here) in &pairs {
            self.names.learn(self.mesos, recorded, here);
        }
        let (name, exchange) = (recording.name.clone(), self.label(recording));
        if self.wanted.contains(&name) {
            self.outcomes.push(Outcome { name, exchange, differences, ours });
        }
    }

    /// Notes that something could not be asked at all.
    pub(crate) fn failed(&mut self, recording: &Recording, why: &str) {
        let said = recording.head().map(|head| head.status_line).unwrap_or_default();
        let differences = vec![Difference::new("status", said, why)];
        let (name, exchange) = (recording.name.clone(), self.label(recording));
        if self.wanted.contains(&name) {
            self.outcomes.push(Outcome { name, exchange, differences, ours: Value::Null });
        }
    }

    /// Who was asked in a recording: by the address; without one by the paths that only agents have.
    pub(crate) fn who(&self, recording: &Recording) -> Who {
        who(recording, self.hosts)
    }

    fn label(&self, recording: &Recording) -> String {
        label(recording, self.hosts, self.mesos)
    }

    /// Where somebody is.
    pub(crate) fn address(&self, who: Who) -> SocketAddr {
        let port = if matches!(who, Who::Agent | Who::Executor) { AGENT } else { self.cluster.port() };
        self.cluster.at(port)
    }

    /// The call with our executor in the place of one that runs a script which this machine does not have.
    fn with_executor(&self, text: String) -> String {
        let Ok(mut call) = serde_json::from_str::<Value>(&text) else { return text };
        let mut changed = false;
        let operations = call.pointer_mut("/accept/operations").and_then(Value::as_array_mut);
        for operation in operations.into_iter().flatten() {
            let tasks = operation.pointer_mut("/launch/task_infos").and_then(Value::as_array_mut);
            for command in
                tasks.into_iter().flatten().filter_map(|task| task.pointer_mut("/executor/command/value"))
            {
                let is_missing = |word: &str| word.starts_with('/') && !std::path::Path::new(word).exists();
                if command.as_str().is_some_and(|line| line.split_whitespace().any(is_missing)) {
                    *command = Value::String(self.executor.clone());
                    changed = true;
                }
            }
        }
        if changed { call.to_string() } else { text }
    }

    /// A request of our own, as bytes.
    pub(crate) fn own(&self, ask: Ask) -> Vec<u8> {
        let host = self.address(ask.who).to_string();
        let Request::Parts { method, path, headers, body } = ask.request() else { return Vec::new() };
        let mut out = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            let value = if name == "Host" { &host } else { &value };
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        [out.into_bytes(), body.unwrap_or_default()].concat()
    }

    /// A recorded request in our names, as bytes.
    pub(crate) fn bytes(&self, request: &Request, who: Who) -> Vec<u8> {
        let Request::Parts { method, path, headers, body } = request else {
            let Request::Raw(bytes) = request else { return Vec::new() };
            return with_host(bytes, &self.address(who).to_string());
        };
        let path = self.names.text(self.mesos, path);
        let translated = body.as_ref().map(|body| match std::str::from_utf8(body) {
            Ok(text) => self.with_executor(self.names.text(self.mesos, text)).into_bytes(),
            Err(_) => body.clone(),
        });
        let mut out = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            let value = match name.to_lowercase().as_str() {
                "host" => self.address(who).to_string(),
                "content-length" => translated.as_ref().map_or(0, Vec::len).to_string(),
                _ => self.names.text(self.mesos, value),
            };
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        out.extend(translated.unwrap_or_default());
        out
    }
}

/// Numbers of one kind, and neither offers nor times.
fn plain(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(list) => list.iter_mut().for_each(plain),
        Value::Object(map) => {
            map.retain(|key, _| !matches!(key.as_str(), "offer_ids" | "start" | "framework_id"));
            map.values_mut().for_each(plain);
        }
        _ => {}
    }
}

/// Whether a command names a file that is not on this machine.
fn is_missing(command: &str) -> bool {
    command.split_whitespace().any(|word| word.starts_with('/') && !std::path::Path::new(word).exists())
}

/// The command of a recorded executor that is not on this machine.
pub(crate) fn missing_executor(recording: &Recording) -> Option<String> {
    if let (Request::Executor, Reply::Stream { events, .. }) = (&recording.request, &recording.reply) {
        let command = "/subscribed/executor_info/command/value";
        return events.iter().find_map(|event| event.event.pointer(command)?.as_str()).map(str::to_owned);
    }
    let Request::Parts { body: Some(body), .. } = &recording.request else { return None };
    let call: Value = serde_json::from_slice(body).ok()?;
    let tasks = call.pointer("/accept/operations/0/launch/task_infos")?.as_array()?;
    let mut commands = tasks.iter().filter_map(|task| task.pointer("/executor/command/value")?.as_str());
    commands.find(|command| is_missing(command)).map(str::to_owned)
}

/// Both objects in one.
pub(crate) fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

/// An answer in the form of a recorded one.
fn as_recorded(answer: &Answer, events: &[Event]) -> Value {
    let mut said = json!({
        "status_line": answer.status_line, "headers": answer.headers, "body": String::from_utf8_lossy(&answer.body),
    });
    if let Ok(body) = serde_json::from_slice::<Value>(&answer.body) {
        said["body_json"] = body;
    }
    if !events.is_empty() {
        said["events"] = events.iter().map(|event| json!({"t_ms": event.at, "event": event.event})).collect();
    }
    json!({"response": said})
}

/// The bytes with another name of the server, wherever a request names it.
fn with_host(bytes: &[u8], host: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    const NAME: &[u8] = b"\r\nHost: ";
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        let (before, value) = rest.split_at(at + NAME.len());
        let end = value.windows(2).position(|window| window == b"\r\n").unwrap_or(value.len());
        out.extend_from_slice(before);
        out.extend_from_slice(host.as_bytes());
        rest = &value[end..];
    }
    out.extend_from_slice(rest);
    out
}

/// Who was asked in a recording.
pub(crate) fn who(recording: &Recording, hosts: &BTreeMap<String, Who>) -> Who {
    match &recording.request {
        Request::Parts { .. } => {
            recording.host().and_then(|host| hosts.get(host)).copied().unwrap_or(Who::Master)
        }
        Request::Raw(bytes) if bytes.windows(8).any(|window| window == b"slave(1)") => Who::Agent,
        Request::Raw(_) => Who::Master,
        Request::Executor => Who::Executor,
    }
}

/// Who was asked what: `master POST /api/v1 GET_AGENTS`.
pub(crate) fn label(recording: &Recording, hosts: &BTreeMap<String, Who>, shapes: &Shapes) -> String {
    let who = who(recording, hosts).word();
    match &recording.request {
        Request::Parts { method, path, body, .. } => {
            let path = shapes.text(path.split('?').next().unwrap_or_default());
            let call: Option<Value> = body.as_ref().and_then(|body| serde_json::from_slice(body).ok());
            let call =
                call.as_ref().and_then(|call| call.get("type")?.as_str()).map(|call| format!(" {call}"));
            format!("{who} {method} {path}{}", call.unwrap_or_default())
        }
        Request::Raw(bytes) => {
            let text = latin1(bytes);
            let words: Vec<&str> = text.lines().next().unwrap_or_default().split(' ').take(2).collect();
            format!("{who} {}", words.join(" "))
        }
        Request::Executor => who.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_on_a_connection_names_our_server() {
        let recorded = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nA: b\r\nHost: x\r\n\r\n";
        let ours = b"GET /a HTTP/1.1\r\nHost: h:1\r\n\r\nGET /b HTTP/1.1\r\nA: b\r\nHost: h:1\r\n\r\n";
        assert_eq!(with_host(recorded, "h:1"), ours);
        assert_eq!(with_host(b"GET / HTTP/1.0\r\n\r\n", "h:1"), b"GET / HTTP/1.0\r\n\r\n");
    }
}
