//! `dcos task list`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use super::find::{self, Filters};
use crate::{Client, Error, Table, output};

/// `dcos task list`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A part of the ids, or a pattern for the whole of them
    filter: Option<String>,
    /// Print completed and in-progress tasks
    #[arg(long, conflicts_with = "completed")]
    all: bool,
    /// Print in json format
    #[arg(long)]
    json: bool,
    /// Print completed tasks
    #[arg(long)]
    completed: bool,
    /// Print only IDs of listed services
    #[arg(short, long)]
    quiet: bool,
    /// List tasks of a given agent
    #[arg(long)]
    agent_id: Option<String>,
}

const NOT_AVAILABLE: &str = "N/A";

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let filters = Filters {
        active: !arguments.completed,
        completed: arguments.all || arguments.completed,
        id: arguments.filter.unwrap_or_default(),
        agent: arguments.agent_id,
    };
    let mut state = find::state(client).await?;
    let tasks = find::select(&mut state, &filters);
    if arguments.json {
        return output::json(&tasks);
    }
    if let (true, Some(error)) = (tasks.is_empty(), filters.none()) {
        return Err(error);
    }
    if arguments.quiet {
        let ids: String = tasks.iter().map(|task| format!("{}\n", text(&task["id"]))).collect();
        return output::print(&ids);
    }
    let agents = by_id(&state["slaves"]);
    let frameworks = by_id(&state["frameworks"]);
    let mut table = Table::new(["NAME", "HOST", "USER", "STATE", "ID", "AGENT ID", "REGION", "ZONE"])
        .dispensable(&["ZONE", "REGION", "AGENT ID", "USER", "HOST"]);
    for task in &tasks {
        let agent = agents.get(text(&task["slave_id"]));
        let user =
            frameworks.get(text(&task["framework_id"])).map_or("", |framework| text(&framework["user"]));
        let domain = |part: &str| {
            let name = agent.map_or("", |agent| text(&agent["domain"]["fault_domain"][part]["name"]));
            match (agent, name) {
                (None, _) => String::new(),
                (Some(_), "") => NOT_AVAILABLE.to_owned(),
                (Some(_), name) => name.to_owned(),
            }
        };
        table.row([
            text(&task["name"]).to_owned(),
            agent.map_or("", |agent| text(&agent["hostname"])).to_owned(),
            user.to_owned(),
            text(&task["state"]).to_owned(),
            text(&task["id"]).to_owned(),
            text(&task["slave_id"]).to_owned(),
            domain("region"),
            domain("zone"),
        ]);
    }
    table.print()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    list.as_array().into_iter().flatten().map(|entry| (text(&entry["id"]), entry)).collect()
}
