//! Whether the content of a request makes an app. Texts and paths are Marathon's, which its users look for.

mod artifact;
mod container;

use std::collections::BTreeSet;

use crate::app::{AppDefinition, Constraint, Operator, UnreachableStrategy};
use crate::error::ApiError;
use crate::health::{HealthCheck, Protocol};
use crate::normalise::{self, Translated};
use crate::problems::Problems;
use crate::update::{AppUpdate, Settings};

/// The longest JSON of a definition, in bytes: the store takes values of 64 KiB, and other records hold definitions
/// together with a little more.
pub const MAX_DEFINITION_BYTES: usize = 60 * 1024;

/// Problems that only old forms of fields have, or the fields in the new ones.
///
/// Marathon: `AppValidation.validateOldAppAPI`, and what its normalisation throws.
pub(crate) fn old_forms(update: &AppUpdate) -> Result<Translated, ApiError> {
    let mut problems = Problems::default();
    if let Some(ports) = &update.ports {
        problems.check(all_unique(ports.iter().filter(|port| **port != 0)), "/", "ports must be unique");
        if let Some(definitions) = &update.port_definitions {
            let same = definitions.iter().map(|definition| definition.port).eq(ports.iter().copied());
            problems.check(same, "/", "cannot specify both ports and port definitions");
        }
    }
    container::old_forms(&mut problems, update);
    container::old_networks(&mut problems, update);
    artifact::old_form(&mut problems, update);
    let translated = normalise::translate(update, &mut problems);
    problems.or(Some(translated), ApiError::invalid_object)
}

/// Every problem of `app`, which `update` made.
///
/// Marathon: `AppValidation.validateCanonicalAppAPI`, `AppDefinition.validAppDefinition`.
pub(crate) fn app(
    update: &AppUpdate,
    app: &AppDefinition,
    settings: &Settings,
    current_role: Option<&str>,
) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    for problem in app.id.problems() {
        problems.add("/id", problem);
    }
    problems.check(!app.id.is_root(), "/", "must not be root");
    for (index, id) in app.dependencies.iter().enumerate() {
        for problem in id.problems() {
            problems.add(format!("/dependencies({index})"), problem);
        }
    }
    for (path, why) in &update.refused {
        problems.add(path, why);
    }
    command(&mut problems, app);
    container::container(&mut problems, app);
    container::networks(&mut problems, app);
    artifact::artifacts(&mut problems, &app.fetch);
    ports(&mut problems, app);
    for (index, check) in app.health_checks.iter().enumerate() {
        health_check(&mut problems, &format!("/healthChecks({index})"), check, app.ports().count());
    }
    let by_executor = app.health_checks.iter().filter(|check| !check.protocol.is_by_marathon()).count();
    problems.check(by_executor <= 1, "/", "AppDefinition can contain at most one Mesos health check");
    for (index, parts) in update.constraints.iter().flatten().enumerate() {
        if let Err(problem) = constraint(parts) {
            problems.add(format!("/constraints({index})"), problem);
        }
    }
    roles(&mut problems, app, settings, current_role);
    strategies(&mut problems, app);
    labels(&mut problems, app);
    size(&mut problems, app);
    problems.or(Some(()), ApiError::invalid_object)
}

/// Whether a good app still is one after what its group made of it: another number of instances, more dependencies.
pub(crate) fn in_group(app: &AppDefinition) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    strategies(&mut problems, app);
    size(&mut problems, app);
    problems.or(Some(()), ApiError::invalid_object)
}

fn command(problems: &mut Problems, app: &AppDefinition) {
    // Marathon takes a command of one character for an empty one.
    problems.check(
        app.cmd.as_ref().is_none_or(|cmd| cmd.chars().count() > 1),
        "/",
        "must not be an empty string",
    );
    let (cmd, args) = (app.cmd.is_some(), !app.args.is_empty());
    problems.check(
        !(cmd && args) && (cmd || args || app.container.is_some()),
        "/",
        "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
    );
    // Marathon takes it, and its tasks fail.
    let nothing_to_run = !cmd && !args && app.container.is_some() && app.image().is_none();
    problems.check(!nothing_to_run, "/", "a container without docker.image needs one of 'cmd' or 'args'");
    problems.check(
        matches!(app.executor.as_str(), "" | "//cmd"),
        "/executor",
        format!(
            "found '{}'; custom executors are not supported yet; supported are '' and '//cmd'",
            app.executor
        ),
    );
    problems.check(
        app.gpus == 0,
        "/",
        "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)",
    );
    problems.check(app.tty != Some(true), "/tty", "terminals are not supported yet; supported is false");
    let without_nul = |text: &str| !text.contains('\0');
    let nul = "must not contain a NUL character";
    problems.check(app.cmd.as_deref().is_none_or(without_nul), "/cmd", nul);
    problems.check(app.user.as_deref().is_none_or(without_nul), "/user", nul);
    for (index, arg) in app.args.iter().enumerate() {
        problems.check(without_nul(arg), format!("/args({index})"), nul);
    }
    for (index, (name, value)) in app.env.iter().enumerate() {
        problems.check(!name.is_empty(), format!("/env({index})"), "must not be empty");
        problems.check(!name.contains('='), format!("/env/{name}"), "the name must not contain '='");
        problems.check(without_nul(name) && without_nul(value), format!("/env/{name}"), nul);
    }
}

fn ports(problems: &mut Problems, app: &AppDefinition) {
    let definitions = || app.port_definitions.iter().flatten();
    let names = definitions().filter_map(|definition| definition.name.as_ref());
    problems.check(all_unique(names), "/portDefinitions", "Port names must be unique.");
    let given = definitions().map(|definition| definition.port).filter(|port| *port != 0);
    problems.check(all_unique(given), "/portDefinitions", "Ports must be unique.");
}

fn health_check(problems: &mut Problems, path: &str, check: &HealthCheck, ports: usize) {
    match (check.protocol, &check.command) {
        (Protocol::Command, None) => {
            problems.add(path, "illegal protocol COMMAND for non-command health check");
        }
        (Protocol::Command, Some(_)) => {}
        (protocol, Some(_)) => {
            problems.add(path, format!("illegal protocol {} specified with command", protocol.as_str()));
        }
        (protocol @ (Protocol::Https | Protocol::MesosHttps), None) => {
            let why = format!(
                "{} is not supported yet; supported are HTTP, TCP, MESOS_HTTP, MESOS_TCP and COMMAND",
                protocol.as_str()
            );
            problems.add(format!("{path}/protocol"), why);
        }
        (Protocol::Http | Protocol::Tcp | Protocol::MesosHttp | Protocol::MesosTcp, None) => {}
    }
    if check.protocol != Protocol::Command {
        let addresses_a_port = match (check.port_index, check.port) {
            (Some(index), _) => usize::from(index) < ports,
            (None, port) => port.is_some() || ports == 1,
        };
        problems.check(
            addresses_a_port,
            path,
            "Health check port indices must address an element of the ports array or container port mappings.",
        );
    }
    problems.check(
        check.ip_protocol == "IPv4",
        path,
        "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
    );
    let bad_path = |path: &str| path.chars().any(|c| c.is_control() || c == ' ');
    problems.check(
        !check.path.as_deref().is_some_and(bad_path),
        format!("{path}/path"),
        "must not contain spaces or control characters; they are allowed percent-encoded",
    );
}

/// The constraints that are well-formed; the others are problems, see [`constraint`].
pub(crate) fn constraints(given: &[Vec<String>]) -> Vec<Constraint> {
    let mut constraints: Vec<Constraint> = Vec::new();
    for constraint in given.iter().filter_map(|parts| constraint(parts).ok()) {
        if !constraints.contains(&constraint) {
            constraints.push(constraint);
        }
    }
    constraints
}

/// Marathon: `SchedulingValidation.complyWithAppConstraintRules`.
fn constraint(parts: &[String]) -> Result<Constraint, String> {
    let (field, operator, value) = match parts {
        [field, operator] => (field, operator, None),
        [field, operator, value] => (field, operator, Some(value)),
        _ => return Err("Each constraint must have either 2 or 3 fields".to_owned()),
    };
    if field.is_empty() {
        return Err("illegal constraint specification".to_owned());
    }
    let Some(operator) = Operator::parse(operator) else {
        let allowed =
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS";
        return Err(allowed.to_owned());
    };
    let is_int = value.map(|value| value.parse::<i32>().is_ok());
    let refused = match operator {
        Operator::Unique => value.map(|_| "UNIQUE does not accept a value"),
        Operator::Cluster => None,
        Operator::GroupBy => {
            (is_int == Some(false)).then_some("GROUP BY must define an integer value or else no value at all")
        }
        Operator::MaxPer => (is_int != Some(true)).then_some("MAX_PER requires an integer value"),
        Operator::Like | Operator::Unlike => match value {
            None => Some("LIKE and UNLIKE require a non-empty, regular expression value"),
            Some(pattern) if regex_lite::Regex::new(pattern).is_err() => {
                Some("is not a valid regular expression")
            }
            Some(_) => None,
        },
        Operator::Is => {
            let literal = |c: char| c.is_ascii_alphanumeric() || "_/.-".contains(c);
            let is_literal = value.is_none_or(|value| value.chars().all(literal));
            (!is_literal).then_some(
                "IS only supports Mesos text and float values (see \
                 http://mesos.apache.org/documentation/latest/attributes-resources/)",
            )
        }
    };
    if let Some(why) = refused {
        return Err(why.to_owned());
    }
    Ok(Constraint { field: field.clone(), operator, value: value.cloned() })
}

fn roles(problems: &mut Problems, app: &AppDefinition, settings: &Settings, current_role: Option<&str>) {
    let mut valid = vec![settings.role.as_str()];
    valid.extend(current_role.filter(|role| *role != settings.role));
    problems.check(
        valid.contains(&app.role.as_str()),
        "/role",
        format!("got {}, expected one of: [{}]", app.role, valid.join(", ")),
    );
    if let Some(accepted) = &app.accepted_resource_roles {
        problems.check(!accepted.is_empty(), "/acceptedResourceRoles", "must not be empty");
        let allowed = BTreeSet::from(["*", app.role.as_str()]);
        problems.check(
            accepted.iter().all(|role| allowed.contains(role.as_str())),
            "/acceptedResourceRoles",
            format!(
                "acceptedResourceRoles can only contain {}",
                allowed.iter().copied().collect::<Vec<_>>().join(" and ")
            ),
        );
    }
}

fn strategies(problems: &mut Problems, app: &AppDefinition) {
    if app.is_single_instance() {
        problems.check(app.instances <= 1, "/", "Single instance app may only have one instance");
        for (name, share) in [
            ("minimumHealthCapacity", app.upgrade_strategy.minimum_health_capacity),
            ("maximumOverCapacity", app.upgrade_strategy.maximum_over_capacity),
        ] {
            problems.check(
                share == 0.0,
                format!("/upgradeStrategy/{name}"),
                format!("got {share:?}, expected 0.0"),
            );
        }
    }
    if let UnreachableStrategy::Enabled { inactive_after_seconds: inactive, expunge_after_seconds: expunge } =
        app.unreachable_strategy
    {
        problems.check(
            inactive <= expunge,
            "/unreachableStrategy/inactiveAfterSeconds",
            format!(
                "inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, which is {expunge}"
            ),
        );
    }
}

fn labels(problems: &mut Problems, app: &AppDefinition) {
    let label = |name: &str| app.labels.get(name).map_or("", String::as_str);
    let version = label("DCOS_MIGRATION_API_VERSION");
    let migrates = version == "v1"
        && !label("DCOS_PACKAGE_FRAMEWORK_NAME").is_empty()
        && !label("DCOS_MIGRATION_API_PATH").is_empty();
    problems.check(
        version.is_empty() || migrates,
        "/",
        "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION",
    );
}

fn size(problems: &mut Problems, app: &AppDefinition) {
    let bytes = serde_json::to_vec(app).map_or(usize::MAX, |json| json.len());
    problems.check(
        bytes <= MAX_DEFINITION_BYTES,
        "/",
        format!("the definition is too large: found {bytes} bytes, allowed are {MAX_DEFINITION_BYTES}"),
    );
}

fn all_unique<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}
