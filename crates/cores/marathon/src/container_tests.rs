use api_marathon::{AppId, DockerParameter, HostVolume, IpcInfo, IpcMode, PortMapping, Seccomp};
use mesos_proto::json::to_json;

use super::*;

const TASK: &str = "a.instance-1._app.1";

fn app(engine: Engine, image: Option<&str>) -> AppDefinition {
    let mut app = AppDefinition::empty(AppId::new("/a"), "*");
    let docker = image.map(|image| DockerContainer { image: image.to_owned(), ..DockerContainer::default() });
    app.container = Some(Container { engine, docker, ..Container::default() });
    app
}

fn bridged(mut app: AppDefinition, mappings: Vec<PortMapping>) -> AppDefinition {
    app.networks = vec![Network::of(NetworkMode::Bridge)];
    app.port_definitions = None;
    app.container.get_or_insert_default().port_mappings = Some(mappings);
    app
}

fn mapping(container_port: u16, protocol: &str) -> PortMapping {
    PortMapping {
        container_port,
        host_port: Some(0),
        protocol: protocol.to_owned(),
        ..PortMapping::default()
    }
}

/// Compares what Mesos is told, as the JSON that it prints.
fn check(app: &AppDefinition, ports: &[u16], expected: serde_json::Value) {
    let found = info(app, &TaskId::from(TASK), ports).expect("a container");
    let text = to_json(&found);
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found, expected);
}

#[test]
fn no_container_without_need() {
    let plain = AppDefinition::empty(AppId::new("/a"), "*");
    assert_eq!(info(&plain, &TaskId::from(TASK), &[]), None);
    let terminal = AppDefinition { tty: Some(true), ..plain };
    check(&terminal, &[], serde_json::json!({"type": "MESOS", "mesos": {}, "tty_info": {}}));
}

#[test]
fn images_of_both_engines() {
    let mesos = serde_json::json!({
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "nginx:1"}, "cached": true}}
    });
    check(&app(Engine::Mesos, Some("nginx:1")), &[31_000], mesos);
    let mut pulled = app(Engine::Mesos, Some("nginx"));
    pulled.container.as_mut().and_then(|it| it.docker.as_mut()).expect("an image").force_pull_image = true;
    let container = info(&pulled, &TaskId::from(TASK), &[]).expect("a container");
    assert_eq!(container.mesos.and_then(|mesos| mesos.image).and_then(|image| image.cached), Some(false));

    let mut docker = app(Engine::Docker, Some("nginx:1"));
    let image = docker.container.as_mut().and_then(|it| it.docker.as_mut()).expect("an image");
    (image.privileged, image.force_pull_image) = (true, true);
    image.parameters = vec![DockerParameter { key: "hostname".to_owned(), value: "web".to_owned() }];
    let expected = serde_json::json!({
        "type": "DOCKER",
        "docker": {
            "image": "nginx:1", "network": "HOST", "privileged": true, "force_pull_image": true,
            "parameters": [
                {"key": "hostname", "value": "web"}, {"key": "label", "value": format!("MESOS_TASK_ID={TASK}")}
            ]
        }
    });
    check(&docker, &[31_000], expected);
}

#[test]
fn ports_of_bridges() {
    let mappings = || vec![mapping(80, "tcp"), mapping(0, "udp,tcp")];
    let docker = bridged(app(Engine::Docker, Some("nginx")), mappings());
    let expected = serde_json::json!({
        "type": "DOCKER",
        "docker": {
            "image": "nginx", "network": "BRIDGE", "privileged": false, "force_pull_image": false,
            "port_mappings": [
                {"host_port": 31_000, "container_port": 80, "protocol": "tcp"},
                {"host_port": 31_001, "container_port": 31_001, "protocol": "udp"},
                {"host_port": 31_001, "container_port": 31_001, "protocol": "tcp"}
            ],
            "parameters": [{"key": "label", "value": format!("MESOS_TASK_ID={TASK}")}]
        }
    });
    check(&docker, &[31_000, 31_001], expected);

    let mut mesos = bridged(app(Engine::Mesos, Some("nginx")), mappings());
    mesos.networks[0].labels.insert("k".to_owned(), "v".to_owned());
    let expected = serde_json::json!({
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "nginx"}, "cached": true}},
        "network_infos": [{
            "ip_addresses": [{"protocol": "IPv4"}], "name": "mesos-bridge", "labels": {"labels": [{"key": "k", "value": "v"}]},
            "port_mappings": [
                {"host_port": 31_000, "container_port": 80, "protocol": "tcp"},
                {"host_port": 31_001, "container_port": 31_001, "protocol": "udp"},
                {"host_port": 31_001, "container_port": 31_001, "protocol": "tcp"}
            ]
        }]
    });
    check(&mesos, &[31_000, 31_001], expected);
}

#[test]
fn volumes_and_linux_info() {
    let mut app = app(Engine::Mesos, None);
    let container = app.container.as_mut().expect("made with one");
    let volume =
        |path: &str, mode| HostVolume { container_path: path.to_owned(), host_path: "/srv".to_owned(), mode };
    container.volumes = vec![volume("/a", ReadMode::Ro), volume("b", ReadMode::Rw)];
    container.linux_info = Some(LinuxInfo {
        seccomp: Some(Seccomp { unconfined: true }),
        ipc_info: Some(IpcInfo { mode: IpcMode::Private, shm_size: Some(64) }),
    });
    let expected = serde_json::json!({
        "type": "MESOS",
        "mesos": {},
        "volumes": [
            {"mode": "RO", "container_path": "/a", "host_path": "/srv"},
            {"mode": "RW", "container_path": "b", "host_path": "/srv"}
        ],
        "linux_info": {"seccomp": {"unconfined": true}, "ipc_mode": "PRIVATE", "share_cgroups": true, "shm_size": 64}
    });
    check(&app, &[], expected);
}
