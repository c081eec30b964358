//! What packages want of the host beside their files: users, and directories for their state.
//!
//! All is idempotent, and written down before it is made, so that uninstalling takes away what was made here
//! and nothing else ([`Made`]).

mod ownership;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use api_pkgpanda::json;
use api_pkgpanda::step::{Account, MADE, Made, StateDirectory};

use crate::files::{self, FileError, failed};
use crate::{Config, Error};

/// The file below the configuration that says: never make users.
const MANUAL_USERS: &str = "manual_host_users";

/// What is wrong with the users and groups that packages want, all of it; nothing is changed.
pub(crate) fn problems(config: &Config, accounts: &[Account]) -> Vec<String> {
    let manual = config.config_dir.join(MANUAL_USERS);
    let mut problems = Vec::new();
    for Account { user, group } in accounts {
        let group = match group.as_deref().map(|name| (name, config.accounts.group(name))) {
            Some((name, None)) => {
                problems.push(format!("user {user} has to be in group {name}, which this host does not have: create it (groupadd --system {name})"));
                continue;
            }
            Some((_, group)) => group,
            None => None,
        };
        match config.accounts.user(user) {
            Some(present) => {
                if let Some(group) = group.filter(|group| !group.has(&present)) {
                    let name = group.name;
                    problems.push(format!(
                        "user {user} exists and is not in group {name}: add it (usermod -a -G {name} {user})"
                    ));
                }
            }
            None if manual.exists() => problems.push(format!(
                "user {user} does not exist, and {} forbids making it: create it, or remove that file",
                manual.display()
            )),
            None => {}
        }
    }
    problems
}

/// Makes the users and directories that are missing, and gives the directories with all that is in them to
/// their users.
pub(crate) fn make(
    config: &Config,
    accounts: &[Account],
    directories: &[StateDirectory],
) -> Result<(), Error> {
    let mut record = Record::open(&config.root)?;
    for Account { user, group } in accounts {
        if config.accounts.user(user).is_none() {
            record.user(user)?;
            config.accounts.create_user(user, group.as_deref())?;
        }
    }
    for StateDirectory { path, user } in directories {
        let path = Path::new(path);
        make_directory(path, &mut record)?;
        if let Some(user) = user {
            let owner = config.accounts.user(user).ok_or_else(|| Error::NoUser { user: user.clone() })?;
            ownership::give(path, owner.uid).map_err(failed("change the owner of", path))?;
        }
    }
    Ok(())
}

/// Makes a directory and those above it, which are recorded from the topmost one that is missing.
fn make_directory(path: &Path, record: &mut Record) -> Result<(), FileError> {
    let missing = path.ancestors().take_while(|above| !above.exists()).last();
    let Some(missing) = missing else { return Ok(()) };
    record.directory(missing)?;
    fs::create_dir_all(path).map_err(failed("make directory", path))
}

/// Takes away what was made. What cannot be is told and left.
pub(crate) fn unmake(config: &Config, made: &Made) -> Vec<String> {
    let mut problems = Vec::new();
    for directory in &made.directories {
        if let Err(error) = host::remove_tree(Path::new(directory)) {
            problems.push(format!("remove {directory}: {error}"));
        }
    }
    for user in &made.users {
        if let Err(error) = config.accounts.delete_user(user) {
            problems.push(base::with_causes(&error));
        }
    }
    problems
}

/// What was made here so far, in a file of the root.
pub(crate) struct Record {
    path: PathBuf,
    made: Made,
}

impl Record {
    /// Reads what was made in that root so far.
    pub(crate) fn open(root: &Path) -> Result<Record, FileError> {
        let path = root.join(MADE);
        let made = match files::read(&path)? {
            None => Made::default(),
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| failed("understand", &path)(io::Error::other(error)))?,
        };
        Ok(Record { path, made })
    }

    /// What was made.
    pub(crate) fn into_made(self) -> Made {
        self.made
    }

    fn user(&mut self, user: &str) -> Result<(), FileError> {
        if self.made.users.iter().any(|made| made == user) {
            return Ok(());
        }
        self.made.users.push(user.to_owned());
        self.write()
    }

    fn directory(&mut self, directory: &Path) -> Result<(), FileError> {
        let directory = directory.to_string_lossy();
        if self.made.directories.iter().any(|made| *made == directory) {
            return Ok(());
        }
        self.made.directories.push(directory.into_owned());
        self.write()
    }

    fn write(&self) -> Result<(), FileError> {
        files::replace(&self.path, json::pretty(&self.made).as_bytes())
    }
}
