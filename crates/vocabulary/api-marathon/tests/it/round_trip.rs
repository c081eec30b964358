//! What is shown can be kept, read back and posted again.

use api_marathon::AppDefinition;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{body_of, post};

fn app() -> impl Strategy<Value = Value> {
    let shape = (
        "(/[a-z0-9]{1,5}){1,3}",
        prop_oneof![Just(json!({"cmd": "run"})), Just(json!({"args": ["a", "b"]}))],
        0.001..1e6f64,
        0.0..1e6f64,
        0..1000u32,
        proptest::collection::btree_map("[A-Z_]{1,5}", ".{0,9}", 0..4),
        proptest::collection::btree_map("[ -~]{1,9}", "[ -~]{0,9}", 0..4),
        proptest::collection::btree_set(1..65535u16, 0..4),
        proptest::option::of(0.0..=1.0f64),
        proptest::option::of((0..100u64, 0..100u64)),
    );
    shape.prop_map(|(id, command, cpus, mem, instances, env, labels, ports, share, unreachable)| {
        let env: std::collections::BTreeMap<_, _> =
            env.into_iter().map(|(name, value)| (name, value.replace('\0', ""))).collect();
        let ports: Vec<Value> = ports.into_iter().map(|port| json!({ "port": port })).collect();
        let mut app = json!({
            "id": id, "cpus": cpus, "mem": mem, "instances": instances, "env": env, "labels": labels,
            "portDefinitions": ports,
        });
        for (name, value) in command.as_object().expect("an object above") {
            app[name] = value.clone();
        }
        if let Some(share) = share {
            app["upgradeStrategy"] = json!({"maximumOverCapacity": share, "minimumHealthCapacity": share});
        }
        if let Some((inactive, more)) = unreachable {
            app["unreachableStrategy"] =
                json!({"inactiveAfterSeconds": inactive, "expungeAfterSeconds": inactive + more});
        }
        app
    })
}

/// Ports of containers.
fn mappings() -> impl Strategy<Value = Value> {
    let mapping = (
        proptest::option::of(0..=65535u16),
        proptest::option::of(0..=65535u16),
        proptest::option::of("[a-z]{1,3}"),
        prop_oneof![Just("tcp"), Just("udp"), Just("udp,tcp")],
    );
    let mapping = mapping.prop_map(|(container, host, name, protocol)| {
        json!({"containerPort": container, "hostPort": host, "name": name, "protocol": protocol})
    });
    proptest::option::of(proptest::collection::vec(mapping, 0..4)).prop_map(|mappings| json!(mappings))
}

/// Containers and networks in every form, right or wrong.
fn contained() -> impl Strategy<Value = Value> {
    let shape = (
        prop_oneof![Just(json!(null)), Just(json!("MESOS")), Just(json!("DOCKER"))],
        proptest::option::of("[a-z:/.]{1,9}"),
        prop_oneof![
            Just(json!(null)),
            Just(json!("BRIDGE")),
            Just(json!("HOST")),
            Just(json!("NONE")),
            Just(json!("USER"))
        ],
        (mappings(), mappings()),
        prop_oneof![
            Just(json!(null)),
            Just(json!([])),
            Just(json!([{"mode": "host"}])),
            Just(json!([{"mode": "container/bridge"}])),
            Just(json!([{"name": "dcos"}])),
            Just(json!([{"mode": "host"}, {"mode": "container/bridge"}])),
        ],
        prop_oneof![
            Just(json!(null)),
            Just(json!({})),
            Just(json!({"networkName": "mesos-bridge"})),
            Just(
                json!({"networkName": "mesos-bridge", "discovery": {"ports": [{"name": "x", "number": 7}]}})
            ),
        ],
        proptest::option::of(proptest::collection::vec(0..3u16, 0..3)),
        (any::<bool>(), any::<bool>()),
        proptest::collection::vec("[a-z:/. %]{1,12}", 0..3),
    );
    shape.prop_map(|(engine, image, network, (old, new), networks, address, ports, (privileged, checked), uris)| {
        let docker = image.map(|image| {
            json!({"image": image, "network": network, "portMappings": old, "privileged": privileged})
        });
        let checks = if checked { json!([{"portIndex": 0}]) } else { json!([]) };
        json!({
            "id": "/a", "cmd": "run", "container": {"type": engine, "docker": docker, "portMappings": new},
            "networks": networks, "ipAddress": address, "ports": ports, "healthChecks": checks, "uris": uris,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn containers_become_canonical_at_once(body in contained()) {
        let app = match post(&body.to_string()) {
            Ok(app) => app,
            Err(error) => {
                prop_assert_eq!(error.status, 422);
                return Ok(());
            }
        };
        let text = serde_json::to_string(&app).unwrap();
        let read: AppDefinition = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &app);
        prop_assert_eq!(post(&text).unwrap(), app.clone(), "what is shown is canonical");
        // Ports are those of one of the two lists, which one says the network.
        let mappings = app.container.as_ref().is_some_and(|container| container.port_mappings.is_some());
        prop_assert_eq!(app.is_on_host_network(), app.port_definitions.is_some());
        prop_assert_eq!(app.is_on_host_network(), !mappings);
        prop_assert_eq!(crate::patch(&app, "{}").unwrap(), app, "a patch of nothing changes nothing");
    }
}

proptest! {
    #[test]
    fn what_is_kept_is_read_back_and_can_be_posted_again(body in app()) {
        let Ok(app) = post(&body.to_string()) else { return Ok(()) };
        let text = serde_json::to_string(&app).unwrap();
        let read: AppDefinition = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &app);
        prop_assert_eq!(post(&text).unwrap(), app);
    }

    #[test]
    fn no_body_is_too_bad_to_be_answered(body in ".{0,200}", name in "[a-zA-Z]{2,20}", value in ".{0,20}") {
        let _ = post(&body);
        let _ = post(&json!({"id": "/a", "cmd": "run", name: value}).to_string());
    }

    #[test]
    fn any_value_in_any_field_is_answered(
        name in prop_oneof![
            Just("id"), Just("args"), Just("constraints"), Just("container"), Just("env"), Just("healthChecks"),
            Just("networks"), Just("portDefinitions"), Just("unreachableStrategy"), Just("upgradeStrategy"),
        ],
        value in prop_oneof![
            Just(json!(null)), Just(json!([[[]]])), Just(json!([{}])), Just(json!({"a": {"b": []}})),
            Just(json!([null])), Just(json!(-1e308)), Just(json!("x")), Just(json!([["a", "b", "c", "d"]])),
        ],
    ) {
        let mut body = json!({"id": "/a", "cmd": "run"});
        body[name] = value;
        if let Err(error) = post(&body.to_string()) {
            prop_assert_eq!(error.status, 422);
            prop_assert!(body_of(&error)["details"].as_array().is_some_and(|details| !details.is_empty()));
        }
    }
}
