//! Groups: what a body makes of the apps that there are.

use std::sync::Arc;

use api_marathon::{ApiError, AppDefinition, AppId, GroupChange, GroupContext, GroupUpdate};
use serde_json::{Value, json};

use crate::{NOW, body_of, post, settings};

fn app(id: &str) -> Arc<AppDefinition> {
    let body = json!({"id": id, "cmd": "run", "instances": 3});
    Arc::new(post(&body.to_string()).expect("a good app"))
}

/// What `body` makes of the group of this URL, with these apps there.
fn change(url: &str, body: Value, there: &[&str]) -> Result<GroupChange, ApiError> {
    let apps: Vec<_> = there.iter().map(|id| app(id)).collect();
    let update = GroupUpdate::parse(body.to_string().as_bytes())?;
    let id = update.id(&AppId::new(url));
    update.resolve(&id, GroupContext { apps: &apps, settings: &settings(), now: NOW })
}

fn check(url: &str, body: Value, there: &[&str], apps: &[&str], gone: &[&str]) {
    let found = change(url, body.clone(), there).unwrap_or_else(|error| panic!("{body}: {error}"));
    let found_apps: Vec<&str> = found.apps.iter().map(|app| app.id.as_str()).collect();
    let found_gone: Vec<&str> = found.gone.iter().map(AppId::as_str).collect();
    assert_eq!((found_apps, found_gone), (apps.to_vec(), gone.to_vec()), "{body}");
}

#[test]
fn apps_of_groups_of_groups() {
    let run = |id: &str| json!({"id": id, "cmd": "run"});
    let shop = json!({
        "id": "/shop", "apps": [run("web"), run("/shop/cart")],
        "groups": [{"id": "db", "apps": [run("main")], "groups": [{"id": "/shop/db/old", "apps": [run("copy")]}]}]
    });
    check("/", shop.clone(), &[], &["/shop/web", "/shop/cart", "/shop/db/main", "/shop/db/old/copy"], &[]);
    // What is named replaces; what is not, stays.
    let there = ["/shop/web", "/shop/gone", "/shop/db/gone", "/shop/other/gone", "/else"];
    check(
        "/",
        shop,
        &there,
        &["/shop/web", "/shop/cart", "/shop/db/main", "/shop/db/old/copy"],
        &["/shop/db/gone", "/shop/gone", "/shop/other/gone"],
    );
    check("/shop", json!({"apps": [run("web")]}), &there, &["/shop/web"], &["/shop/gone"]);
    check("/shop", json!({"groups": []}), &there, &[], &["/shop/db/gone", "/shop/other/gone"]);
    check("/shop", json!({}), &there, &[], &[]);
    check("/shop", json!({"pods": [], "enforceRole": false}), &there, &[], &[]);
}

#[test]
fn dependencies_of_a_group_are_those_of_its_apps() {
    let body = json!({
        "id": "/shop", "dependencies": ["/base"],
        "groups": [{"id": "web", "dependencies": ["db"], "apps": [{"id": "ui", "cmd": "run", "dependencies": ["/x"]}]}]
    });
    let found = change("/", body, &[]).unwrap();
    let on: Vec<&str> = found.apps[0].dependencies.iter().map(AppId::as_str).collect();
    assert_eq!(on, ["/base", "/shop/db", "/x"]);
}

#[test]
fn groups_are_scaled() {
    let found = change("/shop", json!({"scaleBy": 1.5}), &["/shop/a", "/shop/b/c", "/d"]).unwrap();
    let scaled: Vec<(&str, u32)> = found.apps.iter().map(|app| (app.id.as_str(), app.instances)).collect();
    assert_eq!(scaled, [("/shop/a", 5), ("/shop/b/c", 5)]);
    let error = change("/shop", json!({"scaleBy": 2, "apps": []}), &["/shop/a"]).unwrap_err();
    assert_eq!(
        (error.status, error.body.message.as_str()),
        (422, "The 'scaleBy' field may not be combined with other fields.")
    );
    assert_eq!(change("/shop", json!({"scaleBy": 90_000}), &["/shop/a"]).unwrap_err().status, 422);
}

#[test]
fn what_a_group_makes_of_its_apps_is_checked_again() {
    let fails = |found: Result<GroupChange, ApiError>, path: &str, text: &str| {
        let error = found.unwrap_err();
        let detail = body_of(&error)["details"][0].clone();
        assert_eq!((error.status, &detail["path"]), (422, &json!(path)), "{error}");
        assert!(detail["errors"][0].as_str().unwrap().contains(text), "{detail}");
    };
    let many: Vec<String> = (0..5000).map(|number| format!("/a-rather-long-name-{number}")).collect();
    let body = json!({"dependencies": many, "apps": [{"id": "web", "cmd": "run"}]});
    fails(change("/shop", body, &[]), "/apps(0)", "the definition is too large");

    let single = json!({
        "id": "/shop/one", "cmd": "run", "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"},
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
    });
    let apps = [Arc::new(post(&single.to_string()).unwrap())];
    let context = GroupContext { apps: &apps, settings: &settings(), now: NOW };
    let scaled = GroupUpdate::parse(br#"{"scaleBy": 2}"#).unwrap().resolve(&AppId::new("/shop"), context);
    fails(scaled, "/shop/one", "Single instance app may only have one instance");
}

#[test]
fn problems_are_told_at_their_place() {
    let check = |body: Value, message: &str, expected: Value| {
        let error = change("/shop", body.clone(), &[]).expect_err(&body.to_string());
        let found = body_of(&error);
        let details = found["details"].as_array().expect("details").iter();
        let details: Vec<Value> = details.map(|detail| json!([detail["path"], detail["errors"]])).collect();
        assert_eq!(
            (error.status, &found["message"], json!(details)),
            (422, &json!(message), expected),
            "{body}"
        );
    };
    check(
        json!({"apps": [{"id": "a", "cpus": "x"}]}),
        "Invalid JSON",
        json!([["/apps(0)/cpus", ["error.expected.jsnumber"]]]),
    );
    check(
        json!({"groups": [{"id": "g", "apps": [7]}], "scaleBy": -1, "pods": [{}], "version": "2016-12-01T10:15:30.123Z"}),
        "Invalid JSON",
        json!([
            ["/groups(0)/apps(0)", ["error.expected.jsobject"]],
            ["/scaleBy", ["error.min"]],
            ["/pods", ["pods are not supported yet; supported is an empty list"]],
            ["/version", ["groups have no versions; supported is going back to a version of each app"]]
        ]),
    );
    check(
        json!({"apps": [{"cmd": "run"}, {"id": "/else/b", "cmd": "run"}], "groups": [{"id": "g", "apps": [{"id": "c"}]}]}),
        "Object is not valid",
        json!([
            ["/apps(0)/id", ["error.path.missing"]],
            ["/apps(1)/id", ["Identifier is not child of '/shop'. Hint: use relative paths."]],
            [
                "/groups(0)/apps(0)",
                ["AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."]
            ]
        ]),
    );
    check(
        json!({"apps": [{"id": "a", "cmd": "run"}, {"id": "a", "cmd": "walk"}], "groups": [{"id": "/else"}]}),
        "Object is not valid",
        json!([["/groups(0)/id", ["Identifier is not child of '/shop'"]], ["/", ["apps must be unique"]]]),
    );
    let deep = (0..40).fold(json!({}), |inner, _| json!({"id": "g", "groups": [inner]}));
    assert_eq!(change("/", deep, &[]).unwrap_err().status, 422);
}
