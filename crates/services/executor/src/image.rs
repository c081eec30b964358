//! What an image says about the programs in it, and what a task's command makes of that.

use mesos_proto::v1::{CommandInfo, ContainerInfo, container_info};
use serde::Deserialize;

/// An image's own idea of how it is run, as the agent hands it over in `DCOS_IMAGE_CONFIG`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Image {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    /// Empty: whoever starts it.
    pub(crate) user: String,
    /// Empty: the sandbox.
    pub(crate) working_dir: String,
}

/// How arguments and an image's own command become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Mesos: src/slave/containerizer/mesos/isolators/docker/runtime.cpp, `getLaunchCommand`: arguments
    /// follow the entrypoint, or the first word of `CMD`.
    Mesos,
    /// Mesos: src/docker/docker.cpp, `Docker::RunOptions::create`, and docker itself: all that is given
    /// replaces `CMD` and follows the entrypoint.
    Docker,
}

impl Merge {
    pub(crate) fn of(container: Option<&ContainerInfo>) -> Merge {
        match container.map(ContainerInfo::r#type) {
            Some(container_info::Type::Docker) => Merge::Docker,
            _ => Merge::Mesos,
        }
    }
}

impl Image {
    /// The image's variables; what has no `=` is none.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|variable| variable.split_once('='))
    }

    /// What `command` means in this image.
    pub(crate) fn command(&self, command: &CommandInfo, merge: Merge) -> Result<CommandInfo, String> {
        let value = command.value.as_deref().filter(|value| !value.is_empty());
        let given = &command.arguments;
        let words: Vec<String> = match (value, merge) {
            // A shell takes the place of all that the image says.
            _ if command.shell() => return Ok(command.clone()),
            (Some(_), Merge::Mesos) => return Ok(command.clone()),
            (Some(value), Merge::Docker) => {
                let own = std::iter::once(value.to_owned()).chain(given.iter().cloned());
                self.entrypoint.iter().cloned().chain(own).collect()
            }
            (None, _) if given.is_empty() => [&*self.entrypoint, &self.cmd].concat(),
            (None, Merge::Mesos) if self.entrypoint.is_empty() => {
                self.cmd.iter().take(1).chain(given).cloned().collect()
            }
            (None, _) => [&*self.entrypoint, given].concat(),
        };
        let program = words.first().filter(|program| !program.is_empty()).cloned();
        let program =
            program.ok_or("the image has neither an entrypoint nor a command: give the app a cmd or args")?;
        Ok(CommandInfo { shell: Some(false), value: Some(program), arguments: words, ..command.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Entrypoint, `CMD`, value and arguments against what is executed, by Mesos' rule and by docker's.
    fn check(entrypoint: &str, cmd: &str, value: &str, arguments: &str, mesos: &str, docker: &str) {
        let image = Image { entrypoint: words(entrypoint), cmd: words(cmd), ..Default::default() };
        let command = CommandInfo {
            shell: Some(false),
            value: Some(value.to_owned()).filter(|value| !value.is_empty()),
            arguments: words(arguments),
            ..Default::default()
        };
        for (merge, expect) in [(Merge::Mesos, mesos), (Merge::Docker, docker)] {
            let found = image.command(&command, merge);
            let found = found.map(|command| {
                let arguments = command.arguments.join(" ");
                format!("{}: {arguments}", command.value.unwrap_or_default())
            });
            let expect = Some(expect.to_owned()).filter(|text| !text.is_empty());
            assert_eq!(found.ok(), expect, "{merge:?} {entrypoint:?} {cmd:?} {value:?} {arguments:?}");
        }
    }

    #[test]
    fn the_table_of_mesos_and_of_docker() {
        check("", "", "", "", "", "");
        check("", "c 1", "", "", "c: c 1", "c: c 1");
        check("e 2", "", "", "", "e: e 2", "e: e 2");
        check("e 2", "c 1", "", "", "e: e 2 c 1", "e: e 2 c 1");
        check("", "", "", "a b", "a: a b", "a: a b");
        check("", "c 1", "", "a b", "c: c a b", "a: a b");
        check("e 2", "", "", "a b", "e: e 2 a b", "e: e 2 a b");
        check("e 2", "c 1", "", "a b", "e: e 2 a b", "e: e 2 a b");
        check("e 2", "c 1", "v", "", "v: ", "e: e 2 v");
        check("e 2", "c 1", "v", "a b", "v: a b", "e: e 2 v a b");
        check("", "c 1", "v", "a b", "v: a b", "v: v a b");
    }

    #[test]
    fn a_shell_ignores_the_image() {
        let image = Image { entrypoint: words("e"), cmd: words("c"), ..Default::default() };
        let command = CommandInfo { value: Some("x".into()), ..Default::default() };
        for merge in [Merge::Mesos, Merge::Docker] {
            assert_eq!(image.command(&command, merge), Ok(command.clone()));
        }
    }

    #[test]
    fn a_config_may_leave_anything_out() {
        let image: Image = serde_json::from_str(r#"{"env":["A=1=2","B"],"labels":{}}"#).unwrap();
        assert_eq!(image.variables().collect::<Vec<_>>(), [("A", "1=2")]);
        assert_eq!((image.user.as_str(), image.cmd.len()), ("", 0));
    }
}
