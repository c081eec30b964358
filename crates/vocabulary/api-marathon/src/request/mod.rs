//! The fields of an app in a request: their types, their old names and those that are refused.

mod artifact;
mod container;
mod network;

use std::collections::{BTreeMap, BTreeSet};

use base::Wall;

use crate::app::{KillSelection, PortDefinition, UnreachableStrategy, UpgradeStrategy};
use crate::health::{HealthCheck, HealthCommand, Protocol};
use crate::id::{AppId, is_segment};
use crate::read::{At, Reader};
use crate::reference::{FIELDS, Field, Kind};
use crate::update::AppUpdate;

/// Reads every field that Marathon knows. What Marathon does not know is ignored, as there.
pub(crate) fn read_app(reader: &mut Reader, app: &At<'_>) -> AppUpdate {
    let mut fields = Fields { reader, app, given: 0 };
    let mut update = AppUpdate {
        id: fields.read("id", path_id),
        accepted_resource_roles: fields
            .read("acceptedResourceRoles", |r, at| r.list(at, |r, at| r.string(at)))
            .map(BTreeSet::from_iter),
        args: fields.read("args", |r, at| r.list(at, |r, at| r.string(at))),
        backoff_factor: fields.read("backoffFactor", |r, at| r.number(at)),
        backoff_seconds: fields.read("backoffSeconds", seconds),
        cmd: fields.read("cmd", |r, at| r.non_empty_string(at)),
        constraints: fields.read("constraints", |r, at| r.list(at, |r, at| r.list(at, |r, at| r.string(at)))),
        cpus: fields.read("cpus", |r, at| r.number(at)),
        dependencies: fields
            .read("dependencies", |r, at| r.list(at, path_id))
            .map(|ids| ids.into_iter().map(AppId::new).collect()),
        disk: fields.read("disk", |r, at| r.number(at)),
        executor: fields.read("executor", |r, at| r.string(at)),
        fetch: fields.read("fetch", |r, at| r.list(at, artifact::artifact)),
        health_checks: fields.read("healthChecks", |r, at| r.list(at, health_check)).map(without_twins),
        instances: fields.read("instances", |r, at| r.int(at)),
        labels: fields.read("labels", |r, at| r.map(at, |r, at| r.string(at))),
        max_launch_delay_seconds: fields.read("maxLaunchDelaySeconds", seconds),
        ip_address: fields.read("ipAddress", network::ip_address),
        mem: fields.read("mem", |r, at| r.number(at)),
        gpus: fields.read("gpus", seconds),
        networks: fields.read("networks", |r, at| r.list(at, network::network)),
        ports: fields.read("ports", |r, at| r.list(at, port)),
        port_definitions: fields.read("portDefinitions", |r, at| r.list(at, port_definition)),
        require_ports: fields.read("requirePorts", |r, at| r.boolean(at)),
        task_kill_grace_period_seconds: fields.read("taskKillGracePeriodSeconds", seconds),
        upgrade_strategy: fields.read("upgradeStrategy", upgrade_strategy),
        uris: fields.read("uris", |r, at| r.list(at, artifact::uri)),
        user: fields.read("user", |r, at| r.string(at)),
        version: fields.read("version", version),
        kill_selection: fields.read("killSelection", kill_selection),
        unreachable_strategy: fields.read("unreachableStrategy", unreachable_strategy),
        tty: fields.read("tty", |r, at| r.boolean(at)),
        role: fields.read("role", |r, at| r.non_empty_string(at)),
        ..AppUpdate::default()
    };
    // Not used of a request, but a rollback may not be combined with it.
    fields.read("versionInfo", |_, _| Some(()));
    let mut refused = Vec::new();
    update.env = fields.read("env", |r, at| env(r, at, &mut refused));
    update.container = fields.read("container", |r, at| container::container(r, at, &mut refused));
    for field in FIELDS {
        let Kind::Refused(why) = field.kind else { continue };
        // Those of other objects are refused where these are read.
        if let Some(at) = (!field.path.contains('.')).then(|| app.member(field.path)).flatten() {
            fields.given += 1;
            if !at.is_empty() {
                refused.push((at.path, why.to_owned()));
            }
        }
    }
    update.given = fields.given;
    update.refused = refused;
    update
}

/// Refuses the member `name`, if it is there and holds something, with what the reference says. Answers whether it did.
fn refuse(of: &At<'_>, name: &str, refused: &mut Refused) -> bool {
    let Some(at) = of.member(name).filter(|at| !at.is_empty()) else { return false };
    let why = Field::at(&at.path).map_or("is not supported yet", |field| match field.kind {
        Kind::Refused(why) => why,
        _ => "is not supported yet",
    });
    refused.push((at.path, why.to_owned()));
    true
}

/// Reads members of the app and counts those that are there.
struct Fields<'a, 'v> {
    reader: &'a mut Reader,
    app: &'a At<'v>,
    given: usize,
}

impl Fields<'_, '_> {
    fn read<T>(&mut self, name: &str, mut read: impl FnMut(&mut Reader, &At<'_>) -> Option<T>) -> Option<T> {
        let at = self.app.member(name)?;
        self.given += 1;
        read(self.reader, &at)
    }
}

/// Marathon: RAML type `PathId`.
pub(crate) fn path_id(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let id = reader.string(at)?;
    let allowed = |segment: &str| segment.is_empty() || segment == ".." || is_segment(segment);
    if id.is_empty() || !id.split('/').all(allowed) {
        let explanation = format!(
            "found '{id}', allowed are segments of lower-case letters, digits, inner dashes and inner dots, \
             separated by slashes"
        );
        reader.problems.explain(&at.path, "error.pattern", explanation);
        return None;
    }
    Some(id)
}

/// A whole number that is not negative.
fn seconds(reader: &mut Reader, at: &At<'_>) -> Option<u32> {
    reader.int(at)
}

fn port(reader: &mut Reader, at: &At<'_>) -> Option<u16> {
    reader.int(at).and_then(|port| u16::try_from(port).ok())
}

fn version(reader: &mut Reader, at: &At<'_>) -> Option<Wall> {
    let text = reader.string(at)?;
    let version = Wall::parse_iso8601(&text);
    if version.is_none() {
        let explanation = format!("found '{text}', allowed is a time like 2016-12-01T10:15:30.123Z");
        reader.problems.explain(&at.path, "error.expected.date.isoformat", explanation);
    }
    version
}

fn kill_selection(reader: &mut Reader, at: &At<'_>) -> Option<KillSelection> {
    let all =
        [("OLDEST_FIRST", KillSelection::OldestFirst), ("YOUNGEST_FIRST", KillSelection::YoungestFirst)];
    reader.one_of(at, "KillSelection", &all)
}

fn upgrade_strategy(reader: &mut Reader, at: &At<'_>) -> Option<UpgradeStrategy> {
    reader.object(at)?;
    let mut share = |name| match at.member(name) {
        Some(at) => reader.number(&at),
        None => {
            reader.missing(at, name);
            None
        }
    };
    let (over, healthy) = (share("maximumOverCapacity"), share("minimumHealthCapacity"));
    Some(UpgradeStrategy { maximum_over_capacity: over?, minimum_health_capacity: healthy? })
}

fn unreachable_strategy(reader: &mut Reader, at: &At<'_>) -> Option<UnreachableStrategy> {
    if at.value.is_string() {
        return reader.one_of(at, "UnreachableStrategy", &[("disabled", UnreachableStrategy::Disabled)]);
    }
    if !at.value.is_object() {
        reader.problems.explain(&at.path, "error.expected.jsobject", format!("found {}", at.value));
        return None;
    }
    let mut seconds = |name| at.member(name).map_or(Some(0), |at| reader.long(&at));
    let (inactive, expunge) = (seconds("inactiveAfterSeconds"), seconds("expungeAfterSeconds"));
    Some(UnreachableStrategy::Enabled { inactive_after_seconds: inactive?, expunge_after_seconds: expunge? })
}

fn port_definition(reader: &mut Reader, at: &At<'_>) -> Option<PortDefinition> {
    reader.object(at)?;
    let number = at.member("port").map_or(Some(0), |at| port(reader, &at));
    let labels = labels(reader, at);
    let name = at.member("name").map_or(Some(None), |at| port_name(reader, &at).map(Some));
    let protocol = network_protocol(reader, at);
    Some(PortDefinition { port: number?, labels: labels?, name: name?, protocol: protocol? })
}

/// The member `labels` of anything.
fn labels(reader: &mut Reader, of: &At<'_>) -> Option<BTreeMap<String, String>> {
    of.member("labels").map_or(Some(BTreeMap::new()), |at| reader.map(&at, |r, at| r.string(at)))
}

/// The member `protocol` of a port.
fn network_protocol(reader: &mut Reader, of: &At<'_>) -> Option<String> {
    let all = [("tcp", "tcp"), ("udp", "udp"), ("udp,tcp", "udp,tcp")];
    let read = |at: At<'_>| reader.one_of(&at, "NetworkProtocol", &all);
    of.member("protocol").map_or(Some("tcp"), read).map(str::to_owned)
}

/// Marathon: RAML type `LegacyName`.
fn port_name(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let name = reader.non_empty_string(at)?;
    if name.contains('.') || !is_segment(&name) {
        let explanation = format!("found '{name}', allowed are lower-case letters, digits and inner dashes");
        reader.problems.explain(&at.path, "error.pattern", explanation);
        return None;
    }
    Some(name)
}

fn health_check(reader: &mut Reader, at: &At<'_>) -> Option<HealthCheck> {
    reader.object(at)?;
    let default = HealthCheck::default();
    let mut time = |name, default| at.member(name).map_or(Some(default), |at| seconds(reader, &at));
    let grace = time("gracePeriodSeconds", default.grace_period_seconds);
    let interval = time("intervalSeconds", default.interval_seconds);
    let failures = time("maxConsecutiveFailures", default.max_consecutive_failures);
    let timeout = time("timeoutSeconds", default.timeout_seconds);
    let delay = time("delaySeconds", default.delay_seconds);
    let ignore = at.member("ignoreHttp1xx").map_or(Some(None), |at| reader.boolean(&at).map(Some));
    let path = at.member("path").map_or(Some(None), |at| reader.string(&at).map(Some));
    let number = at.member("port").map_or(Some(None), |at| port(reader, &at).map(Some));
    let index = at.member("portIndex").map_or(Some(None), |at| port(reader, &at).map(Some));
    let command = at.member("command").map_or(Some(None), |at| health_command(reader, &at).map(Some));
    let all = Protocol::ALL.map(|protocol| (protocol.as_str(), protocol));
    let protocol = at
        .member("protocol")
        .map_or(Some(default.protocol), |at| reader.one_of(&at, "AppHealthCheckProtocol", &all))?;
    let families = [("IPv4", "IPv4"), ("IPv6", "IPv6")];
    let family =
        at.member("ipProtocol").map_or(Some("IPv4"), |at| reader.one_of(&at, "IpProtocol", &families));
    let is_http = matches!(protocol, Protocol::Http | Protocol::Https);
    Some(HealthCheck {
        command: command?,
        grace_period_seconds: grace?,
        ignore_http1xx: ignore?.or(Some(false)).filter(|_| is_http),
        interval_seconds: interval?,
        max_consecutive_failures: failures?,
        path: path?,
        port: number?,
        port_index: index?,
        protocol,
        ip_protocol: family?.to_owned(),
        timeout_seconds: timeout?,
        delay_seconds: delay?,
    })
}

fn health_command(reader: &mut Reader, at: &At<'_>) -> Option<HealthCommand> {
    reader.object(at)?;
    match at.member("value") {
        Some(at) => Some(HealthCommand { value: reader.string(&at)? }),
        None => {
            reader.missing(at, "value");
            None
        }
    }
}

/// Health checks are a set in Marathon.
fn without_twins(checks: Vec<HealthCheck>) -> Vec<HealthCheck> {
    let mut kept: Vec<HealthCheck> = Vec::with_capacity(checks.len());
    for check in checks {
        if !kept.contains(&check) {
            kept.push(check);
        }
    }
    kept
}

/// Paths of fields whose feature does not exist here, and what is said about them.
type Refused = Vec<(String, String)>;

fn env(reader: &mut Reader, at: &At<'_>, refused: &mut Refused) -> Option<BTreeMap<String, String>> {
    let mut problem = None;
    let env = reader.map(at, |reader, value| match value.member("secret") {
        Some(secret) => {
            problem = Field::at(&secret.path).map(|field| field.kind);
            reader.string(&secret)
        }
        // Marathon tries a string first and then a secret, and reports the second failure.
        None if value.value.is_string() => reader.string(value),
        None => {
            reader.missing(value, "secret");
            None
        }
    });
    if let Some(Kind::Refused(why)) = problem {
        refused.push((at.path.clone(), why.to_owned()));
    }
    env
}
