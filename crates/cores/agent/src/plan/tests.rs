use mesos_proto::v1::container_info::docker_info::{Network, PortMapping as DockerPort};
use mesos_proto::v1::container_info::{MesosInfo, Type};
use mesos_proto::v1::volume::Mode;
use mesos_proto::v1::{NetworkInfo, Parameter, SeccompInfo, Secret, Volume, network_info};

use super::*;

fn docker(change: impl FnOnce(&mut DockerInfo)) -> ContainerInfo {
    let mut docker = DockerInfo { image: "busybox".into(), ..Default::default() };
    change(&mut docker);
    ContainerInfo { r#type: Type::Docker as i32, docker: Some(docker), ..Default::default() }
}

fn mesos(image: Option<Image>) -> ContainerInfo {
    let mesos = Some(MesosInfo { image });
    ContainerInfo { r#type: Type::Mesos as i32, mesos, ..Default::default() }
}

fn named_image(name: &str) -> Image {
    let docker = image::Docker { name: name.into(), ..Default::default() };
    Image { r#type: image::Type::Docker as i32, docker: Some(docker), ..Default::default() }
}

fn plan(info: &ContainerInfo) -> Result<ContainerPlan, String> {
    ContainerPlan::of(Some(info), "container")
}

fn check(info: &ContainerInfo, error: &str) {
    assert_eq!(plan(info).unwrap_err(), error);
}

#[test]
fn nothing_said_is_the_host() {
    assert_eq!(ContainerPlan::of(None, "container"), Ok(ContainerPlan::default()));
    assert_eq!(plan(&mesos(None)), Ok(ContainerPlan::default()));
    assert_eq!(ContainerPlan::default().needs_isolation(), None);
}

#[test]
fn both_types_name_an_image() {
    let image = |force_pull| ImagePlan { name: "busybox".into(), force_pull, docker_config: None };
    assert_eq!(plan(&docker(|_| {})).unwrap().image, Some(image(false)));
    assert_eq!(plan(&docker(|d| d.force_pull_image = Some(true))).unwrap().image, Some(image(true)));
    let mut wanted = named_image("busybox");
    assert_eq!(plan(&mesos(Some(wanted.clone()))).unwrap().image, Some(image(false)));
    wanted.cached = Some(false);
    assert_eq!(plan(&mesos(Some(wanted.clone()))).unwrap().image, Some(image(true)));
    let config = Secret {
        r#type: Some(secret::Type::Value as i32),
        value: Some(secret::Value { data: b"{}".to_vec() }),
        ..Default::default()
    };
    wanted.docker.as_mut().unwrap().config = Some(config);
    let found = plan(&mesos(Some(wanted.clone()))).unwrap().image.unwrap();
    assert_eq!(found.docker_config.as_deref(), Some(&b"{}"[..]));
    assert_eq!(plan(&docker(|_| {})).unwrap().needs_isolation(), Some("an image"));

    wanted.docker.as_mut().unwrap().config.as_mut().unwrap().r#type = Some(secret::Type::Reference as i32);
    let error = "Task uses 'container.mesos.image.docker.config' (a reference to a secret), which this agent \
                 does not support";
    check(&mesos(Some(wanted)), error);
    let appc = Image { r#type: image::Type::Appc as i32, ..Default::default() };
    check(
        &mesos(Some(appc)),
        "Task uses 'container.mesos.image.type' (APPC), which this agent does not support",
    );
    check(&docker(|d| d.image = " ".into()), "Task's 'container.docker.image' is empty");
    let none = ContainerInfo { r#type: Type::Docker as i32, ..Default::default() };
    check(&none, "Task's 'container' is of type DOCKER and has no 'docker'");
}

#[test]
fn both_types_join_the_bridge() {
    let mapping = PortMapping { host_port: 31000, container_port: 80, protocol: Protocol::Udp };
    let bridged = |d: &mut DockerInfo| {
        d.network = Some(Network::Bridge as i32);
        let protocol = Some("UDP".to_owned());
        d.port_mappings.push(DockerPort { host_port: 31000, container_port: 80, protocol });
    };
    let expected = NetworkPlan::Bridge { info: None, port_mappings: vec![mapping] };
    assert_eq!(plan(&docker(bridged)).unwrap().network, expected);

    let network = NetworkInfo {
        name: Some("mesos-bridge".into()),
        port_mappings: vec![network_info::PortMapping {
            host_port: 31000,
            container_port: 80,
            protocol: Some("udp".into()),
        }],
        ..Default::default()
    };
    let mut info = mesos(None);
    info.network_infos.push(network.clone());
    let found = plan(&info).unwrap().network;
    assert_eq!(found.port_mappings(), [mapping]);
    assert!(matches!(found, NetworkPlan::Bridge { info: Some(info), .. } if *info == network));

    info.network_infos[0].name = Some("overlay".into());
    let error = "Task uses 'container.network_infos.name' (overlay), which this agent does not support";
    check(&info, error);
    assert_eq!(plan(&docker(|d| d.network = Some(Network::None as i32))).unwrap().network, NetworkPlan::None);
    let user = docker(|d| d.network = Some(Network::User as i32));
    check(&user, "Task's 'container.docker.network' is USER, and 'container.network_infos' names none");
}

#[test]
fn ports_are_mapped_once_and_only_to_the_bridge() {
    let port = |host_port, protocol: Option<&str>| DockerPort {
        host_port,
        container_port: 80,
        protocol: protocol.map(str::to_owned),
    };
    let with = |ports: Vec<DockerPort>| {
        docker(|d| {
            d.network = Some(Network::Bridge as i32);
            d.port_mappings = ports;
        })
    };
    let field = "Task's 'container.docker.port_mappings'";
    check(&with(vec![port(0, None)]), &format!("{field}: host_port is 0; allowed is 1 to 65535"));
    check(&with(vec![port(70_000, None)]), &format!("{field}: host_port is 70000; allowed is 1 to 65535"));
    check(
        &with(vec![port(1, Some("sctp"))]),
        &format!("{field}: protocol is 'sctp'; allowed are tcp and udp"),
    );
    check(&with(vec![port(1, None), port(1, None)]), &format!("{field}: host_port 1 leads to two ports"));
    assert!(plan(&with(vec![port(1, None), port(1, Some("udp"))])).is_ok());
    let mut host = with(vec![port(1, None)]);
    host.docker.as_mut().unwrap().network = None;
    let error = format!(
        "{field}: port mappings are only supported for the network BRIDGE and the network 'mesos-bridge'"
    );
    check(&host, &error);
}

#[test]
fn volumes_come_from_the_host_or_the_sandbox() {
    let with = |container_path: &str, host_path: Option<&str>, mode: Mode| {
        let mut info = docker(|_| {});
        info.volumes.push(Volume {
            container_path: container_path.into(),
            host_path: host_path.map(str::to_owned),
            mode: mode as i32,
            ..Default::default()
        });
        info
    };
    let volume = |source, target: &str, read_only| VolumePlan { source, target: target.into(), read_only };
    let found = |info: &ContainerInfo| plan(info).unwrap().volumes;
    assert_eq!(
        found(&with("/data", Some("/srv"), Mode::Ro)),
        [volume(VolumeSource::Host("/srv".into()), "/data", true)]
    );
    assert_eq!(
        found(&with("data", Some("x/y"), Mode::Rw)),
        [volume(VolumeSource::Sandbox("x/y".into()), "data", false)]
    );
    let field = "Task's 'container.volumes";
    check(
        &with("/data", Some("../x"), Mode::Rw),
        &format!("{field}.host_path' is '../x'; allowed is a path without '..'"),
    );
    check(
        &with("", Some("/x"), Mode::Rw),
        &format!("{field}.container_path' is ''; allowed is a path without '..'"),
    );
    check(
        &with("/", Some("/x"), Mode::Rw),
        "Task uses 'container.volumes.container_path' (/), which this agent does not support",
    );
    check(
        &with("/data", None, Mode::Rw),
        &format!("{field}' has '/data' with neither 'host_path' nor 'source'"),
    );
}

#[test]
fn options_of_docker_are_taken_or_named() {
    let with = |key: &str, value: &str| {
        docker(|d| d.parameters.push(Parameter { key: key.into(), value: value.into() }))
    };
    let error = plan(&with("log-driver", "syslog")).unwrap_err();
    assert!(
        error.starts_with(
            "Task's 'container.docker.parameters': docker parameter 'log-driver' has no meaning here"
        ),
        "{error}"
    );
    let found = plan(&with("hostname", "h")).unwrap();
    assert_eq!(found.hostname.as_deref(), Some("h"));
    assert!(plan(&with("privileged", "true")).unwrap().privileged);
    let memory = VolumePlan { source: VolumeSource::Memory(None), target: "/t".into(), read_only: false };
    assert_eq!(plan(&with("tmpfs", "/t")).unwrap().volumes, [memory]);
}

#[test]
fn what_linux_gives_is_read_or_refused() {
    let with = |linux: LinuxInfo| {
        let mut info = mesos(None);
        info.linux_info = Some(linux);
        info
    };
    let found = plan(&with(LinuxInfo {
        shm_size: Some(8),
        seccomp: Some(SeccompInfo { unconfined: Some(true), ..Default::default() }),
        effective_capabilities: Some(CapabilityInfo { capabilities: vec![1012] }),
        ..Default::default()
    }))
    .unwrap();
    assert_eq!(found.shm_bytes, Some(8 << 20));
    assert!(found.seccomp_unconfined);
    assert_eq!(found.capabilities, Some(vec!["NET_ADMIN"]));
    let profile = SeccompInfo { profile_name: Some("strict".into()), ..Default::default() };
    check(
        &with(LinuxInfo { seccomp: Some(profile), ..Default::default() }),
        "Task uses 'container.linux_info.seccomp.profile_name' (strict), which this agent does not support",
    );
    check(
        &with(LinuxInfo { share_pid_namespace: Some(true), ..Default::default() }),
        "Task uses 'container.linux_info.share_pid_namespace' (true), which this agent does not support",
    );
}
