//! `dcos marathon`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{Client, Context, Error, output};

/// Where Marathon is below the cluster's URL.
const MARATHON: &str = "/service/marathon";

/// `dcos marathon`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print info.json for DC/OS Marathon
    About,
    /// Ensure Marathon is up and responding
    Ping(PingArguments),
}

/// `dcos marathon ping`.
#[derive(Debug, Args)]
pub struct PingArguments {
    /// Ping once only
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    let client = context.client()?;
    match command {
        Command::About => {
            let info: Value = client.get(&format!("{MARATHON}/v2/info")).await?.json()?;
            output::json(&info)?;
        }
        Command::Ping(arguments) => ping(&client, arguments.once).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Pings as often as there are masters. dcos-core-cli: marathonPing.
async fn ping(client: &Client, once: bool) -> Result<(), Error> {
    let times = match once {
        true => 1,
        // One master there is, of which this is the Admin Router.
        false => 1,
    };
    for time in 1..=times {
        client.get(&format!("{MARATHON}/ping")).await?.ok().map_err(|error| {
            Error::new(format!("unable to ping leading Marathon master {time} time(s): {error}"))
        })?;
    }
    output::line(&format!("Marathon ping response[{times}x]: \"pong\""))
}
