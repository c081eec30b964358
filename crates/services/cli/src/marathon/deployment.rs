//! `dcos marathon deployment`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::api::{Marathon, absolute, encoded, force};
use super::list::action_name;
use super::outcome::{Ending, Outcome};
use super::waiting;
use crate::{Error, Table, output};

/// How long how a deployment ended may be told after it is gone.
const LAST_WORD: Duration = Duration::from_secs(1);

/// `dcos marathon deployment`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a list of currently deployed applications
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
    /// Undo a deployment by another one
    Rollback {
        /// The deployment ID
        deployment_id: String,
    },
    /// Cancel the in-progress deployment of an application
    Stop {
        /// The deployment ID
        deployment_id: String,
    },
    /// Monitor deployments
    ///
    /// Ends when the deployment does: with 1 if it was undone, stopped or overridden.
    Watch {
        /// How often it is looked at; until it has ended if it is left out
        #[arg(long)]
        max_count: Option<u64>,
        /// Number of seconds to wait between actions
        #[arg(long, default_value_t = 1)]
        interval: u64,
        /// The deployment ID; without one, all that run, until there is none
        deployment_id: Option<String>,
    },
}

pub(super) async fn run(command: Command, marathon: &Marathon) -> Result<(), Error> {
    match command {
        Command::List { json, quiet, app_id } => list(marathon, app_id.as_deref(), quiet, json).await,
        Command::Rollback { deployment_id } => {
            let answer = marathon.delete(&path(&deployment_id), &[]).await?;
            output::json(&answer.json::<Value>()?)
        }
        Command::Stop { deployment_id } => {
            marathon.delete(&path(&deployment_id), &force(true)).await?.ok().map(|_| ())
        }
        Command::Watch { max_count, interval, deployment_id } => {
            let interval = Duration::from_secs(interval);
            match deployment_id {
                Some(id) => watch(marathon, &id, max_count, interval).await,
                None => watch_all(marathon, max_count, interval).await,
            }
        }
    }
}

fn path(id: &str) -> String {
    format!("/v2/deployments/{}", encoded(id))
}

async fn list(marathon: &Marathon, app: Option<&str>, quiet: bool, json: bool) -> Result<(), Error> {
    let mut deployments = marathon.deployments().await?;
    if let Some(app) = app {
        let app = absolute(app);
        let affects = |of: &Value| of.as_array().into_iter().flatten().any(|id| *id == app.as_str());
        deployments.retain(|deployment| {
            affects(&deployment["affectedApps"]) || affects(&deployment["affectedPods"])
        });
    }
    if json {
        return output::json(&deployments);
    }
    if deployments.is_empty() {
        let of = app.map(|app| format!(" for '{app}'")).unwrap_or_default();
        return Err(Error::new(format!("There are no deployments{of}")));
    }
    if quiet {
        let ids = deployments.iter().filter_map(|deployment| deployment["id"].as_str());
        return output::print(&ids.map(|id| format!("{id}\n")).collect::<String>());
    }
    table(&deployments).print()
}

/// dcos: tables.deployment_table.
fn table(deployments: &[Value]) -> Table {
    let mut table = Table::new(["APP", "POD", "ACTION", "PROGRESS", "ID"]);
    for deployment in deployments {
        let ids = |field: &str| {
            let ids = deployment[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            let ids = ids.collect::<Vec<_>>().join("\n");
            if ids.is_empty() { "-".to_owned() } else { ids }
        };
        let id = deployment["id"].as_str().unwrap_or_default().to_owned();
        let actions = actions(deployment).join("\n");
        table.row([ids("affectedApps"), ids("affectedPods"), actions, progress(deployment), id]);
    }
    table.sort();
    table
}

/// What is done now; with whom it is done to, if these are several.
fn actions(deployment: &Value) -> Vec<String> {
    let current = deployment["currentActions"].as_array().map_or(&[][..], Vec::as_slice);
    let whom = |action: &'_ Value| action["app"].as_str().or(action["pod"].as_str()).map(str::to_owned);
    let several = current.iter().any(|action| whom(action) != current.first().and_then(whom));
    let action = |action: &Value| {
        let name = action_name(action["action"].as_str().unwrap_or_default()).to_owned();
        match whom(action) {
            None => "N/A".to_owned(),
            Some(whom) if several => format!("{name} {whom}"),
            Some(_) => name,
        }
    };
    current.iter().map(action).collect()
}

/// The steps that are done, of all.
fn progress(deployment: &Value) -> String {
    let number = |field: &str| deployment[field].as_u64().unwrap_or_default();
    format!("{}/{}", number("currentStep").saturating_sub(1), number("totalSteps"))
}

/// Watches the deployments that run, one after the other, until there is none. The official CLI wants an id.
async fn watch_all(marathon: &Marathon, max_count: Option<u64>, interval: Duration) -> Result<(), Error> {
    while let Some(deployment) = marathon.deployments().await?.first() {
        let id = deployment["id"].as_str().unwrap_or_default().to_owned();
        watch(marathon, &id, max_count, interval).await?;
        if max_count.is_some() && marathon.deployments().await?.iter().any(|other| other["id"] == *id) {
            return Err(Error::new(format!("deployment {id} still runs"))
                .hint("`dcos marathon debug list` says what waits, and for what."));
        }
    }
    Ok(())
}

/// Looks at the deployment until it has ended: a line that changes on a terminal, else the official
/// CLI's output. dcos: MarathonSubcommand.deployment_watch; that it fails if the deployment does is ours.
async fn watch(
    marathon: &Marathon,
    id: &str,
    max_count: Option<u64>,
    interval: Duration,
) -> Result<(), Error> {
    let terminal = std::io::stdout().is_terminal();
    let started = Instant::now();
    let mut ending = Ending::of(marathon, id).await;
    let mut count = 0;
    while max_count.is_none_or(|max| count < max) {
        let deployments = marathon.deployments().await?;
        let Some(deployment) = deployments.iter().find(|deployment| deployment["id"] == id) else {
            if count == 0 {
                output::say(&format!("There is no deployment {id}: it has ended, or never was."));
                return Ok(());
            }
            let outcome = timeout(LAST_WORD, ending.heard()).await.ok();
            return ended(id, outcome, terminal, started.elapsed());
        };
        if terminal {
            redraw(&line(marathon, deployment, started.elapsed()).await?)?;
        } else {
            output::line(&format!("Deployment update time: {} \n", now()))?;
            output::json(deployment)?;
        }
        count += 1;
        if let Ok(outcome) = timeout(interval, ending.heard()).await {
            return ended(id, Some(outcome), terminal, started.elapsed());
        }
    }
    if terminal {
        output::line("")?;
    }
    Ok(())
}

fn ended(id: &str, outcome: Option<Outcome>, terminal: bool, after: Duration) -> Result<(), Error> {
    let how = match outcome {
        Some(Outcome::Failed) => "was undone, stopped or overridden",
        Some(Outcome::Success) => "is done",
        None => "has ended",
    };
    if terminal {
        redraw(&format!("Deployment {id} {how} after {} s.\n", after.as_secs()))?;
    }
    match outcome {
        Some(Outcome::Failed) => {
            Err(Error::new(format!("deployment {id} was undone, stopped or overridden"))
                .hint("`dcos marathon deployment list` shows what is being done instead."))
        }
        _ => Ok(()),
    }
}

/// What the deployment does now, with the instances of the apps and what they wait for.
async fn line(marathon: &Marathon, deployment: &Value, elapsed: Duration) -> Result<String, Error> {
    let queue = marathon.queue(false).await?;
    let mut apps = Vec::new();
    for action in deployment["currentActions"].as_array().into_iter().flatten() {
        let Some(id) = action["app"].as_str() else { continue };
        let name = action_name(action["action"].as_str().unwrap_or_default());
        let count = match marathon.app(id).await {
            Ok(app) => format!(" ({} of {} instances run)", app["tasksRunning"], app["instances"]),
            // It is being stopped, and may be gone by now.
            Err(_) => String::new(),
        };
        let item = queue.iter().find(|item| item["app"]["id"] == id);
        let waits = item.map(|item| format!(", waits: {}", waiting::reason(item))).unwrap_or_default();
        apps.push(format!("{name} {id}{count}{waits}"));
    }
    Ok(format!("step {} {} s: {}", progress(deployment), elapsed.as_secs(), apps.join("; ")))
}

/// Writes over the line that the cursor is in.
fn redraw(text: &str) -> Result<(), Error> {
    let width = output::width().unwrap_or(80);
    let text = if text.ends_with('\n') { text.to_owned() } else { crate::table::shortened(text, width) };
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "\r\u{1b}[K{text}")?;
    stdout.flush()?;
    Ok(())
}

/// The time in UTC, as `2026-11-22 16:00:00`.
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    let iso = base::Wall::from_millis(millis).to_iso8601();
    iso.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_a_line_or_more() {
        let one = json!({
            "id": "bebb8ffd", "affectedApps": ["/cassandra/dcos"], "affectedPods": [],
            "currentActions": [{"action": "ScaleApplication", "app": "/cassandra/dcos"}],
            "currentStep": 2, "totalSteps": 2,
        });
        let two = json!({
            "id": "d2", "affectedApps": ["/a", "/b"], "affectedPods": [],
            "currentActions": [
                {"action": "StopApplication", "app": "/a"}, {"action": "StartApplication", "app": "/b"},
            ],
            "currentStep": 1, "totalSteps": 3,
        });
        assert_eq!(
            table(&[one, two]).render(None),
            "        APP        POD   ACTION   PROGRESS     ID\n\
             \u{20} /a               -    stop /a   0/3       d2\n\
             \u{20} /b                    start /b\n\
             \u{20} /cassandra/dcos  -    scale     1/2       bebb8ffd\n"
        );
    }
}
