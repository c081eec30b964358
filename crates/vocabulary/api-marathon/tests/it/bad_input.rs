//! Bad requests and the exact answers.

use serde_json::{Value, json};

use crate::{body_of, patch, post};

/// Posts an app with these members besides a good id and command (which they may override); compares paths and errors.
fn check(members: &str, status: u16, message: &str, details: &[(&str, &[&str])]) {
    let mut app = json!({ "id": "/a", "cmd": "run" });
    let members: Value = serde_json::from_str(&format!("{{{members}}}")).expect("a test's JSON");
    for (name, value) in members.as_object().expect("made as one") {
        app[name] = value.clone();
    }
    let error = post(&app.to_string()).expect_err(&app.to_string());
    assert_eq!((error.status, &body_of(&error)["message"]), (status, &json!(message)), "{app}");
    let found: Vec<Value> = body_of(&error)["details"]
        .as_array()
        .expect("details")
        .iter()
        .map(|detail| json!([detail["path"], detail["errors"]]))
        .collect();
    let expected: Vec<Value> = details.iter().map(|(path, errors)| json!([path, errors])).collect();
    assert_eq!(found, expected, "{app}");
}

fn shape(members: &str, path: &str, error: &str) {
    check(members, 422, "Invalid JSON", &[(path, &[error])]);
}

fn content(members: &str, path: &str, error: &str) {
    check(members, 422, "Object is not valid", &[(path, &[error])]);
}

#[test]
fn wrong_shapes() {
    shape(r#""id": "/A""#, "/id", "error.pattern");
    shape(r#""id": """#, "/id", "error.pattern");
    shape(r#""id": "/a_b""#, "/id", "error.pattern");
    shape(r#""id": 7"#, "/id", "error.expected.jsstring");
    shape(r#""cmd": """#, "/cmd", "error.minLength");
    shape(r#""cmd": ["x"]"#, "/cmd", "error.expected.jsstring");
    shape(r#""cpus": "1""#, "/cpus", "error.expected.jsnumber");
    shape(r#""cpus": 0"#, "/cpus", "error.min");
    shape(r#""cpus": -1"#, "/cpus", "error.min");
    shape(r#""cpus": 1e300"#, "/cpus", "error.max");
    shape(r#""mem": -0.5"#, "/mem", "error.min");
    shape(r#""disk": true"#, "/disk", "error.expected.jsnumber");
    shape(r#""instances": -1"#, "/instances", "error.min");
    shape(r#""instances": 1.5"#, "/instances", "error.expected.int");
    shape(r#""instances": 3000000000"#, "/instances", "error.expected.int");
    shape(r#""instances": 2000000"#, "/instances", "error.max");
    shape(r#""args": "x""#, "/args", "error.expected.jsarray");
    shape(r#""args": ["x", 7]"#, "/args(1)", "error.expected.jsstring");
    shape(r#""labels": []"#, "/labels", "error.expected.jsobject");
    shape(r#""labels": {"a": 1}"#, "/labels/a", "error.expected.jsstring");
    shape(r#""env": {"A": 1}"#, "/env/A/secret", "error.path.missing");
    shape(r#""requirePorts": "yes""#, "/requirePorts", "error.expected.jsboolean");
    shape(r#""backoffFactor": 0.9"#, "/backoffFactor", "error.min");
    shape(r#""killSelection": "RANDOM""#, "/killSelection", "error.unknown.enum.literal");
    shape(r#""ports": [70000]"#, "/ports(0)", "error.max");
    shape(r#""portDefinitions": [{"name": "A B"}]"#, "/portDefinitions(0)/name", "error.pattern");
    shape(
        r#""portDefinitions": [{"protocol": "icmp"}]"#,
        "/portDefinitions(0)/protocol",
        "error.unknown.enum.literal",
    );
    shape(r#""healthChecks": {}"#, "/healthChecks", "error.expected.jsarray");
    shape(
        r#""healthChecks": [{"protocol": "FTP"}]"#,
        "/healthChecks(0)/protocol",
        "error.unknown.enum.literal",
    );
    shape(r#""healthChecks": [{"intervalSeconds": -1}]"#, "/healthChecks(0)/intervalSeconds", "error.min");
    shape(
        r#""upgradeStrategy": {"minimumHealthCapacity": 1}"#,
        "/upgradeStrategy/maximumOverCapacity",
        "error.path.missing",
    );
    shape(
        r#""upgradeStrategy": {"minimumHealthCapacity": 1.1, "maximumOverCapacity": 0}"#,
        "/upgradeStrategy/minimumHealthCapacity",
        "error.max",
    );
    shape(r#""unreachableStrategy": "never""#, "/unreachableStrategy", "error.unknown.enum.literal");
    shape(r#""version": "yesterday""#, "/version", "error.expected.date.isoformat");
    shape(r#""container": {"type": "LXC"}"#, "/container/type", "error.unknown.enum.literal");
}

#[test]
fn wrong_contents() {
    let cmd_or_args = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    let reserved =
        "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..";
    let index =
        "Health check port indices must address an element of the ports array or container port mappings.";
    content(r#""id": "/x/tasks""#, "/id", reserved);
    content(r#""cmd": null"#, "/", cmd_or_args);
    content(r#""args": ["x"]"#, "/", cmd_or_args);
    content(r#""cmd": "x""#, "/", "must not be an empty string");
    content(
        r#""gpus": 1"#,
        "/",
        "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)",
    );
    content(r#""ports": [80, 80]"#, "/", "ports must be unique");
    content(r#""ports": [80], "portDefinitions": []"#, "/", "cannot specify both ports and port definitions");
    content(
        r#""portDefinitions": [{"port": 80}, {"port": 80}]"#,
        "/portDefinitions",
        "Ports must be unique.",
    );
    content(
        r#""portDefinitions": [{"name": "x"}, {"name": "x"}]"#,
        "/portDefinitions",
        "Port names must be unique.",
    );
    content(r#""healthChecks": [{"portIndex": 1}]"#, "/healthChecks(0)", index);
    content(r#""ports": [0, 0], "healthChecks": [{}]"#, "/healthChecks(0)", index);
    content(
        r#""healthChecks": [{"command": {"value": "x"}}]"#,
        "/healthChecks(0)",
        "illegal protocol HTTP specified with command",
    );
    content(
        r#""healthChecks": [{"protocol": "COMMAND"}]"#,
        "/healthChecks(0)",
        "illegal protocol COMMAND for non-command health check",
    );
    content(
        r#""healthChecks": [{"ipProtocol": "IPv6"}]"#,
        "/healthChecks(0)",
        "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
    );
    content(
        r#""constraints": [["hostname"]]"#,
        "/constraints(0)",
        "Each constraint must have either 2 or 3 fields",
    );
    content(
        r#""constraints": [["hostname", "NEAR"]]"#,
        "/constraints(0)",
        "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
    );
    content(
        r#""constraints": [["hostname", "UNIQUE", "x"]]"#,
        "/constraints(0)",
        "UNIQUE does not accept a value",
    );
    content(
        r#""constraints": [["rack", "LIKE"]]"#,
        "/constraints(0)",
        "LIKE and UNLIKE require a non-empty, regular expression value",
    );
    content(
        r#""constraints": [["rack", "UNLIKE", "("]]"#,
        "/constraints(0)",
        "is not a valid regular expression",
    );
    content(
        r#""constraints": [["rack", "MAX_PER", "x"]]"#,
        "/constraints(0)",
        "MAX_PER requires an integer value",
    );
    content(
        r#""constraints": [["rack", "GROUP_BY", "x"]]"#,
        "/constraints(0)",
        "GROUP BY must define an integer value or else no value at all",
    );
    content(r#""constraints": [["", "UNIQUE"]]"#, "/constraints(0)", "illegal constraint specification");
    content(r#""role": "dev""#, "/role", "got dev, expected one of: [slave_public]");
    content(
        r#""acceptedResourceRoles": ["dev"]"#,
        "/acceptedResourceRoles",
        "acceptedResourceRoles can only contain * and slave_public",
    );
    content(r#""acceptedResourceRoles": []"#, "/acceptedResourceRoles", "must not be empty");
    content(
        r#""unreachableStrategy": {"inactiveAfterSeconds": 60}"#,
        "/unreachableStrategy/inactiveAfterSeconds",
        "inactiveAfterSeconds (60) must be less or equal to expungeAfterSeconds, which is 0",
    );
    content(
        r#""env": {"A": {"secret": "s"}}"#,
        "/env",
        "use of secret-references in the environment requires the secrets feature to be enabled",
    );
    content(
        r#""networks": [{"mode": "host", "name": "x"}]"#,
        "/networks",
        "Host networks may not have names or labels",
    );
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for (members, path) in [
        (r#""secrets": {"s": {"source": "x"}}"#, "/secrets"),
        (r#""residency": {"taskLostBehavior": "WAIT_FOREVER"}"#, "/residency"),
        (r#""networks": [{"mode": "container", "name": "dcos"}]"#, "/networks(0)/mode"),
        (r#""networks": [{"name": "dcos"}]"#, "/networks(0)/mode"),
        (r#""ipAddress": {"networkName": "dcos"}"#, "/networks(0)/mode"),
        (r#""readinessChecks": [{}]"#, "/readinessChecks"),
        (r#""check": {"exec": {}}"#, "/check"),
        (r#""resourceLimits": {"cpus": "unlimited"}"#, "/resourceLimits"),
        (r#""executor": "/opt/executor""#, "/executor"),
        (r#""healthChecks": [{"protocol": "HTTPS"}]"#, "/healthChecks(0)/protocol"),
        (r#""healthChecks": [{"protocol": "MESOS_HTTPS"}]"#, "/healthChecks(0)/protocol"),
        (r#""tty": true"#, "/tty"),
    ] {
        let error = post(&format!(r#"{{"id": "/a", "cmd": "run", {members}}}"#)).expect_err(members);
        let body = body_of(&error);
        let paths: Vec<&Value> =
            body["details"].as_array().unwrap().iter().map(|detail| &detail["path"]).collect();
        assert_eq!(error.status, 422, "{members}");
        assert!(paths.contains(&&json!(path)), "{members}: {error}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    check(
        r#""id": "/x/tasks", "cmd": null, "role": "dev", "acceptedResourceRoles": []"#,
        422,
        "Object is not valid",
        &[
            (
                "/id",
                &[
                    "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
                ],
            ),
            ("/", &["AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."]),
            ("/role", &["got dev, expected one of: [slave_public]"]),
            ("/acceptedResourceRoles", &["must not be empty"]),
        ],
    );
    check(
        r#""id": 1, "cpus": "x", "instances": -1, "healthChecks": [{"protocol": 1}, 7, {"port": -1}]"#,
        422,
        "Invalid JSON",
        &[
            ("/id", &["error.expected.jsstring"]),
            ("/cpus", &["error.expected.jsnumber"]),
            ("/healthChecks(0)/protocol", &["error.unknown.enum.literal"]),
            ("/healthChecks(1)", &["error.expected.jsobject"]),
            ("/healthChecks(2)/port", &["error.min"]),
            ("/instances", &["error.min"]),
        ],
    );
    let long = format!(r#""id": "/{}""#, "x".repeat(300));
    content(&long, "/id", "must not be longer than 190 characters, found 301");
    content(r#""dependencies": ["/x/tasks"]"#, "/dependencies(0)", reserved_keywords());
    let error = post(r#"{"cmd": "run"}"#).unwrap_err();
    assert_eq!(
        body_of(&error),
        json!({"message": "Invalid JSON", "details": [{"path": "/id", "errors": ["error.path.missing"]}]})
    );
    let error = post(r#"{"id": "..", "cmd": "run"}"#).unwrap_err();
    assert_eq!(
        body_of(&error)["details"][0]["errors"],
        json!(["Path must contain at least one path element"])
    );
}

fn reserved_keywords() -> &'static str {
    "must not end with any of the following reserved keywords: restart, tasks, versions, ., .."
}

#[test]
fn codes_are_explained() {
    let error = post(r#"{"id": "/Web", "cmd": "run", "cpus": -1}"#).unwrap_err();
    let body = body_of(&error);
    let explanations: Vec<&str> =
        body["details"].as_array().unwrap().iter().map(|d| d["explanation"].as_str().unwrap()).collect();
    assert!(
        explanations[0].contains("found '/Web'") && explanations[0].contains("lower-case"),
        "{explanations:?}"
    );
    assert_eq!(explanations[1], "found -1, allowed is 0.001 or more");
}

#[test]
fn what_is_no_json() {
    let error = post("{").unwrap_err();
    assert_eq!((error.status, &body_of(&error)["message"]), (400, &json!("Invalid JSON")));
    assert!(body_of(&error)["details"].is_string());
    let error = post("").unwrap_err();
    let expected = json!({
        "message": "Please specify data in JSON format",
        "details": "No content to map due to end-of-input"
    });
    assert_eq!((error.status, body_of(&error)), (400, expected));
    assert_eq!(post(r#"{"id": "/a"} x"#).unwrap_err().status, 400);
    assert_eq!(post(&"[".repeat(100_000)).unwrap_err().status, 400, "depth is bounded");
    let huge = format!(r#"{{"id": "/a", "cmd": "{}"}}"#, "x".repeat(70_000));
    assert!(post(&huge).unwrap_err().to_string().contains("too large"));
}

#[test]
fn updates_are_checked_with_what_they_change() {
    let app = post(r#"{"id": "/a", "cmd": "run"}"#).unwrap();
    let check = |body: &str, path: &str, error: &str| {
        let refusal = patch(&app, body).unwrap_err();
        assert_eq!(body_of(&refusal)["details"], json!([{"path": path, "errors": [error]}]), "{body}");
    };
    let version = "The 'version' field may only be combined with the 'id' field.";
    check(r#"{"version": "2016-12-01T10:15:30.123Z", "instances": 2}"#, "/", version);
    let cmd_or_args = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    check(r#"{"args": ["x"]}"#, "/", cmd_or_args);
    let refusal = api_marathon::AppUpdate::parse_all(br#"[{"cmd": "x"}]"#).unwrap_err();
    assert_eq!(body_of(&refusal), json!({"message": "requirement failed: App Update must have app id set"}));
    let refusal =
        api_marathon::AppUpdate::parse_all(br#"[{"id": 1}, {"id": "/b", "cpus": "x"}]"#).unwrap_err();
    let body = body_of(&refusal);
    let paths: Vec<&Value> = body["details"].as_array().unwrap().iter().map(|d| &d["path"]).collect();
    assert_eq!(paths, [&json!("(0)/id"), &json!("(1)/cpus")]);
}
