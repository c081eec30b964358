use std::collections::{BTreeMap, BTreeSet};

use api_marathon::{AppDefinition, Container, Engine};
use base::TaskId;

/// Longer labels are not put into the environment.
///
/// Marathon: `EnvironmentHelper.maxEnvironmentVarLength`.
const MAX_LABEL: usize = 512;
const LABEL_PREFIX: &str = "MARATHON_APP_LABEL_";

/// The environment of a task: what Marathon tells it, overridden by what its app sets.
///
/// Marathon: `TaskBuilder.commandInfo`, `EnvironmentHelper`.
pub(crate) fn of_task(
    app: &AppDefinition,
    task: &TaskId,
    host: &str,
    ports: &[u16],
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("MESOS_TASK_ID", task.to_string());
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_iso8601());
    // Marathon says it of one of the two engines only.
    let is_docker = |container: &&Container| container.engine == Engine::Docker;
    if let Some(docker) = app.container.as_ref().filter(is_docker).and_then(|it| it.docker.as_ref()) {
        set("MARATHON_APP_DOCKER_IMAGE", docker.image.clone());
    }
    // With a decimal point even for whole numbers, as a JVM writes them.
    set("MARATHON_APP_RESOURCE_CPUS", format!("{:?}", app.cpus));
    set("MARATHON_APP_RESOURCE_MEM", format!("{:?}", app.mem));
    set("MARATHON_APP_RESOURCE_DISK", format!("{:?}", app.disk));
    set("MARATHON_APP_RESOURCE_GPUS", app.gpus.to_string());
    set("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE".to_owned());
    set("HOST", host.to_owned());
    add_labels(app, &mut env);
    add_ports(app, ports, &mut env);
    env.extend(app.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

fn add_labels(app: &AppDefinition, env: &mut BTreeMap<String, String>) {
    let fits = |(name, value): &(&String, &String)| {
        name.len() < MAX_LABEL - LABEL_PREFIX.len() && value.len() < MAX_LABEL
    };
    let mut names = BTreeSet::new();
    for (name, value) in app.labels.iter().filter(fits) {
        let name = variable_name(name);
        env.insert(format!("{LABEL_PREFIX}{name}"), value.clone());
        names.insert(name);
    }
    env.insert("MARATHON_APP_LABELS".to_owned(), names.into_iter().collect::<Vec<_>>().join(" "));
}

/// Upper case, with one underscore for each run of what a variable's name may not hold.
fn variable_name(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    let mut in_gap = false;
    for c in label.chars() {
        let is_word = c.is_ascii_alphanumeric() || c == '_';
        if is_word {
            name.push(c.to_ascii_uppercase());
        } else if !in_gap {
            name.push('_');
        }
        in_gap = !is_word;
    }
    name
}

fn add_ports(app: &AppDefinition, ports: &[u16], env: &mut BTreeMap<String, String>) {
    let Some(first) = ports.first() else { return };
    for (index, (host_port, port)) in ports.iter().zip(app.ports()).enumerate() {
        env.insert(format!("PORT{index}"), host_port.to_string());
        let asked = if port.declared == 0 { *host_port } else { port.declared };
        env.insert(format!("PORT_{asked}"), host_port.to_string());
        if let Some(name) = port.name {
            env.insert(format!("PORT_{}", name.to_uppercase()), host_port.to_string());
        }
    }
    env.insert("PORT".to_owned(), first.to_string());
    let all: Vec<String> = ports.iter().map(u16::to_string).collect();
    env.insert("PORTS".to_owned(), all.join(","));
}

#[cfg(test)]
mod tests {
    use api_marathon::{AppId, PortDefinition};
    use base::Wall;

    use super::*;

    #[test]
    fn everything_marathon_sets() {
        let mut app = AppDefinition::empty(AppId::new("/shop/cart"), "*");
        app.version = Wall::from_millis(1_480_587_330_123);
        app.cpus = 0.1;
        app.labels.insert("VIP_0".to_owned(), "/svc:80".to_owned());
        app.labels.insert("my.label--x".to_owned(), "y".to_owned());
        app.labels.insert("long".to_owned(), "z".repeat(512));
        let port = |port, name: Option<&str>| PortDefinition {
            port,
            labels: BTreeMap::new(),
            name: name.map(str::to_owned),
            protocol: "tcp".to_owned(),
        };
        app.port_definitions = Some(vec![port(10_000, Some("http")), port(0, None)]);
        app.env.insert("HOST".to_owned(), "mine".to_owned());
        let env = of_task(&app, &TaskId::from("t"), "h", &[31_005, 31_006]);
        let expect = [
            ("HOST", "mine"),
            ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE"),
            ("MARATHON_APP_ID", "/shop/cart"),
            ("MARATHON_APP_LABELS", "MY_LABEL_X VIP_0"),
            ("MARATHON_APP_LABEL_MY_LABEL_X", "y"),
            ("MARATHON_APP_LABEL_VIP_0", "/svc:80"),
            ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
            ("MARATHON_APP_RESOURCE_DISK", "0.0"),
            ("MARATHON_APP_RESOURCE_GPUS", "0"),
            ("MARATHON_APP_RESOURCE_MEM", "128.0"),
            ("MARATHON_APP_VERSION", "2016-12-01T10:15:30.123Z"),
            ("MESOS_TASK_ID", "t"),
            ("PORT", "31005"),
            ("PORT0", "31005"),
            ("PORT1", "31006"),
            ("PORTS", "31005,31006"),
            ("PORT_10000", "31005"),
            ("PORT_31006", "31006"),
            ("PORT_HTTP", "31005"),
        ];
        let found: Vec<(&str, &str)> = env.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn no_ports_no_port_variables() {
        let app = AppDefinition::empty(AppId::new("/a"), "*");
        let env = of_task(&app, &TaskId::from("t"), "h", &[]);
        assert!(env.keys().all(|name| !name.starts_with("PORT")), "{env:?}");
    }
}
