//! Compares an answer of ours with the recorded one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::http::{Answer, parse};
use crate::shape::{Below, Shapes, identity, short_name};

/// Headers that are compared even where only one side has them. Others matter if the recording has them.
const HEADERS: &[&str] = &[
    "allow",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-type",
    "location",
    "transfer-encoding",
    "www-authenticate",
];
/// Headers whose values belong to the moment: they are there, or not.
const VOLATILE_HEADERS: &[&str] = &["date", "content-length", "mesos-stream-id"];
/// What is shown of a value.
const SHOWN: usize = 400;

/// One thing that is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// Where: `status`, `header Allow`, `body.slaves[].port`, `events`, ...
    pub(crate) place: String,
    /// What Mesos says there.
    pub(crate) mesos: String,
    /// What we say there.
    pub(crate) ours: String,
}

impl Difference {
    pub(crate) fn new(place: impl Into<String>, mesos: impl Into<String>, ours: impl Into<String>) -> Self {
        let cut = |text: String| match text.char_indices().nth(SHOWN) {
            Some((at, _)) => format!("{}...", &text[..at]),
            None => text,
        };
        Self { place: place.into(), mesos: cut(mesos.into()), ours: cut(ours.into()) }
    }
}

/// Compares, and gathers what differs and which texts stood in the same place.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    mesos: &'a Shapes,
    ours: &'a Shapes,
    /// What differs, each once.
    pub(crate) differences: Vec<Difference>,
    /// Texts with identifiers that stand for each other.
    pub(crate) pairs: Vec<(String, String)>,
    /// Texts of logs are nobody's business.
    pub(crate) reads_log: bool,
}

impl<'a> Comparison<'a> {
    /// Of two sides, each with its shapes.
    pub(crate) fn new(mesos: &'a Shapes, ours: &'a Shapes) -> Self {
        Self { mesos, ours, differences: Vec::new(), pairs: Vec::new(), reads_log: false }
    }

    /// How the recordings look.
    pub(crate) fn mesos_shapes(&self) -> &'a Shapes {
        self.mesos
    }

    /// How our answers look.
    pub(crate) fn our_shapes(&self) -> &'a Shapes {
        self.ours
    }

    /// Notes what is not as recorded.
    pub(crate) fn differ(&mut self, place: &str, mesos: impl Into<String>, ours: impl Into<String>) {
        let difference = Difference::new(place, mesos, ours);
        if !self.differences.contains(&difference) {
            self.differences.push(difference);
        }
    }

    /// Status and headers.
    pub(crate) fn heads(&mut self, mesos: &Answer, ours: &Answer) {
        if mesos.status_line != ours.status_line {
            let said = if ours.status_line.is_empty() { "no answer" } else { &ours.status_line };
            self.differ("status", &mesos.status_line, said);
        }
        let names = mesos.headers.iter().chain(&ours.headers).map(|(name, _)| name.to_lowercase());
        for name in names.collect::<BTreeSet<_>>() {
            let (said, says) = (mesos.header(&name), ours.header(&name));
            if said.is_none() && !HEADERS.contains(&name.as_str()) {
                continue;
            }
            if VOLATILE_HEADERS.contains(&name.as_str()) {
                if said.is_some() != says.is_some() {
                    self.differ(&format!("header {name}"), present(said), present(says));
                }
                self.pairs.extend(said.zip(says).map(|(a, b)| (a.to_owned(), b.to_owned())));
                continue;
            }
            let (a, b) = (said.map(|said| self.mesos.text(said)), says.map(|says| self.ours.text(says)));
            if a != b {
                self.differ(
                    &format!("header {name}"),
                    a.unwrap_or("absent".into()),
                    b.unwrap_or("absent".into()),
                );
            }
        }
    }

    /// Whole answers to a request for `path`.
    pub(crate) fn answers(&mut self, path: &str, mesos: &Answer, ours: &Answer) {
        self.heads(mesos, ours);
        let kind = mesos.header("content-type").unwrap_or_default();
        // Pages for people promise nothing but to be there.
        if kind.starts_with("text/html") {
            return;
        }
        let (recorded, body) = (plain(mesos), plain(ours));
        if kind.contains("x-protobuf") {
            self.json(
                "body",
                Below::answer_to(path),
                &crate::proto::tree(&recorded),
                &crate::proto::tree(&body),
            );
            return;
        }
        self.bodies(path, &String::from_utf8_lossy(&recorded), &String::from_utf8_lossy(&body));
    }

    fn bodies(&mut self, path: &str, mesos: &str, ours: &str) {
        let (mesos, ours) = match (unwrap_call(mesos), unwrap_call(ours)) {
            (Some((a, inner)), Some((b, ours))) if a == b => (inner, ours),
            _ => (mesos, ours),
        };
        let json = |text: &str| {
            serde_json::from_str::<Value>(text).ok().filter(|value| value.is_object() || value.is_array())
        };
        match (json(mesos), json(ours)) {
            (Some(mesos), Some(ours)) => self.json("body", Below::answer_to(path), &mesos, &ours),
            _ => {
                let (a, b) = (self.mesos.text(mesos), self.ours.text(ours));
                if a != b {
                    self.differ("body", a, b);
                }
            }
        }
    }

    /// All that came on two connections.
    pub(crate) fn connections(&mut self, path: &str, mesos: (&[u8], bool), ours: (&[u8], bool)) {
        let ((mut mesos, mesos_closed), (mut ours, ours_closed)) = (mesos, ours);
        if mesos_closed != ours_closed {
            let said = |closed| if closed { "closed" } else { "kept open" };
            self.differ("connection", said(mesos_closed), said(ours_closed));
        }
        loop {
            for (bytes, side) in [(&mut mesos, 0), (&mut ours, 1)] {
                while let Some((interim, rest)) =
                    parse(bytes, false).filter(|(answer, _)| answer.status() / 100 == 1)
                {
                    let said = [interim.status_line.as_str(), "absent"];
                    self.differ("interim", said[side], said[1 - side]);
                    *bytes = rest;
                }
            }
            match (parse(mesos, false), parse(ours, false)) {
                (Some((a, rest_a)), Some((b, rest_b))) => {
                    if a.is_stream() {
                        self.heads(&a, &b);
                        self.streams(&crate::events::of(&a.body), &crate::events::of(&b.body), a.complete);
                    } else {
                        self.answers(path, &a, &b);
                    }
                    (mesos, ours) = (rest_a, rest_b);
                }
                (None, None) => break,
                (Some((answer, _)), None) => {
                    self.differ("status", answer.status_line, "no answer");
                    break;
                }
                (None, Some((answer, _))) => {
                    self.differ("status", "no answer", answer.status_line);
                    break;
                }
            }
        }
    }

    /// Two values at a place.
    pub(crate) fn json(&mut self, place: &str, below: Below, mesos: &Value, ours: &Value) {
        match (mesos, ours) {
            (Value::Object(a), Value::Object(b)) => {
                let a: BTreeMap<_, _> =
                    a.iter().map(|(key, value)| (self.mesos.text(key), (key, value))).collect();
                let b: BTreeMap<_, _> =
                    b.iter().map(|(key, value)| (self.ours.text(key), (key, value))).collect();
                for (name, (key, value)) in &a {
                    let place = format!("{place}.{name}");
                    match b.get(name) {
                        Some((ours_key, ours)) => {
                            self.pair(key, ours_key);
                            self.json(&place, below.key(key), value, ours);
                        }
                        None => self.differ(&place, shown(value, self.mesos), "absent"),
                    }
                }
                for (name, (_, value)) in b.iter().filter(|(name, _)| !below.open && !a.contains_key(*name)) {
                    self.differ(&format!("{place}.{name}"), "absent", shown(value, self.ours));
                }
            }
            (Value::Array(a), Value::Array(b)) => self.lists(place, below, a, b),
            (Value::String(a), Value::String(b)) => {
                self.pair(a, b);
                let volatile = below.volatile || (self.reads_log && place.ends_with("data"));
                let (said, says) = (self.mesos.text(a), self.ours.text(b));
                if said != says && !volatile {
                    self.differ(place, format!("{said:?}"), format!("{says:?}"));
                }
            }
            _ if kind(mesos) != kind(ours) => {
                self.differ(place, with_kind(mesos, self.mesos), with_kind(ours, self.ours));
            }
            _ if below.volatile || mesos == ours || is_address(place, mesos) => {}
            _ => self.differ(place, mesos.to_string(), ours.to_string()),
        }
    }

    fn pair(&mut self, mesos: &str, ours: &str) {
        if !self.mesos.ids(mesos).is_empty() {
            self.pairs.push((mesos.to_owned(), ours.to_owned()));
        }
    }

    fn lists(&mut self, place: &str, below: Below, mesos: &[Value], ours: &[Value]) {
        let element = format!("{place}[]");
        if let (Some(a), Some(b)) = (by_identity(mesos, self.mesos), by_identity(ours, self.ours)) {
            for (identity, value) in &a {
                match b.get(identity) {
                    Some(ours) => self.json(&element, below, value, ours),
                    None => self.differ(&named(place, value, self.mesos), shown(value, self.mesos), "absent"),
                }
            }
            for (_, value) in b.iter().filter(|(identity, _)| !below.open && !a.contains_key(*identity)) {
                self.differ(&named(place, value, self.ours), "absent", shown(value, self.ours));
            }
            return;
        }
        if mesos.len() != ours.len() && !below.open {
            let show = |list: &[Value], shapes: &Shapes| {
                format!("{} elements {}", list.len(), shown(&Value::Array(list.to_vec()), shapes))
            };
            self.differ(place, show(mesos, self.mesos), show(ours, self.ours));
        }
        for (a, b) in mesos.iter().zip(ours) {
            self.json(&element, below, a, b);
        }
    }
}

/// The elements by what tells them apart; `None` if something does not.
fn by_identity<'v>(list: &'v [Value], shapes: &Shapes) -> Option<BTreeMap<String, &'v Value>> {
    let identities = list.iter().map(|element| match element {
        Value::String(text) => Some((shapes.text(text), element)),
        _ => Some((identity(element, shapes)?, element)),
    });
    let found: BTreeMap<_, _> = identities.collect::<Option<_>>()?;
    (found.len() == list.len()).then_some(found)
}

/// The place of an element that only one side has.
fn named(place: &str, element: &Value, shapes: &Shapes) -> String {
    let name = element.as_str().map(|text| shapes.text(text)).or_else(|| short_name(element, shapes));
    format!("{place}[{}]", name.unwrap_or_default())
}

fn present(value: Option<&str>) -> &'static str {
    value.map_or("absent", |_| "present")
}

fn shown(value: &Value, shapes: &Shapes) -> String {
    shapes.text(&value.to_string())
}

fn with_kind(value: &Value, shapes: &Shapes) -> String {
    format!("{} {}", kind(value), shown(value, shapes))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number with a fraction",
        Value::Number(_) => "whole number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// An address packed into a number.
fn is_address(place: &str, value: &Value) -> bool {
    place.ends_with(".ip") && value.is_u64() || place.ends_with(".pid") && value.is_u64()
}

/// The name and the argument of `name(argument);`.
fn unwrap_call(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('(')?;
    let inner = rest.trim_end().trim_end_matches(';').strip_suffix(')')?;
    let is_name =
        !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || character == '_');
    is_name.then_some((name, inner))
}

/// The body, decompressed if it says so.
fn plain(answer: &Answer) -> Vec<u8> {
    if answer.header("content-encoding") != Some("gzip") {
        return answer.body.clone();
    }
    let mut out = Vec::new();
    let read =
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(answer.body.as_slice()), &mut out);
    read.map_or_else(|_| answer.body.clone(), |_| out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(mesos: Value, ours: Value, places: &[&str]) {
        let (a, b) = (
            Shapes::new(vec![("10.0.0.1".into(), "<host>".into())]),
            Shapes::new(vec![("10.0.0.2".into(), "<host>".into())]),
        );
        let mut comparison = Comparison::new(&a, &b);
        comparison.json("body", Below::default(), &mesos, &ours);
        let found: Vec<&str> =
            comparison.differences.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(found, places, "{:?}", comparison.differences);
    }

    #[test]
    fn names_kinds_and_values_are_compared() {
        check(json!({"a": 1, "b": 2}), json!({"a": 1, "c": 2}), &["body.b", "body.c"]);
        check(json!({"cpus": 4.0}), json!({"cpus": 4}), &["body.cpus"]);
        check(json!({"state": "TASK_LOST"}), json!({"state": "TASK_GONE"}), &["body.state"]);
        check(json!({"x": [1, 2]}), json!({"x": [1]}), &["body.x"]);
    }

    #[test]
    fn what_differs_between_any_two_clusters_is_not_compared() {
        check(json!({"start_time": 1.5}), json!({"start_time": 2.5}), &[]);
        check(json!({"start_time": {"nanoseconds": 1}}), json!({"start_time": {"nanoseconds": 2}}), &[]);
        check(json!({"start_time": 1.5}), json!({"start_time": "now"}), &["body.start_time"]);
        check(json!({"hostname": "10.0.0.1"}), json!({"hostname": "10.0.0.2"}), &[]);
        check(json!({"flags": {"port": "1"}}), json!({"flags": {"port": "2", "x": "3"}}), &["body.flags.x"]);
        check(json!({"statistics": {"a": 1}}), json!({"statistics": {"a": 2, "b": 3}}), &[]);
    }

    #[test]
    fn elements_are_found_by_what_tells_them_apart() {
        let (a, b) = (json!({"name": "a", "x": 1}), json!({"name": "b", "x": 2}));
        check(json!([a, b]), json!([b, a]), &[]);
        check(json!([a, b]), json!([a]), &["body[b]"]);
        let executor = |id: &str| json!({"executor_info": {"executor_id": {"value": id}}, "x": id});
        check(json!([executor("a"), executor("b")]), json!([executor("b")]), &["body[]"]);
        check(json!(["p", "q"]), json!(["q", "p"]), &[]);
        let resource =
            |role: &str, value: f64| json!({"name": "cpus", "role": role, "scalar": {"value": value}});
        check(
            json!([resource("*", 1.0), resource("ops", 2.0)]),
            json!([resource("ops", 2.0), resource("*", 1.0)]),
            &[],
        );
    }
}
