//! Fields of a definition that no app has: Marathon passes over them, so that a slip of the hand has no
//! effect and no error. Here it is said.

use api_marathon::reference::{FIELDS, Field, Kind};
use base::nearest;
use serde_json::Value;

use crate::output;

/// What Marathon shows of an app and passes over in requests, so that what `app show` prints can be
/// edited and sent back.
const SHOWN: [&str; 10] = [
    "deployments",
    "lastTaskFailure",
    "readinessCheckResults",
    "taskStats",
    "tasks",
    "tasksHealthy",
    "tasksRunning",
    "tasksStaged",
    "tasksUnhealthy",
    "versionInfo",
];

/// Says on stderr which fields of the definition have no effect.
pub(super) fn warn(app: &Value) {
    for (path, meant) in unknown(app) {
        let meant = meant.map(|name| format!(" Did you mean '{name}'?")).unwrap_or_default();
        output::say(&format!("Warning: an app has no field '{path}'; it is passed over.{meant}"));
    }
}

/// The fields that no app has, and what may have been meant.
fn unknown(app: &Value) -> Vec<(String, Option<&'static str>)> {
    let mut found = Vec::new();
    look("", app, &mut found);
    found.retain(|(path, _)| !SHOWN.contains(&path.as_str()));
    found
}

fn look(at: &str, value: &Value, found: &mut Vec<(String, Option<&'static str>)>) {
    match value {
        Value::Array(elements) => {
            let at = format!("{at}[]");
            elements.iter().for_each(|element| look(&at, element, found));
        }
        Value::Object(members) => {
            let names: Vec<&'static str> = FIELDS.iter().filter_map(|field| member(at, field)).collect();
            // An object of any names, or something that is not of fields.
            if names.is_empty() || names.contains(&"*") {
                return;
            }
            for (name, value) in members {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match FIELDS.iter().find(|field| field.path == path) {
                    Some(Field { kind: Kind::Old(_) | Kind::Refused(_), .. }) => {}
                    Some(_) => look(&path, value, found),
                    None => found.push((path, nearest(name, names.iter().copied()))),
                }
            }
        }
        _ => {}
    }
}

/// The name of the field, if it is a member of the object at that path.
fn member(at: &str, field: &Field) -> Option<&'static str> {
    let name = match at {
        "" => field.path,
        at => field.path.strip_prefix(at)?.strip_prefix('.')?,
    };
    (!name.contains(['.', '['])).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_no_app_has_are_found() {
        let check = |app: Value, expected: &[(&str, Option<&str>)]| {
            let found = unknown(&app);
            let found: Vec<(&str, Option<&str>)> =
                found.iter().map(|(path, meant)| (path.as_str(), *meant)).collect();
            assert_eq!(found, expected, "{app}");
        };
        check(json!({"id": "/a", "instnaces": 2}), &[("instnaces", Some("instances"))]);
        check(
            json!({"container": {"docker": {"image": "x", "forcePull": true}, "volume": []}}),
            &[("container.docker.forcePull", None), ("container.volume", Some("volumes"))],
        );
        check(
            json!({"healthChecks": [{"graceSeconds": 1}, {"path": "/"}]}),
            &[("healthChecks[].graceSeconds", None)],
        );
        check(json!({"env": {"A": "b"}, "labels": {"c": "d"}, "uris": ["x"], "tasksRunning": 1}), &[]);
        check(
            json!({"upgradeStrategy": {"minimumHealthCapacity": 1}, "constraints": [["a", "UNIQUE"]]}),
            &[],
        );
        check(json!("x"), &[]);
    }
}
