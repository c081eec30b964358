//! The command line of users and operators: what `dcos` does when it is not a component.
//!
//! Names, arguments, columns and texts are those of the official DC/OS CLI. Each group of commands has
//! a module of its name with a `Command` (what clap parses) and a `run` (what is done); [`Context`]
//! knows which cluster is meant, [`Client`] speaks with it, [`Table`] and [`output`] print. What was
//! asked for goes to stdout, everything else to stderr; an [`Error`] says what failed and what to do
//! next, and ends the program with 1, a wrong usage too. A reader that goes away ends it in silence.
//!
//! Deliberately absent: plug-ins (all commands are in this program), and any rule of Mesos or Marathon
//! that a server knows better.

mod answer;
mod auth;
mod client;
mod cluster;
mod clusters;
mod completion;
mod config;
mod context;
mod error;
mod glob;
mod image;
mod local;
mod logs;
mod marathon;
mod node;
mod output;
mod port_forward;
mod prompt;
mod sandbox;
mod service;
mod session;
mod settings;
mod table;
mod task;
mod terminal;
mod version;
mod words;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use answer::Answer;
pub(crate) use client::Client;
pub(crate) use context::Context;
pub(crate) use error::Error;
pub(crate) use table::{Align, Table};

/// The commands of users and operators.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Authenticate to DC/OS cluster
    #[command(subcommand)]
    Auth(auth::Command),
    /// Manage your DC/OS clusters
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Print a script that completes commands in a shell
    Completion(completion::Arguments),
    /// Manage the DC/OS configuration file
    #[command(subcommand)]
    Config(config::Command),
    /// Look after the images of an agent
    #[command(subcommand)]
    Image(image::Command),
    /// Deploy and manage applications to DC/OS
    #[command(subcommand)]
    Marathon(marathon::Command),
    /// View DC/OS node information
    #[command(subcommand)]
    Node(node::Command),
    /// Forward a local port to a task of an app
    PortForward(port_forward::Arguments),
    /// Manage DC/OS services
    #[command(subcommand)]
    Service(service::Command),
    /// Manage DC/OS tasks
    #[command(subcommand)]
    Task(task::Command),
}

/// The program that a command is part of.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its version.
    pub version: &'static str,
    /// All its arguments, for completion.
    pub arguments: fn() -> clap::Command,
    /// How much is said about what is done: 0 nothing, 1 the requests, 2 their answers, too.
    pub verbosity: u8,
}

/// Runs a command to its end, on this thread.
pub fn run(command: Command, program: Program) -> ExitCode {
    block_on(program, async |context: &Context| dispatch(command, context).await)
}

fn block_on(program: Program, command: impl AsyncFnOnce(&Context) -> Result<ExitCode, Error>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let context = Context::of_process(program);
            let ended = runtime.block_on(command(&context));
            // A read of a terminal that never comes must not keep the process.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Error::from(error)),
    };
    ended.unwrap_or_else(|error| error.report())
}

/// `dcos --version`: the versions of the program and, if there is one that answers, of the cluster.
/// dcos-cli: printVersion.
pub fn version(program: Program) -> ExitCode {
    let command = async |context: &Context| version::print(context).await;
    block_on(program, command)
}

/// `dcos` without a command: help, which is a success.
pub fn help(program: Program) -> ExitCode {
    match output::print(&(program.arguments)().render_help().to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Every command's future is boxed: the largest of them would else be what each pays for.
async fn dispatch(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::Auth(command) => Box::pin(auth::run(command, context)).await,
        Command::Cluster(command) => Box::pin(cluster::run(command, context)).await,
        Command::Completion(arguments) => completion::run(&arguments, context),
        Command::Config(command) => config::run(command, context),
        Command::Image(command) => Box::pin(image::run(command, context)).await,
        Command::Marathon(command) => Box::pin(marathon::run(command, context)).await,
        Command::Node(command) => Box::pin(node::run(command, context)).await,
        Command::PortForward(arguments) => Box::pin(port_forward::run(arguments, context)).await,
        Command::Service(command) => Box::pin(service::run(command, context)).await,
        Command::Task(command) => Box::pin(task::run(command, context)).await,
    }
}

/// The command and all below it as the official CLI writes them: values in small letters, and `help`
/// only at the top.
pub fn styled(command: clap::Command) -> clap::Command {
    let nested = |command: clap::Command| styled(command).disable_help_subcommand(true);
    command.mut_subcommands(nested).mut_args(|argument| {
        let name = argument.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
        let name = name.unwrap_or_else(|| argument.get_id().to_string());
        let is_flag = !argument.get_action().takes_values();
        match is_flag {
            true => argument,
            false => argument.value_name(name.to_lowercase().replace('_', "-")),
        }
    })
}

/// Ends a program whose arguments clap did not take, or which asked for help: help goes to stdout and
/// is a success, even if it is shown because a command is missing; what is wrong goes to stderr.
/// dcos-cli: a wrong usage ends with 1.
pub fn refuse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => match output::print(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        },
        _ => {
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            output::say(&format!("Error: {}", text.trim_end()));
            if let Some(ours) = words::of(error) {
                output::say(ours);
            }
            ExitCode::FAILURE
        }
    }
}
