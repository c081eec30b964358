use std::ffi::OsString;
use std::path::PathBuf;

/// A user of this machine, as `/etc/passwd` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the primary group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
}

impl User {
    /// The user of that number.
    pub fn by_uid(uid: u32) -> Option<User> {
        find(&passwd(), |user| user.uid == uid)
    }

    /// The user of that name.
    pub fn by_name(name: &str) -> Option<User> {
        find(&passwd(), |user| user.name == name)
    }

    /// The user this process runs as; one without a name if `/etc/passwd` does not know it.
    pub fn current() -> User {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        User::by_uid(uid).unwrap_or(User { name: uid.to_string(), uid, gid, home: PathBuf::from("/") })
    }
}

/// Whether this process runs as root, with whatever capabilities.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where this user's programs keep state: `/var/lib` for root, else `XDG_STATE_HOME`, else
/// `~/.local/state` (XDG Base Directory Specification). `environment` is `std::env::var_os`.
pub fn state_directory(environment: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if is_root() {
        return PathBuf::from("/var/lib");
    }
    let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .unwrap_or_else(|| absolute("HOME").unwrap_or_else(|| User::current().home).join(".local/state"))
}

fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

pub(crate) fn find(passwd: &str, wanted: impl Fn(&User) -> bool) -> Option<User> {
    passwd.lines().filter_map(parse).find(wanted)
}

/// Reads a line of passwd(5): name, password, uid, gid, comment, home, shell.
pub(crate) fn parse(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(User { name, uid, gid, home: fields.nth(1)?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_lines_are_read() {
        let passwd = "# comment\nroot:x:0:0:root:/root:/bin/bash\nbad:x:y:0::/\n:x:5:5::/:\nweb:x:33:34::/var/www:/x\n";
        let web = User { name: "web".into(), uid: 33, gid: 34, home: "/var/www".into() };
        assert_eq!(find(passwd, |user| user.uid == 33), Some(web));
        assert_eq!(find(passwd, |user| user.uid == 5), None);
        assert_eq!(find(passwd, |user| user.name == "bad"), None);
    }

    #[test]
    fn state_is_kept_where_the_user_says() {
        let state = |variables: &'static [(&str, &str)]| {
            state_directory(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name)?;
                Some(found.1.into())
            })
        };
        if is_root() {
            assert_eq!(state(&[("XDG_STATE_HOME", "/s")]), PathBuf::from("/var/lib"));
            return;
        }
        assert_eq!(state(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), PathBuf::from("/s"));
        assert_eq!(state(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), PathBuf::from("/h/.local/state"));
    }
}
