use std::fs;
use std::os::unix::process::ExitStatusExt;

use testkit::{Entry, Machine, MachineOptions, eventually};

fn boot(name: &str, disk: Option<u32>) -> Option<Machine> {
    let options = MachineOptions { disk, ..MachineOptions::default() };
    Machine::with(name, options).map_err(|reason| eprintln!("SKIP {name}: {reason}")).ok()
}

fn say(machine: &Machine, program: &str, arguments: &[&str]) -> String {
    let output = machine.run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_is_not_on_the_disk_is_lost_with_the_power() {
    let Some(mut machine) = boot("power", Some(96)) else { return };
    fs::create_dir(machine.root().join("srv/kept")).unwrap();
    fs::write(machine.root().join("srv/kept/file"), "kept").unwrap();
    say(&machine, "sync", &["-f", "/srv"]);
    fs::write(machine.root().join("srv/lost"), "lost").unwrap();
    assert_eq!(say(&machine, "cat", &["/srv/kept/file", "/srv/lost"]), "keptlost");
    machine.cut_power();
    machine.boot_again().unwrap();
    assert_eq!(say(&machine, "ls", &["/srv"]), "kept");
    assert_eq!(say(&machine, "cat", &["/srv/kept/file"]), "kept");
    fs::write(machine.root().join("srv/lost"), "not lost").unwrap();
    machine.power_off();
    machine.boot_again().unwrap();
    assert_eq!(say(&machine, "cat", &["/srv/lost"]), "not lost");
    assert_eq!(say(&machine, "systemctl", &["is-system-running"]), "running");
}

#[test]
fn a_machine_leaves_nothing_behind() {
    let Some(machine) = boot("traces", None) else { return };
    let before = machine.snapshot().unwrap();
    assert!(matches!(before.get("init-rw"), Entry::File { .. }));
    fs::create_dir_all(machine.root().join("opt/mesosphere")).unwrap();
    say(&machine, "rm", &["/usr/bin/true"]);
    let differences = before.differences(&machine.snapshot().unwrap());
    let [opt, gone] = differences.as_slice() else { panic!("{differences:?}") };
    assert!(opt.starts_with("opt/mesosphere: Absent -> Directory"), "{opt}");
    assert!(gone.starts_with("usr/bin/true: ") && gone.ends_with(" -> Absent"), "{gone}");
    assert!(fs::exists("/usr/bin/true").unwrap());

    let root = machine.root();
    let name = fs::read_to_string(root.join("etc/hostname")).unwrap();
    drop(machine);
    assert!(!fs::exists(root).unwrap());
    assert!(!fs::exists(format!("/run/netns/{name}")).unwrap());
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
        assert!(!hierarchy.unwrap().path().join(&name).exists());
    }
}

#[test]
fn programs_inside_are_killed_by_pid() {
    let Some(machine) = boot("kill", None) else { return };
    let sleeper = machine.spawn("sh", &["-c", "echo said; exec sleep 3600"]);
    let pid = eventually("the program runs", || sleeper.pid());
    eventually("it has said so", || {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        line.starts_with(b"sleep").then_some(())
    });
    let output = sleeper.kill();
    assert_eq!((output.status.signal(), output.stdout.as_slice()), (Some(9), b"said\n".as_slice()));
    let output = machine.spawn("sh", &["-c", "echo a; exit 3"]).wait();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"a\n".as_slice()));
    // As soon as it can be.
    let output = machine.spawn("sleep", &["3600"]).kill();
    assert_eq!(output.status.signal(), Some(9));
}
