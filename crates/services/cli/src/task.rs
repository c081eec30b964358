//! `dcos task`.

mod download;
mod exec;
mod find;
mod list;
mod log;
mod ls;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

pub(crate) use find::{Filters, Task, all, state};
pub(crate) use log::{BACKLOG, Said, Which, follow, print};

use crate::{Context, Error};

/// `dcos task`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach the CLI to the stdio of an already running task
    Attach(exec::AttachArguments),
    /// Download files from the sandbox of a given task
    Download(download::Arguments),
    /// Launch a process inside of a container for a task
    Exec(exec::Arguments),
    /// Print the Mesos tasks in the cluster
    List(list::Arguments),
    /// Print the task log. By default, the 10 most recent task logs from stdout are printed
    Log(log::Arguments),
    /// Print the list of files in the Mesos task sandbox
    Ls(ls::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    let client = Arc::new(context.client()?);
    match command {
        Command::Attach(arguments) => return exec::attach(arguments, context, &client).await,
        Command::Exec(arguments) => return exec::exec(arguments, context, &client).await,
        Command::Download(arguments) => download::run(arguments, &client).await?,
        Command::List(arguments) => list::run(arguments, &client).await?,
        Command::Log(arguments) => log::run(arguments, client).await?,
        Command::Ls(arguments) => ls::run(arguments, &client).await?,
    }
    Ok(ExitCode::SUCCESS)
}
