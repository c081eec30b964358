//! `dcos task exec` and `dcos task attach`.

use std::process::ExitCode;

use clap::Args;
use mesos_proto::v1::agent::{Call, call};
use mesos_proto::v1::{self, CommandInfo, ContainerInfo, Environment, TtyInfo, container_info, environment};

use super::find::{self, ContainerId, Filters};
use crate::session::{self, Ended, Local};
use crate::{Client, Context, Error, terminal};

/// `dcos task exec`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Attach a STDIN stream to the remote command for an interactive session
    #[arg(short, long)]
    interactive: bool,
    /// Attach a tty to the remote stream
    #[arg(short, long)]
    tty: bool,
    /// Run as the given user
    #[arg(short, long)]
    user: Option<String>,
    /// A part of the task's id, or a pattern for the whole of it
    task: String,
    /// The program to run, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<String>,
}

/// `dcos task attach`.
#[derive(Debug, Args)]
pub struct AttachArguments {
    /// Don't attach the stdin of the CLI to the task
    #[arg(long)]
    no_stdin: bool,
    /// A part of the task's id, or a pattern for the whole of it
    task: String,
}

pub(super) async fn exec(
    arguments: Arguments,
    context: &Context,
    client: &Client,
) -> Result<ExitCode, Error> {
    let local = Local { interactive: arguments.interactive, tty: arguments.tty, escape: escape(context)? };
    let task = find::one(client, &Filters::active(&arguments.task)).await?;
    let parent = wire(task.container()?);
    let own = base::Rng::seeded(entropy()?).uuid();
    let container_id = v1::ContainerId { value: own.to_string(), parent: Some(Box::new(parent)) };
    let launch = launch(container_id.clone(), &arguments);
    let call = Call {
        r#type: Some(call::Type::LaunchNestedContainerSession as i32),
        launch_nested_container_session: Some(launch),
        ..Call::default()
    };
    let output = session::open(client, &task.slave_id, &call).await?;
    match session::carry(client, &task.slave_id, &container_id, output, &local).await? {
        Ended::Output => {
            let status = session::wait(client, &task.slave_id, container_id).await?;
            Ok(ExitCode::from(session::exit_code(status)))
        }
        Ended::Left => Ok(ExitCode::SUCCESS),
        Ended::Signal(number) => Ok(ExitCode::from(session::exit_code(number))),
    }
}

pub(super) async fn attach(
    arguments: AttachArguments,
    context: &Context,
    client: &Client,
) -> Result<ExitCode, Error> {
    let local = Local { interactive: !arguments.no_stdin, tty: true, escape: escape(context)? };
    let task = find::one(client, &Filters::active(&arguments.task)).await?;
    let container_id = wire(task.container()?);
    let attach = call::AttachContainerOutput { container_id: container_id.clone() };
    let call = Call {
        r#type: Some(call::Type::AttachContainerOutput as i32),
        attach_container_output: Some(attach),
        ..Call::default()
    };
    let output = session::open(client, &task.slave_id, &call).await.map_err(|error| {
        error.hint(format!(
            "Only what runs with a terminal of its own can be attached to; `dcos task exec -it {} sh` starts a \
             shell beside it.",
            arguments.task
        ))
    })?;
    match session::carry(client, &task.slave_id, &container_id, output, &local).await? {
        Ended::Output | Ended::Left => Ok(ExitCode::SUCCESS),
        Ended::Signal(number) => Ok(ExitCode::from(session::exit_code(number))),
    }
}

fn escape(context: &Context) -> Result<Vec<u8>, Error> {
    match context.variable("DCOS_TASK_ESCAPE_SEQUENCE") {
        Some(text) => terminal::escape(&text),
        None => Ok(terminal::ESCAPE.to_vec()),
    }
}

/// Randomness of the kernel, so that no two sessions have one name.
fn entropy() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn wire(container: &ContainerId) -> v1::ContainerId {
    let parent = container.parent.as_deref().map(|parent| Box::new(wire(parent)));
    v1::ContainerId { value: container.value.clone(), parent }
}

/// dcos-core-cli: launchNestedContainerSessionCall.
fn launch(container_id: v1::ContainerId, arguments: &Arguments) -> call::LaunchNestedContainerSession {
    let command = CommandInfo {
        value: arguments.command.first().cloned(),
        arguments: arguments.command.clone(),
        shell: Some(false),
        user: arguments.user.clone(),
        environment: arguments.tty.then(terminal_environment),
        ..CommandInfo::default()
    };
    let size = terminal::size()
        .map(|size| v1::tty_info::WindowSize { rows: size.ws_row.into(), columns: size.ws_col.into() });
    let container = ContainerInfo {
        r#type: container_info::Type::Mesos as i32,
        tty_info: arguments.tty.then_some(TtyInfo { window_size: size }),
        ..ContainerInfo::default()
    };
    call::LaunchNestedContainerSession { container_id, command: Some(command), container: Some(container) }
}

/// Programs of the container know few terminals; this one all do. dcos-core-cli: `defaultTermValue`.
fn terminal_environment() -> Environment {
    let term = environment::Variable {
        name: "TERM".to_owned(),
        value: Some("xterm".to_owned()),
        ..environment::Variable::default()
    };
    Environment { variables: vec![term] }
}
