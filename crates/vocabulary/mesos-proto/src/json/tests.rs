use proptest::prelude::*;

use super::*;
use crate::v1::{self, scheduler};

fn refused<T: prost::Message + Name + Default + std::fmt::Debug>(text: &str) -> String {
    from_json::<T>(text.as_bytes()).unwrap_err().to_string()
}

/// Reads, writes, and compares with the same text.
fn same<T: prost::Message + Name + Default>(text: &str) {
    let message: T = from_json(text.as_bytes()).unwrap();
    assert_eq!(to_json(&message), text);
}

#[test]
fn a_call_reads_as_mesos_reads_it() {
    let call: scheduler::Call = from_json(
        br#"{"framework_id":{"value":"f"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"o1"},{"value":"o2"}],
            "operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"n","task_id":{"value":"t"},
            "agent_id":{"value":"a"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5}},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31001}]}}],
            "command":{"value":"sleep 1","shell":true},"data":"aGk=","unknown":{"deep":[1]}}]}}],
            "filters":{"refuse_seconds":5}},"nonsense":null}"#,
    )
    .unwrap();
    assert_eq!(call.r#type(), scheduler::call::Type::Accept);
    let accept = call.accept.unwrap();
    assert_eq!(accept.offer_ids[1].value, "o2");
    assert_eq!(accept.filters.unwrap().refuse_seconds, Some(5.0));
    let task = &accept.operations[0].launch.as_ref().unwrap().task_infos[0];
    assert_eq!(task.resources[0].scalar.as_ref().unwrap().value, 0.5);
    assert_eq!(task.resources[1].ranges.as_ref().unwrap().range[0].end, 31001);
    assert_eq!(task.data.as_deref(), Some(&b"hi"[..]));
}

#[test]
fn an_event_is_written_as_mesos_writes_it() {
    let event = scheduler::Event {
        r#type: Some(scheduler::event::Type::Subscribed as i32),
        subscribed: Some(scheduler::event::Subscribed {
            framework_id: v1::FrameworkId { value: "a\"\\\u{1}\n/ü".into() },
            heartbeat_interval_seconds: Some(15.0),
            master_info: Some(v1::MasterInfo {
                id: "m".into(),
                ip: 16_777_343,
                port: 5050,
                ..Default::default()
            }),
        }),
        ..Default::default()
    };
    assert_eq!(
        to_json(&event),
        r#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"a\"\\\u0001\n/ü"},"heartbeat_interval_seconds":15.0,"master_info":{"id":"m","ip":16777343,"port":5050}}}"#
    );
}

#[test]
fn defaults_are_written_and_bytes_are_base64() {
    same::<v1::CommandInfo>(r#"{"uris":[{"value":"http://x/","extract":true}],"shell":true,"value":"x"}"#);
    same::<v1::TaskStatus>(
        r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","timestamp":1479999999.123,"uuid":"AAECAw=="}"#,
    );
    let command: v1::CommandInfo = from_json(b"{}").unwrap();
    assert_eq!(to_json(&command), r#"{"shell":true}"#);
}

#[test]
fn maps_are_objects() {
    let text = r#"{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"limits":{"cpus":{"value":2.0},"mem":{"value":"Infinity"}}}"#;
    let task: v1::TaskInfo = from_json(text.as_bytes()).unwrap();
    assert_eq!(task.limits["cpus"].value, 2.0);
    assert_eq!(task.limits["mem"].value, f64::INFINITY);
    assert_eq!(to_json(&task), text.replace("\"Infinity\"", "Infinity"));
}

#[test]
fn doubles_have_a_fraction_and_the_shortest_digits() {
    let check = |number: f64, text: &str| {
        let mut out = Vec::new();
        write_f64(number, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    };
    check(4.0, "4.0");
    check(0.1, "0.1");
    check(-0.0, "-0.0");
    check(1e20, "100000000000000000000.0");
    check(1e21, "1e21");
    check(1e-7, "1e-7");
    check(0.000001, "0.000001");
    check(1_479_999_999.123_456, "1479999999.123456");
}

#[test]
fn numbers_in_strings_and_null_are_taken() {
    let range: v1::value::Range = from_json(br#"{"begin":"7","end":9.9}"#).unwrap();
    assert_eq!((range.begin, range.end), (7, 9));
    let info: v1::FrameworkInfo =
        from_json(br#"{"user":"root","name":"x","checkpoint":"true","role":null}"#).unwrap();
    assert_eq!((info.checkpoint, info.role), (Some(true), None));
}

#[test]
fn an_unknown_name_of_an_optional_enum_is_not_set() {
    let call: scheduler::Call = from_json(br#"{"type":"NOPE"}"#).unwrap();
    assert_eq!(call.r#type, None);
    assert_eq!(refused::<v1::Resource>(r#"{"name":"cpus","type":"NOPE"}"#), "Failed to find enum for 'NOPE'");
}

#[test]
fn each_bad_input_has_its_text() {
    let check = |text: &str, error: &str| assert_eq!(refused::<scheduler::Call>(text), error, "{text}");
    check("{nope", "syntax error at line 1 near: nope");
    check("[]", "Expecting a JSON object");
    check("7", "Expecting a JSON object");
    check(r#"{"type":7}"#, "Not expecting a JSON number for field 'type'");
    check(r#"{"framework_id":"x"}"#, "Not expecting a JSON string for field 'framework_id'");
    check(r#"{"framework_id":[]}"#, "Not expecting a JSON array for field 'framework_id'");
    check(r#"{"framework_id":true}"#, "Not expecting a JSON boolean for field 'framework_id'");
    check(r#"{"type":{}}"#, "Not expecting a JSON object for field 'type'");
    check(r#"{"framework_id":{}}"#, "Missing required fields: framework_id.value");
    check(
        r#"{"accept":{"offer_ids":[{"value":"a"},{}]}}"#,
        "Missing required fields: accept.offer_ids[1].value",
    );
    check(
        r#"{"accept":{"filters":{"refuse_seconds":"soon"}}}"#,
        "Failed to parse 'soon' as a JSON number for field 'refuse_seconds'",
    );
    check(r#"{"acknowledge":{"uuid":"%%"}}"#, "Failed to base64 decode bytes field 'uuid'");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        strings in prop::collection::vec(any::<String>(), 0..4),
        number in any::<f64>().prop_filter("JSON has no NaN or infinity", |n| n.is_finite()),
        begin in any::<u64>(), data in any::<Vec<u8>>(),
    ) {
        let task = v1::TaskInfo {
            name: strings.concat(),
            data: Some(data),
            labels: Some(v1::Labels { labels: strings.into_iter().map(|key| v1::Label { key, value: None }).collect() }),
            resources: vec![v1::Resource {
                name: "x".into(),
                r#type: v1::value::Type::Ranges as i32,
                scalar: Some(v1::value::Scalar { value: number }),
                ranges: Some(v1::value::Ranges { range: vec![v1::value::Range { begin, end: u64::MAX }] }),
                ..Default::default()
            }],
            ..Default::default()
        };
        // Strings go through binary, which keeps them; the defaults of unset fields come out as set.
        let text = to_json(&task);
        prop_assert_eq!(to_json(&from_json::<v1::TaskInfo>(text.as_bytes()).unwrap()), text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<Vec<u8>>()) {
        let _ = from_json::<scheduler::Call>(&text);
        let _ = crate::binary::decode_checked::<scheduler::Call>(&text);
    }
}
