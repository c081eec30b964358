use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the health of an app's tasks is found out.
///
/// Marathon: RAML type `AppHealthCheck`. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// What a [`Protocol::Command`] check runs beside the task.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<HealthCommand>,
    /// How long after its start failures of a task are ignored, until it was healthy for the first time.
    pub grace_period_seconds: u32,
    /// Whether an HTTP answer of the 100s says nothing instead of being a failure.
    #[serde(rename = "ignoreHttp1xx", skip_serializing_if = "Option::is_none", default)]
    pub ignore_http1xx: Option<bool>,
    /// Time between two checks.
    pub interval_seconds: u32,
    /// How many failures in a row end the task; 0 never ends it.
    pub max_consecutive_failures: u32,
    /// Path that an HTTP check gets; `/` if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// Fixed port to connect to, instead of one of the task's own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// Index of the task's port to connect to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_index: Option<u16>,
    /// What is spoken and by whom.
    pub protocol: Protocol,
    /// `IPv4`, the only one allowed without container images.
    pub ip_protocol: String,
    /// How long one check may take.
    pub timeout_seconds: u32,
    /// How long after the start of the task the first check waits.
    pub delay_seconds: u32,
}

/// A shell command, ended by exit code 0 if the task is healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCommand {
    /// The command line for `/bin/sh -c`.
    pub value: String,
}

/// The protocol of a health check. `HTTP`, `HTTPS` and `TCP` are done by Marathon itself, the others by the executor
/// of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Protocol {
    Http,
    Https,
    Tcp,
    Command,
    MesosHttp,
    MesosHttps,
    MesosTcp,
}

impl Protocol {
    /// Every protocol, in the order in which Marathon lists them.
    pub const ALL: [Protocol; 7] = [
        Protocol::Http,
        Protocol::Https,
        Protocol::Tcp,
        Protocol::Command,
        Protocol::MesosHttp,
        Protocol::MesosHttps,
        Protocol::MesosTcp,
    ];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP",
            Protocol::Https => "HTTPS",
            Protocol::Tcp => "TCP",
            Protocol::Command => "COMMAND",
            Protocol::MesosHttp => "MESOS_HTTP",
            Protocol::MesosHttps => "MESOS_HTTPS",
            Protocol::MesosTcp => "MESOS_TCP",
        }
    }

    /// Whether Marathon itself does the check, over the network, instead of the executor.
    pub fn is_by_marathon(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Https | Protocol::Tcp)
    }
}

impl HealthCheck {
    /// [`Self::grace_period_seconds`] as a duration.
    pub fn grace_period(&self) -> Duration {
        Duration::from_secs(self.grace_period_seconds.into())
    }

    /// [`Self::interval_seconds`] as a duration.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.into())
    }

    /// [`Self::timeout_seconds`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// [`Self::delay_seconds`] as a duration.
    pub fn delay(&self) -> Duration {
        Duration::from_secs(self.delay_seconds.into())
    }
}

impl Default for HealthCheck {
    /// A check of `/` of the first port over HTTP, with Marathon's times.
    fn default() -> Self {
        HealthCheck {
            command: None,
            grace_period_seconds: 300,
            ignore_http1xx: None,
            interval_seconds: 60,
            max_consecutive_failures: 3,
            path: None,
            port: None,
            port_index: None,
            protocol: Protocol::Http,
            ip_protocol: "IPv4".to_owned(),
            timeout_seconds: 20,
            delay_seconds: 15,
        }
    }
}
