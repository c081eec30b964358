use std::collections::BTreeMap;

use base::{AgentId, FrameworkId};
use proptest::prelude::*;

use super::*;
use crate::state::{Agent, App, Framework, MesosState, Task};
use crate::table::Version;
use base::Auth;

fn site(role: Role, token: Option<&str>) -> Arc<Site> {
    Arc::new(Site {
        ip: [127, 0, 7, 1].into(),
        port: 80,
        role,
        version: Version {
            version: "3.0".into(),
            variant: "open".into(),
            image_commit: "abc".into(),
            bootstrap_id: String::new(),
        },
        cluster_id: "c-1".into(),
        auth: Auth::new(token.map(str::to_owned)),
    })
}

fn master(leader: &str) -> Role {
    Role::Master {
        mesos: format!("{leader}:5050").parse().unwrap(),
        marathon: format!("{leader}:8080").parse().unwrap(),
        agent_port: 61001,
    }
}

fn task(host: &str, ports: &[u16], state: &str, health: &[bool]) -> Task {
    Task { host: host.into(), ports: ports.into(), state: state.into(), health: health.into() }
}

fn app(id: &str, labels: &[(&str, &str)], health_checks: usize, tasks: &[Task]) -> App {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    App { id: id.into(), labels, health_checks, tasks: tasks.into() }
}

const NAME: &str = "DCOS_SERVICE_NAME";

fn mesos() -> MesosState {
    let agent = |ip: [u8; 4], hostname: &str| Agent { address: (ip, 5051).into(), hostname: hostname.into() };
    let framework = |name: &str, url: Option<&str>, connected| Framework {
        name: name.into(),
        webui_url: url.map(str::to_owned),
        connected,
    };
    MesosState {
        agents: BTreeMap::from([
            (AgentId::new("m-S0"), agent([127, 0, 7, 2], "127.0.7.2")),
            (AgentId::new("m-S1"), agent([127, 0, 7, 3], "node3")),
        ]),
        frameworks: BTreeMap::from([
            (FrameworkId::new("m-0000"), framework("marathon", Some("http://node3:1"), true)),
            (FrameworkId::new("m-0001"), framework("Spark Pi", Some("http://node3:4040/ui"), true)),
            (FrameworkId::new("m-0002"), framework("Spark Pi", Some("http://node3:4041"), false)),
            (FrameworkId::new("m-0003"), framework("quiet", None, true)),
            (FrameworkId::new("m-0004"), framework("tls", Some("https://127.0.7.2/"), true)),
            (FrameworkId::new("m-0005"), framework("away", Some("http://away.example"), true)),
            (FrameworkId::new("m-0006"), framework("bare", Some("http://[::1]"), true)),
            (FrameworkId::new("m-0007"), framework("web", Some("http://127.0.7.2:9"), true)),
        ]),
    }
}

fn apps() -> Vec<App> {
    let running = "TASK_RUNNING";
    vec![
        app(
            "/web",
            &[(NAME, "web")],
            0,
            &[
                task("node3", &[31002, 31003], running, &[]),
                task("127.0.7.2", &[31001], running, &[]),
                task("127.0.7.2", &[31009], "TASK_STAGING", &[]),
                task("127.0.7.2", &[31010], "TASK_KILLING", &[]),
            ],
        ),
        app(
            "/checked",
            &[(NAME, "/checked/"), ("DCOS_SERVICE_PORT_INDEX", "1"), ("DCOS_SERVICE_SCHEME", "http")],
            2,
            &[
                task("127.0.7.2", &[1, 2], running, &[true, true]),
                task("127.0.7.2", &[3, 4], running, &[true]),
                task("127.0.7.2", &[5, 6], running, &[true, false]),
            ],
        ),
        app("/sick", &[(NAME, "sick")], 1, &[task("127.0.7.2", &[1], running, &[false])]),
        app("/idle", &[(NAME, "idle")], 0, &[]),
        app("/tls", &[(NAME, "secure"), ("DCOS_SERVICE_SCHEME", "https")], 0, &[]),
        app("/index", &[(NAME, "index"), ("DCOS_SERVICE_PORT_INDEX", "-1")], 0, &[]),
        app(
            "/ports",
            &[(NAME, "ports"), ("DCOS_SERVICE_PORT_INDEX", "2")],
            0,
            &[task("127.0.7.2", &[1], running, &[])],
        ),
        app("/lost", &[(NAME, "lost")], 0, &[task("elsewhere", &[1], running, &[])]),
        app("/nested/a", &[(NAME, "a")], 0, &[task("127.0.7.2", &[100], running, &[])]),
        app("/nested/abc", &[(NAME, "a/b/c")], 0, &[task("127.0.7.2", &[300], running, &[])]),
        app(
            "/plain",
            &[(NAME, "plain"), ("DCOS_SERVICE_REWRITE_REQUEST_URLS", "false")],
            0,
            &[task("127.0.7.2", &[7], running, &[])],
        ),
        app("/green", &[(NAME, "color")], 0, &[task("127.0.7.2", &[8], running, &[])]),
        app("/blue", &[(NAME, "color")], 0, &[]),
        app("/unnamed", &[(NAME, "/")], 0, &[task("127.0.7.2", &[9], running, &[])]),
    ]
}

fn table() -> Table {
    Table::build(&site(master("127.0.7.1"), None), Some(&mesos()), Some(&apps()))
}

/// The decision in one line: `-> ADDRESSES PATH [PREFIX]`, `301 LOCATION`, or `STATUS BODY`.
fn line(decision: Decision) -> String {
    match decision {
        Decision::Forward(upstream) => {
            let addresses: Vec<_> = upstream.addresses.iter().map(ToString::to_string).collect();
            let prefix = upstream.prefix.unwrap_or("-".into());
            format!("-> {} {} {prefix}", addresses.join(","), upstream.path_and_query)
        }
        Decision::Packages { path_and_query } => format!("packages {path_and_query}"),
        Decision::ActivePackages => "active packages".to_owned(),
        Decision::Redirect { status, location } => format!("{status} {location}"),
        Decision::Answer(answer) => format!("{} {}", answer.status, answer.body.trim_end()),
        Decision::Unauthorized(answer) => format!("{} unauthorized", answer.status),
    }
}

fn get<'a>(target: &'a str) -> Head<'a> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Head { method: "GET", path, query, ..Head::default() }
}

fn check(table: &Table, target: &str, expect: &str) {
    assert_eq!(line(table.route(&get(target))), expect, "{target}");
}

#[test]
fn components() {
    let table = table();
    check(&table, "/mesos", "301 /mesos/");
    check(&table, "/mesos?a=b", "301 /mesos/?a=b");
    check(&table, "/mesos/", "-> 127.0.7.1:5050 / /mesos");
    check(&table, "/mesos/state?jsonp=x", "-> 127.0.7.1:5050 /state?jsonp=x /mesos");
    check(&table, "/marathon", "307 /marathon/");
    check(&table, "/marathon/v2/apps//a%2Fb?", "-> 127.0.7.1:8080 /v2/apps//a%2Fb? /marathon");
    check(&table, "/service/marathon", "301 /service/marathon/");
    check(&table, "/service/marathon/ping", "-> 127.0.7.1:8080 /ping /service/marathon");
    check(&table, "/agent/m-S1", "-> 127.0.7.3:5051 / /agent/m-S1");
    check(&table, "/slave/m-S0/slave(1)/state", "-> 127.0.7.2:5051 /slave(1)/state /slave/m-S0");
    check(&table, "/agent/m-S9/state", "404 404 Not Found: no agent has the id 'm-S9'");
    check(&table, "/agent/", "404 404 Not Found: no agent has the id ''");
    check(&table, "/metadata", r#"200 {"CLUSTER_ID":"c-1","PUBLIC_IPV4":"127.0.7.1"}"#);
    let version = r#"{"version":"3.0","dcos-variant":"open","dcos-image-commit":"abc","bootstrap-id":""}"#;
    check(&table, "/dcos-metadata/dcos-version.json", &format!("200 {version}"));
    check(
        &table,
        "/system/v1/agent/m-S1/dcos-metadata/dcos-version.json",
        "-> 127.0.7.3:61001 /dcos-metadata/dcos-version.json -",
    );
    for unknown in
        ["/x", "//mesos/", "/mesosphere/", "/service", "/service/", "/system/v1/agent/m-S1/x", "/metadata/x"]
    {
        let found = line(table.route(&get(unknown)));
        assert_eq!(found, format!("404 404 Not Found: no route leads to '{unknown}'; / lists the routes"));
    }
}

#[test]
fn services() {
    let table = table();
    check(&table, "/service/web", "301 /service/web/");
    check(&table, "/service/web?x", "301 /service/web/?x");
    check(&table, "/service/web/", "-> 127.0.7.2:31001,127.0.7.3:31002 / /service/web");
    check(&table, "/service/web/a%20b/?c", "-> 127.0.7.2:31001,127.0.7.3:31002 /a%20b/?c /service/web");
    check(&table, "/service/web//a", "-> 127.0.7.2:31001,127.0.7.3:31002 //a /service/web");
    check(&table, "/service/checked/x", "-> 127.0.7.2:2 /x /service/checked");
    check(&table, "/service/plain/x?y", "-> 127.0.7.2:7 /service/plain/x?y -");
    check(&table, "/service/color/", "-> 127.0.7.2:8 / /service/color");
    check(&table, "/service/a/b", "-> 127.0.7.2:100 /b /service/a");
    check(&table, "/service/a/b/", "-> 127.0.7.2:100 /b/ /service/a");
    check(&table, "/service/a/b/c", "301 /service/a/b/c/");
    check(&table, "/service/a/b/c/d", "-> 127.0.7.2:300 /d /service/a/b/c");
    check(&table, "/service/a%2Fb%2Fc/d", "-> 127.0.7.2:300 /d /service/a%2Fb%2Fc");
    check(&table, "/service/Spark%20Pi/jobs", "-> 127.0.7.3:4040 /jobs /service/Spark%20Pi");
    check(&table, "/service/m-0002/", "-> 127.0.7.3:4041 / /service/m-0002");
    check(&table, "/service/bare/", "-> [::1]:80 / /service/bare");
}

#[test]
fn services_that_cannot_be_reached_say_why() {
    let table = table();
    for (name, reason) in [
        ("sick", "app /sick: of its 1 running instances none is healthy"),
        ("idle", "app /idle: no instance of it is running"),
        ("secure", "label DCOS_SERVICE_SCHEME of app /tls is 'https': allowed is http"),
        (
            "index",
            "label DCOS_SERVICE_PORT_INDEX of app /index is '-1': allowed is the index of a port, 0 or more",
        ),
        ("ports", "app /ports: label DCOS_SERVICE_PORT_INDEX is 2, but its tasks have 1 ports"),
        ("lost", "app /lost: no agent has the name 'elsewhere'"),
        ("quiet", "the framework names no webui_url"),
        ("tls", "the scheme of its webui_url is 'https': allowed is http"),
        ("away", "the host 'away.example' in its webui_url is no agent and no address"),
    ] {
        let expect = format!("503 503 Service Unavailable: service '{name}' cannot be reached: {reason}");
        check(&table, &format!("/service/{name}/"), &expect);
    }
    let unknown =
        "404 404 Not Found: no app has the label DCOS_SERVICE_NAME=no, and no framework that name or id";
    check(&table, "/service/no/where", unknown);
}

#[test]
fn what_is_not_known_yet_is_not_missing() {
    let site = site(master("127.0.7.1"), None);
    let nothing = Table::build(&site, None, None);
    let text =
        "503 503 Service Unavailable: the services are not known yet: Mesos or Marathon has not told them";
    check(&nothing, "/service/web/", text);
    let text =
        "503 503 Service Unavailable: the agents are not known yet: the Mesos master has not told them";
    check(&nothing, "/agent/m-S0/", text);
    check(&nothing, "/marathon/ping", "-> 127.0.7.1:8080 /ping /marathon");
    let half = Table::build(&site, Some(&mesos()), None);
    check(&half, "/service/bare/", "-> [::1]:80 / /service/bare");
    assert!(line(half.route(&get("/service/web2/"))).starts_with("503 "));
}

#[test]
fn leaders() {
    let here = table();
    check(
        &here,
        "/system/v1/leader/mesos",
        "404 404 Not Found: no route leads to '/system/v1'; / lists the routes",
    );
    check(
        &here,
        "/system/v1/leader/mesos/agent/m-S0/dcos-metadata/dcos-version.json",
        "-> 127.0.7.2:61001 /dcos-metadata/dcos-version.json -",
    );
    let loops = "/system/v1/leader/mesos/leader/marathon/x";
    check(&here, loops, &format!("404 404 Not Found: no route leads to '{loops}'; / lists the routes"));
    let there = Table::build(&site(master("127.0.7.9"), None), None, None);
    check(&there, "/system/v1/leader/mesos/logs?x", "-> 127.0.7.9:80 /system/v1/logs?x -");
    check(&there, "/system/v1/leader/marathon", "-> 127.0.7.9:80 /system/v1 -");
}

#[test]
fn the_token_protects_all_but_the_front() {
    let table = Table::build(&site(master("127.0.7.1"), Some("t")), Some(&mesos()), Some(&apps()));
    let protected = [
        "/mesos/",
        "/marathon/",
        "/service/web/",
        "/service/no/",
        "/agent/m-S0/",
        "/slave/m-S0/",
        "/metadata",
    ];
    for path in protected.iter().chain(&["/system/v1/leader/mesos/x"]) {
        check(&table, path, "401 unauthorized");
        let head = Head { authorization: Some("token=t"), ..get(path) };
        assert!(!matches!(table.route(&head), Decision::Unauthorized(_)), "{path}");
    }
    for path in ["/mesos", "/marathon", "/", "/dcos-metadata/dcos-version.json"] {
        assert!(!matches!(table.route(&get(path)), Decision::Unauthorized(_)), "{path}");
    }
    let page = |head| line(table.route(&head));
    assert!(!page(get("/")).contains("/service/web/"));
    assert!(page(Head { authorization: Some("token=t"), ..get("/") }).contains("/service/web/"));
}

#[test]
fn the_front_page_is_what_the_client_reads() {
    let table = table();
    let page = |accept| match table.route(&Head { accept, ..get("/") }) {
        Decision::Answer(answer) => (answer.content_type, answer.body),
        other => panic!("{other:?}"),
    };
    let (content_type, html) = page(Some("text/html,*/*"));
    assert_eq!(content_type, "text/html;charset=utf-8");
    assert!(
        html.contains("<a href=\"/service/Spark%20Pi/\">") && html.contains("/agent/&lt;id&gt;/"),
        "{html}"
    );
    let (content_type, json) = page(Some("application/json"));
    assert_eq!(content_type, "application/json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["agents"][0], "/agent/m-S0/");
    let (_, text) = page(None);
    assert!(text.contains("/service/a/b/c/") && text.lines().all(|line| line.trim_end() == line), "{text}");
}

#[test]
fn what_is_wrong_with_a_request() {
    let table = table();
    for path in
        ["/service/web/../../mesos/", "/service/web/%2e%2E/x", "/mesos/.", "/agent/m-S0/..%2f", "/..%5c"]
    {
        let expect = format!("400 400 Bad Request: path '{path}': segments '.' and '..' are not allowed");
        check(&table, path, &expect);
    }
    check(&table, "/service/web/.../a.b/..c", "-> 127.0.7.2:31001,127.0.7.3:31002 /.../a.b/..c /service/web");
    for path in ["/", "/metadata", "/dcos-metadata/dcos-version.json"] {
        let found = line(table.route(&Head { method: "POST", ..get(path) }));
        assert_eq!(
            found,
            "405 405 Method Not Allowed: method POST is not allowed here: allowed are GET, HEAD"
        );
        assert!(line(table.route(&Head { method: "HEAD", ..get(path) })).starts_with("200 "));
    }
}

#[test]
fn an_agent_tells_its_version_only() {
    let table = Table::build(&site(Role::Agent, Some("t")), None, None);
    assert!(line(table.route(&get("/dcos-metadata/dcos-version.json"))).starts_with("200 "));
    for path in ["/mesos/", "/service/web/", "/metadata"] {
        check(&table, path, &format!("404 404 Not Found: no route leads to '{path}'; / lists the routes"));
    }
    let Decision::Answer(page) = table.route(&get("/")) else { panic!("no page") };
    assert_eq!(page.status, 200);
    assert!(page.body.contains("/dcos-metadata/dcos-version.json"), "{}", page.body);
    assert!(!page.body.contains("/mesos/"), "what only a master has: {}", page.body);
}

#[test]
fn packages_are_for_who_shows_a_token_on_masters_and_agents() {
    for role in [master("127.0.7.1"), Role::Agent] {
        let open = Table::build(&site(role.clone(), None), None, None);
        for path in ["/pkgpanda", "/pkgpanda/", "/pkgpanda/active/", "/pkgpanda/active.buildinfo.full.json"] {
            let found = line(open.route(&Head { authorization: Some("token=t"), ..get(path) }));
            assert!(found.starts_with("403 403 Forbidden: /pkgpanda/ changes what runs as root"), "{found}");
        }
        let table = Table::build(&site(role, Some("t")), None, None);
        for method in ["GET", "PUT", "DELETE"] {
            let asked =
                |path, token| line(table.route(&Head { authorization: Some(token), method, ..get(path) }));
            assert_eq!(asked("/pkgpanda/active/", "token=other"), "401 unauthorized");
            assert_eq!(asked("/pkgpanda/active/", "token=t"), "packages /active/");
            assert_eq!(
                asked("/pkgpanda/repository/a--1%2F?x=y", "token=t"),
                "packages /repository/a--1%2F?x=y"
            );
            assert_eq!(asked("/pkgpanda", "token=t"), "301 /pkgpanda/");
        }
        let path = "/pkgpanda/active.buildinfo.full.json";
        assert_eq!(line(table.route(&get(path))), "401 unauthorized");
        assert_eq!(
            line(table.route(&Head { authorization: Some("Bearer t"), ..get(path) })),
            "active packages"
        );
        let posted = table.route(&Head { authorization: Some("token=t"), method: "POST", ..get(path) });
        assert!(line(posted).starts_with("405 "));
    }
}

#[test]
fn redirects_of_upstreams_stay_behind_the_prefix() {
    let check = |target: &str, location: &str, expect: Option<&str>| {
        let Decision::Forward(upstream) = table().route(&get(target)) else { panic!("{target}") };
        let found = upstream.location(location, upstream.addresses[0], Some("dcos.example:8000"));
        assert_eq!(found.as_deref(), expect, "{target} {location}");
    };
    let web = "/service/web/x";
    check(web, "/login?to=%2F", Some("/service/web/login?to=%2F"));
    check(web, "http://127.0.7.2:31001/login", Some("/service/web/login"));
    check(web, "//127.0.7.2:31001/login", Some("/service/web/login"));
    check(web, "http://dcos.example:8000/login", Some("/service/web/login"));
    check(web, "http://127.0.7.2:31001", Some("/service/web/"));
    check(web, "http://127.0.7.2:31001?a", Some("/service/web/?a"));
    check(web, "/service/web/login", Some("/service/web/login"));
    check(web, "/service/website", Some("/service/web/service/website"));
    check(web, "login", None);
    check(web, "http://other.example/login", None);
    check(web, "https://127.0.7.2:31001/login", None);
    check("/service/plain/", "/login", None);
    check("/mesos/", "//127.0.7.1:5050/x", Some("/mesos/x"));
}

proptest! {
    #[test]
    fn the_longest_name_wins(
        names in prop::collection::btree_set("[ab](/[ab]){0,3}", 1..6),
        path in "[ab](/[ab]){0,4}/?",
    ) {
        let apps: Vec<App> = names.iter().zip(1..).map(|(name, port)| {
            app(&format!("/{name}"), &[(NAME, name)], 0, &[task("127.0.7.2", &[port], "TASK_RUNNING", &[])])
        }).collect();
        let table = Table::build(&site(master("127.0.7.1"), None), Some(&MesosState::default()), Some(&apps));
        let begins = |name: &&String| path == **name || path.starts_with(&format!("{name}/"));
        let expect = names.iter().filter(begins).max_by_key(|name| name.len());
        match (table.route(&get(&format!("/service/{path}"))), expect) {
            (Decision::Answer(answer), None) => prop_assert_eq!(answer.status, 404),
            (Decision::Redirect { location, .. }, Some(name)) => {
                prop_assert_eq!(&path, name);
                prop_assert_eq!(location, format!("/service/{name}/"));
            }
            (Decision::Forward(upstream), Some(name)) => {
                let port = names.iter().position(|other| other == name).unwrap() + 1;
                prop_assert_eq!(usize::from(upstream.addresses[0].port()), port);
                prop_assert_eq!(&upstream.path_and_query, &path[name.len()..]);
            }
            (found, expect) => prop_assert!(false, "{found:?}, wanted {expect:?}"),
        }
    }

    #[test]
    fn no_path_panics(path in "/[ -~]{0,30}", query in prop::option::of("[ -~]{0,5}")) {
        let head = Head { method: "GET", path: &path, query: query.as_deref(), ..Head::default() };
        let _ = table().route(&head);
    }
}
