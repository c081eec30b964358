//! Users by `/etc/passwd` and `/etc/group`, read directly: the program is linked statically, where the C
//! library's name service plug-ins cannot be loaded.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most of a user database that is read.
const DATABASE_LIMIT: u64 = 4 << 20;
/// The most groups that are found of a user; the kernel takes no more (`NGROUPS_MAX`).
const GROUPS_LIMIT: usize = 65_536;

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
    /// No group of this name.
    #[error("there is no group {0:?} in /etc/group")]
    UnknownGroup(String),
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
    /// Finds `name`, a login name or a user id, perhaps with `:` and the name or id of a group that stands
    /// for all of the user's own, in the databases of `root` (`/` for the host).
    pub fn find(root: &Path, name: &str) -> Result<User, UserError> {
        let (name, group) = match name.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (name, None),
        };
        let mut user = if name == "root" || name.parse() == Ok(0_u32) {
            // Needs no database: an image without one can still run as root.
            let home = PathBuf::from("/root");
            User { name: "root".to_owned(), uid: 0, gid: 0, groups: vec![0], home }
        } else {
            find(&read(root, "etc/passwd")?, &read(root, "etc/group")?, name)?
        };
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            user.gid = match id(group) {
                Some(gid) => gid,
                None if group == "root" => 0,
                None => find_group(&read(root, "etc/group")?, group)
                    .ok_or_else(|| UserError::UnknownGroup(group.to_owned()))?,
            };
            user.groups = vec![user.gid];
        }
        Ok(user)
    }
}

/// Reads a database of at most [`DATABASE_LIMIT`]; empty if there is none. An image's may be anything: a
/// FIFO must not hold the reader up, nor a file of any size fill its memory.
fn read(root: &Path, file: &str) -> Result<String, UserError> {
    let path = root.join(file);
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let text = options.open(&path).and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut text = Vec::new();
        file.take(DATABASE_LIMIT).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    });
    match text {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(|source| UserError::Read { path, source }),
    }
}

/// A user's or group's number. The highest one is none: to the kernel it means that nothing changes.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn find_group(group: &str, name: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() == Some(name) { fields.nth(1).and_then(id) } else { None }
    })
}

fn find(passwd: &str, group: &str, name: &str) -> Result<User, UserError> {
    let number = id(name);
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (login, uid, gid) = (fields.next()?, fields.nth(1).and_then(id)?, fields.next().and_then(id)?);
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
        let Some(id) = fields.nth(2).and_then(id) else { continue };
        let member = fields.next().is_some_and(|members| members.split(',').any(|member| member == login));
        if member && groups.len() < GROUPS_LIMIT && !groups.contains(&id) {
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
    fn a_group_may_stand_for_the_users_own() {
        let root = std::env::temp_dir().join(format!("dcos-user-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), PASSWD).unwrap();
        fs::write(root.join("etc/group"), GROUP).unwrap();
        let check = |name: &str, expect: Result<(u32, &[u32]), &str>| {
            let found = User::find(&root, name).map_err(|error| error.to_string());
            let found = found.as_ref().map(|user| (user.uid, &*user.groups)).map_err(String::as_str);
            assert_eq!(found, expect, "{name}");
        };
        check("ann", Ok((1000, &[100, 10])));
        check("ann:wheel", Ok((1000, &[10])));
        check("ann:4711", Ok((1000, &[4711])));
        check("4711:11", Ok((4711, &[11])));
        check("root:wheel", Ok((0, &[10])));
        check("0:", Ok((0, &[0])));
        check("ann:nobody-here", Err("there is no group \"nobody-here\" in /etc/group"));
        check("bob:wheel", Err("there is no user \"bob\" in /etc/passwd"));
        fs::remove_dir_all(&root).unwrap();
        check("4711:11", Ok((4711, &[11])));
        check("ann", Err("there is no user \"ann\" in /etc/passwd"));
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
        check("4294967295", None);
    }
}
