use std::collections::BTreeMap;

use api_marathon::{AppDefinition, AppPort, Artifact, HealthCheck, Protocol};
use base::TaskId;
use mesos_proto::v1::{self, health_check};

use crate::container::{self, inner_port};
use crate::env;
use crate::framework::task_id;
use crate::matcher::Match;

/// The task of one instance, to be launched with what it got of the offer.
///
/// Marathon: `TaskBuilder`.
pub(crate) fn info(app: &AppDefinition, id: &TaskId, offer: &v1::Offer, found: Match) -> v1::TaskInfo {
    let environment = env::of_task(app, id, &offer.hostname, &found.ports);
    let name = app.id.to_hostname();
    v1::TaskInfo {
        name: name.clone(),
        task_id: task_id(id),
        agent_id: offer.agent_id.clone(),
        command: Some(command(app, environment)),
        container: container::info(app, id, &found.ports),
        health_check: mesos_health_check(app, &found.ports),
        kill_policy: app.task_kill_grace_period_seconds.map(|seconds| v1::KillPolicy {
            grace_period: Some(v1::DurationInfo { nanoseconds: i64::from(seconds) * 1_000_000_000 }),
        }),
        labels: labels(&app.labels),
        discovery: Some(v1::DiscoveryInfo {
            visibility: v1::discovery_info::Visibility::Framework as i32,
            name: Some(name),
            ports: Some(v1::Ports { ports: discovery_ports(app, &found.ports) }),
            ..v1::DiscoveryInfo::default()
        }),
        resources: found.resources,
        ..v1::TaskInfo::default()
    }
}

fn command(app: &AppDefinition, environment: BTreeMap<String, String>) -> v1::CommandInfo {
    let variable = |(name, value)| v1::environment::Variable {
        name,
        value: Some(value),
        ..v1::environment::Variable::default()
    };
    let cmd = app.cmd.as_ref().filter(|cmd| !cmd.is_empty() && app.args.is_empty());
    // Without a shell, the command executor wants the program and all arguments, the program's name first. In an image
    // the arguments are those of its entry point, and there need not be any.
    let program = if app.image().is_none() { app.args.first() } else { None };
    v1::CommandInfo {
        uris: app.fetch.iter().map(uri).collect(),
        environment: Some(v1::Environment { variables: environment.into_iter().map(variable).collect() }),
        shell: Some(cmd.is_some()),
        value: cmd.or(program).cloned(),
        arguments: if cmd.is_some() { Vec::new() } else { app.args.clone() },
        user: app.user.clone(),
    }
}

fn uri(artifact: &Artifact) -> v1::command_info::Uri {
    v1::command_info::Uri {
        value: artifact.uri.clone(),
        executable: Some(artifact.executable),
        extract: Some(artifact.extract),
        cache: Some(artifact.cache),
        output_file: artifact.dest_path.clone(),
        sha256: artifact.sha256.clone(),
    }
}

pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Option<v1::Labels> {
    let label = |(key, value): (&String, &String)| v1::Label { key: key.clone(), value: Some(value.clone()) };
    (!labels.is_empty()).then(|| v1::Labels { labels: labels.iter().map(label).collect() })
}

/// Where a task is found: at its host ports. On a network of its own that is not the port that it knows, so that it is
/// said.
///
/// Marathon: `PortDiscovery`.
fn discovery_ports(app: &AppDefinition, ports: &[u16]) -> Vec<v1::Port> {
    let scope = (!app.is_on_host_network())
        .then(|| v1::Label { key: "network-scope".to_owned(), value: Some("host".to_owned()) });
    let of_port = |(port, host_port): (AppPort<'_>, &u16)| {
        let mut own = labels(port.labels);
        if let Some(scope) = &scope {
            own.get_or_insert_default().labels.push(scope.clone());
        }
        let of_protocol = |protocol: &str| v1::Port {
            number: u32::from(*host_port),
            name: port.name.map(str::to_owned),
            protocol: Some(protocol.to_owned()),
            labels: own.clone(),
            ..v1::Port::default()
        };
        port.protocol.split(',').map(of_protocol).collect::<Vec<_>>()
    };
    app.ports().zip(ports).flat_map(of_port).collect()
}

/// The check that the executor does: the first of the app's that Marathon does not do; Mesos knows only one.
///
/// Marathon: `MesosHealthCheck.toMesos`.
fn mesos_health_check(app: &AppDefinition, ports: &[u16]) -> Option<v1::HealthCheck> {
    app.health_checks.iter().find(|check| !check.protocol.is_by_marathon()).and_then(|check| {
        // The executor looks from inside.
        let inner = app.ports().zip(ports).map(|(port, host_port)| inner_port(&port, *host_port));
        to_mesos(check, &inner.collect::<Vec<_>>())
    })
}

fn to_mesos(check: &HealthCheck, ports: &[u16]) -> Option<v1::HealthCheck> {
    let port = || {
        let of_task = || ports.get(usize::from(check.port_index.unwrap_or(0))).copied();
        check.port.or_else(of_task).map(u32::from)
    };
    let mut mesos = v1::HealthCheck {
        delay_seconds: Some(check.delay_seconds.into()),
        interval_seconds: Some(check.interval_seconds.into()),
        timeout_seconds: Some(check.timeout_seconds.into()),
        consecutive_failures: Some(check.max_consecutive_failures),
        grace_period_seconds: Some(check.grace_period_seconds.into()),
        ..v1::HealthCheck::default()
    };
    let kind = match check.protocol {
        Protocol::Command => {
            let command = check.command.as_ref()?;
            mesos.command =
                Some(v1::CommandInfo { value: Some(command.value.clone()), ..v1::CommandInfo::default() });
            health_check::Type::Command
        }
        Protocol::MesosHttp | Protocol::MesosHttps => {
            let scheme = if check.protocol == Protocol::MesosHttps { "https" } else { "http" };
            mesos.http = Some(health_check::HttpCheckInfo {
                scheme: Some(scheme.to_owned()),
                port: port()?,
                path: Some(check.path.clone().unwrap_or_else(|| "/".to_owned())),
                ..health_check::HttpCheckInfo::default()
            });
            health_check::Type::Http
        }
        Protocol::MesosTcp => {
            mesos.tcp =
                Some(health_check::TcpCheckInfo { port: port()?, ..health_check::TcpCheckInfo::default() });
            health_check::Type::Tcp
        }
        Protocol::Http | Protocol::Https | Protocol::Tcp => return None,
    };
    mesos.r#type = Some(kind as i32);
    Some(mesos)
}

#[cfg(test)]
mod tests {
    use api_marathon::{AppId, HealthCommand, PortDefinition};

    use super::*;

    fn built(change: impl Fn(&mut AppDefinition)) -> v1::TaskInfo {
        let mut app = AppDefinition::empty(AppId::new("/shop/cart"), "*");
        let port = |protocol: &str, name: Option<&str>| PortDefinition {
            port: 0,
            labels: BTreeMap::from([("VIP_0".to_owned(), "/x:80".to_owned())]),
            name: name.map(str::to_owned),
            protocol: protocol.to_owned(),
        };
        app.port_definitions = Some(vec![port("tcp", Some("http")), port("udp,tcp", None)]);
        change(&mut app);
        let offer = v1::Offer { hostname: "h".to_owned(), ..v1::Offer::default() };
        info(&app, &TaskId::from("t"), &offer, Match { resources: Vec::new(), ports: vec![31_000, 31_001] })
    }

    #[test]
    fn commands() {
        let command = built(|app| app.cmd = Some("sleep 1".to_owned())).command.expect("a command");
        assert_eq!((command.shell, command.value.as_deref()), (Some(true), Some("sleep 1")));
        assert!(command.arguments.is_empty());
        let command =
            built(|app| app.args = vec!["sleep".to_owned(), "1".to_owned()]).command.expect("a command");
        assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("sleep")));
        assert_eq!(command.arguments, ["sleep", "1"]);
    }

    #[test]
    fn name_discovery_and_kill_policy() {
        let task = built(|app| app.task_kill_grace_period_seconds = Some(7));
        assert_eq!(task.name, "cart.shop");
        let grace = task.kill_policy.and_then(|policy| policy.grace_period).expect("a grace period");
        assert_eq!(grace.nanoseconds, 7_000_000_000);
        let ports = task.discovery.and_then(|discovery| discovery.ports).expect("ports").ports;
        let shown: Vec<_> = ports
            .iter()
            .map(|port| (port.number, port.name.as_deref(), port.protocol.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(shown, [(31_000, Some("http"), "tcp"), (31_001, None, "udp"), (31_001, None, "tcp")]);
    }

    #[test]
    fn executor_checks() {
        let check = |protocol, expect: &str| {
            let task = built(|app| {
                let command = Some(HealthCommand { value: "true".to_owned() });
                let port_index = Some(1);
                app.health_checks =
                    vec![HealthCheck { protocol, command, port_index, ..HealthCheck::default() }];
            });
            let found = task.health_check.map(|check| match (&check.command, &check.http, &check.tcp) {
                (Some(command), _, _) => format!("{:?} {:?}", check.r#type(), command.value),
                (_, Some(http), _) => format!("{:?} {:?} {}", check.r#type(), http.scheme, http.port),
                (_, _, Some(tcp)) => format!("{:?} {}", check.r#type(), tcp.port),
                _ => String::new(),
            });
            assert_eq!(found.as_deref().unwrap_or("none"), expect);
        };
        check(Protocol::Command, "Command Some(\"true\")");
        check(Protocol::MesosHttp, "Http Some(\"http\") 31001");
        check(Protocol::MesosHttps, "Http Some(\"https\") 31001");
        check(Protocol::MesosTcp, "Tcp 31001");
        check(Protocol::Http, "none");
        check(Protocol::Tcp, "none");
    }
}
