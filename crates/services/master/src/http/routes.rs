//! Which endpoint a path means.

/// What a path leads to, before its method is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/`
    Root,
    /// `/help`
    Help,
    /// `/api/v1`
    Operator,
    /// `/api/v1/scheduler`
    Scheduler,
    /// `/api/v1/agent`
    AgentLink,
    /// `/health`
    Health,
    /// `/version`
    Version,
    /// `/flags`
    Flags,
    /// `/redirect`
    Redirect,
    /// `/redirect/...`: nothing, so that a redirect never leads to itself.
    BelowRedirect,
    /// `/teardown`
    Teardown,
    /// `/maintenance/schedule`
    MaintenanceSchedule,
    /// `/maintenance/status`
    MaintenanceStatus,
    /// `/machine/down`
    MachineDown,
    /// `/machine/up`
    MachineUp,
    /// `/reserve`
    Reserve,
    /// `/unreserve`
    Unreserve,
    /// `/metrics/snapshot`
    Metrics,
    /// `/state`, `/state.json`
    State,
    /// `/state-summary`
    StateSummary,
    /// `/slaves`
    Slaves,
    /// `/frameworks`
    Frameworks,
    /// `/tasks`
    Tasks,
    /// `/roles`
    Roles,
    /// `/logging/toggle`
    Logging,
    /// `/system/stats.json`
    SystemStats,
    /// `/profiler/...`, `/memory-profiler/...`
    Profiler,
    /// `/files/...`
    Files,
}

impl Endpoint {
    /// The realm in which callers have to prove who they are, if that is asked for.
    /// Mesos: Master::initialize.
    pub(crate) fn realm(self) -> Option<&'static str> {
        match self {
            Endpoint::Root
            | Endpoint::Help
            | Endpoint::Health
            | Endpoint::Version
            | Endpoint::Redirect
            | Endpoint::SystemStats
            | Endpoint::BelowRedirect => None,
            Endpoint::Scheduler => Some(SCHEDULER),
            Endpoint::AgentLink => Some(AGENT),
            Endpoint::Operator
            | Endpoint::Teardown
            | Endpoint::MaintenanceSchedule
            | Endpoint::MachineDown
            | Endpoint::MachineUp
            | Endpoint::Reserve
            | Endpoint::Unreserve
            | Endpoint::Logging
            | Endpoint::Profiler => Some(READWRITE),
            Endpoint::Flags
            | Endpoint::Metrics
            | Endpoint::State
            | Endpoint::StateSummary
            | Endpoint::Slaves
            | Endpoint::Frameworks
            | Endpoint::Tasks
            | Endpoint::Roles
            | Endpoint::MaintenanceStatus
            | Endpoint::Files => Some(READONLY),
        }
    }
}

/// Documents. Mesos: READONLY_HTTP_AUTHENTICATION_REALM.
pub(crate) const READONLY: &str = "mesos-master-readonly";
/// What changes something. Mesos: READWRITE_HTTP_AUTHENTICATION_REALM.
pub(crate) const READWRITE: &str = "mesos-master-readwrite";
/// Frameworks. Mesos: DEFAULT_HTTP_FRAMEWORK_AUTHENTICATION_REALM.
pub(crate) const SCHEDULER: &str = "mesos-master-scheduler";
/// Agents, which speak another protocol in Mesos.
pub(crate) const AGENT: &str = "mesos-master-agent";

/// The names as Mesos installs them. `.json` forms are those of DC/OS 1.9 and before, whose clients
/// still ask for them.
const ENDPOINTS: [(&str, Endpoint); 50] = [
    ("logging/toggle", Endpoint::Logging),
    ("system/stats.json", Endpoint::SystemStats),
    ("profiler/start", Endpoint::Profiler),
    ("profiler/stop", Endpoint::Profiler),
    ("memory-profiler/start", Endpoint::Profiler),
    ("memory-profiler/stop", Endpoint::Profiler),
    ("memory-profiler/download/raw", Endpoint::Profiler),
    ("memory-profiler/download/text", Endpoint::Profiler),
    ("memory-profiler/download/graph", Endpoint::Profiler),
    ("memory-profiler/statistics", Endpoint::Profiler),
    ("memory-profiler/state", Endpoint::Profiler),
    ("files/browse", Endpoint::Files),
    ("files/browse.json", Endpoint::Files),
    ("files/read", Endpoint::Files),
    ("files/read.json", Endpoint::Files),
    ("files/download", Endpoint::Files),
    ("files/download.json", Endpoint::Files),
    ("files/debug", Endpoint::Files),
    ("files/debug.json", Endpoint::Files),
    ("help", Endpoint::Help),
    ("api/v1", Endpoint::Operator),
    ("api/v1/scheduler", Endpoint::Scheduler),
    ("api/v1/agent", Endpoint::AgentLink),
    ("health", Endpoint::Health),
    ("version", Endpoint::Version),
    ("flags", Endpoint::Flags),
    ("flags.json", Endpoint::Flags),
    ("redirect", Endpoint::Redirect),
    ("teardown", Endpoint::Teardown),
    ("maintenance/schedule", Endpoint::MaintenanceSchedule),
    ("maintenance/status", Endpoint::MaintenanceStatus),
    ("machine/down", Endpoint::MachineDown),
    ("machine/up", Endpoint::MachineUp),
    ("reserve", Endpoint::Reserve),
    ("unreserve", Endpoint::Unreserve),
    ("metrics/snapshot", Endpoint::Metrics),
    ("metrics/snapshot.json", Endpoint::Metrics),
    ("state", Endpoint::State),
    ("state.json", Endpoint::State),
    ("state-summary", Endpoint::StateSummary),
    ("state-summary.json", Endpoint::StateSummary),
    ("slaves", Endpoint::Slaves),
    ("slaves.json", Endpoint::Slaves),
    ("frameworks", Endpoint::Frameworks),
    ("frameworks.json", Endpoint::Frameworks),
    ("tasks", Endpoint::Tasks),
    ("tasks.json", Endpoint::Tasks),
    ("roles", Endpoint::Roles),
    ("roles.json", Endpoint::Roles),
    ("version.json", Endpoint::Version),
];

/// The endpoint of the longest prefix of `path` that has one, with and without `/master` before it:
/// who posts to `/api/v1/operator` is answered as by `/api/v1`. None is Mesos' 404.
/// Mesos: ProcessBase::consume(HttpEvent).
pub(crate) fn endpoint(path: &str) -> Option<Endpoint> {
    let whole = path.trim_matches('/');
    let name = match whole.strip_prefix("master") {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => whole,
    };
    if name.is_empty() {
        return Some(Endpoint::Root);
    }
    let mut prefix = name;
    loop {
        let found = ENDPOINTS.iter().find(|(known, _)| *known == prefix);
        match (found, prefix.rfind('/')) {
            (Some((_, Endpoint::Redirect)), _) if prefix != name => return Some(Endpoint::BelowRedirect),
            (Some((_, endpoint)), _) => return Some(*endpoint),
            (None, Some(slash)) => prefix = prefix[..slash].trim_end_matches('/'),
            (None, None) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_handled_prefix_answers() {
        let check = |path, expect| assert_eq!(endpoint(path), expect, "{path}");
        check("/", Some(Endpoint::Root));
        check("/master", Some(Endpoint::Root));
        check("/state", Some(Endpoint::State));
        check("/state/", Some(Endpoint::State));
        check("//state", Some(Endpoint::State));
        check("/state.json", Some(Endpoint::State));
        check("/master/state", Some(Endpoint::State));
        check("/master/state.json", Some(Endpoint::State));
        check("/master/state/x/y", Some(Endpoint::State));
        check("/api/v1", Some(Endpoint::Operator));
        check("/api/v1/", Some(Endpoint::Operator));
        check("/api/v1/operator", Some(Endpoint::Operator));
        check("/master/api/v1", Some(Endpoint::Operator));
        check("/api/v1/scheduler", Some(Endpoint::Scheduler));
        check("/master/api/v1/scheduler", Some(Endpoint::Scheduler));
        check("/api/v1/agent", Some(Endpoint::AgentLink));
        check("/metrics/snapshot", Some(Endpoint::Metrics));
        check("/redirect", Some(Endpoint::Redirect));
        check("/redirect/redirect", Some(Endpoint::BelowRedirect));
        check("/nope", None);
        check("/api", None);
        check("/metrics", None);
        check("/master/nope", None);
        check("/masterstate", None);
        check("/registrar(id)/registry", None);
    }
}
