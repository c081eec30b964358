//! Commands, environments, containers and checks. Mesos: src/common/validation.cpp.

use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CheckInfo, CommandInfo, ContainerInfo, HealthCheck, Volume};
use mesos_proto::v1::{check_info, container_info, health_check};

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
    let sources = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    match sources.into_iter().filter(|is_set| *is_set).count() {
        0 | 1 => Ok(()),
        _ => Err("Only one of them should be set: 'host_path', 'image' and 'source'".to_owned()),
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
