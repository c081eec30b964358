//! What is refused, with the reason and exit code 1, and changes nothing.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use testkit::{Cluster, Options, own_subnet};

use crate::apps::DCOS;

fn dcos(arguments: &[&str], dir: &Path) -> Output {
    Command::new(DCOS).args(arguments).arg("--dir").arg(dir).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, message: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((said.trim_end(), output.status.code()), (message, Some(1)));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn what_does_not_fit_the_cluster_of_the_directory() {
    let options = Options { agents: 2, ..Options::default() };
    let mut cluster = Cluster::start(DCOS, options);
    let real = cluster.dir().canonicalize().unwrap();
    let dir = real.display();
    refused(
        &dcos(&["up"], cluster.dir()),
        &format!(
            "Error: {dir} is in use by process {}: one cluster at a time runs on a directory; stop that one, or \
             name another --dir",
            cluster.pid()
        ),
    );
    cluster.kill();
    let record = std::fs::read(real.join("cluster.json")).unwrap();
    let hint = format!("name another --dir, or end that cluster with: dcos down --dir {dir}");
    refused(
        &dcos(&["up", "--agents", "1"], cluster.dir()),
        &format!(
            "Error: --agents 1: the cluster in {dir} has 2, and those left out may have tasks running; leave \
             --agents out, {hint}"
        ),
    );
    refused(
        &dcos(&["up", "--subnet", "127.0.0.0/24"], cluster.dir()),
        &format!(
            "Error: --subnet 127.0.0.0/24: the cluster in {dir} has {}, where its tasks expect it; leave --subnet \
             out, {hint}",
            cluster.subnet()
        ),
    );
    assert_eq!(std::fs::read(real.join("cluster.json")).unwrap(), record);
}

#[test]
fn a_taken_port_names_its_owner_and_a_subnet_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let subnet = own_subnet();
    let address = |node: u8, port: u16| format!("{}{node}:{port}", subnet.trim_end_matches("0/24"));
    for taken in [address(1, 5050), address(2, 5051)] {
        let _listener = TcpListener::bind(&taken).unwrap();
        let output = dcos(&["up", "--subnet", &subnet], dir.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (ip, port) = taken.split_once(':').unwrap();
        let own = std::fs::read(format!("/proc/{}/cmdline", std::process::id())).unwrap();
        let own = String::from_utf8_lossy(&own).trim_end_matches('\0').replace('\0', " ");
        let start = format!(
            "Error: port {port} of {ip} is taken by process {} ({own}); try --subnet ",
            std::process::id()
        );
        let free = said.trim_end().strip_prefix(&start);
        let free = free.unwrap_or_else(|| panic!("{said:?} does not start with {start:?}"));
        assert_eq!(output.status.code(), Some(1));
        let network = free.strip_suffix(".0/24").unwrap();
        TcpListener::bind(format!("{network}.1:5050")).unwrap();
        TcpListener::bind(format!("{network}.2:5051")).unwrap();
    }
    assert!(!dir.path().join("cluster.json").exists());
}

#[test]
fn values_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], message: &str| {
        let all: Vec<&str> = ["up"].iter().chain(arguments).copied().collect();
        refused(&dcos(&all, dir.path()), &format!("Error: {message}"));
    };
    check(
        &["--subnet", "127.0.7.0"],
        "--subnet \"127.0.7.0\" is no IPv4 network, allowed is one like 127.0.7.0/24",
    );
    check(
        &["--subnet", "127.0.7.9/24"],
        "--subnet \"127.0.7.9/24\" names an address within a network, allowed is the network: 127.0.7.0/24",
    );
    check(&["--subnet", "192.0.2.0/24"], "192.0.2.1 is no address of this machine");
    check(
        &["--agents", "0"],
        "--agents 0 and --public-agents 0 leave a cluster without agents, allowed is 1 or more together",
    );
    check(
        &["--resources", "cpus=4"],
        "--resources \"cpus=4\": Bad value for resources, missing or extra ':' in cpus=4",
    );
    assert!(!dir.path().join("cluster.json").exists());
}

#[test]
fn what_was_not_there_is_not_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let check = |dir: &Path, why: &str| {
        let output = dcos(&["down"], dir);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, format!("There is no cluster in {} ({why}).\n", dir.display()));
        assert!(output.status.success(), "{output:?}");
    };
    let none = dir.path().join("none");
    check(&none, "there is no such directory");
    assert!(!none.exists());
    check(&dir.path().canonicalize().unwrap(), "it has no cluster.json");

    let subnet = own_subnet();
    let _listener = TcpListener::bind(format!("{}1:5050", subnet.trim_end_matches("0/24"))).unwrap();
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    for (dir, arguments) in [
        (&none, &["up", "--subnet", &subnet, "--auth"][..]),
        (&none, &["up", "--resources", "cpus=4"]),
        (&own, &["up", "--subnet", &subnet]),
    ] {
        let output = dcos(arguments, dir);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(dir.exists(), *dir == own, "{arguments:?}");
    }
}

#[test]
fn what_is_no_command() {
    let output = Command::new(DCOS).arg("nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("Error: unrecognized subcommand 'nonsense'\n"), "{said}");
    let version = Command::new(DCOS).arg("version").output().unwrap();
    assert!(version.status.success());
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("dcos {}\n", env!("CARGO_PKG_VERSION")));
}
