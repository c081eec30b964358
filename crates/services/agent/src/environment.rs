//! What executors are told through their environment.

use std::path::Path;
use std::time::Duration;

use agent_core::{ContainerPlan, Launch, NetworkPlan};
use base::duration_text;
use images::ImageConfig;
use mesos_proto::v1::CommandInfo;
use serde::Serialize;

use crate::Config;

/// The variable that carries [`Effective`] to the command executor.
const IMAGE_CONFIG: &str = "DCOS_IMAGE_CONFIG";

/// How the programs of an image are run, after the options of docker had their say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Effective {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    /// `NAME=value`, each name once.
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
}

impl Effective {
    pub(crate) fn of(config: &ImageConfig, plan: &ContainerPlan) -> Effective {
        let docker = &plan.docker;
        let mut all = Effective {
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            env: Vec::new(),
            user: docker.user.clone().unwrap_or_else(|| config.user.clone()),
            working_dir: docker.working_dir.clone().unwrap_or_else(|| config.working_dir.clone()),
        };
        if let Some(entrypoint) = &docker.entrypoint {
            // An empty one takes the image's away.
            all.entrypoint = Some(entrypoint.clone()).filter(|text| !text.is_empty()).into_iter().collect();
            all.cmd.clear();
        }
        let own = docker.environment.iter().map(|(name, value)| format!("{name}={value}"));
        for variable in config.env.iter().cloned().chain(own) {
            let name = variable.split('=').next().unwrap_or_default();
            all.env.retain(|known| known.split('=').next() != Some(name));
            all.env.push(variable);
        }
        all
    }

    fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.env.iter().map(|variable| {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            (name.to_owned(), value.to_owned())
        })
    }
}

/// Where things are, as the container sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) sandbox: &'a Path,
    pub(crate) socket: &'a Path,
}

/// Mesos: `executorEnvironment`, and what the command of a custom executor asks for. What a command task
/// asks for its executor adds when it starts the task: the executor itself may be root where the task is
/// not, so the task's author must not choose which agent it listens to. `directory` is the sandbox as the
/// host sees it, `address` where the agent listens.
pub(crate) fn environment(
    config: &Config,
    launch: &Launch,
    image: Option<&Effective>,
    directory: &Path,
    view: View<'_>,
    address: &str,
) -> Vec<(String, String)> {
    let is_custom = launch.task.is_none();
    let mut all = Variables(Vec::new());
    all.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(image) = image.filter(|_| is_custom) {
        image.variables().for_each(|(name, value)| all.set(&name, value));
    }
    let grace = launch
        .executor
        .shutdown_grace_period
        .as_ref()
        .map_or(config.executor_shutdown_grace_period, |period| {
            Duration::from_nanos(u64::try_from(period.nanoseconds).unwrap_or(0))
        });
    let ip = match launch.plan.network {
        NetworkPlan::Host => config.ip.to_string(),
        NetworkPlan::Bridge { .. } | NetworkPlan::None => "0.0.0.0".to_owned(),
    };
    all.set("LIBPROCESS_IP", ip);
    all.set("LIBPROCESS_PORT", "0");
    all.set("MESOS_FRAMEWORK_ID", launch.run.framework_id.as_str());
    all.set("MESOS_EXECUTOR_ID", launch.run.executor_id.as_str());
    all.set("MESOS_DIRECTORY", directory.display().to_string());
    all.set("MESOS_SANDBOX", view.sandbox.display().to_string());
    all.set("MESOS_SLAVE_ID", launch.agent_id.as_str());
    all.set("MESOS_SLAVE_PID", format!("slave(1)@{address}"));
    all.set("MESOS_AGENT_ENDPOINT", address);
    all.set("MESOS_DOMAIN_SOCKET", view.socket.display().to_string());
    all.set("MESOS_CHECKPOINT", "1");
    all.set("MESOS_HTTP_COMMAND_EXECUTOR", "1");
    all.set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration_text(grace));
    all.set("MESOS_RECOVERY_TIMEOUT", duration_text(config.recovery_timeout));
    all.set("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs");
    all.set("MESOS_CONTAINER_ID", launch.run.container_id.as_str());
    if is_custom {
        all.add(launch.executor.command.as_ref());
    } else if let Some(image) = image {
        // Cannot fail: strings and lists of them.
        all.set(IMAGE_CONFIG, serde_json::to_string(image).unwrap_or_default());
    }
    all.0
}

/// What the program of a nested container is told: what its image says, where its sandbox is, and what its
/// command asks for.
pub(crate) fn nested_environment(
    command: &CommandInfo,
    image: Option<&Effective>,
    view: View<'_>,
) -> Vec<(String, String)> {
    let mut all = Variables(Vec::new());
    all.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    image.into_iter().flat_map(Effective::variables).for_each(|(name, value)| all.set(&name, value));
    all.set("MESOS_SANDBOX", view.sandbox.display().to_string());
    all.add(Some(command));
    all.0
}

struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn add(&mut self, command: Option<&CommandInfo>) {
        let environment = command.and_then(|command| command.environment.as_ref());
        for variable in environment.iter().flat_map(|environment| &environment.variables) {
            self.set(&variable.name, variable.value.clone().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
