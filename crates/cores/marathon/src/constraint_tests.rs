use base::{AgentId, Wall};

use super::*;

fn placed(host: &str, rack: &str) -> Placement {
    Placement {
        agent_id: AgentId::from("a"),
        host: host.to_owned(),
        attributes: vec![("rack".to_owned(), rack.to_owned())],
        region: None,
        zone: None,
        ports: Vec::new(),
        staged_at: Wall(0),
        started_at: None,
        ip_addresses: Vec::new(),
        progress: None,
    }
}

fn offer(host: &str, rack: &str) -> Offer {
    let attribute = Attribute {
        name: "rack".to_owned(),
        r#type: value::Type::Text as i32,
        text: Some(value::Text { value: rack.to_owned() }),
        ..Attribute::default()
    };
    Offer { hostname: host.to_owned(), attributes: vec![attribute], ..Offer::default() }
}

/// Others are at (h1, r1), (h2, r1), (h3, r2); four instances are wanted. Lists on which of the offers (h1, r1),
/// (h4, r1), (h5, r2), (h6, r3) the constraint is met.
fn check(field: &str, operator: &str, value: Option<&str>, expect: &[&str]) {
    let others = [placed("h1", "r1"), placed("h2", "r1"), placed("h3", "r2")];
    let constraint = Constraint {
        field: field.to_owned(),
        operator: Operator::parse(operator).expect("an operator"),
        value: value.map(str::to_owned),
    };
    let offers = [offer("h1", "r1"), offer("h4", "r1"), offer("h5", "r2"), offer("h6", "r3")];
    let met: Vec<&str> = offers
        .iter()
        .filter(|offer| is_met(&constraint, offer, &others.iter().collect::<Vec<_>>(), 4))
        .map(|offer| &*offer.hostname)
        .collect();
    assert_eq!(met, expect, "{field} {operator} {value:?}");
}

#[test]
fn every_operator() {
    check("hostname", "UNIQUE", None, &["h4", "h5", "h6"]);
    check("@hostname", "UNIQUE", None, &["h4", "h5", "h6"]);
    check("rack", "UNIQUE", None, &["h6"]);
    check("rack", "CLUSTER", Some("r2"), &["h5"]);
    check("rack", "CLUSTER", None, &["h1", "h4"]);
    check("rack", "IS", Some("r3"), &["h6"]);
    check("rack", "LIKE", Some("r[12]"), &["h1", "h4", "h5"]);
    check("rack", "LIKE", Some("r"), &[]);
    check("rack", "LIKE", Some("("), &[]);
    check("rack", "UNLIKE", Some("r[12]"), &["h6"]);
    check("rack", "MAX_PER", Some("2"), &["h5", "h6"]);
    check("rack", "GROUP_BY", Some("2"), &["h5"]);
    check("rack", "GROUP_BY", Some("3"), &["h6"]);
    check("rack", "GROUP_BY", None, &["h5", "h6"]);
    check("none", "UNIQUE", None, &[]);
    check("none", "UNLIKE", Some("x"), &["h1", "h4", "h5", "h6"]);
}

#[test]
fn attributes_as_text() {
    let scalar = |value: f64| Attribute {
        name: "x".to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        ..Attribute::default()
    };
    assert_eq!(text(&scalar(10.0)), "10");
    assert_eq!(text(&scalar(1.5)), "1.5");
    assert_eq!(text(&scalar(0.0)), "0");
    assert_eq!(normal_number("10.50"), "10.5");
    assert_eq!(normal_number("ten"), "ten");
}
