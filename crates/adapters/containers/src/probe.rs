use std::fs;
use std::path::Path;

use crate::cgroup::{self, Hierarchy};
use crate::spec::Isolation;

/// What this machine and this user allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The best isolation to be had.
    pub isolation: Isolation,
    /// What of it is missing, to be said aloud to the user. Empty: nothing.
    pub missing: Vec<Missing>,
}

/// One part of isolation that is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The part: `namespaces`, `cgroups`, `cgroup controller memory`.
    pub what: String,
    /// The reason, for a person.
    pub why: String,
}

/// `CAP_SYS_ADMIN`: without it neither namespaces nor mounts can be made.
const SYS_ADMIN: u64 = 1 << 21;

/// Finds out what isolation can be had here, making `cgroup_root` in the cgroup trees on the way.
/// Blocks for well under a millisecond.
pub fn probe(cgroup_root: &Path) -> Probe {
    look(cgroup_root).0
}

pub(crate) fn look(cgroup_root: &Path) -> (Probe, Vec<Hierarchy>) {
    if let Some(why) = no_privilege(&fs::read_to_string("/proc/self/status").unwrap_or_default()) {
        let missing = ["namespaces", "cgroups"]
            .map(|what| Missing { what: what.to_owned(), why: why.clone() })
            .into_iter()
            .collect();
        return (Probe { isolation: Isolation::Plain, missing }, Vec::new());
    }
    let mut missing = Vec::new();
    for name in ["pid", "mnt", "ipc", "uts"] {
        if !Path::new("/proc/self/ns").join(name).exists() {
            let why = "the kernel is built without it".to_owned();
            missing.push(Missing { what: format!("{name} namespace"), why });
        }
    }
    if !missing.is_empty() {
        return (Probe { isolation: Isolation::Plain, missing }, Vec::new());
    }
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut hierarchies = cgroup::find(&mounts, Path::new("/run/systemd/system").exists());
    let missing = cgroup::prepare(&mut hierarchies, cgroup_root);
    (Probe { isolation: Isolation::Full, missing }, hierarchies)
}

fn no_privilege(status: &str) -> Option<String> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let user = field("Uid:").and_then(|ids| ids.split_ascii_whitespace().nth(1)?.parse::<u32>().ok());
    if user != Some(0) {
        return Some(format!("not root (user id {})", user.unwrap_or(u32::MAX)));
    }
    let effective = field("CapEff:").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    if effective.is_some_and(|mask| mask & SYS_ADMIN == 0) {
        return Some("root without the capability SYS_ADMIN".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_is_root_with_sys_admin() {
        let check = |status: &str, expect: Option<&str>| {
            assert_eq!(no_privilege(status).as_deref(), expect, "{status:?}");
        };
        check("Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n", None);
        check("Uid:\t1000\t1000\t0\t0\n", Some("not root (user id 1000)"));
        check("Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\n", Some("root without the capability SYS_ADMIN"));
    }
}
