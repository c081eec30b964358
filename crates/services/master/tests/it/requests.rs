//! Requests that are refused, and the order in which that is decided.

use crate::fixture::{start, start_with};
use crate::raw::{exchange, get, post};
use crate::scheduler::{SUBSCRIBE, Scheduler};

const SCHEDULER: &str = "/api/v1/scheduler";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const WANTS_JSON: (&str, &str) = ("Accept", "application/json");
const HEALTH: &str = r#"{"type":"GET_HEALTH"}"#;
const HEALTHY: &str = r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#;

const NEITHER: &str = "Expecting 'Content-Type' of application/json or application/x-protobuf";
const NO_ACCEPT: &str = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";

#[tokio::test]
async fn mp29_bad_calls_get_the_answers_of_mesos() {
    let master = start().await;
    let check =
        async |method: &str, path: &str, headers: &[(&str, &str)], body: &str, status: u16, text: &str| {
            let reply = exchange(master.address, method, path, headers, body.as_bytes()).await;
            let what = format!("{method} {path} {headers:?} {body}");
            assert_eq!((reply.status, &*reply.body), (status, text), "{what}");
            if !text.is_empty() && status != 200 {
                assert_eq!(reply.header("Content-Type"), Some("text/plain; charset=utf-8"), "{what}");
            }
            reply
        };
    let not_get = "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.";
    for path in [SCHEDULER, "/api/v1", "/master/api/v1", "/master/teardown", "/teardown"] {
        let reply = check("GET", path, &[], "", 405, not_get).await;
        assert_eq!(reply.header("Allow"), Some("POST"));
    }
    let not_put = "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'PUT'.";
    check("PUT", "/api/v1", &[], "", 405, not_put).await;

    // The form of a request.
    let form = async |path: &str, headers: &[(&str, &str)], body: &str, status: u16, text: &str| {
        check("POST", path, headers, body, status, text).await;
    };
    for path in [SCHEDULER, "/api/v1"] {
        form(path, &[WANTS_JSON], SUBSCRIBE, 400, "Expecting 'Content-Type' to be present").await;
        for kind in ["text/plain", "application/json; charset=utf-8", "Application/JSON"] {
            form(path, &[("Content-Type", kind), WANTS_JSON], SUBSCRIBE, 415, NEITHER).await;
        }
        let protobuf = [("Content-Type", "application/x-protobuf"), WANTS_JSON];
        form(path, &protobuf, "\u{7f}\u{7f}", 400, "Failed to parse body into Call protobuf").await;
    }
    let json = [JSON, WANTS_JSON];
    let syntax = "Failed to parse body into JSON: syntax error at line 1 near: ";
    form(SCHEDULER, &json, "{not json", 400, &format!("{syntax}not json")).await;
    form(SCHEDULER, &json, "", 400, syntax).await;
    form("/api/v1", &json, "{nope", 400, &format!("{syntax}nope")).await;
    let refused = |what: &str| format!("Failed to validate scheduler::Call: {what}");
    let missing = |name: &str| refused(&format!("Expecting '{name}' to be present"));
    form(SCHEDULER, &json, r#"{"foo":1}"#, 400, &missing("type")).await;
    form(SCHEDULER, &json, r#"{"type":"NOPE"}"#, 400, &missing("type")).await;
    form(SCHEDULER, &json, r#"{"type":"SUBSCRIBE"}"#, 400, &missing("subscribe")).await;
    form(SCHEDULER, &json, r#"{"type":"REVIVE"}"#, 400, &missing("framework_id")).await;
    for (call, name) in [("ACCEPT", "accept"), ("DECLINE", "decline"), ("KILL", "kill")] {
        let body = format!(r#"{{"type":"{call}","framework_id":{{"value":"nope"}}}}"#);
        form(SCHEDULER, &json, &body, 400, &missing(name)).await;
    }
    for body in [r#"{}"#, r#"{"type":"NOPE"}"#, r#"{"type":"get_health"}"#] {
        let text = "Failed to validate master::Call: Expecting 'type' to be present";
        form("/api/v1", &json, body, 400, text).await;
    }
    let text = "Failed to validate master::Call: Expecting 'get_metrics' to be present";
    form("/api/v1", &json, r#"{"type":"GET_METRICS"}"#, 400, text).await;

    // What the answer may be.
    form(SCHEDULER, &[JSON, ("Accept", "text/html")], SUBSCRIBE, 406, NO_ACCEPT).await;
    form("/api/v1", &[JSON, ("Accept", "text/html")], HEALTH, 406, NO_ACCEPT).await;
    let recordio = [JSON, ("Accept", "application/recordio"), ("Message-Accept", "application/json")];
    form("/api/v1", &recordio, r#"{"type":"SUBSCRIBE"}"#, 406, NO_ACCEPT).await;
    for accept in ["*/*", "application/x-protobuf;q=0.1, application/json;q=0.9", "application/*"] {
        form("/api/v1", &[JSON, ("Accept", accept)], HEALTH, 200, HEALTHY).await;
    }
    form("/api/v1", &[JSON], HEALTH, 200, HEALTHY).await;

    // What the core looks at.
    let id = ("Mesos-Stream-Id", "265b3198-44fd-4e27-aba1-27dc5a75c227");
    let text = "Subscribe calls should not include the 'Mesos-Stream-Id' header";
    form(SCHEDULER, &[JSON, WANTS_JSON, id], SUBSCRIBE, 400, text).await;
    let revive = r#"{"type":"REVIVE","framework_id":{"value":"nope"}}"#;
    form(SCHEDULER, &json, revive, 400, "Framework cannot be found").await;
    form(SCHEDULER, &[JSON, WANTS_JSON, id], revive, 400, "Framework cannot be found").await;
    let teardown = r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"nope"}}}"#;
    form("/api/v1", &json, teardown, 400, "No framework found with specified ID").await;
    form("/teardown", &[], "frameworkId=nope", 400, "No framework found with specified ID").await;
    form("/teardown", &[], "", 400, "Missing 'frameworkId' query parameter in the request body").await;
    let text = "Unable to decode query string: Malformed % escape in '%': '%'";
    form("/teardown", &[], "frameworkId=%", 400, text).await;

    // What Mesos has and this master does not.
    let text = "This master does not implement GET_QUOTA";
    form("/api/v1", &json, r#"{"type":"GET_QUOTA"}"#, 501, text).await;
    form("/api/v1", &json, r#"{"type":"UNKNOWN"}"#, 501, "").await;
    check("GET", "/nope", &[], "", 404, "404 Not Found.").await;
    check("GET", "/master/nope", &[], "", 404, "404 Not Found.").await;
    check("GET", "/redirect/redirect", &[], "", 404, "404 Not Found.").await;
}

#[tokio::test]
async fn mp02_calls_of_a_framework_are_checked_in_the_order_of_mesos() {
    let master = start().await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    let id = scheduler.framework_id.clone();
    let revive = format!(r#"{{"type":"REVIVE","framework_id":{{"value":"{id}"}}}}"#);
    let check = async |stream_id: Option<&str>, status: u16, text: &str| {
        let mut headers = vec![JSON, WANTS_JSON];
        headers.extend(stream_id.map(|id| ("Mesos-Stream-Id", id)));
        let reply = exchange(master.address, "POST", SCHEDULER, &headers, revive.as_bytes()).await;
        assert_eq!((reply.status, &*reply.body), (status, text), "{stream_id:?}");
    };
    check(None, 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header").await;
    for wrong in ["zzz", "08bc69a9-a207-46dc-b5eb-ced3fa12e02d"] {
        let text = format!(
            "The stream ID '{wrong}' included in this request didn't match the stream ID currently \
             associated with framework ID {id}"
        );
        check(Some(wrong), 400, &text).await;
    }
    let stream_id = scheduler.stream_id.clone();
    check(Some(&stream_id), 202, "").await;
    scheduler.disconnect();
    // A framework without failover timeout is gone with its stream.
    master.until("/frameworks", |found| found["frameworks"].as_array().unwrap().is_empty()).await;
    check(Some(&stream_id), 400, "Framework cannot be found").await;
}

#[tokio::test]
async fn requests_of_foreign_pages_are_refused() {
    let master = start_with(|config| config.home_domains = vec!["mesos".to_owned()]).await;
    let check = async |headers: &[(&str, &str)], status: u16| {
        let reply = exchange(master.address, "GET", "/health", headers, b"").await;
        assert_eq!(reply.status, status, "{headers:?}");
    };
    check(&[], 200).await;
    check(&[("Host", "localhost:5050")], 200).await;
    check(&[("Host", "leader.mesos:5050")], 200).await;
    check(&[("Host", "rebound.example")], 403).await;
    check(&[("Origin", "http://localhost:8000")], 200).await;
    check(&[("Origin", "http://foreign.example")], 403).await;
    check(&[("Origin", "null")], 403).await;
}

#[tokio::test]
async fn the_longest_handled_prefix_answers() {
    let master = start().await;
    for path in ["/api/v1", "/api/v1/", "/api/v1/operator", "/master/api/v1", "/master/api/v1/x/y"] {
        let reply = post(master.address, path, HEALTH).await;
        assert_eq!((reply.status, &*reply.body), (200, HEALTHY), "{path}");
    }
    for path in ["/health", "/master/health", "/health/x"] {
        let reply = get(master.address, path).await;
        assert_eq!((reply.status, &*reply.body), (200, ""), "{path}");
    }
    let reply = get(master.address, "/redirect").await;
    let location = format!("//{}", master.address);
    assert_eq!((reply.status, reply.header("Location")), (307, Some(&*location)));
}
