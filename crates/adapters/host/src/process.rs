use std::io;
use std::path::Path;

/// One process of this boot and no other, even after its pid was given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Its number in this process' pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start_time: u64,
}

impl ProcessIdentity {
    /// The process that has this pid now; none if there is none, or only what is left of one that
    /// has ended (a zombie).
    pub fn of(pid: u32) -> Option<ProcessIdentity> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let start_time = running_since(&stat)?;
        Some(ProcessIdentity { pid, start_time })
    }

    /// This process.
    pub fn own() -> ProcessIdentity {
        ProcessIdentity::of(std::process::id()).expect("this process runs, and procfs is mounted")
    }

    /// Whether this very process still runs.
    pub fn is_running(&self) -> bool {
        ProcessIdentity::of(self.pid) == Some(*self)
    }
}

/// Field 22 of proc_pid_stat(5), unless field 3 says that it has ended. The name in field 2 may
/// itself have parentheses and spaces.
fn running_since(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// What tells this boot of the machine from every other.
///
/// # Errors
/// When procfs is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The machine's name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The command line of a process, words separated by blanks; its name in brackets if it has none.
pub fn command_line(pid: u32) -> Option<String> {
    let dir = Path::new("/proc").join(pid.to_string());
    let words = std::fs::read(dir.join("cmdline")).ok()?;
    let line = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    if !line.is_empty() {
        return Some(line);
    }
    Some(format!("[{}]", std::fs::read_to_string(dir.join("comm")).ok()?.trim_end()))
}

/// The child that a process has had for the longest, of those that are left.
pub fn oldest_child(pid: u32) -> Option<u32> {
    // The kernel lists them in the order of their births.
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// The environment that a process was started with, as far as the process left it alone and it is text:
/// programs that change their title write over it.
pub fn environment(pid: u32) -> Option<Vec<(String, String)>> {
    let variables = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variables = variables.split(|byte| *byte == 0).filter_map(|variable| {
        let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        is_name.then(|| (name.to_owned(), value.to_owned()))
    });
    Some(variables.collect())
}

/// Asks a process to end (SIGTERM).
///
/// # Errors
/// When there is none of that number, or it is another user's.
pub fn terminate(pid: u32) -> io::Result<()> {
    let no_such = || io::Error::from(rustix::io::Errno::SRCH);
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(no_such)?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let own = ProcessIdentity::own();
        assert!(own.is_running());
        assert!(!ProcessIdentity { start_time: own.start_time + 1, ..own }.is_running());
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        assert!(identity.is_running());
        child.kill().unwrap();
        // Not waited for by anybody yet: a zombie, which has ended.
        while identity.is_running() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(ProcessIdentity::of(child.id()), None);
    }

    #[test]
    fn names_do_not_confuse_the_fields() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let check = |stat: String, since| assert_eq!(running_since(&stat), since, "{stat}");
        check(format!("7 (a) R 1) S {rest}"), Some(4711));
        check(format!("7 (a) Z {rest}"), None);
        check("7 (a) S 1".to_owned(), None);
        check(String::new(), None);
    }

    #[test]
    fn children_are_found_with_their_environment() {
        let mut child = std::process::Command::new("/bin/sh");
        let mut child =
            child.args(["-c", "sleep 60 & sleep 61; :"]).env_clear().env("A", "b=c").spawn().unwrap();
        let oldest = loop {
            match oldest_child(child.id())
                .filter(|pid| command_line(*pid).is_some_and(|line| line.starts_with("sleep")))
            {
                Some(pid) => break pid,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(command_line(oldest).unwrap(), "sleep 60");
        let found = environment(oldest).unwrap();
        assert!(found.contains(&("A".to_owned(), "b=c".to_owned())), "{found:?}");
        assert!(!found.iter().any(|(name, _)| name == "HOME"), "{found:?}");
        assert_eq!(oldest_child(oldest), None);
        let all = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
        for pid in all.split_ascii_whitespace() {
            terminate(pid.parse().unwrap()).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_boot_and_the_machine_have_names() {
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(!hostname().is_empty());
        assert!(command_line(std::process::id()).unwrap().contains("host"));
    }
}
