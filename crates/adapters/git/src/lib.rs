//! git repositories by the program git: mirrors of those elsewhere, commits of those here, files of a commit.
//!
//! Invariants: git asks nobody for anything, runs no hook, and ends within a time; what comes out of [`checkout`]
//! depends on the commit alone, not on anybody's configuration. Only one at a time may work on a mirror: who shares
//! one takes a lock.
//!
//! Deliberately absent: commits, pushes, submodules (their directories stay empty) and what git keeps elsewhere (LFS).

mod error;
mod mirror;
mod repository;

pub use error::Error;
pub use mirror::{fetch, mirror};
pub use repository::{Work, checkout, resolve, work};

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use host::Ran;

/// How long what needs no network may take.
const LOCAL: Duration = Duration::from_secs(600);
/// How long a transfer may take; one that stands still ends sooner.
const TRANSFER: Duration = Duration::from_secs(3600);
/// The lines of git that an error shows.
const LINES: usize = 4;
/// Variables that would make git look at another repository than the one it is told.
const ELSEWHERE: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
];

/// git in a directory, without prompts, hooks and what would go on in the background. The user's own configuration
/// counts, as it has the way to servers (proxies, credentials).
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    for name in ELSEWHERE {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "true");
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_PAGER", "cat");
    if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=30");
    }
    // Less than a kilobyte a second for a minute is no transfer.
    command.env("GIT_HTTP_LOW_SPEED_LIMIT", "1000").env("GIT_HTTP_LOW_SPEED_TIME", "60");
    command.arg("-C").arg(directory);
    // Whoever names a repository here runs what is in it: whose files they are does not matter.
    for setting in ["safe.directory=*", "core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0"] {
        command.args(["-c", setting]);
    }
    command.args(["-c", "maintenance.auto=false", "-c", "advice.detachedHead=false"]);
    command
}

/// git as everybody has it: nobody's configuration counts.
fn plain_git(directory: &Path) -> Command {
    let mut command = git(directory);
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1");
    for setting in ["core.attributesFile=/dev/null", "core.autocrlf=false", "core.eol=lf"] {
        command.args(["-c", setting]);
    }
    command.args(["-c", "core.symlinks=true", "-c", "core.fileMode=true"]);
    command
}

/// Runs it to its end, whatever that is.
fn run(mut command: Command, timeout: Duration) -> Result<Ran, Error> {
    host::run(&mut command, timeout).map_err(Error::Run)
}

/// Runs it to a good end.
fn done(command: Command, timeout: Duration, attempt: &'static str, on: &str) -> Result<Ran, Error> {
    match run(command, timeout)? {
        ran if ran.status.success() => Ok(ran),
        ran => Err(Error::Git { attempt, on: on.to_owned(), said: ran.last_lines(LINES) }),
    }
}
