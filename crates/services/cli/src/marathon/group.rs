//! `dcos marathon group`.

use clap::{Args, Subcommand};
use http_kit::Method;
use serde_json::{Value, json};

use super::api::{Marathon, absolute, accepted, encoded, force};
use super::definition;
use crate::{Align, Error, Table, output};

/// `dcos marathon group`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a group
    Add {
        /// The group ID to add
        #[arg(long, conflicts_with = "group_resource")]
        id: Option<String>,
        /// Path to a file or HTTP(S) URL that contains the group's JSON definition; standard input if
        /// it is - or left out
        group_resource: Option<String>,
    },
    /// Print the list of groups
    List {
        /// Print JSON-formatted data
        #[arg(long)]
        json: bool,
    },
    /// Remove a group
    Remove(OfGroup),
    /// Scale a group
    Scale {
        #[command(flatten)]
        group: OfGroup,
        /// The factor to scale an application group by
        scale_factor: f64,
    },
    /// Print a detailed list of groups
    Show {
        /// The group version to use for the command
        #[arg(long)]
        group_version: Option<String>,
        /// Print JSON-formatted data, as it always is
        #[arg(long, hide = true)]
        json: bool,
        /// The group ID
        group_id: String,
    },
    /// Update a group
    Update {
        #[command(flatten)]
        group: OfGroup,
        /// JSON object properties as key=value; if there are none, a JSON object is read from standard
        /// input
        properties: Vec<String>,
    },
}

/// A group, and whether deployments of it are overridden.
#[derive(Debug, Args)]
pub struct OfGroup {
    /// Disable checks in Marathon during updates
    #[arg(long)]
    force: bool,
    /// The group ID
    group_id: String,
}

pub(super) async fn run(command: Command, marathon: &Marathon) -> Result<(), Error> {
    match command {
        Command::Add { id, group_resource } => {
            let group = match id {
                Some(id) => json!({ "id": id }),
                None => {
                    let example = "dcos marathon group add < group_resource.json";
                    definition::read(group_resource.as_deref(), example).await?
                }
            };
            created(&marathon.deploy(Method::POST, "/v2/groups", &[], Some(&group)).await?)
        }
        Command::List { json } => {
            let root: Value = marathon.get("/v2/groups").await?.json()?;
            if json { output::json(&root["groups"]) } else { table(&root).print() }
        }
        Command::Remove(group) => {
            let answer = marathon.delete(&path(&group.group_id), &force(group.force)).await?;
            accepted(answer).map(|_| ())
        }
        Command::Scale { group, scale_factor } => {
            put(marathon, &group, &json!({ "scaleBy": scale_factor })).await
        }
        Command::Show { group_version, json: _, group_id } => {
            let version = group_version.map(|version| format!("/versions/{}", encoded(&version)));
            let path = format!("{}{}", path(&group_id), version.unwrap_or_default());
            output::json(&marathon.get(&path).await?.json::<Value>()?)
        }
        Command::Update { group, properties } => {
            marathon.get(&path(&group.group_id)).await?.ok()?;
            let example = "dcos marathon group update your-group-id < group_update.json";
            let body = definition::properties(&properties, example).await?;
            put(marathon, &group, &body).await
        }
    }
}

fn path(id: &str) -> String {
    format!("/v2/groups{}", encoded(&absolute(id)))
}

async fn put(marathon: &Marathon, group: &OfGroup, body: &Value) -> Result<(), Error> {
    created(&marathon.deploy(Method::PUT, &path(&group.group_id), &force(group.force), Some(body)).await?)
}

fn created(deployment: &str) -> Result<(), Error> {
    output::line(&format!("Created deployment {deployment}"))
}

/// dcos: tables.group_table; the root itself is left out.
fn table(root: &Value) -> Table {
    let mut table = Table::new(["ID", "APPS", "ENFORCE_ROLE"]).align("APPS", Align::Right);
    count(root, &mut table);
    table.sort();
    table
}

/// Adds the groups below this one to the table; returns how many apps it has with them.
fn count(group: &Value, table: &mut Table) -> usize {
    let mut apps = group["apps"].as_array().map_or(0, Vec::len);
    for child in group["groups"].as_array().into_iter().flatten() {
        let below = count(child, table);
        let id = child["id"].as_str().unwrap_or_default().to_owned();
        let enforced = if child["enforceRole"] == true { "True" } else { "False" }.to_owned();
        table.row([id, below.to_string(), enforced]);
        apps += below;
    }
    apps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_with_those_below() {
        let root = json!({"id": "/", "apps": [{}], "groups": [
            {"id": "/shop", "enforceRole": true, "apps": [{}], "groups": [
                {"id": "/shop/web", "apps": [{}, {}], "groups": []},
            ]},
        ]});
        assert_eq!(
            table(&root).render(None),
            "     ID      APPS  ENFORCE_ROLE\n\
             \u{20} /shop         3  True\n\
             \u{20} /shop/web     2  False\n"
        );
    }
}
