//! `dcos marathon task`.

use base::nearest;
use clap::Subcommand;
use http_kit::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Deployed, Marathon, absolute, accepted};
use crate::{Error, Table, output};

/// `dcos marathon task`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all tasks
    List {
        /// Print JSON-formatted data
        #[arg(long, conflicts_with = "quiet")]
        json: bool,
        /// Display IDs only for list
        #[arg(short, long)]
        quiet: bool,
        /// The application ID
        app_id: Option<String>,
    },
    /// List a specific task
    Show {
        /// Print JSON-formatted data, as it always is
        #[arg(long, hide = true)]
        json: bool,
        /// The task ID
        task_id: String,
    },
    /// Stop a task
    Stop {
        /// Wipe persistent data
        #[arg(long)]
        wipe: bool,
        /// The task ID
        task_id: String,
    },
    /// Kill one or more tasks
    Kill {
        /// Scale the app down after performing the operation
        #[arg(long)]
        scale: bool,
        /// Wipe persistent data
        #[arg(long)]
        wipe: bool,
        /// Print JSON-formatted data
        #[arg(long)]
        json: bool,
        /// List of task IDs
        #[arg(required = true)]
        task_ids: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Value>,
}

pub(super) async fn run(command: Command, marathon: &Marathon) -> Result<(), Error> {
    match command {
        Command::List { json, quiet, app_id } => list(marathon, app_id.as_deref(), quiet, json).await,
        Command::Show { json: _, task_id } => {
            let tasks = all(marathon).await?;
            match tasks.iter().find(|task| task["id"] == task_id.as_str()) {
                Some(task) => output::json(task),
                None => Err(no_task(&task_id, &tasks)),
            }
        }
        Command::Stop { wipe, task_id } => stop(marathon, task_id, wipe).await,
        Command::Kill { scale, wipe, json, task_ids } => kill(marathon, &task_ids, scale, wipe, json).await,
    }
}

async fn all(marathon: &Marathon) -> Result<Vec<Value>, Error> {
    Ok(marathon.get("/v2/tasks").await?.json::<Tasks>()?.tasks)
}

/// Text: dcos, MarathonSubcommand.task_show.
fn no_task(id: &str, tasks: &[Value]) -> Error {
    let ids = tasks.iter().filter_map(|task| task["id"].as_str());
    let what = format!("Task '{id}' does not exist");
    match nearest(id, ids) {
        Some(meant) => Error::new(format!("{what}. Did you mean '{meant}'?")),
        None => Error::new(what).hint("`dcos marathon task list` shows those that do."),
    }
}

async fn list(marathon: &Marathon, app: Option<&str>, quiet: bool, json: bool) -> Result<(), Error> {
    let mut tasks = all(marathon).await?;
    if let Some(app) = app {
        let app = absolute(app);
        tasks.retain(|task| task["appId"] == app.as_str());
    }
    if quiet {
        let ids = tasks.iter().filter_map(|task| task["id"].as_str());
        return output::print(&ids.map(|id| format!("{id}\n")).collect::<String>());
    }
    if json {
        return output::json(&tasks);
    }
    table(&tasks).print()
}

/// dcos: tables.app_task_table.
fn table(tasks: &[Value]) -> Table {
    let mut table = Table::new(["APP", "HEALTHY", "STARTED", "HOST", "ID", "ROLE"])
        .dispensable(&["ROLE", "STARTED", "HOST"]);
    for task in tasks {
        let text = |field: &str| task[field].as_str().unwrap_or("N/A").to_owned();
        let results = task["healthCheckResults"].as_array();
        let healthy = results.into_iter().flatten().all(|result| result["alive"] == true);
        let healthy = if healthy { "True" } else { "False" }.to_owned();
        table.row([text("appId"), healthy, text("startedAt"), text("host"), text("id"), text("role")]);
    }
    table.sort();
    table
}

async fn delete<T: serde::de::DeserializeOwned>(
    marathon: &Marathon,
    ids: &[String],
    scale: bool,
    wipe: bool,
) -> Result<T, Error> {
    let flag = |name, is_set: bool| is_set.then(|| (name, "true".to_owned()));
    let query: Vec<_> = [flag("scale", scale), flag("wipe", wipe)].into_iter().flatten().collect();
    let body = json!({ "ids": ids });
    let answer = marathon.send(Method::POST, "/v2/tasks/delete", &query, Some(&body)).await?;
    accepted(answer)?.json()
}

async fn stop(marathon: &Marathon, id: String, wipe: bool) -> Result<(), Error> {
    let ids = [id];
    let stopped: Tasks = delete(marathon, &ids, false, wipe).await?;
    match stopped.tasks.first() {
        Some(task) => output::json(task),
        None => Err(no_task(&ids[0], &all(marathon).await?)),
    }
}

/// dcos: MarathonSubcommand.task_kill.
async fn kill(marathon: &Marathon, ids: &[String], scale: bool, wipe: bool, json: bool) -> Result<(), Error> {
    if scale {
        let answer: Value = delete(marathon, ids, scale, wipe).await?;
        if json {
            return output::json(&answer);
        }
        let deployed = Deployed::deserialize(&answer).map_err(|_| unknown())?;
        return output::line(&format!("Created deployment: {}", deployed.deployment_id));
    }
    let answer: Value = delete(marathon, ids, scale, wipe).await?;
    let killed = answer["tasks"].as_array().cloned().unwrap_or_default();
    if json {
        output::json(&answer)?;
    } else {
        let ids = killed.iter().filter_map(|task| Some(format!("'{}'", task["id"].as_str()?)));
        output::line(&format!("Killed tasks: [{}]", ids.collect::<Vec<_>>().join(", ")))?;
    }
    if killed.is_empty() { Err(unknown()) } else { Ok(()) }
}

fn unknown() -> Error {
    Error::new("Failed to kill tasks. task-ids seems to be unknown")
        .hint("`dcos marathon task list` shows those there are.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_healthy_if_all_its_checks_are() {
        let task = |id: &str, alive: &[bool]| {
            let results: Vec<Value> = alive.iter().map(|alive| json!({ "alive": alive })).collect();
            json!({"appId": "/a", "id": id, "host": "127.0.0.2", "role": "*", "healthCheckResults": results})
        };
        assert_eq!(
            table(&[task("a.2", &[true, false]), task("a.1", &[])]).render(None),
            "  APP  HEALTHY  STARTED    HOST     ID   ROLE\n\
             \u{20} /a   False    N/A      127.0.0.2  a.2  *\n\
             \u{20} /a   True     N/A      127.0.0.2  a.1  *\n"
        );
    }
}
