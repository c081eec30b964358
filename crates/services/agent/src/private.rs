//! What a container has beside its sandbox: a directory that the agent makes for it and removes with it.
//! It holds what its image's files are written over with, and the files that tell it its name. That it is
//! there says that something has to be given back when the container is gone.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agent_core::{ContainerPlan, NetworkPlan};
use base::ContainerId;

/// The directories of all containers that have one.
#[derive(Clone, Debug)]
pub(crate) struct PrivateDirs(PathBuf);

impl PrivateDirs {
    pub(crate) fn new(dir: &Path) -> PrivateDirs {
        PrivateDirs(PrivateDirs::dir(dir))
    }

    /// Where they are, for the agent of `dir`.
    pub(crate) fn dir(dir: &Path) -> PathBuf {
        dir.join("roots")
    }

    pub(crate) fn of(&self, container_id: &ContainerId) -> PathBuf {
        self.0.join(container_id.as_str())
    }

    /// Makes the container's directory, for root alone.
    pub(crate) fn make(&self, container_id: &ContainerId) -> io::Result<PathBuf> {
        let path = self.of(container_id);
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.0)?;
        // Users other than root look through it at their root.
        fs::DirBuilder::new().mode(0o711).create(&path)?;
        Ok(path)
    }

    /// The containers that have one.
    pub(crate) fn all(&self) -> Vec<ContainerId> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).map(ContainerId::new).collect()
    }
}

/// The files of `/etc` that tell a container who it is and whom it knows.
#[derive(Clone, Debug)]
pub(crate) struct NameFiles {
    dir: PathBuf,
    hostname: String,
    /// Beyond the container's own name.
    hosts: Vec<(String, IpAddr)>,
    own_network: bool,
}

impl NameFiles {
    /// Their names in `/etc`.
    pub(crate) const ALL: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

    /// Writes them to `dir`. `hostname` is what the container is called.
    pub(crate) fn write(dir: PathBuf, plan: &ContainerPlan, hostname: &str) -> io::Result<NameFiles> {
        let files = NameFiles {
            dir,
            hostname: hostname.to_owned(),
            hosts: plan.docker.hosts.clone(),
            own_network: plan.network != NetworkPlan::Host,
        };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&files.dir)?;
        fs::write(files.path("hostname"), format!("{hostname}\n"))?;
        let hosts_own = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        fs::write(files.path("resolv.conf"), resolv_conf(&hosts_own, plan))?;
        files.write_hosts(None)?;
        Ok(files)
    }

    /// Those that were written to `dir` before; None if none were.
    pub(crate) fn find(dir: PathBuf) -> Option<NameFiles> {
        let own = fs::read_to_string(dir.join("hostname")).ok()?;
        Some(NameFiles { dir, hostname: own.trim().to_owned(), hosts: Vec::new(), own_network: true })
    }

    /// Where one of them is on the host.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes `hosts`, with the container's own address once it is known. The file stays the same one: it
    /// may be mounted already.
    pub(crate) fn write_hosts(&self, own: Option<Ipv4Addr>) -> io::Result<()> {
        let mut text = match self.own_network {
            true => "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned(),
            false => fs::read_to_string("/etc/hosts").unwrap_or_default(),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if let Some(ip) = own {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{ip} {}", self.hostname);
        }
        for (name, address) in &self.hosts {
            let _ = writeln!(text, "{address} {name}");
        }
        fs::write(self.path("hosts"), text)
    }
}

/// What asks for names in the container: the options of docker, else `host`, which is the host's. Servers
/// on the host's loopback are left out where the container has a loopback of its own.
fn resolv_conf(host: &str, plan: &ContainerPlan) -> String {
    let own_network = plan.network != NetworkPlan::Host;
    let docker = &plan.docker;
    let mut text = String::new();
    for line in host.lines() {
        let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let loopback = || rest.trim().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let kept = match keyword {
            "nameserver" => docker.dns_servers.is_empty() && !(own_network && loopback()),
            "search" | "domain" => docker.dns_search.is_empty(),
            "options" => docker.dns_options.is_empty(),
            _ => false,
        };
        if kept {
            text.push_str(line);
            text.push('\n');
        }
    }
    for server in &docker.dns_servers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    for (keyword, words) in [("search", &docker.dns_search), ("options", &docker.dns_options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_where_the_container_reaches_it() {
        let host =
            "# made by somebody\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch a.test\noptions x\n";
        let check = |plan: &ContainerPlan, expected: &str| assert_eq!(resolv_conf(host, plan), expected);
        let mut plan = ContainerPlan::default();
        check(&plan, "nameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch a.test\noptions x\n");
        plan.network = NetworkPlan::None;
        check(&plan, "nameserver 10.0.0.2\nsearch a.test\noptions x\n");
        plan.docker.dns_servers = vec![IpAddr::from([10, 9, 9, 9])];
        plan.docker.dns_search = vec!["b.test".into(), "c.test".into()];
        check(&plan, "options x\nnameserver 10.9.9.9\nsearch b.test c.test\n");
    }

    #[test]
    fn the_hosts_file_gets_the_address_without_changing_its_identity() {
        use std::os::unix::fs::MetadataExt;
        let dir = std::env::temp_dir().join(format!("agent-names-{}", std::process::id()));
        let mut plan = ContainerPlan { network: NetworkPlan::None, ..Default::default() };
        plan.docker.hosts = vec![("db".into(), IpAddr::from([10, 0, 0, 1]))];
        let files = NameFiles::write(dir.clone(), &plan, "web").unwrap();
        let inode = |name| fs::metadata(files.path(name)).unwrap().ino();
        let before = inode("hosts");
        files.write_hosts(Some(Ipv4Addr::new(172, 31, 254, 2))).unwrap();
        let text = fs::read_to_string(files.path("hosts")).unwrap();
        assert!(text.ends_with("172.31.254.2 web\n10.0.0.1 db\n"), "{text}");
        assert!(text.starts_with("127.0.0.1 localhost\n"), "{text}");
        assert_eq!(inode("hosts"), before);
        assert_eq!(fs::read_to_string(files.path("hostname")).unwrap(), "web\n");
        fs::remove_dir_all(dir).unwrap();
    }
}
