use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base::ContainerId;
use host::SubnetLeases;
use netlink::{Config, Networks, PortMapping, Protocol};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::until;

/// How long a connection may take that is expected to be made, and one that is not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const REFUSAL: Duration = Duration::from_millis(400);

/// Whether the tests can run; says if not.
pub(crate) fn root() -> bool {
    let root = host::is_root();
    if !root {
        eprintln!("SKIP container networks: needs root");
    }
    root
}

/// A process in a network namespace of its own: a host of the test, or a container.
pub(crate) struct Namespace {
    child: Child,
}

impl Namespace {
    pub(crate) fn new() -> Namespace {
        let mut command = Command::new("unshare");
        command.args(["--net", "busybox", "sleep", "600"]).stdin(Stdio::null());
        let child = command.spawn().expect("unshare of util-linux");
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        until(PATIENCE, || std::fs::read_link(&path).ok().filter(|other| *other != own))
            .expect("a namespace");
        Namespace { child }
    }

    /// A host whose loopback interface is on.
    pub(crate) fn host() -> Namespace {
        let host = Namespace::new();
        host.command("ip link set lo up");
        host
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its process.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Does something in this network: sockets that are opened and programs that are started belong to it.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.file();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command line in this network; returns what it printed.
    pub(crate) fn command(&self, line: &str) -> String {
        let output = self.enter(|| Command::new("sh").args(["-c", line]).output().unwrap());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Joins two hosts by a cable, each with an address of a /24.
    pub(crate) fn cable(&self, ip: &str, other: &Namespace, other_ip: &str) {
        self.command(&format!("ip link add cable type veth peer name cable netns {}", other.pid()));
        for (host, ip) in [(self, ip), (other, other_ip)] {
            host.command(&format!("ip addr add {ip}/24 dev cable && ip link set cable up"));
        }
    }

    /// Answers each TCP connection to `port` with `name` and who connected, until the test ends.
    pub(crate) fn serve(&self, ip: &str, port: u16, name: &'static str) {
        let listener = self.enter(|| TcpListener::bind((ip, port)).unwrap());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let peer = connection.peer_addr().unwrap().ip();
                let _ = write!(connection, "{name} {peer}");
            }
        });
    }

    /// The same for UDP: answers each datagram.
    pub(crate) fn serve_udp(&self, port: u16, name: &'static str) {
        let socket = self.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    /// What a server says to who connects from here; none if no connection is made.
    pub(crate) fn ask(&self, ip: Ipv4Addr, port: u16, patience: Duration) -> Option<String> {
        self.enter(|| {
            let address = SocketAddrV4::new(ip, port).into();
            let mut connection = TcpStream::connect_timeout(&address, patience).ok()?;
            connection.set_read_timeout(Some(patience)).unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }

    pub(crate) fn udp_client(&self) -> UdpSocket {
        self.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap())
    }

    pub(crate) fn file(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.pid())).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the server says to a datagram from this socket.
pub(crate) fn ask_udp(client: &UdpSocket, ip: Ipv4Addr, port: u16, patience: Duration) -> Option<String> {
    client.set_read_timeout(Some(patience)).unwrap();
    client.send_to(b"?", (ip, port)).ok()?;
    let mut buffer = [0; 64];
    let length = client.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A host with agents, and a directory for their files.
pub(crate) struct Scene {
    pub(crate) host: Namespace,
    pub(crate) dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        Scene { host: Namespace::host(), dir }
    }

    pub(crate) fn config(&self, name: &str, agent_ip: &str) -> Config {
        config(self.dir.path().to_owned(), name, agent_ip)
    }

    pub(crate) fn open(&self, config: Config) -> Networks {
        self.host.enter(|| Networks::open(config).unwrap())
    }

    /// Whether what passes a bridge is asked for by packet filters; a kernel without `br_netfilter` cannot.
    pub(crate) fn let_bridges_filter(&self, yes: bool) {
        let number = u8::from(yes);
        let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        self.host.command(&format!("[ ! -e {path} ] || echo {number} > {path}"));
    }

    /// What this host has: interfaces and packet filters.
    pub(crate) fn inventory(&self) -> String {
        self.host.command("ip -o link | cut -d: -f2; nft list ruleset")
    }
}

pub(crate) fn config(dir: PathBuf, name: &str, agent_ip: &str) -> Config {
    Config {
        state_dir: dir.join(name),
        name: name.to_owned(),
        agent_ip: agent_ip.parse().unwrap(),
        leases: SubnetLeases::in_dir(dir.join("leases/subnets")),
        gateway_targets: Vec::new(),
    }
}

pub(crate) fn id(name: &str) -> ContainerId {
    ContainerId::new(name)
}

pub(crate) fn tcp(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { host_port, container_port, protocol: Protocol::Tcp }
}

pub(crate) fn udp(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { host_port, container_port, protocol: Protocol::Udp }
}
