//! Ending everything that an agent has left running, without running the agent.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use containers::{Containers, Isolation};

use crate::config::{network_name, runtime_dir};
use crate::private::PrivateDirs;
use crate::{Config, Error};
use base::with_causes;

/// Written at the start of every agent, so that its containers can be found by the directory alone.
fn note_path(dir: &Path) -> PathBuf {
    dir.join("meta/containers")
}

/// Notes where this agent's containers are.
pub(crate) fn note(config: &Config, isolation: Isolation) -> Result<(), Error> {
    let path = note_path(&config.dir);
    let isolation = match isolation {
        Isolation::Full => "full",
        Isolation::Plain => "plain",
    };
    let failed = |source| Error::Directory { path: path.clone(), source };
    // Records hold the environment of tasks, and that may hold their secrets.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(config.dir.join("meta"));
    made.map_err(&failed)?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, format!("{isolation}\n{}\n", config.cgroup_root().display())).map_err(failed)?;
    fs::rename(&fresh, &path).map_err(failed)
}

/// Ends all containers that the agent of `dir` started, with everything in them and their networks, and
/// returns how many there were. For when no agent runs on `dir`; one that is started later tells the master that they are
/// over. A directory that no agent ever used has none.
///
/// # Errors
/// When the directory cannot be read, or a container does not end; the others are ended all the same.
pub async fn end_all_tasks(dir: &Path) -> Result<usize, Error> {
    let path = note_path(dir);
    let note = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        note => note.map_err(|source| Error::Directory { path, source })?,
    };
    let mut lines = note.lines();
    let isolation = if lines.next() == Some("plain") { Isolation::Plain } else { Isolation::Full };
    let cgroup_root = lines.next().unwrap_or("dcos/agent");
    let config = containers::Config::new(runtime_dir(dir), cgroup_root, isolation);
    let containers = Containers::new(config).map_err(Error::Containers)?;
    let found = containers.list().map_err(|source| Error::Directory { path: runtime_dir(dir), source })?;
    let mut problems = Vec::new();
    // All at once: a container may take a while to die. What is in another one ends with that; unless that
    // is gone already.
    let is_within_another = |id: &base::ContainerId| {
        let root = crate::nested::root_of(id);
        crate::nested::is_nested(id) && found.iter().any(|other| other.container_id == root)
    };
    let mut ending = tokio::task::JoinSet::new();
    for container in found.iter().filter(|container| !is_within_another(&container.container_id)) {
        let (containers, container_id) = (containers.clone(), container.container_id.clone());
        ending.spawn(async move { containers.destroy(&container_id).await });
    }
    while let Some(ended) = ending.join_next().await {
        if let Ok(Err(error)) = ended {
            problems.push(with_causes(&error));
        }
    }
    if !problems.is_empty() {
        return Err(Error::End(problems.join("; ")));
    }
    give_back(dir).await?;
    let alive = found.iter().filter(|container| container.alive);
    let alive = alive.filter(|container| !crate::nested::is_nested(&container.container_id)).count();
    // Somebody else's containers may be below the same group.
    let _ = containers.retire();
    Ok(alive)
}

/// Gives back what containers took, all of which are gone: the agent's network and their own files.
/// Images that they held are released by the agent's next run.
async fn give_back(dir: &Path) -> Result<(), Error> {
    let (networks, roots, agent) = (dir.join("networks"), PrivateDirs::dir(dir), network_name(dir));
    let work = move || {
        netlink::retire_agent(&host::SubnetLeases::of_host(), &agent).map_err(Error::Networks)?;
        for path in [networks, roots] {
            host::remove_tree(&path).map_err(|source| Error::Directory { path, source })?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::End(error.to_string())))
}
