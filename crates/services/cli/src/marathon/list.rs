//! `dcos marathon app list`.

use serde_json::Value;

use super::api::Marathon;
use super::waiting::{self, number};
use crate::table::shortened;
use crate::{Error, Table, output};

/// What stands for nothing.
const NOTHING: &str = "---";
/// How long a command may be. dcos-core-cli: formatCmd.
const COMMAND: usize = 30;

/// Lists the apps. dcos-core-cli: appList; the last column is ours, and there only while an app waits.
pub(super) async fn apps(marathon: &Marathon, quiet: bool, json: bool) -> Result<(), Error> {
    let apps = marathon.apps().await?;
    if quiet {
        let ids = apps.iter().filter_map(|app| app["id"].as_str());
        return output::print(&ids.map(|id| format!("{id}\n")).collect::<String>());
    }
    if json {
        return output::json(&apps);
    }
    let deployments = marathon.deployments().await?;
    let queue = marathon.queue(false).await?;
    table(&apps, &deployments, &queue).print()
}

fn table(apps: &[Value], deployments: &[Value], queue: &[Value]) -> Table {
    let item = |app: &Value| queue.iter().find(|item| item["app"]["id"] == app["id"]);
    let why = apps.iter().any(|app| item(app).is_some());
    let headings =
        ["ID", "MEM", "CPUS", "TASKS", "HEALTH", "DEPLOYMENT", "WAITING", "CONTAINER", "CMD", "ROLE"];
    let mut table = Table::new(headings.into_iter().chain(why.then_some("WAITING FOR"))).dispensable(&[
        "ROLE",
        "WAITING",
        "CONTAINER",
        "CMD",
        "DEPLOYMENT",
        "CPUS",
        "MEM",
    ]);
    for app in apps {
        let item = item(app);
        let text = |field: &str| app[field].as_str().unwrap_or_default().to_owned();
        table.row([
            text("id"),
            number(&app["mem"]),
            number(&app["cpus"]),
            format!("{}/{}", count(app, "tasksRunning"), count(app, "instances")),
            health(app),
            deployment(app, deployments),
            item.is_some_and(|item| item["delay"]["overdue"] == true).to_string(),
            app["container"]["type"].as_str().unwrap_or("MESOS").to_owned(),
            command(app),
            text("role"),
            item.map(waiting::reason).unwrap_or_default(),
        ]);
    }
    table.sort();
    table
}

fn count(app: &Value, field: &str) -> u64 {
    app[field].as_u64().unwrap_or_default()
}

fn health(app: &Value) -> String {
    match app["healthChecks"].as_array() {
        Some(checks) if !checks.is_empty() => {
            format!("{}/{}", count(app, "tasksHealthy"), count(app, "tasksRunning"))
        }
        _ => NOTHING.to_owned(),
    }
}

fn deployment(app: &Value, deployments: &[Value]) -> String {
    let ids = app["deployments"].as_array().into_iter().flatten().map(|deployment| &deployment["id"]);
    let running = ids.filter_map(|id| deployments.iter().find(|deployment| deployment["id"] == *id));
    let actions =
        running.flat_map(|deployment| deployment["currentActions"].as_array().into_iter().flatten());
    let mine = actions.filter(|action| action["app"] == app["id"]);
    let names: Vec<&str> = mine.filter_map(|action| Some(action_name(action["action"].as_str()?))).collect();
    match names[..] {
        [] => NOTHING.to_owned(),
        [name] => name.to_owned(),
        _ => format!("({})", names.join(", ")),
    }
}

/// The name of an action in tables. dcos-core-cli: deploymentDisplay.
pub(super) fn action_name(action: &str) -> &str {
    match action {
        "ResolveArtifacts" => "artifacts",
        "ScaleApplication" | "ScalePod" => "scale",
        "StartApplication" | "StartPod" => "start",
        "StopApplication" | "StopPod" => "stop",
        "RestartApplication" | "RestartPod" => "restart",
        "KillAllOldTasksOf" => "kill-tasks",
        other => other,
    }
}

fn command(app: &Value) -> String {
    let args = || {
        let args: Vec<&str> = app["args"].as_array()?.iter().filter_map(Value::as_str).collect();
        (!args.is_empty()).then(|| format!("[{}]", args.join(", ")))
    };
    let command = app["cmd"].as_str().filter(|cmd| !cmd.is_empty()).map(str::to_owned).or_else(args);
    command.map_or_else(|| NOTHING.to_owned(), |command| shortened(&command.replace('\n', " "), COMMAND))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_app_is_a_line() {
        let app = json!({
            "id": "test-id", "cpus": 1.0, "mem": 2, "cmd": "test cmd", "role": "public_agent",
            "tasksRunning": 3, "instances": 4,
        });
        assert_eq!(
            table(std::slice::from_ref(&app), &[], &[]).render(None),
            "    ID     MEM  CPUS  TASKS  HEALTH  DEPLOYMENT  WAITING  CONTAINER    CMD         ROLE\n\
             \u{20} test-id  2    1     3/4    ---     ---         false    MESOS      test cmd  public_agent\n"
        );
    }

    #[test]
    fn what_happens_to_an_app_is_said() {
        let app = |id: &str| {
            json!({
                "id": id, "cpus": 0.1, "mem": 32, "args": ["a", "b"], "role": "*", "tasksRunning": 1,
                "instances": 2, "tasksHealthy": 1, "healthChecks": [{}], "deployments": [{"id": "d"}],
            })
        };
        let deployments = [json!({"id": "d", "currentActions": [
            {"action": "ScaleApplication", "app": "/b"}, {"action": "RestartApplication", "app": "/a"},
        ]})];
        let queue = [json!({"app": {"id": "/a"}, "delay": {"timeLeftSeconds": 9, "overdue": false}})];
        assert_eq!(
            table(&[app("/b"), app("/a")], &deployments, &queue).render(None),
            "  ID  MEM  CPUS  TASKS  HEALTH  DEPLOYMENT  WAITING  CONTAINER   CMD    ROLE   WAITING FOR\n\
             \u{20} /a  32   0.1   1/2    1/1     restart     false    MESOS      [a, b]  *     held back 9 s\n\
             \u{20} /b  32   0.1   1/2    1/1     scale       false    MESOS      [a, b]  *\n"
        );
    }
}
