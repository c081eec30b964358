//! `dcos task download`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::find::{self, Filters};
use crate::sandbox::PIECE;
use crate::{Client, Error, glob, output, sandbox};

/// Directories in each other that are followed.
const DEEPEST: usize = 64;

/// `dcos task download`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A part of the task's id, or a pattern for the whole of it
    task: String,
    /// A pattern for files and directories in the sandbox; without it the whole sandbox
    path: Option<String>,
    /// Target directory of the download [default: the working directory]
    #[arg(long)]
    target_dir: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let filters = Filters { active: true, completed: true, id: arguments.task.clone(), agent: None };
    let task = find::one(client, &filters).await?;
    let target = match arguments.target_dir {
        Some(dir) => dir,
        None => std::env::current_dir()?,
    };
    let pattern = arguments.path.as_deref().unwrap_or("/").trim_matches('/');
    let (parent, base) = match pattern.rsplit_once('/') {
        Some((parent, base)) => (format!("{}/{parent}", task.sandbox()?), base),
        None => (task.sandbox()?, pattern),
    };
    let base = if base.is_empty() || base == "." { "*" } else { base };
    let missing = || {
        let asked = arguments.path.as_deref().unwrap_or("/");
        Error::new(format!("no file or directory matched '{asked}'"))
            .hint(format!("`dcos task ls {} --all` shows what is in the sandbox.", arguments.task))
    };
    let listed = sandbox::list(client, &task.slave_id, &parent).await?.ok_or_else(missing)?;
    let wanted = listed.into_iter().filter(|file| glob::matches(base, sandbox::name(&file.path)));
    let wanted: Vec<Found> = wanted.map(|file| Found::of(&file, &target)).collect();
    if wanted.is_empty() {
        return Err(missing());
    }
    let mut download = Download { client, agent: &task.slave_id, has_failed: false };
    download.all(&target, wanted).await?;
    match download.has_failed {
        true => Err(Error::new("could not download all matched files")),
        false => Ok(()),
    }
}

/// Something to be downloaded.
struct Found {
    /// As the agent calls it.
    path: String,
    is_directory: bool,
    size: u64,
    into: PathBuf,
    depth: usize,
}

impl Found {
    fn of(file: &mesos_proto::v1::FileInfo, into: &Path) -> Found {
        Found {
            path: file.path.clone(),
            is_directory: file.mode() & 0o170_000 == 0o040_000,
            size: file.size(),
            into: into.to_owned(),
            depth: 0,
        }
    }
}

struct Download<'a> {
    client: &'a Client,
    agent: &'a str,
    has_failed: bool,
}

impl Download<'_> {
    /// Downloads everything; what cannot be is said, and the rest goes on.
    async fn all(&mut self, target: &Path, mut wanted: Vec<Found>) -> Result<(), Error> {
        make(target)?;
        while let Some(next) = wanted.pop() {
            let name = sandbox::name(&next.path).to_owned();
            // What an agent says must not lead out of the target.
            if name.is_empty() || name == "." || name == ".." {
                continue;
            }
            let into = next.into.join(&name);
            let done = match next.is_directory {
                true => self.directory(&next, &into, &mut wanted).await,
                false => self.file(&next, &into).await,
            };
            if let Err(error) = done {
                self.has_failed = true;
                output::say(&format!("Error: {error}"));
            }
        }
        Ok(())
    }

    async fn directory(&self, from: &Found, into: &Path, wanted: &mut Vec<Found>) -> Result<(), Error> {
        if from.depth >= DEEPEST {
            return Err(Error::new(format!(
                "'{}' has more than {DEEPEST} directories in each other",
                into.display()
            )));
        }
        make(into)?;
        let listed = sandbox::list(self.client, self.agent, &from.path).await?;
        let inside = listed
            .into_iter()
            .flatten()
            .map(|file| Found { depth: from.depth + 1, ..Found::of(&file, into) });
        wanted.extend(inside);
        Ok(())
    }

    async fn file(&self, from: &Found, into: &Path) -> Result<(), Error> {
        let failed = |what: &str, error: std::io::Error| {
            Error::new(format!("unable to {what} file '{}': {error}", into.display()))
        };
        let mut file = fs::File::create(into).map_err(|error| failed("create", error))?;
        let mut offset = 0;
        // A log that grows meanwhile is downloaded as long as it was.
        while offset < from.size.max(1) {
            let read = sandbox::read(self.client, self.agent, &from.path, offset, PIECE).await;
            let read = read.map_err(|error| {
                Error::new(format!("could not fetch file '{}': {error}", sandbox::name(&from.path)))
            })?;
            let Some(piece) = read.filter(|piece| !piece.data.is_empty()) else { break };
            file.write_all(&piece.data).map_err(|error| failed("write to", error))?;
            offset += piece.data.len() as u64;
        }
        Ok(())
    }
}

fn make(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|error| Error::new(format!("cannot make '{}': {error}", dir.display())))
}
