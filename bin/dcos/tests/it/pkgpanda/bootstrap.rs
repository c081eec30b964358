//! A host that has nothing but the program becomes a node of a bootstrap that a server has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use systemd::SystemState;
use testkit::eventually;

use super::host::{Host, ids};
use super::package::Package;
use super::sets::{base, other};

/// Puts a bootstrap made by hand where a server inside has it, and gives the SHA-256 of its tarball.
fn serve(host: &Host, id: &str, packages: &[Package]) -> String {
    let made = tempfile::tempdir().unwrap();
    let root = made.path();
    for dir in ["active", "bin"] {
        fs::create_dir(root.join(dir)).unwrap();
    }
    fs::write(root.join("bootstrap"), "").unwrap();
    for package in packages {
        package.write(&root.join("packages"));
        let inside = format!("/opt/mesosphere/packages/{}", package.id);
        symlink(inside, root.join("active").join(package.name())).unwrap();
    }
    symlink("/opt/mesosphere/active/other/bin/pkgpanda", root.join("bin/pkgpanda")).unwrap();
    let dir = host.path("/srv/repository/bootstrap");
    fs::create_dir_all(&dir).unwrap();
    let tarball = dir.join(format!("{id}.bootstrap.tar.xz"));
    let packed = Command::new("tar").arg("-cJf").arg(&tarball).arg("-C").arg(root).arg(".").status();
    assert!(packed.unwrap().success());
    let sum = host.sh(&format!("sha256sum /srv/repository/bootstrap/{id}.bootstrap.tar.xz"));
    fs::write(dir.join(format!("{id}.bootstrap.tar.xz.sha256")), &sum).unwrap();
    sum.split_once(' ').expect("a hash and a name").0.to_owned()
}

fn of_the_installer(path: &Path) -> bool {
    path.starts_with("etc/mesosphere") || path.starts_with("srv")
}

const URL: &str = "--repository-url=file:///srv/repository";

#[test]
fn a_host_with_only_the_program_becomes_a_node() {
    let Some(mut host) = Host::boot("hostboot", Some(256)) else { return };
    let packages = [base(), other()];
    let sha256 = serve(&host, "8e0d", &packages);
    let bare = host.machine.snapshot().unwrap().without(of_the_installer);

    // Bytes that are others than promised never become a root, and nothing else of theirs is left.
    let wrong = format!("--sha256={}", "ab".repeat(32));
    let said = host.refuses(&["bootstrap", "8e0d", URL, &wrong, "--role=master"]);
    assert!(said.contains("dcos-download.service is failed") && said.contains("FAILED"), "{said}");
    assert!(!host.exists("/opt/mesosphere/active"));
    // It was a host before, and is one again.
    host.pkgpanda(&["uninstall"]);
    let left = host.machine.snapshot().unwrap().without(of_the_installer);
    assert_eq!(bare.differences(&left), [""; 0]);

    // Killed at once, and with the root just there, and asked again.
    drop(host.start(&["bootstrap", "8e0d", URL, "--role=master"]).kill());
    let running = host.start(&["bootstrap", "8e0d", URL, "--role=master"]);
    eventually("the root is there", || host.exists("/opt/mesosphere/active").then_some(()));
    drop(running.kill());
    let said = host.run(&["bootstrap", "8e0d", URL, "--role=master"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("This host is a node"), "{said:?}");
    host.units_follow_links();
    assert_eq!(host.active(), ids(&packages));
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    assert!(host.exists("/opt/mesosphere/bin/other-on-masters"), "files for the host's role are there");
    assert_eq!(
        host.sh("systemctl is-enabled dcos-download dcos-setup dcos.target"),
        "enabled\nenabled\nenabled"
    );
    for leftover in ["/var/lib/dcos-download", "/opt/mesosphere.download"] {
        assert!(!host.exists(leftover), "{leftover}");
    }
    // Another one is not laid over it; the same is there already.
    let said = host.refuses(&["bootstrap", "8e0e", URL, &wrong]);
    assert!(said.contains("/opt/mesosphere holds DC/OS already"), "{said}");
    host.pkgpanda(&["bootstrap", "8e0d", URL, &format!("--sha256={sha256}")]);

    let before = host.visible();
    host.machine.power_off();
    host.machine.boot_again().unwrap();
    host.units_follow_links();
    assert_eq!(before.differences(&host.visible()), [""; 0]);
    host.pkgpanda(&["uninstall"]);
    let left = host.machine.snapshot().unwrap().without(of_the_installer);
    assert_eq!(bare.differences(&left), [""; 0]);
}

#[test]
fn a_host_that_was_prepared_without_systemd_becomes_a_node_at_its_next_start() {
    let Some(mut host) = Host::boot("prepared", Some(256)) else { return };
    let packages = [base(), other()];
    serve(&host, "8e0d", &packages);
    host.pkgpanda(&["bootstrap", "8e0d", URL, "--role=slave", "--no-systemd"]);
    assert!(!host.exists("/opt/mesosphere/active"));
    host.machine.power_off();
    host.machine.boot_again().unwrap();
    eventually("the host is set up", || {
        (host.exists("/opt/mesosphere/active") && !host.exists("/opt/mesosphere/bootstrap")).then_some(())
    });
    host.units_follow_links();
    assert_eq!(host.active(), ids(&packages));
}
