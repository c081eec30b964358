//! Against a real systemd, of a machine that the test boots.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use std::time::Duration;

use systemd::{Block, SystemState, Systemd, SystemdError};
use testkit::{Machine, eventually};

fn service(script: &str) -> String {
    format!("[Service]\nExecStart=/bin/sh -c '{script}'\n[Install]\nWantedBy=multi-user.target\n")
}

struct Bed {
    machine: Machine,
    systemd: Systemd,
}

impl Bed {
    fn write(&self, name: &str, unit: &str) {
        std::fs::write(self.machine.root().join("etc/systemd/system").join(name), unit).unwrap();
    }

    fn pid(&self, unit: &str) -> Option<u32> {
        self.systemd.state(unit).unwrap().main_pid
    }
}

/// One machine for all: booting it takes longer than the rest.
#[test]
fn systemd_does_what_it_is_asked_for() {
    let machine = match Machine::boot("systemd") {
        Ok(machine) => machine,
        Err(reason) => {
            eprintln!("SKIP the systemd adapter: {reason}");
            return;
        }
    };
    let systemd = Systemd::of(machine.prefix()).with_patience(Duration::from_secs(60));
    let bed = Bed { machine, systemd };
    units_start_restart_and_stop(&bed);
    units_are_enabled_and_disabled(&bed);
    a_target_starts_and_its_failures_are_told(&bed);
    a_failure_tells_state_result_and_journal(&bed);
    what_is_unknown_is_stopped_but_not_started(&bed);
    nothing_waits_without_end(&bed);
}

fn units_start_restart_and_stop(bed: &Bed) {
    let systemd = &bed.systemd;
    assert_eq!(systemd.is_system_running().unwrap(), SystemState::Running);
    for name in ["a.service", "b.service"] {
        bed.write(name, &service("exec sleep 3600"));
    }
    systemd.daemon_reload().unwrap();
    systemd.start(&["a.service", "b.service"], Block::UntilDone).unwrap();
    let (a, b) = (bed.pid("a.service").unwrap(), bed.pid("b.service").unwrap());
    systemd.restart(&["a.service"], Block::UntilDone).unwrap();
    assert_ne!(bed.pid("a.service"), Some(a));
    assert_eq!(bed.pid("b.service"), Some(b));
    systemd.stop(&["a.service"], Block::UntilDone).unwrap();
    assert_eq!(bed.pid("a.service"), None);
    systemd.start(&["a.service"], Block::Not).unwrap();
    eventually("a runs", || bed.pid("a.service"));
    systemd.stop(&["a.service", "b.service"], Block::Not).unwrap();
    eventually("both have stopped", || {
        let states = systemd.states(&["a.service", "b.service"]).unwrap();
        states.iter().all(|unit| unit.active == "inactive").then_some(())
    });
    for nothing in [Systemd::start, Systemd::restart, Systemd::stop] {
        nothing(systemd, &[], Block::UntilDone).unwrap();
    }
}

fn units_are_enabled_and_disabled(bed: &Bed) {
    let wanted = bed.machine.root().join("etc/systemd/system/multi-user.target.wants/a.service");
    bed.systemd.enable("a.service").unwrap();
    assert!(wanted.symlink_metadata().is_ok());
    bed.systemd.disable("a.service").unwrap();
    assert!(wanted.symlink_metadata().is_err());
    bed.systemd.disable("no-such.service").unwrap();
    let error = bed.systemd.enable("no-such.service").unwrap_err().to_string();
    assert!(error.starts_with("enable no-such.service: systemctl ended with 1"), "{error}");
}

fn a_target_starts_and_its_failures_are_told(bed: &Bed) {
    let systemd = &bed.systemd;
    bed.write("all.target", "[Unit]\nWants=a.service broken.service\n");
    bed.write("broken.service", "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=3600\n");
    systemd.daemon_reload().unwrap();
    systemd.start(&["all.target"], Block::UntilDone).unwrap();
    assert!(bed.pid("a.service").is_some());
    eventually("the broken one has ended", || {
        let failures = systemd.failures(&["a.service", "broken.service"]).unwrap();
        let [broken] = failures.as_slice() else { return None };
        assert_eq!(broken.unit.name, "broken.service");
        Some(())
    });
    systemd.stop(&["all.target", "a.service", "broken.service"], Block::UntilDone).unwrap();
    systemd.reset_failed(&["broken.service", "no-such.service"]).unwrap();
    assert_eq!(systemd.is_system_running().unwrap(), SystemState::Running);
}

fn a_failure_tells_state_result_and_journal(bed: &Bed) {
    let systemd = &bed.systemd;
    let says = service("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do echo line $i; done; exit 3");
    bed.write("fails.service", &says.replace("[Service]", "[Service]\nType=oneshot"));
    bed.write("garbled.service", "[Service]\nNonsense\n");
    systemd.daemon_reload().unwrap();
    match systemd.start(&["a.service", "fails.service"], Block::UntilDone) {
        Err(error @ SystemdError::Failed { .. }) => {
            let text = error.to_string();
            let head = "start a.service fails.service:\n  fails.service is failed (failed), \
                        result exit-code, main process exited 3; its journal ends:\n";
            assert!(text.starts_with(head), "{text}");
            assert_eq!(text.lines().count(), 12, "{text}");
            assert!(text.contains("\n    line 13\n") && !text.contains("line 1\n"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(bed.pid("a.service").is_some(), "the other one was started");
    assert_eq!(systemd.is_system_running().unwrap(), SystemState::Degraded);
    systemd.reset_failed(&["fails.service"]).unwrap();
    match systemd.start(&["garbled.service"], Block::UntilDone) {
        Err(SystemdError::Failed { failures, .. }) => assert_eq!(failures[0].unit.load, "bad-setting"),
        other => panic!("{other:?}"),
    }
}

fn what_is_unknown_is_stopped_but_not_started(bed: &Bed) {
    let systemd = &bed.systemd;
    assert!(bed.pid("a.service").is_some());
    systemd.stop(&["no-such.service", "a.service"], Block::UntilDone).unwrap();
    assert_eq!(bed.pid("a.service"), None);
    match systemd.start(&["no-such.service"], Block::UntilDone) {
        Err(SystemdError::Failed { failures, .. }) => assert_eq!(failures[0].unit.load, "not-found"),
        other => panic!("{other:?}"),
    }
}

fn nothing_waits_without_end(bed: &Bed) {
    let short = bed.systemd.clone().with_patience(Duration::from_millis(500));
    bed.write("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 3600\n");
    bed.systemd.daemon_reload().unwrap();
    match short.start(&["slow.service"], Block::UntilDone) {
        Err(SystemdError::Run { source: host::RunError::TimedOut { .. }, attempted }) => {
            assert_eq!(attempted, "start slow.service");
        }
        other => panic!("{other:?}"),
    }
    bed.systemd.stop(&["slow.service"], Block::UntilDone).unwrap();
}

#[test]
fn a_machine_without_systemd_says_so() {
    let none = Systemd::of(["/no/such/program".into()]);
    let error = none.daemon_reload().unwrap_err();
    assert_eq!(error.to_string(), "reload unit files");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "/no/such/program is not installed here");
}
