//! `dcos config`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::settings::{self, KEYS, Settings};
use crate::{Context, Error, output};

/// What stands for the token where all settings are shown.
const MASK: &str = "********";
const TOKEN: &str = "core.dcos_acs_token";

/// `dcos config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print all the keys that can be set in a configuration file
    Keys {
        /// Only print config keys
        #[arg(short, long)]
        quiet: bool,
    },
    /// Add or set a property in the configuration file used for the current cluster
    Set {
        /// The name of the property
        name: String,
        /// The value of the property
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Print the configuration file related to the current cluster
    Show {
        /// The name of the property
        name: Option<String>,
        /// Print JSON-formatted data
        #[arg(long)]
        json: bool,
    },
    /// Remove a property from the configuration file used for the current cluster
    Unset {
        /// The name of the property
        name: String,
    },
    /// Validate the configuration file used for the current cluster
    Validate,
}

pub(crate) fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::Keys { quiet } => {
            let mut keys = KEYS;
            keys.sort_unstable();
            let line = |(key, text): &(&str, &str)| match quiet {
                true => format!("{key}\n"),
                false => format!("{key} : {text}\n"),
            };
            output::print(&keys.iter().map(line).collect::<String>())?;
        }
        Command::Set { name, value } => {
            let mut settings = context.settings()?;
            settings.set(&name, &value)?;
            settings.write()?;
        }
        Command::Show { name: Some(name), json: _ } => {
            let settings = shown(context)?;
            let value = settings.get(&name, |variable| context.variable(variable));
            let keys = settings.keys(|variable| context.variable(variable));
            match value {
                Some(value) => output::line(&value)?,
                None => return Err(settings::unknown(&name, keys.iter().map(String::as_str))),
            }
        }
        Command::Show { name: None, json } => show(&shown(context)?, context, json)?,
        Command::Unset { name } => {
            let mut settings = context.settings()?;
            settings.unset(&name);
            settings.write()?;
        }
        Command::Validate => return validate(&context.settings()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings of the cluster that is meant; of one that was not set up, what is known of it.
fn shown(context: &Context) -> Result<Settings, Error> {
    if let Some(settings) = context.configured()? {
        return Ok(settings);
    }
    let cluster = context.cluster()?;
    let mut settings = Settings::default();
    settings.set("core.dcos_url", &cluster.url)?;
    if let Some(token) = &cluster.token {
        settings.set(TOKEN, token)?;
    }
    Ok(settings)
}

fn show(settings: &Settings, context: &Context, json: bool) -> Result<(), Error> {
    let variable = |name: &str| context.variable(name);
    let keys = settings.keys(variable);
    let value = |key: &str| match key {
        TOKEN => Some(MASK.to_owned()),
        key => settings.get(key, variable),
    };
    let values = keys.iter().filter_map(|key| Some((key, value(key)?)));
    if json {
        return output::json(&values.collect::<std::collections::BTreeMap<_, _>>());
    }
    output::print(&values.map(|(key, value)| format!("{key} {value}\n")).collect::<String>())
}

/// dcos: config.main._validate.
fn validate(settings: &Settings) -> Result<ExitCode, Error> {
    output::say(&format!("Validating {} ...", settings.path().display()));
    let problems = settings.problems();
    if problems.is_empty() {
        output::line("Congratulations, your configuration is valid!")?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::new(problems.join("\n")))
}
