use base::Wall;
use serde_json::{Map, Value, json};

use super::*;
use crate::error::{ApiError, Details};
use crate::update::{AppUpdate, Settings};

/// The members that an object at this path must have.
fn required(path: &str) -> Map<String, Value> {
    let inside = |field: &&Field| {
        let rest = field.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'));
        field.default == Default::Required && rest.is_some_and(|rest| !rest.contains(['.', '[', '*']))
    };
    let member = |field: &Field| {
        let name = field.path.rsplit('.').next().expect("a path has a last part");
        let value = match field.kind {
            Kind::Word(words) => json!(words[0]),
            Kind::Number(min, _) => json!(min),
            _ if name == "key" => json!("hostname"),
            _ => json!("x"),
        };
        (name.to_owned(), value)
    };
    FIELDS.iter().filter(inside).map(member).collect()
}

/// An app that has this value at this path, or with `None` all but the value.
fn app(path: &str, value: Option<Value>) -> Value {
    let mut app = json!({"id": "/a", "cmd": "run"});
    if path.starts_with("container.") && !path.starts_with("container.linuxInfo") {
        app["container"] = json!({"docker": {"image": "x"}});
    }
    if path.starts_with("container.portMappings") {
        app["networks"] = json!([{"mode": "container/bridge"}]);
    }
    let mut at = &mut app;
    let mut so_far = String::new();
    let parts: Vec<&str> = path.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let (name, is_element) = part.strip_suffix("[]").map_or((*part, false), |name| (name, true));
        let name = if name == "*" { "A" } else { name };
        so_far = if so_far.is_empty() { (*part).to_owned() } else { format!("{so_far}.{part}") };
        let is_last = index + 1 == parts.len();
        if is_last && !is_element {
            if let Some(value) = value {
                at[name] = value;
            }
            return app;
        }
        if at.get(name).is_none() {
            at[name] = if is_element { json!([]) } else { Value::Object(required(&so_far)) };
        }
        at = &mut at[name];
        if is_element {
            let element =
                if is_last { value.clone().unwrap_or_default() } else { Value::Object(required(&so_far)) };
            at.as_array_mut().expect("made as one").push(element);
            at = &mut at[0];
        }
    }
    app
}

fn post(app: &Value) -> Result<Value, ApiError> {
    let settings = Settings { role: "*".to_owned() };
    let app = AppUpdate::parse(app.to_string().as_bytes())?.create(None, &settings, Wall(0))?;
    Ok(serde_json::to_value(&app).expect("it has string keys"))
}

/// The paths of problems of an app with this value at this path.
fn problems(path: &str, value: Value) -> Vec<String> {
    match post(&app(path, Some(value))).map_err(|error| error.body.details) {
        Err(Some(Details::Fields(details))) => details.into_iter().map(|detail| detail.path).collect(),
        _ => Vec::new(),
    }
}

/// The path as problems name it.
fn problem_path(path: &str) -> String {
    format!("/{}", path.replace("[]", "(0)").replace('*', "A").replace('.', "/"))
}

#[test]
fn every_field_is_read_and_bounded_as_it_says() {
    for field in FIELDS {
        let expected = problem_path(field.path);
        let refused = |value: Value| {
            let found = problems(field.path, value.clone());
            assert!(found.contains(&expected), "{} of {value}: {found:?}", field.path);
        };
        let taken = |value: Value| {
            let found = problems(field.path, value.clone());
            assert!(!found.contains(&expected), "{} of {value}", field.path);
        };
        match field.kind {
            // Passed over.
            Kind::Other("object") => {}
            // The problem is that of the whole environment, as in Marathon.
            Kind::Refused(_) if field.path == "env.*.secret" => {
                assert_eq!(problems(field.path, json!("s")), ["/env"]);
            }
            // A text that is none is taken for a secret that is none.
            Kind::Text(_) if field.path == "env.*" => {
                assert_eq!(problems(field.path, json!(7)), ["/env/A/secret"]);
            }
            Kind::Text(_) | Kind::Flag | Kind::List(_) | Kind::Texts | Kind::Object | Kind::Other(_) => {
                refused(json!(7));
            }
            Kind::Old(_) => refused(json!(true)),
            Kind::Refused(_) => refused(json!({"x": 1})),
            Kind::Whole(min, max) => {
                refused(json!("7"));
                refused(json!(i128::from(min) as i64 - 1));
                if max < i64::MAX as u64 {
                    refused(json!(max + 1));
                }
            }
            Kind::Number(min, max) => {
                refused(json!("7"));
                refused(json!(min - 0.0001));
                if max < f64::MAX {
                    refused(json!(max * 1.01));
                }
            }
            Kind::Word(words) => {
                refused(json!("NO_SUCH_WORD"));
                for word in words {
                    let known =
                        |path: &str| AppUpdate::parse(app(path, Some(json!(word))).to_string().as_bytes());
                    assert!(known(field.path).is_ok(), "{} of {word}", field.path);
                }
            }
        }
        if field.kind == Kind::Flag && !field.path.ends_with("unconfined") {
            taken(json!(false));
        }
    }
}

#[test]
fn what_must_be_given_must_be() {
    let elsewhere = ["id", "env.*", "ports[]"];
    for field in FIELDS.iter().filter(|it| it.default == Default::Required && !elsewhere.contains(&it.path)) {
        let found = problems(field.path, Value::Null);
        assert!(found.contains(&problem_path(field.path)), "{}: {found:?}", field.path);
    }
}

#[test]
fn defaults_are_those_that_it_says() {
    // What is turned into something else, what is refused if it is left at its default, and what every app here has.
    let elsewhere = |path: &str| {
        ["cmd", "container.docker"].contains(&path)
            || path.starts_with("networks[]")
            || path.starts_with("env.")
            || path.starts_with("ipAddress")
            || path.starts_with("container.linuxInfo")
    };
    for field in FIELDS.iter().filter(|field| !elsewhere(field.path)) {
        let (Default::Json(_) | Default::Absent) = field.default else { continue };
        let shown = post(&app(field.path, None)).unwrap_or_else(|error| panic!("{}: {error}", field.path));
        let parts = field.path.split('.').map(|part| part.strip_suffix("[]").unwrap_or(part));
        let found = parts.fold(&shown, |at, part| {
            let member = &at[part];
            if member.is_array() && field.path.contains(&format!("{part}[].")) { &member[0] } else { member }
        });
        match field.default {
            Default::Json(text) => {
                let default: Value = serde_json::from_str(text).expect("defaults are JSON");
                let is_empty = default == json!([]) || default == json!({});
                assert!(*found == default || (is_empty && found.is_null()), "{}: {found}", field.path);
            }
            // A version is given to every app.
            _ => assert!(found.is_null() || field.path == "version", "{}: {found}", field.path),
        }
    }
}

#[test]
fn paths_of_problems_are_found() {
    let check = |path: &str, expected: Option<&str>| {
        assert_eq!(Field::at(path).map(|field| field.path), expected, "{path}");
    };
    check("/cpus", Some("cpus"));
    check("(17)/cpus", Some("cpus"));
    check("/healthChecks(3)/port", Some("healthChecks[].port"));
    check("/container/docker/portMappings(0)/hostPort", Some("container.portMappings[].hostPort"));
    check("/env/A/B/secret", Some("env.*.secret"));
    check("/env/ÄÖ(", Some("env.*"));
    check("/nothing", None);
}
