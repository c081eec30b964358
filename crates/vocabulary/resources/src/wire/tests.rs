use super::*;

fn json(text: &str) -> Result<Resources, String> {
    Resources::from_json(text).map_err(|error| match error {
        ResourcesJsonError::Decode(_) => "no JSON list".to_owned(),
        ResourcesJsonError::Invalid(error) => error.to_string(),
    })
}

fn written(resources: &Resources, form: WireForm) -> String {
    let list: Vec<_> = resources.to_wire(form).iter().map(mesos_proto::json::to_json).collect();
    list.join(",")
}

#[test]
fn both_forms_of_reservation_are_the_same_resource() {
    let check = |one: &str, other: &str| assert_eq!(json(one), json(other));
    let scalar = r#""name":"cpus","type":"SCALAR","scalar":{"value":1}"#;
    check(
        &format!(r#"[{{{scalar},"role":"dev"}}]"#),
        &format!(r#"[{{{scalar},"reservations":[{{"type":"STATIC","role":"dev"}}]}}]"#),
    );
    check(
        &format!(r#"[{{{scalar},"role":"dev","reservation":{{"principal":"p"}}}}]"#),
        &format!(r#"[{{{scalar},"reservations":[{{"type":"DYNAMIC","role":"dev","principal":"p"}}]}}]"#),
    );
    check(
        &format!(r#"[{{{scalar},"role":"dev","reservations":[{{"type":"STATIC","role":"dev"}}]}}]"#),
        &format!(r#"[{{{scalar},"role":"dev"}}]"#),
    );
    check(&format!(r#"[{{{scalar},"role":"*"}}]"#), &format!("[{{{scalar}}}]"));
}

#[test]
fn writes_the_forms_of_the_transcripts() {
    let all = Resources::parse("cpus:4;mem(dev):32").unwrap();
    assert_eq!(
        written(&all, WireForm::Endpoint),
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*"},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"role":"dev","reservations":[{"type":"STATIC","role":"dev"}]}"#
    );
    assert_eq!(
        written(&all.allocated_to("dev"), WireForm::Refined),
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"allocation_info":{"role":"dev"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"allocation_info":{"role":"dev"},"reservations":[{"type":"STATIC","role":"dev"}]}"#
    );
    assert_eq!(
        written(&all, WireForm::Roles),
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*"},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"role":"dev"}"#
    );
}

#[test]
fn what_is_written_reads_back() {
    let text = r#"[
        {"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"STATIC","role":"a"},
          {"type":"DYNAMIC","role":"a/b","principal":"p","labels":{"labels":[{"key":"k"}]}}],
          "disk":{"persistence":{"id":"v1"},"volume":{"container_path":"data","mode":"RW"}},"shared":{}},
        {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":5,"end":9},{"begin":1,"end":4}]}},
        {"name":"zones","type":"SET","set":{"item":["b","a"]},"revocable":{},"provider_id":{"value":"rp"}}]"#;
    let all = json(text).unwrap();
    for form in [WireForm::Refined, WireForm::Roles, WireForm::Endpoint] {
        assert_eq!(Resources::from_wire(&all.to_wire(form)).as_ref(), Ok(&all), "{form:?}");
    }
    assert_eq!(
        all.to_string(),
        "ports:[1-9]; disk(reservations: [(STATIC,a),(DYNAMIC,a/b,p,{k})])[v1:data]<SHARED>:64; zones{REV}:{a, b}"
    );
    // A volume is only contained whole.
    let mut smaller = all.to_wire(WireForm::Refined);
    smaller[1].scalar = Some(value::Scalar { value: 32.0 });
    assert!(!all.contains(&Resources::from_wire(&smaller).unwrap()));
    assert!(all.contains(&all));
}

#[test]
fn refusals_read_as_in_mesos() {
    let check = |text: &str, said: &str| assert_eq!(json(text).unwrap_err(), said, "{text}");
    let cpus = |rest: &str| format!(r#"[{{"name":"cpus","type":"SCALAR",{rest}}}]"#);
    check(
        &cpus(r#""scalar":{"value":-1}"#),
        "Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0",
    );
    check(
        &cpus(r#""scalar":{"value":0.0001}"#),
        "Resource 'cpus:0.0001' is invalid: Invalid scalar resource: value <= 0",
    );
    check(
        &cpus(r#""scalar":{"value":1e30}"#),
        "Resource 'cpus:1000000000000000000000000000000' is invalid: Invalid scalar resource: value > 1000000000000",
    );
    check(&cpus(r#""set":{"item":[]}"#), "Resource 'cpus:{}' is invalid: Invalid scalar resource");
    let ranges =
        |list: &str| format!(r#"[{{"name":"ports","type":"RANGES","ranges":{{"range":[{list}]}}}}]"#);
    check(
        &ranges(r#"{"begin":2,"end":1}"#),
        "Resource 'ports:[2-1]' is invalid: Invalid ranges resource: begin > end",
    );
    check(
        &ranges(r#"{"begin":1,"end":3},{"begin":3,"end":4}"#),
        "Resource 'ports:[1-3, 3-4]' is invalid: Invalid ranges resource: overlapping ranges",
    );
    check(
        r#"[{"name":"z","type":"SET","set":{"item":["a","a"]}}]"#,
        "Resource 'z:{a, a}' is invalid: Invalid set resource: duplicated elements",
    );
    let one = r#""scalar":{"value":1}"#;
    check(
        &cpus(&format!(r#"{one},"reservation":{{}}"#)),
        "Resource 'cpus:1' is invalid: Invalid reservation: role \"*\" cannot be dynamically reserved",
    );
    check(
        &cpus(&format!(r#"{one},"reservations":[{{"type":"STATIC","role":"*"}}]"#)),
        "Resource 'cpus:1' is invalid: Invalid reservation: role \"*\" cannot be reserved",
    );
    check(
        &cpus(&format!(
            r#"{one},"reservations":[{{"type":"STATIC","role":"a"}},{{"type":"DYNAMIC","role":"b"}}]"#
        )),
        "Resource 'cpus:1' is invalid: Invalid refined reservation: role 'b' is not a refinement of 'a'",
    );
    check(
        &cpus(&format!(r#"{one},"role":"x","reservations":[{{"type":"STATIC","role":"a"}}]"#)),
        "Resource 'cpus:1' is invalid: Invalid resource format: 'Resource.role' field with 'x' does not match \
         the role 'a' in 'Resource.reservations'",
    );
    check(
        &cpus(&format!(r#"{one},"disk":{{}}"#)),
        "Resource 'cpus:1' is invalid: DiskInfo should not be set for cpus resource",
    );
    check(
        &cpus(&format!(r#"{one},"shared":{{}}"#)),
        "Resource 'cpus<SHARED>:1' is invalid: Resource cpus cannot be shared",
    );
    check("{}", "no JSON list");
}
