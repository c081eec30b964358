//! Commands, environments, containers and checks. Mesos: src/common/validation.cpp.

use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CheckInfo, CommandInfo, ContainerInfo, HealthCheck, Volume};
use mesos_proto::v1::{check_info, container_info, health_check, volume};

pub(crate) fn validate_command(command: &CommandInfo) -> Result<(), String> {
    let variables = command.environment.iter().flat_map(|environment| &environment.variables);
    for variable in variables {
        let name = &variable.name;
        let refuse = |text: &str| Err(format!("Environment variable '{name}' of type {text}"));
        match variable.r#type() {
            variable::Type::Value if variable.value.is_none() => {
                return refuse("'VALUE' must have a value set");
            }
            variable::Type::Value if variable.secret.is_some() => {
                return refuse("'VALUE' must not have a secret set");
            }
            variable::Type::Secret if variable.secret.is_none() => {
                return refuse("'SECRET' must have a secret set");
            }
            variable::Type::Secret if variable.value.is_some() => {
                return refuse("'SECRET' must not have a value set");
            }
            variable::Type::Value | variable::Type::Secret => {}
            variable::Type::Unknown => {
                return Err("Environment variable of type 'UNKNOWN' is not allowed".to_owned());
            }
        }
    }
    Ok(())
}

pub(crate) fn validate_container(container: &ContainerInfo) -> Result<(), String> {
    for volume in &container.volumes {
        validate_volume(volume).map_err(|error| format!("Invalid volume: {error}"))?;
    }
    if container.r#type() != container_info::Type::Docker {
        return Ok(());
    }
    let Some(docker) = &container.docker else {
        return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
    };
    match docker.parameters.iter().any(|parameter| parameter.key == "name") {
        true => Err("Parameter in DockerInfo must not be 'name'".to_owned()),
        false => Ok(()),
    }
}

fn validate_volume(volume: &Volume) -> Result<(), String> {
    use volume::source::Type;
    let sources = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    if sources.into_iter().filter(|is_set| *is_set).count() != 1 {
        return Err("Only one of them should be set: 'host_path', 'image' and 'source'".to_owned());
    }
    let Some(source) = &volume.source else { return Ok(()) };
    let not_set = |name: &str, kind: &str| Err(format!("'source.{name}' is not set for {kind} volume"));
    match source.r#type() {
        Type::DockerVolume if source.docker_volume.is_none() => not_set("docker_volume", "DOCKER_VOLUME"),
        Type::HostPath if source.host_path.is_none() => not_set("host_path", "HOST_PATH"),
        Type::SandboxPath if source.sandbox_path.is_none() => not_set("sandbox_path", "SANDBOX_PATH"),
        Type::Secret if source.secret.is_none() => not_set("secret", "SECRET"),
        Type::CsiVolume => match &source.csi_volume {
            None => not_set("csi_volume", "CSI"),
            Some(volume) if volume.static_provisioning.is_none() => {
                not_set("csi_volume.static_provisioning", "CSI")
            }
            Some(_) => Ok(()),
        },
        Type::Unknown => Err("'source.type' is unknown".to_owned()),
        _ => Ok(()),
    }
}

pub(crate) fn validate_health_check(check: &HealthCheck) -> Result<(), String> {
    use health_check::Type;
    let expecting =
        |name: &str| Err(format!("Expecting '{}' to be set for {name} health check", name.to_lowercase()));
    match check.r#type.map(Type::try_from) {
        None => return Err("HealthCheck must specify 'type'".to_owned()),
        Some(Ok(Type::Command)) => match &check.command {
            None => return expecting("COMMAND"),
            Some(command) => validate_check_command(command, "Command health check", "Health check's")?,
        },
        Some(Ok(Type::Http)) => {
            let Some(http) = &check.http else { return expecting("HTTP") };
            if let Some(scheme) = http.scheme.as_deref().filter(|scheme| !matches!(*scheme, "http" | "https"))
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            if let Some(path) = http.path.as_deref().filter(|path| !path.starts_with('/')) {
                return Err(format!("The path '{path}' of HTTP health check must start with '/'"));
            }
        }
        Some(Ok(Type::Tcp)) if check.tcp.is_none() => return expecting("TCP"),
        Some(Ok(Type::Tcp)) => {}
        Some(Ok(Type::Unknown) | Err(_)) => {
            return Err("'UNKNOWN' is not a valid health check type".to_owned());
        }
    }
    validate_times(&[
        ("delay_seconds", check.delay_seconds),
        ("grace_period_seconds", check.grace_period_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

pub(crate) fn validate_check(check: &CheckInfo) -> Result<(), String> {
    use check_info::Type;
    let expecting =
        |name: &str| Err(format!("Expecting '{}' to be set for {name} check", name.to_lowercase()));
    match check.r#type.map(Type::try_from) {
        None => return Err("CheckInfo must specify 'type'".to_owned()),
        Some(Ok(Type::Command)) => match &check.command {
            None => return expecting("COMMAND"),
            Some(command) => validate_check_command(&command.command, "Command check", "Check's")?,
        },
        Some(Ok(Type::Http)) => {
            let Some(http) = &check.http else { return expecting("HTTP") };
            if let Some(path) = http.path.as_deref().filter(|path| !path.starts_with('/')) {
                return Err(format!("The path '{path}' of HTTP check must start with '/'"));
            }
        }
        Some(Ok(Type::Tcp)) if check.tcp.is_none() => return expecting("TCP"),
        Some(Ok(Type::Tcp)) => {}
        Some(Ok(Type::Unknown) | Err(_)) => return Err("'UNKNOWN' is not a valid check type".to_owned()),
    }
    validate_times(&[
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

fn validate_check_command(command: &CommandInfo, kind: &str, whose: &str) -> Result<(), String> {
    if command.value.is_none() {
        let what = if command.shell() { "'shell command'" } else { "'executable path'" };
        return Err(format!("{kind} must contain {what}"));
    }
    validate_command(command).map_err(|error| format!("{whose} `CommandInfo` is invalid: {error}"))
}

fn validate_times(times: &[(&str, Option<f64>)]) -> Result<(), String> {
    match times.iter().find(|(_, time)| time.is_some_and(|time| time < 0.0 || time.is_nan())) {
        Some((name, _)) => Err(format!("Expecting '{name}' to be non-negative")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::v1::volume::{Source, source};

    #[test]
    fn a_volume_has_one_source() {
        let check = |change: fn(&mut Volume), expected: Option<&str>| {
            let mut volume = Volume { container_path: "/data".into(), ..Default::default() };
            change(&mut volume);
            let mesos = container_info::Type::Mesos as i32;
            let container = ContainerInfo { r#type: mesos, volumes: vec![volume], ..Default::default() };
            let expected = expected.map(|text| format!("Invalid volume: {text}"));
            assert_eq!(validate_container(&container).err(), expected);
        };
        const ONE: &str = "Only one of them should be set: 'host_path', 'image' and 'source'";
        check(|_| {}, Some(ONE));
        check(|volume| volume.host_path = Some("/srv".into()), None);
        check(
            |volume| {
                volume.host_path = Some("/srv".into());
                volume.source = Some(Source::default());
            },
            Some(ONE),
        );
        check(|volume| volume.source = Some(Source::default()), Some("'source.type' is unknown"));
        check(
            |volume| {
                let kind = Some(source::Type::SandboxPath as i32);
                volume.source = Some(Source { r#type: kind, ..Default::default() });
            },
            Some("'source.sandbox_path' is not set for SANDBOX_PATH volume"),
        );
    }
}
