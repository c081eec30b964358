//! Users by `/etc/passwd` and `/etc/group`, read directly: the program is linked statically, where the C
//! library's name service plug-ins cannot be loaded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A user that a process can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name; the number's text for a number without an entry.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
    /// Home directory; `/` for a number without an entry.
    pub home: PathBuf,
}

/// Why a user could not be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Neither a login name nor a number.
    #[error("there is no user {0:?} in /etc/passwd")]
    Unknown(String),
    /// A user database could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The database.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl User {
    /// Finds `name`, a login name or a user id, in the databases of `root` (`/` for the host).
    pub fn find(root: &Path, name: &str) -> Result<User, UserError> {
        let read = |file: &str| {
            let path = root.join(file);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(source) => Err(UserError::Read { path, source }),
            }
        };
        let number = name.parse::<u32>().ok();
        if name == "root" || number == Some(0) {
            // Needs no database: an image without one can still run as root.
            let home = PathBuf::from("/root");
            return Ok(User { name: "root".to_owned(), uid: 0, gid: 0, groups: vec![0], home });
        }
        find(&read("etc/passwd")?, &read("etc/group")?, name)
    }
}

fn find(passwd: &str, group: &str, name: &str) -> Result<User, UserError> {
    let number = name.parse::<u32>().ok();
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (login, uid, gid) = (fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1)?;
        (login == name || Some(uid) == number).then(|| (login, uid, gid, PathBuf::from(home)))
    });
    let Some((login, uid, gid, home)) = entry else {
        let uid = number.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
        let home = PathBuf::from("/");
        return Ok(User { name: name.to_owned(), uid, gid: uid, groups: vec![uid], home });
    };
    let mut groups = vec![gid];
    for line in group.lines() {
        let mut fields = line.split(':');
        let Some(id) = fields.nth(2).and_then(|id| id.parse::<u32>().ok()) else { continue };
        let member = fields.next().is_some_and(|members| members.split(',').any(|member| member == login));
        if member && !groups.contains(&id) {
            groups.push(id);
        }
    }
    Ok(User { name: login.to_owned(), uid, gid, groups, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:100:Ann,,:/home/ann:/bin/sh\n";
    const GROUP: &str = "users:x:100:\nwheel:x:10:bob,ann\nann2:x:11:annette\nbroken:x\n";

    fn check(name: &str, expect: Option<(u32, u32, &[u32], &str)>) {
        let found = find(PASSWD, GROUP, name).ok();
        let found = found.as_ref().map(|u| (u.uid, u.gid, &*u.groups, u.home.to_str().unwrap()));
        assert_eq!(found, expect, "{name}");
    }

    #[test]
    fn names_and_numbers() {
        check("ann", Some((1000, 100, &[100, 10], "/home/ann")));
        check("1000", Some((1000, 100, &[100, 10], "/home/ann")));
        check("4711", Some((4711, 4711, &[4711], "/")));
        check("nobody-here", None);
        check("", None);
        check("broken", None);
        check("-1", None);
    }
}
