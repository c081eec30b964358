//! Definitions as `GET /v2/apps` shows them.

use api_marathon::{
    AppInfo, Constraint, Counts, Event, EventKind, Funnel, Identifiable, Operator, Protocol,
    UnreachableStrategy,
};
use base::Wall;
use std::sync::Arc;

use crate::{NOW, json, patch, post};

#[test]
fn an_app_of_one_line_gets_every_default() {
    let app = post(r#"{"id": "web", "cmd": "sleep 100"}"#).unwrap();
    let expected = concat!(
        r#"{"id":"/web","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,"#,
        r#""executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"#,
        r#""networks":[{"mode":"host"}],"portDefinitions":[{"port":0,"name":"default","protocol":"tcp"}],"#,
        r#""requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},"#,
        r#""version":"2016-12-01T10:15:30.123Z","killSelection":"YOUNGEST_FIRST","#,
        r#""unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"slave_public"}"#
    );
    assert_eq!(serde_json::to_string(&app).unwrap(), expected);
}

#[test]
fn a_full_app_is_shown_as_it_was_posted() {
    let body = r#"{
        "id": "/shop/cart", "acceptedResourceRoles": ["*"], "backoffFactor": 2, "backoffSeconds": 3,
        "cmd": "run", "constraints": [["hostname", "UNIQUE"], ["rack", "cluster", "r1"], ["hostname", "UNIQUE"]],
        "container": {"type": "MESOS", "volumes": []}, "cpus": 0.1, "dependencies": ["/shop/db"], "disk": 10,
        "env": {"A": "b"}, "executor": "//cmd", "fetch": [], "secrets": {},
        "healthChecks": [
            {"protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 5, "intervalSeconds": 1,
             "timeoutSeconds": 2, "maxConsecutiveFailures": 7, "port": null},
            {"protocol": "COMMAND", "command": {"value": "true"}}
        ],
        "instances": 3, "labels": {"l": "v"}, "maxLaunchDelaySeconds": 60, "mem": 32.5, "gpus": 0,
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 10001, "name": "http", "labels": {"VIP_0": "/cart:80"}}, {"protocol": "udp"}],
        "requirePorts": true, "taskKillGracePeriodSeconds": 9,
        "upgradeStrategy": {"maximumOverCapacity": 0.5, "minimumHealthCapacity": 0}, "user": "nobody",
        "killSelection": "oldest_first", "unreachableStrategy": "disabled", "tty": false, "role": "slave_public",
        "somethingUnknown": 1
    }"#;
    let app = post(body).unwrap();
    let expected = concat!(
        r#"{"id":"/shop/cart","acceptedResourceRoles":["*"],"backoffFactor":2.0,"backoffSeconds":3,"cmd":"run","#,
        r#""constraints":[["hostname","UNIQUE"],["rack","CLUSTER","r1"]],"container":{"type":"MESOS","volumes":[]},"#,
        r#""cpus":0.1,"dependencies":["/shop/db"],"disk":10.0,"env":{"A":"b"},"executor":"//cmd","healthChecks":["#,
        r#"{"gracePeriodSeconds":5,"ignoreHttp1xx":false,"intervalSeconds":1,"maxConsecutiveFailures":7,"#,
        r#""path":"/health","portIndex":0,"protocol":"HTTP","ipProtocol":"IPv4","timeoutSeconds":2,"delaySeconds":15},"#,
        r#"{"command":{"value":"true"},"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"#,
        r#""protocol":"COMMAND","ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15}],"#,
        r#""instances":3,"labels":{"l":"v"},"maxLaunchDelaySeconds":60,"mem":32.5,"gpus":0,"#,
        r#""networks":[{"mode":"host"}],"portDefinitions":[{"port":10001,"labels":{"VIP_0":"/cart:80"},"#,
        r#""name":"http","protocol":"tcp"},{"port":0,"protocol":"udp"}],"requirePorts":true,"#,
        r#""taskKillGracePeriodSeconds":9,"upgradeStrategy":{"maximumOverCapacity":0.5,"minimumHealthCapacity":0.0},"#,
        r#""user":"nobody","version":"2016-12-01T10:15:30.123Z","killSelection":"OLDEST_FIRST","#,
        r#""unreachableStrategy":"disabled","tty":false,"role":"slave_public"}"#
    );
    assert_eq!(serde_json::to_string(&app).unwrap(), expected);
    assert_eq!(app.health_checks[0].protocol, Protocol::Http);
    let unique = Constraint { field: "hostname".to_owned(), operator: Operator::Unique, value: None };
    assert_eq!(app.constraints[0], unique);
    assert_eq!(app.unreachable_strategy, UnreachableStrategy::Disabled);
}

#[test]
fn old_ports_become_port_definitions() {
    let app = post(r#"{"id": "/a", "cmd": "run", "ports": [0, 8080]}"#).unwrap();
    let ports = serde_json::to_value(&app.port_definitions).unwrap();
    assert_eq!(ports, json(r#"[{"port":0,"protocol":"tcp"},{"port":8080,"protocol":"tcp"}]"#));
    let none = |body: &str| assert_eq!(post(body).unwrap().port_definitions, Some(Vec::new()), "{body}");
    none(r#"{"id": "/a", "cmd": "run", "ports": []}"#);
    none(r#"{"id": "/a", "cmd": "run", "portDefinitions": []}"#);
    let both = r#"{"id": "/a", "cmd": "run", "ports": [7], "portDefinitions": [{"port": 7, "name": "x"}]}"#;
    assert_eq!(post(both).unwrap().ports().next().and_then(|port| port.name), Some("x"));
}

#[test]
fn a_health_check_without_a_port_means_the_first() {
    let index = |body: &str| post(body).unwrap().health_checks[0].port_index;
    assert_eq!(
        index(r#"{"id":"/a","cmd":"run","healthChecks":[{"protocol":"TCP"}]}"#),
        None,
        "the default port"
    );
    assert_eq!(index(r#"{"id":"/a","cmd":"run","portDefinitions":[{}],"healthChecks":[{}]}"#), Some(0));
    let app = post(r#"{"id":"/a","cmd":"run","healthChecks":[{"protocol":"TCP"}]}"#).unwrap();
    let scaled = patch(&app, r#"{"instances": 2}"#).unwrap();
    assert!(app.is_only_scale_change(&scaled), "scaling does not touch the checks");
    assert_eq!(index(r#"{"id":"/a","cmd":"run","portDefinitions":[{}],"healthChecks":[{"port":80}]}"#), None);
}

#[test]
fn a_patch_changes_what_it_names() {
    let app = post(r#"{"id": "/a", "cmd": "run", "env": {"A": "1", "B": "2"}, "instances": 2}"#).unwrap();
    let scaled = patch(&app, r#"{"instances": 5, "cmd": null}"#).unwrap();
    assert_eq!((scaled.instances, scaled.cmd.as_deref()), (5, Some("run")));
    assert!(app.is_only_scale_change(&scaled) && !app.is_upgrade(&scaled));
    let changed = patch(&app, r#"{"env": {"C": "3"}}"#).unwrap();
    assert_eq!(serde_json::to_value(&changed.env).unwrap(), json(r#"{"C":"3"}"#));
    assert!(app.is_upgrade(&changed) && !app.is_only_scale_change(&changed));
    assert_eq!(patch(&app, "{}").unwrap(), app);
    let update =
        api_marathon::AppUpdate::parse(br#"{"id":"/a","version":"2016-12-01T10:15:30.123Z"}"#).unwrap();
    assert_eq!(update.rollback_to(), Ok(Some(Wall::from_millis(NOW.as_millis()))));
}

#[test]
fn what_is_embedded_follows_the_definition() {
    let app = Arc::new(post(r#"{"id": "/a", "cmd": "run"}"#).unwrap());
    let info = AppInfo {
        app,
        counts: Some(Counts { tasks_staged: 1, tasks_running: 2, tasks_healthy: 3, tasks_unhealthy: 4 }),
        deployments: Some(vec![Identifiable { id: "d".to_owned() }]),
        tasks: None,
        last_task_failure: None,
        tasks_stats: None,
    };
    let text = serde_json::to_string(&info).unwrap();
    let tail = concat!(
        r#""role":"slave_public","tasksStaged":1,"tasksRunning":2,"tasksHealthy":3,"tasksUnhealthy":4,"#,
        r#""deployments":[{"id":"d"}]}"#
    );
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn events_hold_their_type_and_time() {
    let event = Event::new(
        EventKind::HealthStatusChanged {
            app_id: "/a".into(),
            instance_id: "a.instance-1".to_owned(),
            version: NOW,
            alive: true,
        },
        NOW,
    );
    let expected = concat!(
        r#"{"appId":"/a","instanceId":"a.instance-1","version":"2016-12-01T10:15:30.123Z","alive":true,"#,
        r#""eventType":"health_status_changed_event","timestamp":"2016-12-01T10:15:30.123Z"}"#
    );
    assert_eq!(serde_json::to_string(&event).unwrap(), expected);
    let event = Event::new(EventKind::SchedulerDisconnected {}, NOW);
    let expected = r#"{"eventType":"scheduler_disconnected_event","timestamp":"2016-12-01T10:15:30.123Z"}"#;
    assert_eq!(serde_json::to_string(&event).unwrap(), expected);
}

#[test]
fn a_funnel_narrows() {
    let funnel = Funnel::all(10, |reason| u64::from(reason == "InsufficientCpus") * 4);
    assert_eq!((funnel[4].reason, funnel[4].declined, funnel[4].processed), ("InsufficientCpus", 4, 10));
    assert_eq!((funnel[5].declined, funnel[5].processed), (0, 6));
}
