//! `dcos marathon`: the commands of the official CLI's plug-in of that name.

mod api;
mod app;
mod debug;
mod definition;
mod deployment;
mod fields;
mod group;
mod list;
mod logs;
mod outcome;
mod task;
mod waiting;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub(crate) use api::{Marathon, encoded};

use crate::{Context, Error, Table, output};

/// `dcos marathon`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print info.json for DC/OS Marathon
    About {
        /// Print JSON-formatted data, as it always is
        #[arg(long, hide = true)]
        json: bool,
    },
    /// Manage apps
    #[command(subcommand)]
    App(app::Command),
    /// Find out why instances are not launched
    #[command(subcommand)]
    Debug(debug::Command),
    /// Control Marathon deployment delay
    #[command(subcommand)]
    Delay(DelayCommand),
    /// Manage deployments
    #[command(subcommand)]
    Deployment(deployment::Command),
    /// Manage groups
    #[command(subcommand)]
    Group(group::Command),
    /// Manage leader
    #[command(subcommand)]
    Leader(LeaderCommand),
    /// Ensure Marathon is up and responding
    Ping(PingArguments),
    /// Manage tasks
    #[command(subcommand)]
    Task(task::Command),
}

/// `dcos marathon ping`.
#[derive(Debug, Args)]
pub struct PingArguments {
    /// Ping once, however many masters there are
    #[arg(long)]
    once: bool,
}

/// `dcos marathon delay`.
#[derive(Debug, Subcommand)]
pub enum DelayCommand {
    /// Reset the current delay (if any) of the application
    Reset {
        /// The application ID
        app_id: String,
    },
}

/// `dcos marathon leader`.
#[derive(Debug, Subcommand)]
pub enum LeaderCommand {
    /// Show the leader
    Show {
        /// Print JSON-formatted data
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    let marathon = Marathon::new(context)?;
    match command {
        Command::About { json: _ } => output::json(&marathon.get("/v2/info").await?.json::<Value>()?)?,
        Command::App(command) => Box::pin(app::run(command, context, &marathon)).await?,
        Command::Debug(command) => debug::run(command, &marathon).await?,
        Command::Delay(DelayCommand::Reset { app_id }) => {
            let id = api::absolute(&app_id);
            let answer = marathon.delete(&format!("/v2/queue{}/delay", api::encoded(&id)), &[]).await?;
            answer.ok()?;
        }
        Command::Deployment(command) => deployment::run(command, &marathon).await?,
        Command::Group(command) => group::run(command, &marathon).await?,
        Command::Leader(LeaderCommand::Show { json }) => leader(&marathon, json).await?,
        Command::Ping(PingArguments { once }) => ping(&marathon, once).await?,
        Command::Task(command) => task::run(command, &marathon).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Pings as often as there are masters. dcos-core-cli: marathonPing.
async fn ping(marathon: &Marathon, once: bool) -> Result<(), Error> {
    let times = if once { 1 } else { masters(marathon).await? };
    for time in 1..=times {
        marathon.get("/ping").await?.ok().map_err(|error| {
            Error::new(format!("unable to ping leading Marathon master {time} time(s): {error}"))
        })?;
    }
    output::line(&format!("Marathon ping response[{times}x]: \"pong\""))
}

/// How many masters the cluster's name service knows; one where there is none.
async fn masters(marathon: &Marathon) -> Result<usize, Error> {
    let answer = marathon.client().get("/mesos_dns/v1/hosts/master.mesos").await?;
    let hosts: Option<Vec<Value>> = serde_json::from_slice(&answer.body).ok();
    Ok(hosts.map_or(1, |hosts| hosts.len().max(1)))
}

async fn leader(marathon: &Marathon, json: bool) -> Result<(), Error> {
    let leader: Value = marathon.get("/v2/leader").await?.json()?;
    let leader = leader["leader"].as_str().unwrap_or_default();
    let ip = leader.rsplit_once(':').map_or(leader, |(ip, _)| ip);
    if json {
        return output::json(&json!({"host": leader, "ip": ip}));
    }
    let mut table = Table::new(["HOST", "IP"]);
    table.row([leader.to_owned(), ip.to_owned()]);
    table.print()
}
