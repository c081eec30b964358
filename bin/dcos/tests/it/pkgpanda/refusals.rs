//! What goes wrong on a machine: units that do not start, disks that are full, roots that cannot be written, two
//! at once. A clear error each, and nothing half done.

use std::time::{Duration, Instant};

use systemd::SystemState;
use testkit::eventually;

use super::host::{Host, Said, ids};
use super::package::Package;
use super::sets::{self, newer_app};

/// The words that activate a set.
fn activate(packages: &[Package]) -> Vec<String> {
    let mut words = vec!["activate".to_owned()];
    words.extend(ids(packages));
    words
}

fn run(host: &Host, words: &[String]) -> Said {
    host.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_unit_that_does_not_start_is_told_with_its_journal() {
    let Some(host) = Host::with("broken", None, &sets::first()) else { return };
    let broken = Package::new("broken--1").unit(
        "dcos-broken.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no such luck; exit 3'\n",
    );
    host.add(std::slice::from_ref(&broken));
    let mut packages = sets::first();
    packages.push(broken);
    let said = run(&host, &activate(&packages)).refused();
    for part in ["dcos-broken.service", "failed", "exit-code", "no such luck"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    // The set is active: what it brings is there, and everything else runs.
    assert_eq!(host.active(), ids(&packages));
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Degraded);
    let said = run(&host, &activate(&sets::first()));
    assert_eq!(said.code, Some(0), "{said:?}");
    host.units_follow_links();
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
}

/// Leaves so many KiB free on the machine's disk.
fn fill(host: &Host, kib: u64) {
    // What is not written out yet is counted for more than it takes in the end: so once more.
    let fill = |pieces: &str| {
        format!(
            "dd if=/dev/zero of=/srv/fill bs={pieces} oflag=append conv=notrunc 2>/dev/null; sync -f /srv"
        )
    };
    let script = format!(
        "rm -f /srv/fill; sync -f /srv; {}; {}; truncate --size=-{kib}K /srv/fill; sync -f /srv",
        fill("1M"),
        fill("4K")
    );
    host.sh(&script);
}

/// Runs a command on a full disk, and again with so many KiB more each time, until it succeeds. Each time it is to
/// say what is missing, and to have changed nothing that `unchanged` looks at.
#[track_caller]
fn until_it_fits(host: &Host, words: &[String], kib: u64, unchanged: impl Fn()) {
    for step in 0..1000 {
        fill(host, kib * step);
        let said = run(host, words);
        if said.code == Some(0) {
            assert!(step > 0, "the disk was not full enough");
            host.sh("rm /srv/fill");
            return;
        }
        let said = said.refused();
        assert!(said.contains("No space left on device"), "{words:?} with {} KiB: {said}", kib * step);
        unchanged();
    }
    panic!("{words:?} still needs more than {} KiB", kib * 1000);
}

#[test]
fn a_full_disk_leaves_the_old_set_or_lets_the_new_one_be() {
    let Some(host) = Host::with("full", Some(64), &sets::first()) else { return };
    host.add(&sets::second());
    let is = |packages: &[Package]| {
        let (ids, before) = (ids(packages), host.visible());
        let host = &host;
        move || {
            assert_eq!(host.active(), ids);
            assert_eq!(before.differences(&host.visible()), [""; 0]);
        }
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    until_it_fits(&host, &activate(&sets::second()), 4, is(&sets::first()));
    assert_eq!(host.active(), ids(&sets::second()));
    host.units_follow_links();
    host.pkgpanda(&["activate", "app--1", "base--1", "gone--1", "image--1", "other--1"]);
    until_it_fits(&host, &words(&["swap", "app--2"]), 4, is(&sets::first()));
    host.write("/opt/mesosphere/bootstrap", "");
    until_it_fits(&host, &words(&["setup"]), 4, is(&sets::swapped()));
    assert_eq!(host.active(), ids(&sets::first()));
    host.units_follow_links();

    // A package that does not fit is not there at all.
    let large = Package::new("large--1").file("share/large", &"no two lines are equal\n".repeat(1 << 16));
    large.pack(&host.path("/srv"));
    let add = words(&["add", "/srv/packages/large/large--1.tar.xz"]);
    until_it_fits(&host, &add, 400, || {
        assert_eq!(host.pkgpanda(&["list"]).find("large--1"), None);
        assert!(!host.exists("/opt/mesosphere/packages/large--1"));
    });
    assert!(host.exists("/opt/mesosphere/packages/large--1/share/large"));
    until_it_fits(&host, &words(&["uninstall"]), 4, is(&sets::first()));
    assert!(!host.exists("/opt/mesosphere"));
}

#[test]
fn a_root_that_cannot_be_written_is_refused() {
    let Some(host) = Host::with("readonly", None, &sets::first()) else { return };
    host.add(&[newer_app()]);
    let before = host.visible();
    host.sh("mount --bind /opt/mesosphere /opt/mesosphere && mount -o remount,bind,ro /opt/mesosphere");
    for words in [vec!["swap", "app--2"], vec!["remove", "app--2"], vec!["uninstall"]] {
        let said = host.refuses(&words);
        assert!(said.contains("Read-only file system"), "{words:?}: {said}");
    }
    assert_eq!(host.active(), ids(&sets::first()));
    assert_eq!(before.differences(&host.visible()), [""; 0]);
    host.units_follow_links();
    host.sh("umount /opt/mesosphere");
    host.pkgpanda(&["swap", "app--2"]);
    assert_eq!(host.active(), ids(&sets::swapped()));
}

#[test]
fn two_at_once_wait_for_each_other_but_not_for_ever() {
    let Some(host) = Host::with("two", None, &sets::first()) else { return };
    host.add(&sets::second());
    for _ in 0..3 {
        let both = [sets::first(), sets::second()].map(|set| {
            let words = activate(&set);
            host.start(&words.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let said = both.map(|running| Said::from(running.wait()));
        assert!(said.iter().all(|said| said.code == Some(0)), "{said:?}");
        let active = host.active();
        assert!([ids(&sets::first()), ids(&sets::second())].contains(&active), "{active:?}");
        host.units_follow_links();
    }
    // Who stands still with the lock is named.
    let lock = "/opt/mesosphere/pkgpanda.lock";
    let script = format!("echo $$ > /srv/holder; exec flock --no-fork {lock} sleep 600");
    let holder = host.machine.spawn("sh", &["-c", &script]);
    let pid = eventually("the lock is held", || {
        let is_free = host.machine.run("flock", &["--nonblock", lock, "true"]).status.success();
        let pid = std::fs::read_to_string(host.path("/srv/holder")).ok()?;
        (!is_free).then(|| pid.trim().to_owned())
    });
    let before = host.visible();
    let started = Instant::now();
    let said = run(&host, &activate(&sets::first())).refused();
    assert!(said.contains(&format!("ERROR: another pkgpanda (process {pid})")), "{said} ({pid})");
    assert!(started.elapsed() >= Duration::from_secs(9), "it waited {:?}", started.elapsed());
    assert_eq!(before.differences(&host.visible()), [""; 0]);
    // Reading does not wait.
    host.active();
    host.pkgpanda(&["list"]);
    drop(holder.kill());
}
