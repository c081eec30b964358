//! The packages of a node over HTTP: from Admin Router's port to the files of a root.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use testkit::{Response, eventually, own_subnet, request};

use crate::apps::DCOS;

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A component that ends with the test.
struct Component(Child);

impl Component {
    fn start(arguments: &[&str]) -> Component {
        let mut command = Command::new(DCOS);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Component(command.spawn().expect("the program is there"))
    }

    /// Asks it to end, and gives the exit code.
    fn end(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn package(dir: &Path, id: &str, contents: &str) {
    let bin = dir.join(id).join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(dir.join(id).join("pkginfo.json"), "{}").unwrap();
    fs::write(bin.join("tool"), contents).unwrap();
}

#[test]
fn an_operator_swaps_a_package_through_admin_router() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (root, socket, token) = (path("root"), path("api.sock"), path("token"));
    fs::create_dir_all(&root).unwrap();
    fs::write(&token, TOKEN).unwrap();
    package(&dir.path().join("root/packages"), "tool--1", "first");
    package(&dir.path().join("packing"), "tool--2", "second");
    fs::create_dir_all(dir.path().join("mirror/packages/tool")).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--owner=0", "--group=0", "-cJf"]);
    tar.arg(dir.path().join("mirror/packages/tool/tool--2.tar.xz")).arg("-C");
    assert!(tar.arg(dir.path().join("packing/tool--2")).arg(".").status().unwrap().success());

    let conf = path("conf");
    let work_dir = path("");
    let mut api = vec!["pkgpanda-api", "--root", &root, "--config-dir", &conf, "--socket", &socket];
    api.extend(["--work-dir", &work_dir, "--rooted-systemd", "--no-systemd"]);
    let api = Component::start(&api);
    let ip = own_subnet().replace("0/24", "1");
    let mut router = vec!["admin-router", "--ip", &ip, "--role", "agent", "--token-file", &token];
    router.extend(["--root", &root, "--pkgpanda-socket", &socket]);
    let router = Component::start(&router);

    let to: SocketAddr = format!("{ip}:61001").parse().unwrap();
    let authorization = format!("token={TOKEN}");
    let ask = |method: &str, path: &str, body: Option<String>| -> Option<Response> {
        let headers = [("Authorization", authorization.as_str())];
        request(to, method, &format!("/pkgpanda{path}"), &headers, body.as_deref().map(str::as_bytes)).ok()
    };
    eventually("both answer", || ask("GET", "/repository/", None).filter(|answer| answer.status == 200));
    assert_eq!(request(to, "GET", "/pkgpanda/active/", &[], None).unwrap().status, 401);

    let check = |method: &str, path: &str, body: Option<String>, status: u16| -> Response {
        let answer = ask(method, path, body).expect("an answer");
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer
    };
    let tool = || fs::read_to_string(dir.path().join("root/bin/tool")).unwrap();
    check("PUT", "/active/", Some(json!(["tool--1"]).to_string()), 204);
    assert_eq!(tool(), "first");
    let missing = check("PUT", "/active/", Some(json!(["tool--2"]).to_string()), 409).json();
    assert_eq!(missing["missing_packages"], json!(["tool--2"]));
    check("POST", "/repository/tool--2", Some(json!({ "repository_url": "mirror" }).to_string()), 204);
    check("PUT", "/active/", Some(json!(["tool--2"]).to_string()), 204);
    assert_eq!(tool(), "second");
    assert_eq!(check("GET", "/active/", None, 200).json(), json!(["tool--2"]));
    check("DELETE", "/repository/tool--2", None, 409);
    assert_eq!(check("GET", "/active.buildinfo.full.json", None, 200).json(), json!({ "tool": null }));

    assert_eq!((router.end(), api.end()), (Some(0), Some(0)));
}

#[test]
fn who_starts_the_api_on_demand_hands_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    package(&dir.path().join("root/packages"), "tool--1", "first");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &path("api.sock"), DCOS, "pkgpanda-api", "--root", &path("root")]);
    command.args(["--config-dir", &path("conf"), "--socket", &path("never.sock"), "--no-systemd=true"]);
    let component = Component(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    let probe = || {
        let mut probe = Command::new(DCOS);
        probe.args(["probe", &format!("unix:{}", path("api.sock")), "/repository/"]);
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success().then_some(())
    };
    eventually("the API answers", probe);
    assert!(!dir.path().join("never.sock").exists(), "it listens where it was told to");
    assert_eq!(component.end(), Some(0));
}
