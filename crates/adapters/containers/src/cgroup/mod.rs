//! The kernel's control groups, version 1, 2 and the hybrid of both: where they are, and one container's.

mod group;
mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use group::Group;
pub use group::GroupError;

use crate::probe::Missing;

/// What a container is limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Controller {
    Cpu,
    Cpuacct,
    Memory,
    Pids,
}

impl Controller {
    const ALL: [Controller; 4] = [Self::Cpu, Self::Cpuacct, Self::Memory, Self::Pids];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One mounted tree of groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) version: Version,
    /// Those of our controllers that this tree has.
    pub(crate) controllers: Vec<Controller>,
}

/// Finds the trees that containers are put into, from the text of `/proc/self/mountinfo`.
///
/// A v2 tree always counts, with or without controllers: it can end a whole group at once. The tree that
/// systemd tracks units with counts where systemd runs: else stopping the agent's unit would end tasks.
pub(crate) fn find(mountinfo: &str, systemd_runs: bool) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, rest)) = line.split_once(" - ") else { continue };
        let Some(point) = mount.split(' ').nth(4) else { continue };
        let mut rest = rest.splitn(3, ' ');
        let (kind, options) = (rest.next().unwrap_or(""), rest.nth(1).unwrap_or(""));
        let mount = PathBuf::from(unescape(point));
        let hierarchy = match kind {
            "cgroup2" => {
                let names = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
                let controllers = among(names.split_ascii_whitespace());
                Hierarchy { mount, version: Version::V2, controllers }
            }
            "cgroup" => {
                let controllers = among(options.split(','));
                let tracks_units = systemd_runs && options.split(',').any(|o| o == "name=systemd");
                if controllers.is_empty() && !tracks_units {
                    continue;
                }
                Hierarchy { mount, version: Version::V1, controllers }
            }
            _ => continue,
        };
        // The same tree may be mounted twice; the first place is as good as the second.
        let known = |other: &Hierarchy| {
            other.version == hierarchy.version
                && (hierarchy.version == Version::V2 || other.controllers == hierarchy.controllers)
        };
        if !found.iter().any(known) {
            found.push(hierarchy);
        }
    }
    found
}

fn among<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<Controller> {
    Controller::ALL
        .into_iter()
        .filter(|controller| names.clone().any(|name| name == controller.name()))
        .collect()
}

/// The kernel writes space, tab, newline and backslash in paths as three octal digits.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Makes `root` in every tree and hands the controllers down to it on v2; tells which are missing.
///
/// On v2 a group gives controllers to its children only while it holds no process itself, so containers
/// are leaves and everything above them stays empty.
pub(crate) fn prepare(hierarchies: &mut Vec<Hierarchy>, root: &Path) -> Vec<Missing> {
    let mut missing = Vec::new();
    hierarchies.retain_mut(|hierarchy| match make_root_surely(hierarchy, root, &mut missing) {
        Ok(()) => true,
        Err(error) => {
            let what = format!("cgroup tree {}", hierarchy.mount.display());
            missing.push(Missing { what, why: format!("cannot make {}: {error}", root.display()) });
            false
        }
    });
    for controller in [Controller::Cpu, Controller::Memory, Controller::Pids] {
        let told = missing.iter().any(|m| m.what == what(controller));
        if !told && !hierarchies.iter().any(|h| h.controllers.contains(&controller)) {
            let why = "the kernel offers it in no mounted cgroup tree".to_owned();
            missing.push(Missing { what: what(controller), why });
        }
    }
    missing
}

fn what(controller: Controller) -> String {
    format!("cgroup controller {}", controller.name())
}

/// A parent that agents share may be removed by one of them just when another makes its own group in it.
fn make_root_surely(hierarchy: &mut Hierarchy, root: &Path, missing: &mut Vec<Missing>) -> io::Result<()> {
    for _ in 0..9 {
        match make_root(hierarchy, root, missing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    make_root(hierarchy, root, missing)
}

fn make_root(hierarchy: &mut Hierarchy, root: &Path, missing: &mut Vec<Missing>) -> io::Result<()> {
    let mut path = hierarchy.mount.clone();
    if hierarchy.version == Version::V2 {
        hand_down(&path, hierarchy, missing);
    }
    for part in root.components() {
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if hierarchy.version == Version::V2 {
            hand_down(&path, hierarchy, missing);
        }
    }
    Ok(())
}

/// Enables the tree's controllers for the children of `group`; drops those that cannot be.
fn hand_down(group: &Path, hierarchy: &mut Hierarchy, missing: &mut Vec<Missing>) {
    let file = group.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).unwrap_or_default();
    hierarchy.controllers.retain(|controller| {
        if enabled.split_ascii_whitespace().any(|name| name == controller.name()) {
            return true;
        }
        match fs::write(&file, format!("+{}", controller.name())) {
            Ok(()) => true,
            Err(error) => {
                let busy = error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error());
                let hint = if busy { " (processes are in this group itself)" } else { "" };
                let why = format!("cannot enable it below {}: {error}{hint}", group.display());
                missing.push(Missing { what: what(*controller), why });
                false
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, systemd_runs: bool, expect: &[(&str, Version, &[Controller])]) {
        let expect: Vec<Hierarchy> = expect
            .iter()
            .map(|(mount, version, controllers)| Hierarchy {
                mount: PathBuf::from(mount),
                version: *version,
                controllers: controllers.to_vec(),
            })
            .collect();
        assert_eq!(find(mountinfo, systemd_runs), expect);
    }

    const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /c/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /c/mem\\040ory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /c/blkio rw,relatime - cgroup cgroup rw,blkio
34 30 0:30 / /c/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /c/unified rw,relatime - cgroup2 cgroup2 rw
36 30 0:27 / /again rw,relatime - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn the_trees_of_a_hybrid_machine() {
        use Controller::{Cpu, Cpuacct, Memory};
        let cpu: (&str, Version, &[Controller]) = ("/c/cpu,cpuacct", Version::V1, &[Cpu, Cpuacct]);
        let memory: (&str, Version, &[Controller]) = ("/c/mem ory", Version::V1, &[Memory]);
        let unified: (&str, Version, &[Controller]) = ("/c/unified", Version::V2, &[]);
        check(HYBRID, false, &[cpu, memory, unified]);
        check(HYBRID, true, &[cpu, memory, ("/c/systemd", Version::V1, &[]), unified]);
        check("", true, &[]);
    }
}
