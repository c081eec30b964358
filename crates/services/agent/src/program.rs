//! What is executed in a container.

use std::path::PathBuf;

use mesos_proto::v1::CommandInfo;

use crate::environment::Effective;

/// A program and its arguments, its own name first.
pub(crate) type Program = (PathBuf, Vec<String>);

/// The executor of command tasks.
pub(crate) fn command_executor(command: &[String]) -> Program {
    let program = command.first().map_or("", String::as_str);
    let mut argv = command.to_vec();
    if program == containers::OWN_PROGRAM {
        argv[0] = containers::OWN_NAME.to_owned();
    }
    (program.into(), argv)
}

/// The executor that a framework brings along. In an image its entrypoint and cmd stand in for what the
/// command leaves out (Mesos: the docker/runtime isolator).
pub(crate) fn custom_executor(command: &CommandInfo, image: Option<&Effective>) -> Program {
    if let (false, None, Some(image)) = (command.shell(), &command.value, image) {
        let mut argv = image.entrypoint.clone();
        match command.arguments.is_empty() {
            true => argv.extend(image.cmd.iter().cloned()),
            false => argv.extend(command.arguments.iter().cloned()),
        }
        return (argv.first().cloned().unwrap_or_default().into(), argv);
    }
    let value = command.value.clone().unwrap_or_default();
    if command.shell.unwrap_or(true) {
        return ("/bin/sh".into(), vec!["sh".into(), "-c".into(), value]);
    }
    // As in Mesos the arguments begin with the name that the program sees as its own.
    let argv = if command.arguments.is_empty() { vec![value.clone()] } else { command.arguments.clone() };
    (value.into(), argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_executor_is_started_as_its_command_says() {
        let check = |shell, value: &str, arguments: &[&str], program: &str, argv: &[&str]| {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let value = Some(value.to_owned());
            let command = CommandInfo { shell, value, arguments, ..Default::default() };
            let (found, found_argv) = custom_executor(&command, None);
            assert_eq!((found, found_argv), (program.into(), argv.iter().map(|a| (*a).to_owned()).collect()));
        };
        check(None, "./run -x", &[], "/bin/sh", &["sh", "-c", "./run -x"]);
        check(Some(false), "/bin/run", &[], "/bin/run", &["/bin/run"]);
        check(Some(false), "/bin/run", &["run", "-x"], "/bin/run", &["run", "-x"]);
    }

    #[test]
    fn an_image_says_what_its_command_leaves_out() {
        let strings = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let check = |value: Option<&str>, arguments: &[&str], expected: &[&str]| {
            let image =
                Effective { entrypoint: strings(&["/e", "1"]), cmd: strings(&["c"]), ..Default::default() };
            let (value, arguments) = (value.map(str::to_owned), strings(arguments));
            let command = CommandInfo { shell: Some(false), value, arguments, ..Default::default() };
            assert_eq!(custom_executor(&command, Some(&image)).1, strings(expected));
        };
        check(None, &[], &["/e", "1", "c"]);
        check(None, &["a"], &["/e", "1", "a"]);
        check(Some("/v"), &["v", "a"], &["v", "a"]);
    }
}
