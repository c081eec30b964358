//! `dcos task log`.

use std::sync::Arc;

use clap::Args;
use tokio::sync::mpsc;

use super::find::{self, Filters, Task};
use crate::logs::{self, Follower};
use crate::{Client, Error, output};

/// Pieces of logs that may wait to be printed: readers of logs wait with them.
pub(crate) const BACKLOG: usize = 16;

/// What all commands take that print logs.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Dynamically update the log
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print the N last lines
    #[arg(short = 'n', long, default_value_t = 10, allow_negative_numbers = true, value_name = "N")]
    pub(crate) lines: i64,
}

impl Which {
    /// Negative numbers mean the same, as they did for the first CLI. dcos-core-cli: newCmdTaskLog.
    pub(crate) fn lines(&self) -> usize {
        usize::try_from(self.lines.unsigned_abs()).unwrap_or(usize::MAX)
    }
}

/// `dcos task log`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A part of the task's id, or a pattern for the whole of it
    task: String,
    /// A file in the sandbox
    #[arg(default_value = "stdout")]
    file: String,
    /// Print completed and in-progress tasks
    #[arg(long)]
    all: bool,
    /// Print completed tasks
    #[arg(long)]
    completed: bool,
    #[command(flatten)]
    which: Which,
    /// Format log message output: there is one format for the logs of tasks
    #[arg(short, long, default_value = "short", hide = true)]
    output: String,
}

pub(super) async fn run(arguments: Arguments, client: Arc<Client>) -> Result<(), Error> {
    let filters = Filters {
        active: !arguments.completed,
        completed: arguments.all || arguments.completed,
        id: arguments.task,
        agent: None,
    };
    let tasks = find::all(&client, &filters).await?;
    print(&client, tasks, &arguments.file, &arguments.which).await
}

/// Prints the logs of these tasks, each after a heading if they are several.
pub(crate) async fn print(
    client: &Arc<Client>,
    tasks: Vec<Task>,
    file: &str,
    which: &Which,
) -> Result<(), Error> {
    let is_single = tasks.len() == 1;
    if is_single || !which.follow {
        let mut has_failed = false;
        for task in tasks {
            if !is_single {
                output::line(&format!("===> {} <===", task.id))?;
            }
            match one(client, &task, file, which).await {
                Err(error) if !is_single && !error.is_closed() => {
                    has_failed = true;
                    output::say(&format!("Error: {error}"));
                }
                done => done?,
            }
        }
        return match has_failed {
            true => Err(Error::new("could not log all matched tasks")),
            false => Ok(()),
        };
    }
    let (say, mut said) = mpsc::channel(BACKLOG);
    for task in tasks {
        let label = task.id.clone();
        tokio::spawn(follow(Arc::clone(client), task, file.to_owned(), which.lines(), label, say.clone()));
    }
    drop(say);
    let mut last = String::new();
    while let Some(piece) = said.recv().await {
        let (task, mut text) = piece?;
        if task != last {
            output::line(&format!("===> {task} <==="))?;
            last = task;
        }
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        output::write(&text)?;
    }
    Ok(())
}

async fn one(client: &Client, task: &Task, file: &str, which: &Which) -> Result<(), Error> {
    let path = format!("{}/{file}", task.sandbox()?);
    let found = logs::tail(client, &task.slave_id, &path, which.lines()).await?;
    if found.is_none() && (!which.follow || task.is_over()) {
        return Err(Error::new(format!("no file '{file}' in the sandbox of task '{}'", task.id))
            .hint(format!("`dcos task ls {}` shows what is there.", task.id)));
    }
    let (text, offset) = found.unwrap_or_default();
    output::write(&text)?;
    if !which.follow {
        return Ok(());
    }
    let mut follower = Follower::new(&task.slave_id, &path, offset);
    loop {
        let data = follower.read(client).await?;
        output::write(&data)?;
        if data.is_empty() && follower.is_idle() && is_gone(client, task).await? {
            return Ok(());
        }
        follower.wait().await;
    }
}

/// A piece of a log under its label, or why there is no more of it.
pub(crate) type Said = Result<(String, Vec<u8>), Error>;

/// Says the log of a task, whole lines only, until the task is over and everything is said, or until
/// nobody listens any more.
pub(crate) async fn follow(
    client: Arc<Client>,
    task: Task,
    file: String,
    lines: usize,
    label: String,
    say: mpsc::Sender<Said>,
) {
    if let Err(error) = follow_until(&client, &task, &file, lines, &label, &say).await {
        // An error means that nobody listens any more.
        let _ = say.send(Err(error)).await;
    }
}

async fn follow_until(
    client: &Client,
    task: &Task,
    file: &str,
    lines: usize,
    label: &str,
    say: &mpsc::Sender<Said>,
) -> Result<(), Error> {
    let path = format!("{}/{file}", task.sandbox()?);
    let (text, offset) = match lines {
        // Everything there is.
        usize::MAX => Default::default(),
        lines => logs::tail(client, &task.slave_id, &path, lines).await?.unwrap_or_default(),
    };
    let mut follower = Follower::new(&task.slave_id, &path, offset);
    let mut text = follower.begin_with(text);
    loop {
        if !text.is_empty() && say.send(Ok((label.to_owned(), text))).await.is_err() {
            return Ok(());
        }
        follower.wait().await;
        text = follower.read_lines(client).await?;
        if text.is_empty() && follower.is_idle() && is_gone(client, task).await? {
            let rest = follower.rest();
            if !rest.is_empty() {
                // An error means that nobody listens any more.
                let _ = say.send(Ok((label.to_owned(), rest))).await;
            }
            return Ok(());
        }
    }
}

async fn is_gone(client: &Client, task: &Task) -> Result<bool, Error> {
    Ok(find::again(client, task).await?.is_none_or(|task| task.is_over()))
}
