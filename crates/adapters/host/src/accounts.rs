use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{RunError, run};
use crate::user::{self, User};

/// How long a program that changes accounts may take; it waits for others by itself.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where programs of administrators lie that a user's `PATH` may leave out.
const ADMINISTRATORS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What tells accounts made by [`Accounts::create_user`] from others: the comment in `/etc/passwd`.
const COMMENT: &str = "DCOS System User";

/// `useradd` and `groupadd`: the name is in use; `userdel` and `groupdel`: there is no such name.
const NAME_IN_USE: i32 = 9;
const NO_SUCH_NAME: i32 = 6;

/// A group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The number.
    pub gid: u32,
    /// The names of those who are in it beside those whose primary group it is.
    pub members: Vec<String>,
}

/// Users and groups that packages bring, made and removed by the machine's own programs (shadow).
#[derive(Clone, Debug)]
pub struct Accounts {
    etc: PathBuf,
    prefix: Vec<OsString>,
}

/// Why an account could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// This machine lacks the program for it.
    #[error("{attempted}: {program} is not installed here (Debian's package passwd, others' shadow-utils)")]
    Missing {
        /// What was attempted.
        attempted: String,
        /// The program.
        program: String,
    },
    /// A program could not be run or did not end.
    #[error("{attempted}")]
    Run {
        /// What was attempted.
        attempted: String,
        /// What came of the program.
        source: RunError,
    },
    /// The program refused.
    #[error("{attempted}: {program} ended with {code}: {said}")]
    Refused {
        /// What was attempted.
        attempted: String,
        /// The program.
        program: &'static str,
        /// Its exit code.
        code: i32,
        /// The last lines it said.
        said: String,
    },
    /// A user is to be removed that this program has not made.
    #[error("user {name} is not removed: it was made by somebody else (its comment is not {COMMENT:?})")]
    Foreign {
        /// The user.
        name: String,
    },
    /// The program ended well and there is no such account all the same.
    #[error("{attempted}: {program} ended well, but there is no such account")]
    Vanished {
        /// What was attempted.
        attempted: String,
        /// The program.
        program: &'static str,
    },
}

impl Default for Accounts {
    fn default() -> Self {
        Accounts::of("/etc", [])
    }
}

impl Accounts {
    /// Those of the machine whose `/etc` is seen at `etc` and on which `prefix` runs a program, such as
    /// `nsenter --target PID --mount --`. The default is this machine, without a prefix.
    pub fn of(etc: impl Into<PathBuf>, prefix: impl IntoIterator<Item = OsString>) -> Accounts {
        Accounts { etc: etc.into(), prefix: prefix.into_iter().collect() }
    }

    /// The user of that name: of `/etc/passwd`, else of another source that `getent` knows.
    pub fn user(&self, name: &str) -> Option<User> {
        let known = user::find(&self.read("passwd"), |user| user.name == name);
        known.or_else(|| user::parse(&self.getent("passwd", name)?))
    }

    /// The group of that name: of `/etc/group`, else of another source that `getent` knows.
    pub fn group(&self, name: &str) -> Option<Group> {
        let groups = self.read("group");
        let known = groups.lines().filter_map(parse_group).find(|group| group.name == name);
        known.or_else(|| parse_group(&self.getent("group", name)?))
    }

    /// Makes a system user, as packages ask for one: without a login, at home in `/opt/mesosphere`, in
    /// the existing group `group`, or in what the machine's configuration of `useradd` says. Fine if
    /// there is one of that name by now.
    ///
    /// # Errors
    /// `useradd` is missing, refuses or does not end.
    pub fn create_user(&self, name: &str, group: Option<&str>) -> Result<User, AccountError> {
        let attempted = format!("create user {name}");
        let mut arguments =
            vec!["--system", "--home-dir", "/opt/mesosphere", "--shell", "/sbin/nologin", "-c", COMMENT];
        arguments.extend(group.iter().flat_map(|group| ["-g", group]));
        arguments.push(name);
        self.change(&attempted, "useradd", &arguments, NAME_IN_USE)?;
        self.user(name).ok_or(AccountError::Vanished { attempted, program: "useradd" })
    }

    /// Makes a system group. Fine if there is one of that name by now.
    ///
    /// # Errors
    /// `groupadd` is missing, refuses or does not end.
    pub fn create_group(&self, name: &str) -> Result<Group, AccountError> {
        let attempted = format!("create group {name}");
        self.change(&attempted, "groupadd", &["--system", name], NAME_IN_USE)?;
        self.group(name).ok_or(AccountError::Vanished { attempted, program: "groupadd" })
    }

    /// Removes a user that [`Self::create_user`] has made, and the group of its name if `useradd` has
    /// made that with it and nobody else is in it. No file is removed. Fine if there is no such user.
    ///
    /// # Errors
    /// Somebody else has made the user, processes of it run, or `userdel` is missing, refuses or does
    /// not end.
    pub fn delete_user(&self, name: &str) -> Result<(), AccountError> {
        let passwd = self.read("passwd");
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name));
        match line.and_then(|line| line.split(':').nth(4)) {
            Some(COMMENT) => self.change(&format!("delete user {name}"), "userdel", &[name], NO_SUCH_NAME),
            Some(_) => Err(AccountError::Foreign { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Removes a group. Fine if there is none of that name. Whether it is the caller's to remove, the
    /// caller has to know: a group bears no mark.
    ///
    /// # Errors
    /// It is somebody's primary group, or `groupdel` is missing, refuses or does not end.
    pub fn delete_group(&self, name: &str) -> Result<(), AccountError> {
        self.change(&format!("delete group {name}"), "groupdel", &[name], NO_SUCH_NAME)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.etc.join(file)).unwrap_or_default()
    }

    fn getent(&self, database: &str, name: &str) -> Option<String> {
        let ran = run(&mut self.command("getent", &[database, name]), TIMEOUT).ok()?;
        let line = String::from_utf8(ran.stdout).ok()?.lines().next()?.to_owned();
        (ran.status.success() && line.split(':').next() == Some(name)).then_some(line)
    }

    /// Runs a program of shadow; the exit code `done` means that there was nothing to do.
    fn change(
        &self,
        attempted: &str,
        program: &'static str,
        arguments: &[&str],
        done: i32,
    ) -> Result<(), AccountError> {
        let attempted = attempted.to_owned();
        let ran = match run(&mut self.command(program, arguments), TIMEOUT) {
            Ok(ran) => ran,
            Err(RunError::Missing { program }) => return Err(AccountError::Missing { attempted, program }),
            Err(source) => return Err(AccountError::Run { attempted, source }),
        };
        if ran.status.success() || ran.code() == done {
            return Ok(());
        }
        let (code, said) = (ran.code(), ran.last_lines(5));
        Err(AccountError::Refused { attempted, program, code, said })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut words = self.prefix.iter().map(OsString::as_os_str).chain([OsStr::new(program)]);
        let mut command = Command::new(words.next().expect("the program is there"));
        let path = std::env::var("PATH").map(|path| path + ":").unwrap_or_default() + ADMINISTRATORS;
        command.args(words).args(arguments).env("PATH", path).env("LC_ALL", "C").current_dir(Path::new("/"));
        command
    }
}

impl Group {
    /// Whether the user is in this group, primarily or beside another.
    pub fn has(&self, user: &User) -> bool {
        user.gid == self.gid || self.members.contains(&user.name)
    }
}

/// Reads a line of group(5): name, password, gid, members.
fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let gid = fields.nth(1)?.parse().ok()?;
    let members = fields.next()?.split(',').filter(|member| !member.is_empty()).map(str::to_owned);
    Some(Group { name, gid, members: members.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accounts in a directory of the test's own, which the programs see as `/etc`.
    struct Etc {
        dir: tempfile::TempDir,
        accounts: Accounts,
    }

    impl Etc {
        fn new() -> Option<Etc> {
            if !crate::is_root() {
                eprintln!("SKIP making accounts: it needs root");
                return None;
            }
            let dir = tempfile::tempdir().unwrap();
            let etc = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).unwrap();
            etc("passwd", "root:x:0:0:root:/root:/bin/sh\nops:x:1000:1000:An operator:/home/ops:/bin/sh\n");
            etc("group", "root:x:0:\nops:x:1000:\nwheel:x:50:root,ops\n");
            etc("shadow", "root:*:1::::::\nops:*:1::::::\n");
            etc("gshadow", "root:*::\nops:*::\nwheel:*::root,ops\n");
            etc("login.defs", "USERGROUPS_ENAB yes\n");
            let script = format!("mount --bind {} /etc && exec \"$@\"", dir.path().display());
            let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
            let accounts = Accounts::of(dir.path(), prefix.map(OsString::from));
            Some(Etc { dir, accounts })
        }
    }

    #[test]
    fn groups_are_read() {
        let check = |line, group: Option<(&str, u32, &[&str])>| {
            let group = group.map(|(name, gid, members)| Group {
                name: name.to_owned(),
                gid,
                members: members.iter().map(|member| (*member).to_owned()).collect(),
            });
            assert_eq!(parse_group(line), group, "{line}");
        };
        check("wheel:x:50:root,ops", Some(("wheel", 50, &["root", "ops"])));
        check("ops:x:1000:", Some(("ops", 1000, &[])));
        check("ops:x:many:", None);
        check(":x:1:", None);
        check("# comment", None);
    }

    #[test]
    fn users_are_made_in_their_groups_and_removed() {
        let Some(Etc { dir, accounts }) = Etc::new() else { return };
        let before = std::fs::read_to_string(dir.path().join("passwd")).unwrap();
        assert_eq!(accounts.user("dcos_a"), None);
        let group = accounts.create_group("dcos_group").unwrap();
        assert_eq!(accounts.group("dcos_group").as_ref(), Some(&group));
        let user = accounts.create_user("dcos_a", Some("dcos_group")).unwrap();
        assert_eq!((user.gid, user.home.as_path()), (group.gid, Path::new("/opt/mesosphere")));
        assert!(user.uid < 1000 && group.has(&user));
        let other = accounts.create_user("dcos_b", None).unwrap();
        assert!(!group.has(&other) && accounts.group("dcos_b").unwrap().has(&other));
        let passwd = std::fs::read_to_string(dir.path().join("passwd")).unwrap();
        let fields = ":DCOS System User:/opt/mesosphere:/sbin/nologin\n";
        assert_eq!(passwd.matches(fields).count(), 2, "{passwd}");
        // Again: nothing to do.
        assert_eq!(accounts.create_user("dcos_a", None).unwrap(), user);
        assert_eq!(accounts.create_group("dcos_group").unwrap(), group);
        for user in ["dcos_a", "dcos_b", "dcos_b"] {
            accounts.delete_user(user).unwrap();
        }
        accounts.delete_group("dcos_group").unwrap();
        accounts.delete_group("dcos_group").unwrap();
        assert_eq!(accounts.group("dcos_b"), None);
        assert_eq!(std::fs::read_to_string(dir.path().join("passwd")).unwrap(), before);
    }

    #[test]
    fn members_are_primary_or_supplementary() {
        let Some(Etc { dir: _dir, accounts }) = Etc::new() else { return };
        let (ops, wheel) = (accounts.user("ops").unwrap(), accounts.group("wheel").unwrap());
        assert!(wheel.has(&ops) && accounts.group("ops").unwrap().has(&ops));
        assert!(!accounts.group("root").unwrap().has(&ops));
    }

    #[test]
    fn what_others_made_is_not_removed() {
        let Some(Etc { dir: _dir, accounts }) = Etc::new() else { return };
        let error = accounts.delete_user("ops").unwrap_err();
        assert!(error.to_string().starts_with("user ops is not removed"), "{error}");
        assert!(accounts.user("ops").is_some());
        let error = accounts.delete_group("ops").unwrap_err();
        assert!(error.to_string().starts_with("delete group ops: groupdel ended with 8"), "{error}");
        let error = accounts.create_user("dcos_a", Some("no-such-group")).unwrap_err();
        assert!(error.to_string().contains("no-such-group"), "{error}");
        assert_eq!(accounts.user("dcos_a"), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let nowhere = ["env", "-i", "PATH=/nowhere", "/bin/sh", "-c", "exec \"$@\"", "sh"];
        let accounts = Accounts::of("/nowhere", nowhere.map(OsString::from));
        let error = accounts.create_user("dcos_a", None).unwrap_err();
        assert!(error.to_string().contains("useradd"), "{error}");
        let accounts = Accounts::of("/nowhere", [OsString::from("/nowhere/useradd")]);
        let error = accounts.create_user("dcos_a", None).unwrap_err();
        assert!(error.to_string().contains("is not installed here"), "{error}");
        assert!(error.to_string().contains("package passwd"), "{error}");
    }
}
