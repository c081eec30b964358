//! Words of other programs, and what they are here.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Commands that people type who come from Nomad, Kubernetes, docker or DC/OS, and what to type instead.
const WORDS: &[(&[&str], &str)] = &[
    (
        &["app", "apps", "deploy", "run", "apply", "create", "start"],
        "Apps are started by `dcos marathon app add <file>`; `dcos marathon app --help` lists what else there is for them.",
    ),
    (&["ps", "get", "tasks"], "`dcos marathon app list` shows the apps, `dcos task list` the tasks."),
    (
        &["status", "info", "describe", "inspect"],
        "`dcos node list` shows the cluster, `dcos marathon app show <app>` an app and what it waits for.",
    ),
    (
        &["log", "logs"],
        "`dcos marathon app logs -f <app>` follows all instances, `dcos task log <task>` one task.",
    ),
    (
        &["exec", "attach", "alloc", "ssh", "shell"],
        "`dcos task exec -it <task> sh` opens a shell where a task runs.",
    ),
    (
        &["rm", "delete", "stop", "kill", "scale", "rollout", "restart"],
        "`dcos marathon app --help` lists what can be done to apps: update, restart, stop, remove.",
    ),
    (
        &["pull", "images", "build"],
        "`dcos image --help` lists what there is for images; they are built elsewhere.",
    ),
    (&["deployment", "group"], "It is below `dcos marathon`."),
    (&["login", "logout"], "It is below `dcos auth`."),
    (&["agent-list", "nodes", "top"], "`dcos node list` shows the machines."),
    (&["job"], "There are no scheduled jobs yet; an app that ends is started again after its backoff."),
    (
        &["package", "security", "edgelb", "quota", "diagnostics", "pod", "plugin"],
        "This command of DC/OS is not there yet; docs/plan.md says what is.",
    ),
];

/// What to type instead of an unknown first word, if clap had no better idea.
pub(crate) fn of(error: &clap::Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::InvalidSubcommand || error.get(ContextKind::SuggestedSubcommand).is_some() {
        return None;
    }
    // Behind other words it means something else: `dcos cluster delete`.
    let usage = error.get(ContextKind::Usage)?.to_string();
    if !usage.split_whitespace().nth(2)?.starts_with(['[', '<']) {
        return None;
    }
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(given)) => meaning(given),
        _ => None,
    }
}

fn meaning(given: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&given)).map(|(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_known() {
        let check = |given: &[&str], known: bool| {
            let cluster = clap::Command::new("cluster").subcommand(clap::Command::new("setup"));
            let command =
                clap::Command::new("dcos").subcommand(clap::Command::new("marathon")).subcommand(cluster);
            let error = command.try_get_matches_from([&["dcos"], given].concat()).unwrap_err();
            assert_eq!(of(&error).is_some(), known, "{given:?}");
        };
        check(&["logs"], true);
        check(&["package"], true);
        check(&["frobnicate"], false);
        check(&["marathn"], false);
        check(&["--app"], false);
        check(&["cluster", "delete"], false);
    }
}
