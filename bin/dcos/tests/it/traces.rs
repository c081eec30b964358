//! What an agent's containers may leave on the machine, looked for everywhere. Other agents of the same
//! machine, those of tests that run beside, are told apart by their directories and groups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

/// Looks for traces of the containers of one agent, from within its own network.
pub(crate) struct Traces {
    /// The node's directory.
    dir: PathBuf,
    /// The component's directory in it.
    agent: PathBuf,
    /// The containers' parent group.
    cgroup: String,
    /// The network namespaces that containers were seen in.
    networks: BTreeSet<PathBuf>,
}

impl Traces {
    /// Of the agent node in `dir`, which runs.
    pub(crate) fn of_agent(dir: &Path) -> Traces {
        let dir = dir.canonicalize().unwrap();
        let agent = subdirectories(&dir.join("agents")).pop().expect("the agent has its directory");
        let note = fs::read_to_string(agent.join("meta/containers")).unwrap();
        let cgroup = note.lines().nth(1).unwrap().to_owned();
        Traces { dir, agent, cgroup, networks: BTreeSet::new() }
    }

    /// Whether the process is in a container of the agent, or was started for one.
    pub(crate) fn is_ours(&self, pid: u32) -> bool {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let dir = self.dir.as_os_str().as_encoded_bytes();
        let has = |name: &str, text: &[u8]| {
            let found = fs::read(proc.join(name)).unwrap_or_default();
            found.windows(text.len()).any(|window| window == text)
        };
        has("cgroup", self.cgroup.as_bytes()) || has("environ", dir) || has("cmdline", dir)
    }

    /// Notes the network namespaces that containers have now.
    pub(crate) fn look(&mut self) {
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let found: Vec<PathBuf> = pids()
            .filter(|pid| self.is_ours(*pid))
            .filter_map(|pid| network(pid).filter(|net| *net != own))
            .collect();
        self.networks.extend(found);
    }

    /// How many network namespaces of containers were seen.
    pub(crate) fn networks(&self) -> usize {
        self.networks.len()
    }

    /// What is there of containers although none should run; the agent runs as `agent`.
    pub(crate) fn left(&self, agent: u32) -> Vec<String> {
        let mut left = self.left_of_kernel(&[agent]);
        left.extend(groups().filter(|group| group.contains(&format!("{}/", self.cgroup))));
        let of_images = ["images/holds", "images/incoming", "images/trash"];
        for name in ["roots", "containers", "networks", "fetch"].into_iter().chain(of_images) {
            let entries = fs::read_dir(self.agent.join(name)).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        let opened = fs::read_dir(format!("/proc/{agent}/fd")).into_iter().flatten().flatten();
        let opened = opened.filter_map(|entry| fs::read_link(entry.path()).ok());
        let namespaces = opened.filter(|link| self.networks.contains(link));
        left.extend(namespaces.map(|link| format!("the agent has {} open", link.display())));
        left.extend(links().into_iter().filter(|link| link.contains("@")));
        left.extend(mappings());
        left
    }

    /// What is there of the agent although `dcos down` has ended it.
    pub(crate) fn left_after_down(&self) -> Vec<String> {
        let mut left = self.left_of_kernel(&[]);
        left.extend(groups().filter(|group| group.contains(&self.cgroup)));
        left.extend(links().into_iter().filter(|link| !link.contains(": lo: ")));
        left.extend(rules().lines().map(str::to_owned));
        for leases in ["/run/dcos/ports", "/run/dcos/subnets"] {
            for entry in fs::read_dir(leases).into_iter().flatten().flatten() {
                let owner = fs::read_to_string(entry.path()).unwrap_or_default();
                if owner.contains(self.dir.to_str().unwrap()) {
                    left.push(format!("{} is leased to {owner}", entry.path().display()));
                }
            }
        }
        left.extend(subdirectories(&self.dir).iter().map(|path| path.display().to_string()));
        left
    }

    /// Processes, mounts and namespaces, but for the processes `known`.
    fn left_of_kernel(&self, known: &[u32]) -> Vec<String> {
        let mut left = Vec::new();
        let mut mounts = BTreeSet::new();
        for pid in pids() {
            if !known.contains(&pid) && self.is_ours(pid) && !is_dead(pid) {
                let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                left.push(format!("process {pid}: {}", command.replace('\0', " ")));
            }
            // The same in every process of a mount namespace.
            let mountinfo = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let networks = |line: &str| {
                let root = line.split(' ').nth(3).unwrap_or_default();
                self.networks.contains(Path::new(root))
            };
            let ours = |line: &&str| line.contains(self.dir.to_str().unwrap()) || networks(line);
            mounts.extend(mountinfo.lines().filter(ours).map(|line| format!("mount: {line}")));
        }
        left.extend(mounts);
        left
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_dead(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['Z', 'X']))
}

fn network(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// All control groups of all hierarchies.
fn groups() -> impl Iterator<Item = String> {
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    iter::from_fn(move || {
        let group = waiting.pop()?;
        // What is a link there is a second name of a hierarchy.
        waiting.extend(subdirectories(&group).into_iter().filter(|path| !path.is_symlink()));
        Some(group.display().to_string())
    })
}

fn links() -> Vec<String> {
    said_by("ip", &["-o", "link"]).lines().map(str::to_owned).collect()
}

fn rules() -> String {
    said_by("nft", &["list", "ruleset"])
}

/// What the agents' maps of mapped ports hold.
fn mappings() -> Vec<String> {
    let rules = rules();
    let maps = rules.split("\tmap ").filter(|map| map.starts_with("ports "));
    let bodies = maps.filter_map(|map| map.split("\n\t}").next());
    bodies.filter(|body| body.contains("elements = ")).map(str::to_owned).collect()
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
