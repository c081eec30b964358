//! `dcos completion`: the arguments of the program for shells, and the ids that only the cluster knows.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::aot::{Bash, Fish, Zsh, generate};

use crate::{Context, Error, output};

/// `dcos completion`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell: bash, zsh or fish
    shell: Shell,
}

/// Shells whose completion is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// `source <(dcos completion bash)`, for example in ~/.bashrc
    Bash,
    /// `source <(dcos completion zsh)`, for example in ~/.zshrc
    Zsh,
    /// `dcos completion fish | source`, for example in ~/.config/fish/config.fish
    Fish,
}

/// Commands whose last argument is an id, and the command that lists these.
const IDS: [(&str, &[&str], &str); 8] = [
    (
        "marathon app",
        &["show", "update", "remove", "start", "stop", "restart", "kill", "logs"],
        "marathon app list -q",
    ),
    ("marathon task", &["show", "stop", "kill"], "marathon task list -q"),
    ("marathon deployment", &["rollback", "stop", "watch"], "marathon deployment list -q"),
    ("marathon debug", &["summary", "details"], "marathon app list -q"),
    ("marathon delay", &["reset"], "marathon app list -q"),
    ("task", &["attach", "download", "exec", "log", "ls"], "task list -q"),
    ("image", &["rm", "remove"], "image list -q"),
    ("port-forward", &[], "marathon app list -q"),
];

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<ExitCode, Error> {
    output::print(&script(arguments.shell, (context.program.arguments)()))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, mut command: clap::Command) -> String {
    let mut bytes = Vec::new();
    match shell {
        Shell::Bash => generate(Bash, &mut command, "dcos", &mut bytes),
        Shell::Zsh => generate(Zsh, &mut command, "dcos", &mut bytes),
        Shell::Fish => generate(Fish, &mut command, "dcos", &mut bytes),
    }
    let arguments = String::from_utf8(bytes).expect("names and help of commands are UTF-8");
    match shell {
        Shell::Bash => format!("{arguments}\n{}", bash()),
        Shell::Zsh => zsh(&arguments),
        Shell::Fish => format!("{arguments}\n{}", fish()),
    }
}

/// Asks the cluster for ids where one stands, else what clap made.
fn bash() -> String {
    let mut cases = String::new();
    for (group, commands, list) in IDS {
        // Options may stand between the command and the id.
        let pattern = |command: &&str| format!("'{group} {command} '*");
        let patterns: Vec<String> = match commands {
            [] => vec![format!("'{group} '*")],
            commands => commands.iter().map(pattern).collect(),
        };
        cases.push_str(&format!("        {}) list='{list}';;\n", patterns.join("|")));
    }
    format!(
        r#"_dcos_ids() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" list="" ids=""
    case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}    esac
    if [[ -z "$list" || "$cur" == -* ]]; then
        _dcos "$@"
        return
    fi
    ids="$(dcos $list 2>/dev/null)"
    [[ "$list" != *" app "* || "$cur" == /* ]] || ids="${{ids//$'\n'\//$'\n'}}" ids="${{ids#/}}"
    COMPREPLY=( $(compgen -W "$ids" -- "$cur") )
}}
complete -F _dcos_ids -o nosort -o bashdefault -o default dcos
"#
    )
}

/// Replaces the completion of ids, for which clap has files.
fn zsh(arguments: &str) -> String {
    let mut functions = String::new();
    let mut script = arguments.to_owned();
    for (name, list) in [
        ("app", "marathon app list -q"),
        ("task", "marathon task list -q"),
        ("deployment", "marathon deployment list -q"),
        ("image", "image list -q"),
    ] {
        let lines = script.lines().map(|line| {
            let is_id = line.contains(&format!("':{name} -- "))
                || line.contains(&format!(":{name}-id"))
                || line.contains(&format!(":{name}-ids"))
                || line.contains(&format!(":{name}_id"));
            match is_id {
                true => line.replace(":_default'", &format!(":_dcos_{name}_ids'")),
                false => line.to_owned(),
            }
        });
        script = lines.map(|line| line + "\n").collect();
        functions.push_str(&format!(
            "_dcos_{name}_ids() {{\n    compadd -- ${{(f)\"$(dcos {list} 2>/dev/null)\"}}\n}}\n"
        ));
    }
    // The last thing that clap's script does is to complete, or to be registered.
    match script.find("_dcos() {") {
        Some(at) => format!("{}{functions}\n{}", &script[..at], &script[at..]),
        None => script + &functions,
    }
}

fn fish() -> String {
    let mut lines = String::new();
    for (group, commands, list) in IDS {
        let mut seen: Vec<String> =
            group.split(' ').map(|word| format!("__fish_seen_subcommand_from {word}")).collect();
        if !commands.is_empty() {
            seen.push(format!("__fish_seen_subcommand_from {}", commands.join(" ")));
        }
        lines.push_str(&format!(
            "complete -c dcos -n \"{}\" -f -a \"(dcos {list} 2>/dev/null)\"\n",
            seen.join("; and ")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_asks_for_ids() {
        let command = || {
            let id = clap::Arg::new("app_id").value_name("app-id").help("The application ID");
            let show = clap::Command::new("show").arg(id);
            let app = clap::Command::new("app").subcommand(show);
            clap::Command::new("dcos").subcommand(clap::Command::new("marathon").subcommand(app))
        };
        let check = |shell, expected: &[&str]| {
            let script = script(shell, command());
            for part in expected {
                assert!(script.contains(part), "{shell:?} has no {part:?}:\n{script}");
            }
        };
        check(Shell::Bash, &["'marathon app show '*|", "complete -F _dcos_ids", "_dcos()"]);
        check(Shell::Zsh, &["_dcos_app_ids() {", ":_dcos_app_ids'"]);
        check(Shell::Fish, &["from app; and __fish_seen_subcommand_from show", "(dcos marathon app list -q"]);
    }
}
