use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use host::ProcessIdentity;
use tokio::time::{Instant, sleep};

use crate::cluster::{self, Cluster, RECORD};
use crate::up::{end_tasks, ended_tasks};
use crate::{Error, Parts, console, node};

/// How long a cluster that runs has to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the directory may be locked without a process to be told.
const NAMELESS: Duration = Duration::from_secs(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Ends the cluster or node of the directory `dir` for good, whether it runs or not: stops it, ends
/// its tasks, and removes its state. Where there is none, there is nothing to end.
///
/// # Errors
/// See [`Error`]; what was ended until then stays ended.
pub async fn down(dir: &Path, parts: &dyn Parts) -> Result<(), Error> {
    let none = |why: &str| {
        console::say(&format!("There is no cluster in {} ({why}).", dir.display()));
        Ok(())
    };
    let dir = match dir.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return none("there is no such directory"),
        found => found.map_err(Error::io("find", dir))?,
    };
    let Some(cluster) = Cluster::read(&dir)? else {
        return none(&format!("it has no {RECORD}"));
    };
    let _lock = stop(&dir).await?;
    let ended = end_tasks(&cluster, &dir, parts).await?;
    // The record goes last: as long as it is there, this can be done again.
    for name in ["agents", "master", "logs"] {
        remove(&dir.join(name), |path| std::fs::remove_dir_all(path))?;
    }
    for name in ["token", RECORD] {
        remove(&dir.join(name), |path| std::fs::remove_file(path))?;
    }
    for agent in &cluster.agents {
        node::port_leases().forget(&node::lease_owner(&dir, &agent.name));
    }
    console::say(&ended_tasks(ended));
    Ok(())
}

fn remove(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), Error> {
    match remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Takes the lock of the directory, after telling the process that has it to stop.
async fn stop(dir: &Path) -> Result<host::FileLock, Error> {
    let mut told: Option<ProcessIdentity> = None;
    let began = Instant::now();
    let deadline = began + STOP_TIMEOUT;
    let nameless = |was_told| if was_told { deadline } else { began + NAMELESS };
    loop {
        let owner = match cluster::lock(dir) {
            Err(Error::Locked { owner: Some(owner), .. }) => owner,
            // It died between the two questions, or what it was just starting still has the lock.
            Err(Error::Locked { owner: None, .. }) if Instant::now() < nameless(told.is_some()) => {
                sleep(PAUSE).await;
                continue;
            }
            taken_or_failed => return taken_or_failed,
        };
        let identity = ProcessIdentity::of(owner);
        if identity.is_some() && identity != told {
            told = identity;
            host::terminate(owner).map_err(Error::io("end the process that has", dir))?;
        }
        if Instant::now() >= deadline {
            let seconds = STOP_TIMEOUT.as_secs();
            return Err(Error::DoesNotEnd { dir: dir.to_owned(), pid: owner, seconds });
        }
        sleep(PAUSE).await;
    }
}
