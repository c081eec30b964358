//! What the agent tells its executor through the environment, by the names that Mesos uses.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::image::Image;

/// The environment, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The agent's Unix socket (`MESOS_DOMAIN_SOCKET`).
    pub(crate) socket: PathBuf,
    pub(crate) framework_id: String,
    pub(crate) executor_id: String,
    /// Whether to outlive the agent (`MESOS_CHECKPOINT`).
    pub(crate) checkpoint: bool,
    /// How long to wait for the agent to come back.
    pub(crate) recovery_timeout: Duration,
    /// The longest pause between two attempts to subscribe.
    pub(crate) subscription_backoff_max: Duration,
    /// How long the agent waits after SHUTDOWN before it destroys the container.
    pub(crate) shutdown_grace_period: Duration,
    /// Sent as a bearer token, and hidden from the task.
    pub(crate) token: Option<String>,
    /// What the image says about its programs, if the task has one; hidden from the task.
    pub(crate) image: Option<Image>,
    /// The task's sandbox as it is seen here (`MESOS_SANDBOX`).
    pub(crate) sandbox: Option<PathBuf>,
    /// What the task inherits.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// The variables that a task must not see.
const TOKEN: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN";
const IMAGE: &str = "DCOS_IMAGE_CONFIG";

/// Why this process cannot be an executor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{0} is not in the environment: an executor is started by an agent")]
    Missing(&'static str),
    #[error("{name} is {found:?}: a number with a unit such as 15mins or 2secs is allowed")]
    Duration { name: &'static str, found: String },
    #[error("{IMAGE} is not what an agent says of an image: {0}")]
    Image(String),
}

impl Settings {
    pub(crate) fn read(environment: Vec<(OsString, OsString)>) -> Result<Settings, SettingsError> {
        let text = |name: &str| {
            let (_, value) = environment.iter().find(|(found, _)| found == name)?;
            value.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let required = |name: &'static str| text(name).ok_or(SettingsError::Missing(name));
        let duration = |name: &'static str, default: Duration| match text(name) {
            None => Ok(default),
            Some(found) => base::parse_duration(&found).ok_or(SettingsError::Duration { name, found }),
        };
        let image = |text: String| {
            serde_json::from_str(&text).map_err(|error| SettingsError::Image(error.to_string()))
        };
        Ok(Settings {
            socket: required("MESOS_DOMAIN_SOCKET")?.into(),
            framework_id: required("MESOS_FRAMEWORK_ID")?,
            executor_id: required("MESOS_EXECUTOR_ID")?,
            checkpoint: text("MESOS_CHECKPOINT").is_some_and(|value| value == "1"),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", Duration::from_secs(15 * 60))?,
            subscription_backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", Duration::from_secs(2))?,
            shutdown_grace_period: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", Duration::from_secs(5))?,
            token: text(TOKEN),
            image: text(IMAGE).map(image).transpose()?,
            sandbox: text("MESOS_SANDBOX").map(PathBuf::from),
            environment: environment.into_iter().filter(|(name, _)| name != TOKEN && name != IMAGE).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_and_hidden() {
        let variables = |more: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            let always =
                [("MESOS_DOMAIN_SOCKET", "/s"), ("MESOS_FRAMEWORK_ID", "f"), ("MESOS_EXECUTOR_ID", "e")];
            always.iter().chain(more).map(|(name, value)| (name.into(), value.into())).collect()
        };
        let settings = Settings::read(variables(&[(TOKEN, "secret"), ("MESOS_CHECKPOINT", "1")])).unwrap();
        assert_eq!(settings.token.as_deref(), Some("secret"));
        assert!(settings.checkpoint);
        assert_eq!(settings.environment, variables(&[("MESOS_CHECKPOINT", "1")]));
        assert_eq!(Settings::read(Vec::new()), Err(SettingsError::Missing("MESOS_DOMAIN_SOCKET")));
        let bad = Settings::read(variables(&[("MESOS_RECOVERY_TIMEOUT", "soon")])).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "MESOS_RECOVERY_TIMEOUT is \"soon\": a number with a unit such as 15mins or 2secs is allowed"
        );
    }
}
