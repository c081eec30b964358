//! Streams of events: their order, and what each kind of event holds.
//!
//! When offers come and how often the clock decides, so only the first is compared. Heartbeats are not
//! events. Events of two tasks whose lives overlap may come in any order, as the tasks run side by side; so
//! may what a process writes to its two outputs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Comparison;
use crate::http::records;
use crate::shape::Below;
use crate::transcript::Event;

/// Kinds of events that come with the clock.
const TIMED: &[&str] = &["OFFERS", "RESCIND"];

/// Where operators' updates have the task's latest state.
const LATEST: &str = "/task_updated/state";
/// And the state of the update itself.
const UPDATED: &str = "/task_updated/status/state";

/// The events of a RecordIO body. A record that is no JSON is taken for protobuf.
pub(crate) fn of(body: &[u8]) -> Vec<Event> {
    let event = |record: &[u8]| serde_json::from_slice(record).unwrap_or_else(|_| crate::proto::tree(record));
    records(body).0.into_iter().map(|record| Event { at: 0.0, event: event(record) }).collect()
}

/// What an event is, and whose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    whose: String,
    what: String,
}

impl Key {
    fn of(event: &Value, shapes: &crate::shape::Shapes) -> Self {
        let kind = kind(event);
        let status = ["/update/status", "/task_updated/status", "/update_operation_status/status"];
        let status = status.into_iter().find_map(|path| event.pointer(path)).unwrap_or(&Value::Null);
        let task = event.pointer("/task_added/task").or(event.pointer("/launch/task")).unwrap_or(status);
        let name = |key: &str| task.pointer(&format!("/{key}/value")).and_then(Value::as_str);
        let failure = event.pointer("/failure/executor_id/value").and_then(Value::as_str);
        let data = event.pointer("/data/type").and_then(Value::as_str);
        let whose = name("task_id").or(name("operation_id")).or(failure).or(data).unwrap_or_default();
        let part = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default();
        let parts = [kind, part("state"), part("reason")];
        let what = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        Self { whose: shapes.text(whose), what }
    }

    fn shown(&self) -> String {
        format!("{} {}", self.what, self.whose).trim_end().to_owned()
    }
}

/// The type of an event.
pub(crate) fn kind(event: &Value) -> &str {
    event.get("type").and_then(Value::as_str).unwrap_or("?")
}

/// Events that something caused, each once however often it was repeated.
fn caused<'e>(events: &'e [Event], shapes: &crate::shape::Shapes) -> Vec<(Key, &'e Value)> {
    let mut found: Vec<(Key, &Value)> = Vec::new();
    for Event { event, .. } in events {
        let key = Key::of(event, shapes);
        let of_same = found.iter().rfind(|(other, _)| other.whose == key.whose);
        let repeated = !key.whose.is_empty() && of_same.is_some_and(|(other, _)| *other == key);
        if kind(event) != "HEARTBEAT" && !TIMED.contains(&kind(event)) && !repeated {
            found.push((key, event));
        }
    }
    found
}

impl Comparison<'_> {
    /// Two streams. One that is not `complete` may have gone on after its recording ended.
    pub(crate) fn streams(&mut self, mesos: &[Event], ours: &[Event], complete: bool) {
        let (a, b) = (caused(mesos, self.mesos_shapes()), caused(ours, self.our_shapes()));
        let mut matched = Vec::new();
        for (whose, keys) in by_owner(&a) {
            let ours: Vec<usize> = (0..b.len()).filter(|&at| b[at].0.whose == whose).collect();
            let pairs = common(&keys, &ours, |x, y| a[x].0 == b[y].0);
            for &x in keys.iter().filter(|x| !pairs.iter().any(|(other, _)| other == *x)) {
                self.differ("events", a[x].0.shown(), "absent");
            }
            for &y in ours.iter().filter(|y| !pairs.iter().any(|(_, other)| other == *y)) {
                let later = !complete && pairs.iter().all(|(_, other)| other < &y);
                if !later {
                    self.differ("events", "absent", b[y].0.shown());
                }
            }
            matched.extend(pairs);
        }
        for (key, _) in
            b.iter().filter(|(key, _)| complete && !a.iter().any(|(other, _)| other.whose == key.whose))
        {
            self.differ("events", "absent", key.shown());
        }
        self.order(&a, &b, &mut matched);
        for (x, y) in matched {
            let mut ours = b[y].1.clone();
            // An update carries the task's latest state, too, which may be ahead of it.
            let states = (a[x].1.pointer(LATEST), ours.pointer(LATEST));
            if let (Some(said), Some(says)) = states
                && b[y..]
                    .iter()
                    .any(|(key, later)| key.whose == a[x].0.whose && later.pointer(UPDATED) == Some(says))
            {
                ours["task_updated"]["state"] = said.clone();
            }
            self.json(&format!("event {}", a[x].0.what), Below::default(), a[x].1, &ours);
        }
        for kind in TIMED {
            self.first(kind, mesos, ours);
        }
    }

    /// What was over before something else began must be so for us.
    fn order(&mut self, a: &[(Key, &Value)], b: &[(Key, &Value)], matched: &mut [(usize, usize)]) {
        matched.sort_unstable();
        let span = |whose: &str| {
            let mut at = (0..a.len()).filter(|&at| a[at].0.whose == whose);
            let first = at.next().unwrap_or(0);
            (first, at.next_back().unwrap_or(first))
        };
        for pair in matched.windows(2) {
            let ((x, y), (next_x, next_y)) = (pair[0], pair[1]);
            let (one, other) = (&a[x].0.whose, &a[next_x].0.whose);
            let outputs = a[x].0.what == "DATA" && a[next_x].0.what == "DATA";
            let side_by_side = one != other && (outputs || span(one).1 > span(other).0);
            if y > next_y && !side_by_side {
                let said = |first: &Key, second: &Key| format!("{} before {}", first.shown(), second.shown());
                self.differ("events", said(&a[x].0, &a[next_x].0), said(&b[next_y].0, &b[y].0));
            }
        }
    }

    fn first(&mut self, wanted: &str, mesos: &[Event], ours: &[Event]) {
        let first = |events: &[Event]| {
            events.iter().find(|event| kind(&event.event) == wanted).map(|event| event.event.clone())
        };
        match (first(mesos), first(ours)) {
            (Some(a), Some(b)) => self.json(&format!("event {wanted}"), Below::default(), &a, &b),
            (Some(_), None) => self.differ("events", wanted, "absent"),
            _ => {}
        }
    }
}

/// The places of events by their owners, in the order in which owners come first.
fn by_owner(events: &[(Key, &Value)]) -> BTreeMap<String, Vec<usize>> {
    let mut owners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, (key, _)) in events.iter().enumerate() {
        owners.entry(key.whose.clone()).or_default().push(at);
    }
    owners
}

/// The longest common subsequence of two lists of places.
fn common(a: &[usize], b: &[usize], same: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = match same(a[i], b[j]) {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if same(a[i], b[j]) {
            pairs.push((a[i], b[j]));
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shapes;
    use serde_json::json;

    fn events(words: &str) -> Vec<Event> {
        let event = |word: &str| match word.split_once(':') {
            Some((task, state)) => {
                let status = json!({"task_id": {"value": task}, "state": state});
                json!({"type": "UPDATE", "update": {"status": status}})
            }
            None => json!({"type": word}),
        };
        words.split(' ').map(|word| Event { at: 0.0, event: event(word) }).collect()
    }

    #[track_caller]
    fn check(mesos: &str, ours: &str, expected: &[(&str, &str)]) {
        let shapes = Shapes::new(Vec::new());
        let mut comparison = Comparison::new(&shapes, &shapes);
        comparison.streams(&events(mesos), &events(ours), true);
        let found = comparison.differences.iter().map(|found| (found.mesos.as_str(), found.ours.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn order_is_compared_but_for_what_runs_side_by_side() {
        let same = "SUBSCRIBED OFFERS a:S a:R a:F b:S b:F";
        check(same, "SUBSCRIBED HEARTBEAT OFFERS a:S OFFERS a:R a:R a:F b:S b:F", &[]);
        check(same, "SUBSCRIBED OFFERS a:S a:F b:S b:F", &[("UPDATE R a", "absent")]);
        check(same, "SUBSCRIBED a:S a:R a:F b:S b:F", &[("OFFERS", "absent")]);
        check(
            same,
            "SUBSCRIBED OFFERS a:S a:R b:S a:F b:F",
            &[("UPDATE F a before UPDATE S b", "UPDATE S b before UPDATE F a")],
        );
        check("a:S b:S a:F b:F", "b:S a:S b:F a:F", &[]);
    }
}
