//! `dcos marathon app logs`: the logs of all instances of an app as one stream. Beyond the official CLI.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::api::{Marathon, absolute};
use crate::logs;
use crate::task::{self, BACKLOG, Filters, Said, Task, Which};
use crate::{Client, Error, output};

/// How often it is looked for instances that came.
const LOOK: Duration = Duration::from_secs(1);
/// Failures to look, one after the other, that are borne: masters are restarted.
const MOST_FAILURES: u32 = 30;
/// Instances that are read at a time.
const MOST_INSTANCES: usize = 500;
/// Colours of the names, so that one sees at a glance whose line it is.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// `dcos marathon app logs`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The application ID
    app_id: String,
    /// A file in the sandboxes
    #[arg(default_value = "stdout")]
    file: String,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(arguments: Arguments, marathon: &Marathon, client: Client) -> Result<(), Error> {
    let client = Arc::new(client);
    let id = absolute(&arguments.app_id);
    // Also says so if there is no such app.
    let app = marathon.app(&id).await?;
    let names = Names { is_coloured: std::io::stdout().is_terminal() };
    if arguments.which.follow {
        return follow(&arguments, marathon, &client, &id, &names).await;
    }
    let instances = instances(&client, &app, |_| true).await?;
    if instances.is_empty() {
        return Err(Error::new(format!("App '{id}' has no instance that runs"))
            .hint(format!("`dcos marathon app show {id}` shows why; `dcos task log --completed` has the logs of those that ended.")));
    }
    for instance in instances {
        let path = format!("{}/{}", instance.sandbox()?, arguments.file);
        let tail = logs::tail(&client, &instance.slave_id, &path, arguments.which.lines()).await?;
        let (text, _) = tail.unwrap_or_default();
        names.print(&instance.id, &text)?;
    }
    Ok(())
}

/// Follows all instances, those that come later too, until the app is gone.
async fn follow(
    arguments: &Arguments,
    marathon: &Marathon,
    client: &Arc<Client>,
    id: &str,
    names: &Names,
) -> Result<(), Error> {
    let (say, mut said) = mpsc::channel::<Said>(BACKLOG);
    let mut readers: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let mut ended: BTreeSet<String> = BTreeSet::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failures, mut is_gone, mut is_first) = (0, false, true);
    loop {
        tokio::select! {
            // What was said comes before what is new, so that lines are printed in their order.
            biased;
            Some(piece) = said.recv() => match piece {
                Ok((task, text)) => names.print(&task, &text)?,
                // One sandbox may be gone; the others go on.
                Err(error) => output::say(&format!("{error}")),
            },
            _ = look.tick(), if !is_gone => match come(marathon, client, id, &readers, &mut ended).await {
                Ok(Some(instances)) => {
                    failures = 0;
                    // All lines of instances that came later are new.
                    let lines = if is_first { arguments.which.lines() } else { usize::MAX };
                    is_first = false;
                    for task in instances {
                        if task.container().is_err() || readers.len() >= MOST_INSTANCES {
                            continue;
                        }
                        let (label, file) = (task.id.clone(), arguments.file.clone());
                        let reading =
                            task::follow(Arc::clone(client), task, file, lines, label.clone(), say.clone());
                        readers.insert(label, tokio::spawn(reading));
                    }
                }
                Ok(None) => is_gone = true,
                Err(error) if failures >= MOST_FAILURES => return Err(error),
                Err(_) => failures += 1,
            },
            () = tokio::time::sleep(LOOK), if is_gone => {}
        }
        readers.retain(|task, reader| {
            let is_over = reader.is_finished();
            if is_over {
                ended.insert(task.clone());
            }
            !is_over
        });
        if is_gone && readers.is_empty() && said.is_empty() {
            return Ok(());
        }
    }
}

/// The app's instances that are not read yet; None if there is no such app any more.
async fn come(
    marathon: &Marathon,
    client: &Client,
    id: &str,
    readers: &BTreeMap<String, JoinHandle<()>>,
    ended: &mut BTreeSet<String>,
) -> Result<Option<Vec<Task>>, Error> {
    let app = match marathon.app(id).await {
        Ok(app) => app,
        Err(error) if error.http_status() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let listed: BTreeSet<&str> = listed(&app).filter_map(|task| task["id"].as_str()).collect();
    ended.retain(|task| listed.contains(task.as_str()));
    let is_new = |task: &str| !readers.contains_key(task) && !ended.contains(task);
    instances(client, &app, is_new).await.map(Some)
}

fn listed(app: &Value) -> impl Iterator<Item = &Value> {
    app["tasks"].as_array().into_iter().flatten()
}

/// The wanted of the instances that Marathon lists, as the Mesos master knows them, in the order of their
/// starts.
async fn instances(client: &Client, app: &Value, wanted: impl Fn(&str) -> bool) -> Result<Vec<Task>, Error> {
    let mut ids: Vec<(&str, &str)> = listed(app)
        .filter_map(|task| Some((task["startedAt"].as_str().unwrap_or_default(), task["id"].as_str()?)))
        .filter(|(_, id)| wanted(id))
        .collect();
    ids.sort_unstable();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known = task::all(client, &Filters { active: true, completed: true, ..Filters::default() }).await?;
    let mut known: BTreeMap<String, Task> = known.into_iter().map(|task| (task.id.clone(), task)).collect();
    Ok(ids.into_iter().filter_map(|(_, id)| known.remove(id)).collect())
}

/// How lines are told apart.
struct Names {
    is_coloured: bool,
}

impl Names {
    /// Prints whole lines, each behind the name of its instance.
    fn print(&self, task: &str, text: &[u8]) -> Result<(), Error> {
        let name = short(task);
        let name = match self.is_coloured {
            true => format!("\x1b[{}m{name}\x1b[0m ", COLOURS[colour(task)]),
            false => format!("{name} "),
        };
        let mut out = Vec::with_capacity(text.len() + 8 * name.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(line);
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            out.push(b'\n');
        }
        output::write(&out)
    }
}

fn colour(task: &str) -> usize {
    let hash = base::fnv1a(task.as_bytes());
    usize::try_from(hash % COLOURS.len() as u64).unwrap_or(0)
}

/// `web.instance-4c9e2f31-....._app.1` is `web.4c9e2f31`: the app, and enough of the rest to tell its instances
/// apart.
fn short(task: &str) -> String {
    let Some((app, rest)) = task.split_once(".instance-").or_else(|| task.split_once('.')) else {
        return task.to_owned();
    };
    let unique: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    if unique.is_empty() { task.to_owned() } else { format!("{app}.{unique}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_long_as_they_must_be() {
        let check = |task: &str, expect: &str| assert_eq!(short(task), expect);
        check("web.instance-4c9e2f31-8d0a-11ee-b0b5-0242ac110002._app.1", "web.4c9e2f31");
        check("a_b.4c9e2f31-8d0a-11ee", "a_b.4c9e2f31");
        check("job", "job");
        check("x.", "x.");
    }
}
