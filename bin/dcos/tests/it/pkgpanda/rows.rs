//! The rows of the feature list about host packages, one test each: by the command on the host, and through Admin
//! Router with a token.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{eventually, until};

use super::host::{Host, ids, names};
use super::package::Package;
use super::sets::{self, app, newer_app};

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl Host {
    /// [`Host::with`] the first set, Admin Router and the API behind it.
    fn with_api(name: &str) -> Option<Host> {
        let host = Host::with(name, None, &sets::first())?;
        host.write("/etc/token", TOKEN);
        host.sh("chmod 600 /etc/token");
        let unit = |arguments: &str| format!("[Service]\nExecStart=/usr/local/bin/dcos {arguments}\n");
        host.machine.start_unit("packages.service", &unit("pkgpanda-api"));
        let router = "admin-router --ip 127.0.0.1 --role master --token-file /etc/token";
        host.machine.start_unit("router.service", &unit(router));
        let mut last = (0, Value::Null);
        let answered = until(Duration::from_secs(30), || {
            last = host.ask("GET", "active/", None);
            (last.0 == 200).then_some(())
        });
        let failures = host.systemd().failures(&["packages.service", "router.service"]);
        assert!(answered.is_some(), "{last:?} {failures:#?}");
        Some(host)
    }

    /// Asks Admin Router for something below `/pkgpanda/`: the status, and the body as JSON.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.ask_with(&format!("token={TOKEN}"), method, path, body)
    }

    fn ask_with(&self, authorization: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let authorization = format!("Authorization: {authorization}");
        let url = format!("http://127.0.0.1/pkgpanda/{path}");
        let body = body.map(Value::to_string);
        let mut arguments = vec!["-sS", "--max-time", "60", "-w", "\n%{http_code}", "-X", method];
        arguments.extend(["-H", &authorization, "-H", "Content-Type: application/json", &url]);
        arguments.extend(body.iter().flat_map(|body| ["-d", body]));
        let output = self.machine.run("curl", &arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Asks, and wants an error in JSON; gives its text.
    #[track_caller]
    fn ask_refused(&self, status: u16, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.0, status, "{method} {path}: {answer:?}");
        assert!(answer.1["error"].is_string(), "{method} {path}: {answer:?}");
        answer.1
    }
}

#[test]
fn pk01_a_failed_activation_leaves_the_old_set() {
    let Some(host) = Host::with("pk01", None, &sets::first()) else { return };
    let old = host.visible();
    let clashing = Package::new("clashing--1").script("bin/app", "echo clash");
    let failing = Package::new("failing--1").script("check/fails", "echo not well; exit 1");
    host.add(&[clashing, failing, newer_app()]);
    let mut words = vec!["activate".to_owned()];
    words.extend(ids(&sets::first()));
    let with = |id: &'static str, option: Option<&'static str>| {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push(id);
        words.extend(option);
        host.run(&words)
    };
    let said = with("clashing--1", None).refused();
    assert!(said.contains("app--1") && said.contains("clashing--1") && said.contains("bin/app"), "{said}");
    assert_eq!(old.differences(&host.visible()), [""; 0]);
    let said = with("no-such--1", None).refused();
    assert!(said.contains("Package Error: no-such--1"), "{said}");
    assert_eq!(old.differences(&host.visible()), [""; 0]);
    let said = with("failing--1", Some("--rollback-on-failed-checks"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("Check failed: fails") && said.err.contains("active again"), "{said:?}");
    assert_eq!(old.differences(&host.visible()), [""; 0]);
    host.pkgpanda(&["swap", "app--2"]);
    assert_ne!(old, host.visible());
    host.pkgpanda(&["rollback"]);
    assert_eq!(old.differences(&host.visible()), [""; 0]);
    host.units_follow_links();
}

#[test]
fn pk02_every_command_has_its_output_and_exit_code() {
    let Some(host) = Host::with("pk02", None, &sets::first()) else { return };
    newer_app().pack(&host.path("/srv/repository"));
    let checked = Package::new("checked--1")
        .script("check/a", "echo a runs")
        .script("check/b", "exit 1")
        .file("check/c", "no program");
    checked.pack(&host.path("/srv/repository"));
    let check = |words: &str, code: i32, out: &str, err: &str| {
        let said = host.run(&words.split_whitespace().collect::<Vec<_>>());
        assert_eq!((said.code, said.out.as_str()), (Some(code), out), "{words}: {said:?}");
        assert!(said.err.contains(err) && said.err.is_empty() == err.is_empty(), "{words}: {said:?}");
    };
    let fetch = "fetch --repository-url=file:///srv/repository";
    let first = "app--1\nbase--1\ngone--1\nimage--1\nother--1\n";
    check("list", 0, first, "");
    check("active", 0, first, "");
    check(&format!("{fetch} app--2"), 0, "\rFetching: app--2\rFetched: app--2\n", "");
    check("list", 0, "app:\n  1\n  2\nbase--1\ngone--1\nimage--1\nother--1\n", "");
    check(&format!("{fetch} app--3"), 1, "\rFetching: app--3\n", "app--3");
    check("add /srv/repository/packages/checked/checked--1.tar.xz", 0, "", "");
    check("add /srv/nowhere--1.tar.xz", 1, "", "/srv/nowhere--1.tar.xz");
    check("activate checked--1 image--1", 1, "", "Validation Error: ");
    check("activate app--1 base--1 checked--1 gone--1 image--1 other--1", 0, "", "");
    check("check --list", 0, "checked--1\n - a\n - b\n", "WARNING: `c` is not executable");
    check("check", 1, "a runs\nCheck failed: b\n", "WARNING: `c` is not executable");
    check("swap app--2", 0, "", "");
    check("swap other--9", 1, "", "Package Error: other--9");
    check("swap nobody--1", 1, "", "No package with name nobody currently active to swap with.");
    check("remove app--2", 1, "", "Validation Error: Refusing to remove active package app--2");
    check("remove absent--1", 0, "\rRemoving: absent--1\n", "absent--1 is not in the repository");
    check("activate", 1, "", "Usage");
    check("no-such-command", 1, "", "Usage");
    let help = host.run(&["--help"]);
    assert!(help.code == Some(0) && help.out.contains("pkgpanda swap") && help.err.is_empty(), "{help:?}");
    let said = host.run(&["setup"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = host.run(&["uninstall"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    check(
        "active",
        1,
        "",
        "Install directory /opt/mesosphere has no active folder. Has it been bootstrapped?",
    );
    check("list", 0, "", "");
}

#[test]
fn pk03_the_repository_is_listed_and_its_packages_are_told() {
    let Some(host) = Host::with_api("pk03") else { return };
    let listed = (200, json!(["app--1", "base--1", "gone--1", "image--1", "other--1"]));
    assert_eq!(host.ask("GET", "repository/", None), listed);
    let package = json!({"id": "app--1", "name": "app", "version": "1"});
    assert_eq!(host.ask("GET", "repository/app--1", None), (200, package));
    host.ask_refused(404, "GET", "repository/app--2", None);
    host.ask_refused(404, "GET", "repository/no-id", None);
    host.write("/opt/mesosphere/packages/broken--1/pkginfo.json", "{");
    host.ask_refused(500, "GET", "repository/broken--1", None);
    // Only for those who are known.
    for authorization in ["token=of-nobody", "Basic YTpi"] {
        assert_eq!(host.ask_with(authorization, "GET", "repository/", None).0, 401, "{authorization}");
    }
}

#[test]
fn pk04_packages_are_fetched_by_request() {
    let Some(host) = Host::with_api("pk04") else { return };
    newer_app().pack(&host.path("/srv/repository"));
    host.write("/srv/repository/packages/broken/broken--1.tar.xz", "no tarball");
    let from = json!({"repository_url": "file:///srv/repository"});
    assert_eq!(host.ask("POST", "repository/app--2", Some(&from)), (204, Value::Null));
    assert_eq!(host.ask("GET", "repository/app--2", None).0, 200);
    // It is there: nothing is fetched.
    let nowhere = json!({"repository_url": "file:///srv/nowhere"});
    assert_eq!(host.ask("POST", "repository/app--2", Some(&nowhere)).0, 204);
    host.ask_refused(400, "POST", "repository/no-id", Some(&from));
    host.ask_refused(400, "POST", "repository/app--3", Some(&json!({})));
    host.ask_refused(400, "POST", "repository/app--3", Some(&json!([])));
    host.ask_refused(500, "POST", "repository/app--3", Some(&from));
    host.ask_refused(500, "POST", "repository/broken--1", Some(&from));
    assert_eq!(
        names(&host.path("/opt/mesosphere/packages")).iter().filter(|id| id.contains("broken")).count(),
        0
    );
}

#[test]
fn pk05_packages_are_removed_by_request_unless_they_are_active() {
    let Some(host) = Host::with_api("pk05") else { return };
    host.add(&[newer_app()]);
    assert_eq!(host.ask("DELETE", "repository/app--2", None), (204, Value::Null));
    assert!(!host.exists("/opt/mesosphere/packages/app--2"));
    host.ask_refused(404, "DELETE", "repository/app--2", None);
    host.ask_refused(404, "DELETE", "repository/no-id", None);
    let said = host.ask_refused(409, "DELETE", "repository/app--1", None);
    assert!(said["error"].as_str().unwrap().contains("app--1"), "{said}");
    assert!(host.exists("/opt/mesosphere/packages/app--1/bin/app"));
}

#[test]
fn pk06_the_active_set_is_told_and_put_by_request() {
    let Some(host) = Host::with_api("pk06") else { return };
    host.add(&sets::second());
    host.add(&[Package::new("clashing--1").script("bin/app", "echo clash")]);
    assert_eq!(host.ask("GET", "active/", None), (200, json!(ids(&sets::first()))));
    let package = json!({"id": "app--1", "name": "app", "version": "1"});
    assert_eq!(host.ask("GET", "active/app--1", None), (200, package));
    for absent in ["active/app--2", "active/app--3", "active/no-id"] {
        host.ask_refused(404, "GET", absent, None);
    }
    let before = host.visible();
    host.ask_refused(400, "PUT", "active/", Some(&json!({"ids": []})));
    let said = host.ask_refused(409, "PUT", "active/", Some(&json!(["z--1", "app--1", "b--1"])));
    assert_eq!(said["missing_packages"], json!(["b--1", "z--1"]));
    host.ask_refused(409, "PUT", "active/", Some(&json!(["app--1"])));
    host.ask_refused(409, "PUT", "active/", Some(&json!(["app--1", "base--1", "clashing--1"])));
    assert_eq!(before.differences(&host.visible()), [""; 0]);
    assert_eq!(host.ask("PUT", "active/", Some(&json!(ids(&sets::second())))), (204, Value::Null));
    assert_eq!(host.ask("GET", "active/", None), (200, json!(ids(&sets::second()))));
    assert_eq!(host.active(), ids(&sets::second()));
    host.units_follow_links();
}

#[test]
fn pk07_the_buildinfo_of_what_is_active_is_served() {
    let Some(host) = Host::with_api("pk07") else { return };
    let served = |id: &str| json!({"name": "app", "package_version": id});
    let (status, info) = host.ask("GET", "active.buildinfo.full.json", None);
    assert_eq!((status, &info["app"]), (200, &served("app--1")), "{info}");
    let names: Vec<&String> = info.as_object().unwrap().keys().collect();
    assert_eq!(names, ["app", "base", "gone", "image", "other"]);
    host.add(&[newer_app()]);
    host.pkgpanda(&["swap", "app--2"]);
    assert_eq!(host.ask("GET", "active.buildinfo.full.json", None).1["app"], served("app--2"));
    assert_eq!(host.ask_with("token=of-nobody", "GET", "active.buildinfo.full.json", None).0, 401);
}

#[test]
fn pk08_packages_get_their_users_state_directories_and_sysctl_settings() {
    let Some(host) = Host::with_api("pk08") else { return };
    host.sh("groupadd --system dcos_rows");
    let package = Package::new("rows--1")
        .info("state_directory", json!(true))
        .info("username", json!("dcos_rows_user"))
        .info("group", json!("dcos_rows"))
        .info("sysctl", json!({"dcos-rows": {"vm.swappiness": 10}, "of-nobody": {"vm.dirty_ratio": 20}}))
        .unit("dcos-rows.service", "[Service]\nUser=dcos_rows_user\nRestart=always\nExecStart=/bin/sh -c 'id -nu > /var/lib/dcos/rows/user; exec sleep 86400'\n");
    host.add(std::slice::from_ref(&package));
    let mut packages = sets::first();
    packages.push(package);
    assert_eq!(host.ask("PUT", "active/", Some(&json!(ids(&packages)))), (204, Value::Null));
    let user = eventually("the service runs as its user", || {
        std::fs::read_to_string(host.path("/var/lib/dcos/rows/user")).ok().filter(|user| user.ends_with('\n'))
    });
    assert_eq!(user, "dcos_rows_user\n");
    assert_eq!(
        host.sh("stat -c %U:%a /var/lib/dcos/rows; id -ng dcos_rows_user"),
        "dcos_rows_user:755\ndcos_rows"
    );
    let line = host.sh("getent passwd dcos_rows_user");
    assert!(line.ends_with(":DCOS System User:/opt/mesosphere:/sbin/nologin"), "{line}");
    let settings = host.sh("cat /opt/mesosphere/etc/dcos-service-configuration.json");
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings, json!({"sysctl": {"dcos-rows": {"vm.swappiness": 10}}}));
    // What has state keeps it while it is not active.
    assert_eq!(host.ask("PUT", "active/", Some(&json!(ids(&sets::first())))).0, 204);
    assert!(host.exists("/var/lib/dcos/rows/user"));
    // And on a host that makes no users, that is said before anything changes.
    host.write("/etc/mesosphere/manual_host_users", "");
    host.add(&[app(), Package::new("other_user--1").info("username", json!("dcos_nobody"))]);
    let said = host.ask_refused(409, "PUT", "active/", Some(&json!(["other_user--1"])));
    assert!(said["error"].as_str().unwrap().contains("dcos_nobody"), "{said}");
    assert_eq!(host.active(), ids(&sets::first()));
}
