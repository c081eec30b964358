//! The directory that an executor and its tasks work in, and whose it is.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_core::Run;
use base::AgentId;
use mesos_proto::v1::{CommandInfo, FrameworkInfo};

use crate::meta::run_path;

/// A user and a group by their numbers.
pub(crate) type Owner = (u32, u32);

/// A sandbox that is worked in, also by threads that are not waited for any more.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    path: PathBuf,
    /// What keeps the meaning of the path.
    _file: Option<Arc<OwnedFd>>,
}

impl Held {
    /// One that nobody but root can put another in the place of.
    pub(crate) fn named(path: &Path) -> Held {
        Held { path: path.to_owned(), _file: None }
    }

    /// One that is open.
    pub(crate) fn open(directory: OwnedFd) -> Held {
        // With the dot it is the directory, not a link to it.
        let path = format!("/proc/self/fd/{}/.", directory.as_raw_fd()).into();
        Held { path, _file: Some(Arc::new(directory)) }
    }

    /// A path that leads to it as long as this value or a copy is there.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Why a container cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io { attempt: &'static str, path: PathBuf, source: io::Error },
    #[error("user '{0}' does not exist on this agent")]
    UnknownUser(String),
    #[error("the agent does not run as root and cannot run a task as user '{wanted}', only as '{own}'")]
    OtherUser { wanted: String, own: String },
}

/// The sandbox of a run: `<dir>/slaves/<agent>/frameworks/<fw>/executors/<ex>/runs/<container>`.
pub(crate) fn sandbox_path(dir: &Path, agent_id: &AgentId, run: &Run) -> PathBuf {
    run_path(&dir.join("slaves"), agent_id, run)
}

/// The task's own user, else its framework's (Mesos: `--switch_user`).
pub(crate) fn user_of(framework: &FrameworkInfo, command: Option<&CommandInfo>) -> String {
    command.and_then(own_user).unwrap_or(&framework.user).to_owned()
}

/// The user that the task itself names.
pub(crate) fn own_user(command: &CommandInfo) -> Option<&str> {
    command.user.as_deref().filter(|user| !user.is_empty())
}

/// Checks that a task can run as this user; None where nothing has to be changed. `is_own` says that the
/// task names it itself.
pub(crate) fn find_user(name: &str, is_own: bool) -> Result<Option<host::User>, SandboxError> {
    let own = host::User::current();
    if name.is_empty() || name == own.name {
        return Ok(None);
    }
    let found = host::User::by_name(name);
    if !host::is_root() {
        return stay(name, is_own, found.as_ref(), &own).map(|()| None);
    }
    found.map(Some).ok_or_else(|| SandboxError::UnknownUser(name.to_owned()))
}

/// Whether a task that is to run as `name` may run as `own`, who is not root and cannot become another.
///
/// A framework says `root` without meaning anything by it, as a default; then Mesos without root runs
/// the task as itself. A task that names `root` means it.
fn stay(name: &str, is_own: bool, found: Option<&host::User>, own: &host::User) -> Result<(), SandboxError> {
    match found {
        Some(user) if user.uid == own.uid || (user.uid == 0 && !is_own) => Ok(()),
        _ => Err(SandboxError::OtherUser { wanted: name.to_owned(), own: own.name.clone() }),
    }
}

/// Whose the sandbox of a task without an image is to be; None: the agent's own user's.
///
/// # Errors
/// When the task cannot run as its user.
pub(crate) fn owner_of(
    framework: &FrameworkInfo,
    command: Option<&CommandInfo>,
) -> Result<Option<Owner>, SandboxError> {
    let is_own = command.and_then(own_user).is_some();
    let user = find_user(&user_of(framework, command), is_own)?;
    Ok(user.map(|user| (user.uid, user.gid)))
}

/// Makes the sandbox with its output files, and `runs/latest` that leads to it.
pub(crate) fn make(sandbox: &Path, owner: Option<Owner>) -> Result<(), SandboxError> {
    let failed = |attempt| move |source| SandboxError::Io { attempt, path: sandbox.to_owned(), source };
    fs::create_dir_all(sandbox).map_err(failed("make"))?;
    // As in Mesos: others of the machine may not look into a sandbox.
    fs::set_permissions(sandbox, fs::Permissions::from_mode(0o750)).map_err(failed("restrict"))?;
    // Made here for the task's user, who may open them anew as /dev/stdout.
    for output in ["stdout", "stderr"] {
        let path = sandbox.join(output);
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        made.map_err(failed("make the output files of"))?;
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid)).map_err(failed("give away"))?;
        }
    }
    if let Some((uid, gid)) = owner {
        chown(sandbox, Some(uid), Some(gid)).map_err(failed("give away"))?;
    }
    set_latest(sandbox)
}

/// Gives the sandbox with all that is in it to a user who was not known when it was made. The outermost goes
/// last: until then nobody but root can come in, and put a link in the place of what is still to be given.
pub(crate) fn give(sandbox: &Path, (uid, gid): Owner) -> Result<(), SandboxError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SandboxError::Io { attempt: "give away", path, source }
    };
    let mut all = vec![sandbox.to_owned()];
    let mut seen = 0;
    while let Some(path) = all.get(seen).cloned() {
        seen += 1;
        if fs::symlink_metadata(&path).map_err(failed(&path))?.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed(&path))? {
                all.push(entry.map_err(failed(&path))?.path());
            }
        }
    }
    all.iter().rev().try_for_each(|path| lchown(path, Some(uid), Some(gid)).map_err(failed(path)))
}

/// `runs/latest` leads to the newest run.
fn set_latest(sandbox: &Path) -> Result<(), SandboxError> {
    let (Some(runs), Some(name)) = (sandbox.parent(), sandbox.file_name()) else { return Ok(()) };
    let (latest, fresh) = (runs.join("latest"), runs.join(".latest.new"));
    let failed = |attempt| {
        let path = latest.clone();
        move |source| SandboxError::Io { attempt, path, source }
    };
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(name, &fresh).map_err(failed("link"))?;
    fs::rename(&fresh, &latest).map_err(failed("link"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_nobody_else_runs_a_task() {
        let user = |name: &str, uid| host::User { name: name.into(), uid, gid: uid, home: "/".into() };
        let check = |found: Option<host::User>, is_own, expect: bool| {
            let name = found.as_ref().map_or("ghost", |user| user.name.as_str());
            let stayed = stay(name, is_own, found.as_ref(), &user("me", 1000));
            let text = format!(
                "the agent does not run as root and cannot run a task as user '{name}', only as 'me'"
            );
            let told = stayed.map_err(|error| error.to_string());
            assert_eq!(told, if expect { Ok(()) } else { Err(text) }, "{name} {is_own}");
        };
        check(Some(user("root", 0)), false, true);
        check(Some(user("root", 0)), true, false);
        // Another name of the same user.
        check(Some(user("alias", 1000)), true, true);
        for is_own in [false, true] {
            check(Some(user("other", 1001)), is_own, false);
            check(None, is_own, false);
        }
    }

    #[test]
    fn a_tasks_user_is_its_own_or_its_frameworks() {
        let framework = FrameworkInfo { user: "theirs".into(), ..Default::default() };
        let command = |user: Option<&str>| CommandInfo { user: user.map(Into::into), ..Default::default() };
        assert_eq!(user_of(&framework, None), "theirs");
        assert_eq!(user_of(&framework, Some(&command(None))), "theirs");
        assert_eq!(user_of(&framework, Some(&command(Some("")))), "theirs");
        assert_eq!(user_of(&framework, Some(&command(Some("own")))), "own");
    }
}
