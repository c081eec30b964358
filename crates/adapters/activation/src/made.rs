//! Users and directories beside the tree: what was made is remembered, so that it can go away with the tree.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use api_pkgpanda::step::{MADE, Made, Plan, StateDirectory};

use crate::{Error, Host, Locked, ownership};

impl Locked<'_> {
    /// What pkgpanda made on the host until now.
    pub(crate) fn made(&self) -> Result<Made, Error> {
        let Some(text) = self.root.read(MADE)? else { return Ok(Made::default()) };
        serde_json::from_slice(&text).map_err(|error| self.root.damaged(MADE, &error.to_string()))
    }

    /// Makes the users and state directories of a plan that are not there. Written down first: what was not
    /// made for a crash is removed without harm later.
    pub(crate) fn make_for_host(&mut self, plan: &Plan, host: &mut dyn Host) -> Result<(), Error> {
        let mut numbers = BTreeMap::new();
        let mut missing = Vec::new();
        for account in &plan.accounts {
            let attempted = || format!("look for user {}", account.user);
            match host.find_user(account).map_err(|source| Error::Host { attempted: attempted(), source })? {
                Some(number) => drop(numbers.insert(account.user.as_str(), number)),
                None => missing.push(account),
            }
        }
        let mut made = Made::default();
        made.users.extend(missing.iter().map(|account| account.user.clone()));
        for directory in &plan.state_directories {
            made.directories.extend(topmost_missing(Path::new(&directory.path))?);
        }
        self.remember(made)?;
        for account in missing {
            let attempted = || format!("make user {}", account.user);
            let number =
                host.create_user(account).map_err(|source| Error::Host { attempted: attempted(), source })?;
            numbers.insert(&account.user, number);
            self.done(format_args!("user {}", account.user));
        }
        for directory in &plan.state_directories {
            let owner = directory.user.as_ref().and_then(|user| numbers.get(user.as_str()));
            state_directory(directory, owner.copied())?;
            self.done(format_args!("state directory {}", directory.path));
        }
        Ok(())
    }

    fn remember(&mut self, new: Made) -> Result<(), Error> {
        if new == Made::default() {
            return Ok(());
        }
        let mut made = self.made()?;
        let before = made.clone();
        made.users.extend(new.users);
        made.directories.extend(new.directories);
        for list in [&mut made.users, &mut made.directories] {
            list.sort();
            list.dedup();
        }
        if made == before {
            return Ok(());
        }
        self.replace(MADE, &serde_json::to_vec(&made).expect("lists of texts are JSON"))
    }
}

/// The first directory on the way to `path` that is not there.
fn topmost_missing(path: &Path) -> Result<Option<String>, Error> {
    let mut missing = None;
    for path in path.ancestors() {
        match path.symlink_metadata() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing = Some(path.to_string_lossy().into_owned());
            }
            Err(source) => return Err(Error::file("look at", path, source)),
        }
    }
    Ok(missing)
}

fn state_directory(directory: &StateDirectory, owner: Option<u32>) -> Result<(), Error> {
    let path = Path::new(&directory.path);
    let failed = |source: io::Error| Error::file("make state directory", path, source);
    std::fs::create_dir_all(path).map_err(failed)?;
    let Some(owner) = owner else { return Ok(()) };
    // The directory itself is given away last: if it is the user's, all in it is.
    if path.symlink_metadata().map_err(failed)?.uid() == owner {
        return Ok(());
    }
    ownership::give(path, owner).map_err(|source| Error::file("change the owner of what is in", path, source))
}
