//! `dcos marathon app`.

use clap::{Args, Subcommand};
use http_kit::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Marathon, absolute, accepted, encoded, force};
use super::{definition, fields, list, logs, waiting};
use crate::{Context, Error, output};

/// `dcos marathon app`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an application
    ///
    /// Waiting for its instances is another command: `dcos marathon deployment watch`.
    Add {
        /// Path to a file or HTTP(S) URL that contains the app's JSON definition; standard input if
        /// it is - or left out
        app_resource: Option<String>,
    },
    /// List the installed applications
    List {
        /// Print JSON-formatted data
        #[arg(long, conflicts_with = "quiet")]
        json: bool,
        /// Display IDs only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Print the logs of all instances of an application as one stream
    Logs(logs::Arguments),
    /// Remove an application
    Remove(OfApp),
    /// Restart an application
    Restart(OfApp),
    /// Show the `marathon.json` for an application
    ///
    /// Says on standard error what it waits for if instances are missing.
    Show {
        /// The version of the application: an absolute one as `app version list` shows it, or a
        /// negative number of versions back from the deployed one
        #[arg(long, allow_hyphen_values = true)]
        app_version: Option<String>,
        /// Print JSON-formatted data, as it always is
        #[arg(long, hide = true)]
        json: bool,
        /// The application ID
        app_id: String,
    },
    /// Start an application
    Start {
        #[command(flatten)]
        app: OfApp,
        /// The number of instances
        #[arg(default_value_t = 1, allow_hyphen_values = true)]
        instances: i64,
    },
    /// Stop an application
    Stop(OfApp),
    /// Kill a running application instance
    Kill {
        /// Scale the app down after performing the operation
        #[arg(long)]
        scale: bool,
        /// The hostname that is running app
        #[arg(long)]
        host: Option<String>,
        /// The application ID
        app_id: String,
    },
    /// Update an application
    Update {
        #[command(flatten)]
        app: OfApp,
        /// JSON object properties as key=value, like cpus=2.0 mem=308; if there are none, a JSON
        /// object is read from standard input
        properties: Vec<String>,
    },
    /// Manage Marathon app versions
    #[command(subcommand)]
    Version(VersionCommand),
}

/// An app, and whether deployments of it are overridden.
#[derive(Debug, Args)]
pub struct OfApp {
    /// Disable checks in Marathon during updates
    #[arg(long)]
    force: bool,
    /// The application ID
    app_id: String,
}

/// `dcos marathon app version`.
#[derive(Debug, Subcommand)]
pub enum VersionCommand {
    /// List the version history of an application
    List {
        /// Maximum number of entries to fetch and return
        #[arg(long, allow_hyphen_values = true)]
        max_count: Option<i64>,
        /// Print JSON-formatted data, as it always is
        #[arg(long, hide = true)]
        json: bool,
        /// The application ID
        app_id: String,
    },
}

pub(super) async fn run(command: Command, context: &Context, marathon: &Marathon) -> Result<(), Error> {
    match command {
        Command::Add { app_resource } => add(marathon, app_resource.as_deref()).await,
        Command::List { json, quiet } => list::apps(marathon, quiet, json).await,
        Command::Remove(app) => remove(marathon, &app).await,
        Command::Restart(app) => restart(marathon, &app).await,
        Command::Show { app_version, json: _, app_id } => {
            show(marathon, &app_id, app_version.as_deref()).await
        }
        Command::Start { app, instances } => start(marathon, &app, instances).await,
        Command::Stop(app) => stop(marathon, &app).await,
        Command::Logs(arguments) => logs::run(arguments, marathon, context.client()?).await,
        Command::Kill { scale, host, app_id } => kill(marathon, &app_id, scale, host).await,
        Command::Update { app, properties } => update(marathon, &app, &properties).await,
        Command::Version(VersionCommand::List { max_count, json: _, app_id }) => {
            versions(marathon, &app_id, max_count).await
        }
    }
}

fn created(deployment: &str) -> Result<(), Error> {
    output::line(&format!("Created deployment {deployment}"))
}

/// The path of an app below `/v2/apps`.
fn path(id: &str) -> String {
    format!("/v2/apps{}", encoded(&absolute(id)))
}

async fn add(marathon: &Marathon, resource: Option<&str>) -> Result<(), Error> {
    let app = definition::read(resource, "dcos marathon app add < app_resource.json").await?;
    let id = app["id"].as_str().ok_or_else(|| no_id(&app))?;
    if app["apps"].is_array() || app["groups"].is_array() {
        return Err(Error::new("this is the definition of a group, not of an app")
            .hint("To add it: dcos marathon group add < group.json"));
    }
    fields::warn(&app);
    let answer = marathon.send(Method::POST, "/v2/apps", &[], Some(&app)).await?;
    let is_there = answer.status == StatusCode::CONFLICT && !answer.text().contains("\"deployments\"");
    if is_there {
        let id = absolute(id);
        return Err(Error::status(409, format!("Application '{id}' already exists"))
            .hint(format!("To change it: dcos marathon app update {id} < app_resource.json")));
    }
    let app: Value = accepted(answer)?.json()?;
    created(app["deployments"][0]["id"].as_str().unwrap_or_default())
}

/// That a definition has no id, and what it may be instead of an app's.
fn no_id(app: &Value) -> Error {
    let error = Error::new("application ID must be set");
    match app {
        Value::Array(_) => error.hint("Each app is added by itself: this is an array."),
        app if app["apiVersion"].is_string() => error
            .hint("This is an object of Kubernetes; docs/guide/app-definition.md has the fields of an app."),
        _ => error.hint("E.g. {\"id\": \"/hello\", \"cmd\": \"sleep 1000\"}"),
    }
}

async fn show(marathon: &Marathon, id: &str, version: Option<&str>) -> Result<(), Error> {
    let Some(version) = version else {
        let app = marathon.app(id).await?;
        output::json(&app)?;
        return missing(marathon, &app).await;
    };
    let version = absolute_version(marathon, id, version).await?;
    let answer = marathon.get(&format!("{}/versions/{}", path(id), encoded(&version))).await?;
    output::json(&answer.json::<Value>()?)
}

/// Says what an app waits for that has not all its instances.
async fn missing(marathon: &Marathon, app: &Value) -> Result<(), Error> {
    let count = |field: &str| app[field].as_u64().unwrap_or_default();
    let (running, instances) = (count("tasksRunning"), count("instances"));
    let is_changed = app["deployments"].as_array().is_some_and(|deployments| !deployments.is_empty());
    if running >= instances && !is_changed {
        return Ok(());
    }
    let queue = marathon.queue(false).await?;
    let item = queue.iter().find(|item| item["app"]["id"] == app["id"]);
    if running >= instances && item.is_none() {
        return Ok(());
    }
    output::say(&said(app, item, running, instances));
    Ok(())
}

/// How many run, what the others wait for, how the last one failed, and where more is to be read.
fn said(app: &Value, item: Option<&Value>, running: u64, instances: u64) -> String {
    let id = app["id"].as_str().unwrap_or_default();
    let mut text = format!("{running} of {instances} instances of {id} run.");
    let reason = item.map(waiting::reason).unwrap_or_default();
    if !reason.is_empty() {
        text.push_str(&format!(" It waits: {reason}."));
    }
    let failure = &app["lastTaskFailure"];
    let Some(message) = failure["message"].as_str().map(str::trim) else { return text };
    if message.is_empty() || !reason.contains(message) {
        let state = failure["state"].as_str().unwrap_or_default();
        text.push_str(&format!(" Its last failure: {state}, {message}"));
    }
    // It ran, so what it wrote may say more than how it ended.
    if let (true, Some(task)) = (message.starts_with("Command "), failure["taskId"].as_str()) {
        text.push_str(&format!("\nWhat it wrote: dcos task log --completed {task} stderr"));
    }
    text
}

/// The version that a negative number names; any other text is a version. dcos-core-cli:
/// calculateVersion.
async fn absolute_version(marathon: &Marathon, id: &str, version: &str) -> Result<String, Error> {
    let Ok(back) = version.parse::<i64>() else { return Ok(version.to_owned()) };
    if back >= 0 {
        return Err(Error::new(format!("relative versions must be negative: {back}")));
    }
    let versions = all_versions(marathon, id).await?;
    let found = usize::try_from(-back).ok().and_then(|back| versions.get(back));
    found.cloned().ok_or_else(|| {
        Error::new(format!("application '{}' only has {} version(s)", absolute(id), versions.len()))
    })
}

async fn all_versions(marathon: &Marathon, id: &str) -> Result<Vec<String>, Error> {
    #[derive(serde::Deserialize)]
    struct Versions {
        versions: Vec<String>,
    }
    let answer = marathon.get(&format!("{}/versions", path(id))).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(marathon.no_app(&absolute(id)).await);
    }
    Ok(answer.json::<Versions>()?.versions)
}

async fn versions(marathon: &Marathon, id: &str, max_count: Option<i64>) -> Result<(), Error> {
    if max_count.is_some_and(|max| max <= 0) {
        return Err(Error::new("maximum count must be a positive number"));
    }
    let mut versions = all_versions(marathon, id).await?;
    if let Some(max) = max_count.and_then(|max| usize::try_from(max).ok()) {
        versions.truncate(max);
    }
    output::json(&versions)
}

async fn remove(marathon: &Marathon, app: &OfApp) -> Result<(), Error> {
    let answer = marathon.delete(&path(&app.app_id), &force(app.force)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(marathon.no_app(&absolute(&app.app_id)).await);
    }
    accepted(answer).map(|_| ())
}

async fn restart(marathon: &Marathon, app: &OfApp) -> Result<(), Error> {
    let found = marathon.app(&app.app_id).await?;
    if found["instances"].as_u64() == Some(0) {
        return Err(Error::new(format!(
            "unable to perform rolling restart of application '{}' because it has no running tasks",
            absolute(&app.app_id)
        )));
    }
    let path = format!("{}/restart", path(&app.app_id));
    created(&marathon.deploy(Method::POST, &path, &force(app.force), None).await?)
}

async fn start(marathon: &Marathon, app: &OfApp, instances: i64) -> Result<(), Error> {
    if instances <= 0 {
        return Err(Error::new(format!("the number of instances must be positive: {instances}")));
    }
    let found = marathon.app(&app.app_id).await?;
    match found["instances"].as_u64() {
        Some(running) if running > 0 => Err(Error::new(format!(
            "application '{}' already started: {running} instances",
            absolute(&app.app_id)
        ))
        .hint(format!(
            "To scale it: dcos marathon app update {} instances={instances}",
            absolute(&app.app_id)
        ))),
        _ => scale(marathon, app, instances).await,
    }
}

async fn stop(marathon: &Marathon, app: &OfApp) -> Result<(), Error> {
    let found = marathon.app(&app.app_id).await?;
    if found["instances"].as_u64() == Some(0) {
        let id = absolute(&app.app_id);
        return Err(Error::new(format!("app '{id}' already stopped: 0 instances")));
    }
    scale(marathon, app, 0).await
}

async fn scale(marathon: &Marathon, app: &OfApp, instances: i64) -> Result<(), Error> {
    let body = json!({ "instances": instances });
    created(&marathon.deploy(Method::PUT, &path(&app.app_id), &force(app.force), Some(&body)).await?)
}

async fn update(marathon: &Marathon, app: &OfApp, properties: &[String]) -> Result<(), Error> {
    // Before a definition is read from a pipe, and so that no app is made by a slip.
    marathon.app(&app.app_id).await?;
    let example = "dcos marathon app update your-app-id < app_update.json";
    let body = definition::properties(properties, example).await?;
    fields::warn(&body);
    created(&marathon.deploy(Method::PUT, &path(&app.app_id), &force(app.force), Some(&body)).await?)
}

async fn kill(marathon: &Marathon, id: &str, scale: bool, host: Option<String>) -> Result<(), Error> {
    let mut query = Vec::new();
    query.extend(scale.then(|| ("scale", "true".to_owned())));
    query.extend(host.map(|host| ("host", host)));
    let answer = marathon.delete(&format!("{}/tasks", path(id)), &query).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(marathon.no_app(&absolute(id)).await);
    }
    let answer: Value = accepted(answer)?.json()?;
    match scale {
        true => output::line(&format!("Started deployment: {answer}")),
        false => output::line(&format!("Killed tasks: {}", answer["tasks"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misses_is_said_once_and_with_the_next_step() {
        let check = |message: &str, item: Option<Value>, expected: &str| {
            let failure = json!({"message": message, "state": "TASK_FAILED", "taskId": "a.1"});
            let app = json!({"id": "/a", "lastTaskFailure": failure});
            assert_eq!(said(&app, item.as_ref(), 0, 1), expected);
        };
        let held = |message: &str| json!({"delay": {"timeLeftSeconds": 3, "overdue": false}, "lastTaskFailure": {"message": message}});
        check(
            "cannot fetch x",
            Some(held("cannot fetch x")),
            "0 of 1 instances of /a run. It waits: held back 3 s after: cannot fetch x.",
        );
        check(
            "cannot fetch x",
            None,
            "0 of 1 instances of /a run. Its last failure: TASK_FAILED, cannot fetch x",
        );
        check(
            "Command exited with status 3",
            Some(held("Command exited with status 3")),
            "0 of 1 instances of /a run. It waits: held back 3 s after: Command exited with status 3.\n\
             What it wrote: dcos task log --completed a.1 stderr",
        );
    }
}
