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
