//! What differs between any two clusters: identifiers, addresses, directories, times, measurements.
//!
//! These are all the rules by which values are not compared. They know keys and shapes, never a file or an
//! endpoint of its own.

use regex_lite::Regex;
use serde_json::Value;

/// Keys whose values belong to the moment, the machine or the build.
const VOLATILE: &[&str] = &[
    // The moment.
    "timestamp",
    "mtime",
    // The build.
    "version",
    "build_date",
    "build_user",
    "git_sha",
    "git_tag",
    "git_branch",
    // The machine and its processes.
    "executor_pid",
    "size",
    "nlink",
    "uid",
    "gid",
    "offset",
    "cpus_total",
];
/// Endings of such keys.
const VOLATILE_ENDINGS: &[&str] =
    &["_time", "_time_seconds", "_secs", "_bytes", "_percent", "uuid", "hostname"];
/// Beginnings of such keys.
const VOLATILE_BEGINNINGS: &[&str] = &["avg_load_"];
/// Below keys with these endings names are compared, values not: they are measured. Which more there are is
/// a matter of what measures them.
const MEASURED: &[&str] = &["statistics", "metrics"];
/// Below these keys names are compared, values not: they are how somebody started the program.
const CONFIGURED: &[&str] = &["flags"];

/// How a key stands to what is below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Below {
    /// Values are not compared.
    pub(crate) volatile: bool,
    /// There may be more names than the recording has.
    pub(crate) open: bool,
}

impl Below {
    /// Of the whole answer to a request for that path.
    pub(crate) fn answer_to(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let measured = path.ends_with("/metrics/snapshot") || path.ends_with("/system/stats.json");
        Self { volatile: measured, open: measured }
    }

    /// Of what is below `key`.
    pub(crate) fn key(self, key: &str) -> Self {
        let measured = MEASURED.iter().any(|ending| key.ends_with(ending));
        let volatile = measured
            || CONFIGURED.contains(&key)
            || VOLATILE.contains(&key)
            || VOLATILE_ENDINGS.iter().any(|ending| key.ends_with(ending))
            || VOLATILE_BEGINNINGS.iter().any(|beginning| key.starts_with(beginning));
        Self { volatile: self.volatile || volatile, open: self.open || measured }
    }
}

/// Keys by which elements of a list are told apart, the first that all have.
const IDENTITIES: &[&str] = &[
    "task_id",
    "executor_id",
    "container_id",
    "operation_id",
    "offer_id",
    "framework_id",
    "id",
    "path",
    "name",
    "role",
    "type",
];

/// What tells `element` apart from others of its list, if anything.
pub(crate) fn identity(element: &Value, shapes: &Shapes) -> Option<String> {
    // What an element is about may be one level deeper: `executor_info`, `framework_info`, `agent_info`.
    let info = element.as_object()?.iter().find(|(key, _)| key.ends_with("_info"));
    let of_info = info.and_then(|(_, info)| Some((info, identity_key(info)?)));
    let (told, key) = identity_key(element).map(|key| (element, key)).or(of_info)?;
    let of = |key: &str| told.get(key).map(|value| shapes.text(&value.to_string())).unwrap_or_default();
    // Resources of one name differ in whose they are.
    let more = ["name", "role", "reservations", "reservation", "allocation_info", "disk", "executor_id"];
    Some(std::iter::once(key).chain(more).map(of).collect::<Vec<_>>().join(" "))
}

fn identity_key(element: &Value) -> Option<&'static str> {
    IDENTITIES.iter().find(|key| element.get(key).is_some()).copied()
}

/// The short name of an element, for who reads: its name, or whatever tells it apart if that is a text.
pub(crate) fn short_name(element: &Value, shapes: &Shapes) -> Option<String> {
    let key = if element.get("name").is_some() { "name" } else { identity_key(element)? };
    let value = element.get(key)?;
    Some(shapes.text(value.get("value").unwrap_or(value).as_str()?))
}

/// What an identifier is, by how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of an agent.
    Agent,
    /// Of an offer.
    Offer,
    /// Of a framework.
    Framework,
    /// A master's, container's, stream's or anybody's.
    Uuid,
}

/// Finds identifiers, and writes a text so that it is the same for any cluster.
#[derive(Debug)]
pub(crate) struct Shapes {
    id: Regex,
    hosts: Vec<(String, String)>,
}

impl Shapes {
    /// With the addresses of this side, and what is to stand for each.
    pub(crate) fn new(mut hosts: Vec<(String, String)>) -> Self {
        // The longer first: an address with a port before the address.
        hosts.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        let constant = |text| Regex::new(text).expect("it is constant");
        Self {
            id: constant(
                r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-S[0-9]+|-O[0-9]+|-[0-9]{4}\b)?",
            ),
            hosts,
        }
    }

    /// The identifiers in a text, with where they start.
    pub(crate) fn ids<'t>(&self, text: &'t str) -> Vec<(usize, Kind, &'t str)> {
        let kind = |ending: Option<&str>| match ending.and_then(|ending| ending.chars().nth(1)) {
            None => Kind::Uuid,
            Some('S') => Kind::Agent,
            Some('O') => Kind::Offer,
            Some(_) => Kind::Framework,
        };
        let found = self.id.captures_iter(text).filter_map(|found| {
            let whole = found.get(0)?;
            Some((whole.start(), kind(found.get(1).map(|ending| ending.as_str())), whole.as_str()))
        });
        found.collect()
    }

    /// The directory before the first `/slaves/<agent>` of a text: an agent's own.
    pub(crate) fn work_dir<'t>(&self, text: &'t str) -> Option<&'t str> {
        let at = text.find("/slaves/").filter(|&at| {
            self.ids(&text[at..]).first().is_some_and(|(start, kind, _)| (*start, *kind) == (8, Kind::Agent))
        })?;
        let start =
            text[..at].rfind(|character: char| character.is_whitespace() || "\"'=,:".contains(character));
        let dir = &text[start.map_or(0, |start| start + 1)..at];
        let dir = dir.strip_suffix("/meta").unwrap_or(dir);
        dir.starts_with('/').then_some(dir)
    }

    /// The text with names of kinds in the place of identifiers, addresses and directories.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        if let Some(dir) = self.work_dir(&out).map(str::to_owned) {
            out = out.replace(&dir, "<work_dir>");
        }
        for (host, name) in &self.hosts {
            out = out.replace(host.as_str(), name);
        }
        let mut shaped = String::with_capacity(out.len());
        let mut end = 0;
        for (start, kind, id) in self.ids(&out) {
            shaped.push_str(&out[end..start]);
            shaped.push_str(match kind {
                Kind::Agent => "<agent>",
                Kind::Offer => "<offer>",
                Kind::Framework => "<framework>",
                Kind::Uuid => "<uuid>",
            });
            end = start + id.len();
        }
        shaped.push_str(&out[end..]);
        shaped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "307d575e-a796-4f6e-aef8-46deb3140b24-S0";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shapes = Shapes::new(vec![
            ("127.0.0.1".into(), "<host>".into()),
            ("127.0.0.1:5050".into(), "<master>".into()),
        ]);
        assert_eq!(shapes.text(text), expected);
    }

    #[test]
    fn texts_become_the_same_for_any_cluster() {
        check(&format!("agent {AGENT} at slave(1)@127.0.0.1:5051"), "agent <agent> at slave(1)@<host>:5051");
        check("//127.0.0.1:5050/master/state", "//<master>/master/state");
        check("307d575e-a796-4f6e-aef8-46deb3140b24-0001", "<framework>");
        check("fe369b59-c52b-4a2c-9f5f-4ba4ddd59350-tail", "<uuid>-tail");
        check(&format!("/a/b/slaves/{AGENT}/x"), "<work_dir>/slaves/<agent>/x");
        check("cpus(allocated: golden):4; mem:32", "cpus(allocated: golden):4; mem:32");
    }

    #[test]
    fn keys_say_what_is_compared() {
        let below = Below::default();
        assert!(below.key("registered_time").key("nanoseconds").volatile);
        assert!(below.key("flags").volatile && !below.key("flags").open);
        assert!(below.key("statistics").open);
        assert_eq!(below.key("state"), Below::default());
        assert!(Below::answer_to("/master/metrics/snapshot?timeout=1secs").open);
    }
}
