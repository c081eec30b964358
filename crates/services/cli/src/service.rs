//! `dcos service`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::marathon::Marathon;
use crate::task::{self, Filters, Which};
use crate::{Align, Client, Context, Error, Table, output};

/// The label by which an app says that it is a framework.
const FRAMEWORK_NAME: &str = "DCOS_PACKAGE_FRAMEWORK_NAME";

/// `dcos service`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show DC/OS services
    List(ListArguments),
    /// Print logs for DC/OS services
    Log(LogArguments),
}

/// `dcos service list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Print in json format
    #[arg(long)]
    json: bool,
    /// Print completed and active services
    #[arg(long)]
    completed: bool,
    /// Print inactive and active services
    #[arg(long)]
    inactive: bool,
    /// Print only names of listed services
    #[arg(short, long)]
    quiet: bool,
    /// Print only IDs of listed services
    #[arg(long, hide = true)]
    id_only: bool,
}

/// `dcos service log`.
#[derive(Debug, Args)]
pub struct LogArguments {
    /// The name of the service
    service_name: String,
    /// A file in the sandbox
    #[arg(default_value = "stdout")]
    file: String,
    #[command(flatten)]
    which: Which,
    /// Format log message output: there is one format for the logs of tasks
    #[arg(short, long, default_value = "short", hide = true)]
    output: String,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::List(arguments) => list(&arguments, &context.client()?).await?,
        Command::Log(arguments) => log(&arguments, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(arguments: &ListArguments, client: &Client) -> Result<(), Error> {
    let mut state = task::state(client).await?;
    let mut take = |name: &str| match state[name].take() {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    let mut services = take("frameworks");
    services.retain(|service| arguments.inactive || service["active"] == true);
    if arguments.completed {
        services.append(&mut take("completed_frameworks"));
    }
    if arguments.json {
        return output::json(&services);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if arguments.quiet || arguments.id_only {
        let field = if arguments.quiet { "name" } else { "id" };
        let lines: String = services.iter().map(|service| format!("{}\n", text(&service[field]))).collect();
        return output::print(&lines);
    }
    let mut table = Table::new(["NAME", "HOST", "ACTIVE", "TASKS", "CPU", "MEM", "DISK", "ID"])
        .dispensable(&["DISK", "MEM", "CPU", "HOST"]);
    for heading in ["TASKS", "CPU", "MEM", "DISK"] {
        table = table.align(heading, Align::Right);
    }
    for service in &services {
        let amount = |name: &str| format!("{:.1}", service["resources"][name].as_f64().unwrap_or_default());
        table.row([
            text(&service["name"]),
            text(&service["hostname"]),
            if service["active"] == true { "True" } else { "False" }.to_owned(),
            service["tasks"].as_array().map_or(0, Vec::len).to_string(),
            amount("cpus"),
            amount("mem"),
            amount("disk"),
            text(&service["id"]),
        ]);
    }
    table.print()
}

async fn log(arguments: &LogArguments, context: &Context) -> Result<(), Error> {
    let service = &arguments.service_name;
    if service == "marathon" {
        return Err(Error::new("the log of the cluster's own Marathon is not in a sandbox")
            .hint("With `dcos up` it is in DIR/logs/marathon.log (without --dir: /var/lib/dcos/up as root, else \
                   ~/.local/state/dcos/up); elsewhere with the node's service manager: journalctl -u dcos-marathon."));
    }
    let marathon = Marathon::new(context)?;
    let apps = marathon.apps().await?;
    let ids: Vec<&str> = apps
        .iter()
        .filter(|app| app["labels"][FRAMEWORK_NAME] == **service)
        .filter_map(|app| app["id"].as_str())
        .collect();
    let id = match ids.as_slice() {
        [id] => *id,
        [] => return Err(Error::new(format!("no marathon apps found for service name [{service}]"))),
        several => {
            let several = several.join(", ");
            return Err(Error::new(format!(
                "multiple marathon apps found for service name [{service}]: [{several}]"
            )));
        }
    };
    let app = marathon.app(id).await?;
    let tasks: Vec<&str> =
        app["tasks"].as_array().into_iter().flatten().filter_map(|task| task["id"].as_str()).collect();
    let [task] = tasks.as_slice() else {
        let found = tasks.len();
        return Err(Error::new(format!(
            "expected marathon app [{id}] to be running 1 task, but instead found {found} tasks"
        )));
    };
    let client = Arc::new(context.client()?);
    let tasks = task::all(&client, &Filters::active(task)).await?;
    task::print(&client, tasks, &arguments.file, &arguments.which).await
}
