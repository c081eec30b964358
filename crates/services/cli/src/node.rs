//! `dcos node`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{Client, Context, Error, Table, output, task};

/// `dcos node`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all nodes in the cluster
    List(ListArguments),
}

/// `dcos node list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Print in json format
    #[arg(long)]
    json: bool,
    /// Name of extra field to include in the output of `dcos node`. Can be repeated multiple times to add
    /// several fields
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Only display the information concerning a node with a specific Mesos ID
    #[arg(long)]
    mesos_id: Option<String>,
}

const NOT_AVAILABLE: &str = "N/A";

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::List(arguments) => list(arguments, &context.client()?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(arguments: ListArguments, client: &Client) -> Result<(), Error> {
    let mut state = task::state(client).await?;
    let agents: Value =
        client.post("/mesos/api/v1", &serde_json::json!({"type": "GET_AGENTS"})).await?.json()?;
    let agents = agents["get_agents"]["agents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut nodes = Vec::new();
    let Value::Array(known) = state["slaves"].take() else {
        return Err(Error::new("the master's state has no agents"));
    };
    for mut node in known {
        let status = agents.iter().find(|agent| agent["agent_info"]["id"]["value"] == node["id"]).map(status);
        node["type"] = "agent".into();
        node["status"] = status.unwrap_or_default().into();
        node["ip"] = ip(&node).into();
        for part in ["region", "zone"] {
            let name = node["domain"]["fault_domain"][part]["name"].clone();
            if name.is_string() {
                node[part] = name;
            }
        }
        nodes.push(node);
    }
    nodes.push(master(&state));
    nodes.retain(|node| arguments.mesos_id.as_deref().is_none_or(|id| node["id"] == *id));
    if arguments.json {
        return output::json(&nodes);
    }
    let headings = ["HOSTNAME", "IP", "PUBLIC IP(S)", "ID", "TYPE", "STATUS", "REGION", "ZONE"];
    let mut table = Table::new(headings.into_iter().chain(arguments.fields.iter().map(String::as_str)))
        .dispensable(&["ZONE", "REGION", "PUBLIC IP(S)", "HOSTNAME"]);
    for node in &nodes {
        let is_master = node["status"].is_null();
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        let or_not = |name: &str| match text(name) {
            found if found.is_empty() && is_master => NOT_AVAILABLE.to_owned(),
            found => found,
        };
        let is_public = node["attributes"]["public_ip"] == "true";
        let kind = if is_public { "agent (public)".to_owned() } else { text("type") };
        let fixed = [
            text("hostname"),
            text("ip"),
            String::new(),
            or_not("id"),
            kind,
            text("status"),
            or_not("region"),
            or_not("zone"),
        ];
        table.row(fixed.into_iter().chain(arguments.fields.iter().map(|field| extra(node, field))));
    }
    table.print()
}

/// The leading master: others tell nobody of themselves.
fn master(state: &Value) -> Value {
    let address = state["leader_info"]["address"]["ip"].as_str().map(str::to_owned);
    let ip = address.unwrap_or_else(|| ip(state));
    let domain = &state["domain"]["fault_domain"];
    let mut node = serde_json::json!({
        "type": "master (leader)", "hostname": state["hostname"], "ip": ip,
        "id": state["id"], "pid": state["pid"], "version": state["version"],
    });
    for part in ["region", "zone"] {
        if domain[part]["name"].is_string() {
            node[part] = domain[part]["name"].clone();
        }
    }
    node
}

/// The address in a pid like `slave(1)@127.0.0.2:5051`.
fn ip(node: &Value) -> String {
    let pid = node["pid"].as_str().unwrap_or_default();
    let address = pid.rsplit_once('@').map_or(pid, |(_, address)| address);
    address.rsplit_once(':').map_or(address, |(ip, _)| ip).to_owned()
}

/// dcos-core-cli: newCmdNodeList.
fn status(agent: &Value) -> String {
    let draining = agent["drain_info"]["state"].as_str().filter(|state| *state != "UNKNOWN");
    match draining {
        Some(state) => state,
        None if agent["deactivated"] == true => "DEACTIVATED",
        None if agent["active"] == true => "ACTIVE",
        None => "UNKNOWN",
    }
    .to_owned()
}

/// A field by the names on the way to it, as in `resources.cpus`.
fn extra(node: &Value, field: &str) -> String {
    match field.split('.').fold(node, |value, name| &value[name]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_agents_do_is_said_as_the_official_cli_says_it() {
        let check = |agent: Value, expect: &str| assert_eq!(status(&agent), expect);
        check(json!({"active": true}), "ACTIVE");
        check(json!({"active": true, "deactivated": true}), "DEACTIVATED");
        check(json!({"drain_info": {"state": "DRAINING"}}), "DRAINING");
        check(json!({}), "UNKNOWN");
    }

    #[test]
    fn fields_and_addresses_are_found() {
        let node = json!({"pid": "slave(1)@127.0.0.2:5051", "resources": {"cpus": 2.0}, "a": "b"});
        assert_eq!(ip(&node), "127.0.0.2");
        assert_eq!(extra(&node, "resources.cpus"), "2.0");
        assert_eq!(extra(&node, "a"), "b");
        assert_eq!(extra(&node, "a.b"), "");
    }
}
