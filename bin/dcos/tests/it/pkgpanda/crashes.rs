//! Commands that are killed at any moment, and power that fails: the next command finds exactly the old set or
//! exactly the new one.

use std::time::{Duration, Instant, SystemTime};

use base::Rng;
use testkit::Snapshot;

use super::host::{Host, ids};
use super::package::Package;
use super::sets::{self, newer_app};
use super::visible::Visible;

fn is_long() -> bool {
    std::env::var_os("DCOS_TEST_LONG").is_some()
}

fn seed() -> u64 {
    let given = std::env::var("DCOS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64))
}

/// A set that a host may have, and what is seen then.
struct Set {
    ids: Vec<String>,
    visible: Visible,
}

/// What is done to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Activate,
    Swap,
    Setup,
    Uninstall,
}

/// A host with three sets to go between; it has one of them.
struct Crashes {
    host: Host,
    sets: Vec<Set>,
    now: usize,
    /// How long each of the actions takes when nobody disturbs it.
    takes: [Duration; 4],
    bare: Snapshot,
    random: Rng,
}

const FIRST: usize = 0;
const SWAPPED: usize = 1;
const SECOND: usize = 2;

impl Crashes {
    fn boot(name: &str, disk: Option<u32>) -> Option<Crashes> {
        let host = Host::boot(name, disk)?;
        let seed = seed();
        eprintln!("{name}: DCOS_TEST_SEED={seed} gives the same moments again");
        let bare = Crashes::bare(&host);
        let mut crashes = Crashes {
            host,
            sets: Vec::new(),
            now: FIRST,
            takes: [Duration::ZERO; 4],
            bare,
            random: Rng::seeded(seed),
        };
        crashes.begin();
        crashes.record(&sets::first(), None);
        crashes.record(&sets::swapped(), Some(Action::Swap));
        crashes.record(&sets::second(), Some(Action::Activate));
        crashes.now = SECOND;
        crashes.takes[Action::Setup as usize] = 2 * crashes.takes[Action::Activate as usize];
        crashes.takes[Action::Uninstall as usize] = 2 * crashes.takes[Action::Activate as usize];
        Some(crashes)
    }

    fn bare(host: &Host) -> Snapshot {
        host.machine
            .snapshot()
            .unwrap()
            .without(|path| path.starts_with("etc/mesosphere") || path.starts_with("srv"))
    }

    /// Sets the bare host up with the first set.
    fn begin(&mut self) {
        self.host.bootstrap(&sets::first());
        self.host.add(&sets::second());
        self.host.pkgpanda(&["setup"]);
        self.now = FIRST;
    }

    /// Makes the host have a set in good order, and notes what is seen then.
    fn record(&mut self, packages: &[Package], action: Option<Action>) {
        let ids = ids(packages);
        let started = Instant::now();
        match action {
            Some(Action::Swap) => drop(self.host.pkgpanda(&["swap", &newer_app().id])),
            Some(_) => self.activate(&ids),
            None => {}
        }
        if let Some(action) = action {
            self.takes[action as usize] = started.elapsed();
        }
        assert_eq!(self.host.active(), ids);
        self.sets.push(Set { ids, visible: self.host.visible() });
    }

    fn activate(&self, ids: &[String]) {
        let mut arguments = vec!["activate"];
        arguments.extend(ids.iter().map(String::as_str));
        self.host.pkgpanda(&arguments);
    }

    /// The set that an action leads to, and the words for it.
    fn target(&self, action: Action) -> (usize, Vec<String>) {
        let other = if self.now == SECOND { FIRST } else { SECOND };
        let words = |first: &str, rest: &[String]| {
            let mut words = vec![first.to_owned()];
            words.extend_from_slice(rest);
            words
        };
        match action {
            Action::Activate => (other, words("activate", &self.sets[other].ids)),
            Action::Swap => match self.now {
                FIRST => (SWAPPED, words("swap", &[newer_app().id])),
                SWAPPED => (FIRST, words("swap", &[sets::app().id])),
                // Not from here.
                _ => self.target(Action::Activate),
            },
            Action::Setup => (other, words("setup", &[])),
            Action::Uninstall => (self.now, words("uninstall", &[])),
        }
    }

    /// A moment within what the action takes, or somewhat later.
    fn moment(&mut self, action: Action) -> Duration {
        let within = self.takes[action as usize].as_micros() as u64 * 5 / 4;
        Duration::from_micros(self.random.below(within.max(1)))
    }

    /// Begins with an action, and is gone at some moment.
    fn interrupted(
        &mut self,
        action: Action,
        round: u32,
        interrupt: impl FnOnce(&mut Host, testkit::Running),
    ) -> String {
        let (target, words) = self.target(action);
        if action == Action::Setup {
            self.host.write("/opt/mesosphere/bootstrap", "");
            let wanted = serde_json::json!(self.sets[target].ids).to_string();
            self.host.write("/etc/mesosphere/setup-flags/active.json", &wanted);
        }
        let after = self.moment(action);
        let what = format!("round {round}: {} interrupted after {after:?}", words.join(" "));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let running = self.host.start(&words);
        #[allow(clippy::disallowed_methods, reason = "a random moment is what this is about")]
        std::thread::sleep(after);
        interrupt(&mut self.host, running);
        what
    }

    /// Looks at what is there after an interruption, as the next command does.
    fn look(&mut self, action: Action, from: usize, target: usize, what: &str) {
        let said = self.host.run(&["active"]);
        let active: Vec<String> = said.out.lines().map(str::to_owned).collect();
        let found = [from, target].into_iter().find(|set| self.sets[*set].ids == active);
        match found {
            Some(set) if said.code == Some(0) => {
                self.now = set;
                let differences = self.sets[set].visible.differences(&self.host.visible());
                assert_eq!(differences, [""; 0], "{what}: set {set} is active");
            }
            _ if action == Action::Uninstall && said.code == Some(1) => {
                self.host.pkgpanda(&["uninstall"]);
                let left = Crashes::bare(&self.host);
                assert_eq!(self.bare.differences(&left), [""; 0], "{what}");
                self.begin();
            }
            _ => panic!("{what}: neither set {from} nor {target} is active: {said:?}"),
        }
    }

    fn round(&mut self, action: Action, round: u32) {
        let (from, (target, _)) = (self.now, self.target(action));
        let what = self.interrupted(action, round, |_, running| drop(running.kill()));
        self.look(action, from, target, &what);
        if action == Action::Setup {
            // Whatever was active in between: the next one finishes it.
            self.host.pkgpanda(&["setup"]);
            assert_eq!(self.host.active(), self.sets[target].ids, "{what}");
            self.now = target;
        }
    }
}

#[test]
fn a_command_that_is_killed_leaves_the_old_set_or_the_new_one() {
    let Some(mut crashes) = Crashes::boot("killed", None) else { return };
    let rounds = if is_long() { 500 } else { 20 };
    for round in 1..=rounds {
        let action = match round % 10 {
            0 => Action::Uninstall,
            1 | 4 | 7 => Action::Swap,
            5 => Action::Setup,
            _ => Action::Activate,
        };
        crashes.round(action, round);
        if round % 5 == 0 {
            // What the next command in full does, the units follow.
            let (set, _) = crashes.target(Action::Activate);
            let ids = crashes.sets[set].ids.clone();
            crashes.activate(&ids);
            crashes.now = set;
            crashes.host.units_follow_links();
        }
    }
}

#[test]
fn power_that_fails_leaves_the_old_set_or_the_new_one() {
    let Some(mut crashes) = Crashes::boot("power", Some(256)) else { return };
    let rounds = if is_long() { 40 } else { 3 };
    for round in 1..=rounds {
        let action = if round % 3 == 0 { Action::Swap } else { Action::Activate };
        let (from, (target, _)) = (crashes.now, crashes.target(action));
        let what = crashes.interrupted(action, round, |host, running| {
            host.machine.cut_power();
            drop(running);
            host.machine.boot_again().unwrap();
        });
        crashes.look(action, from, target, &what);
        crashes.host.units_follow_links();
    }
}

#[test]
fn what_was_added_outlives_a_failure_of_power() {
    let Some(mut host) = Host::with("added", Some(256), &sets::first()) else { return };
    newer_app().pack(&host.path("/srv/repository"));
    host.sh("sync -f /srv");
    host.pkgpanda(&["add", "/srv/repository/packages/app/app--2.tar.xz"]);
    host.machine.cut_power();
    host.machine.boot_again().unwrap();
    assert_eq!(host.pkgpanda(&["list"]).lines().next(), Some("app:"));
    host.pkgpanda(&["swap", "app--2"]);
    host.machine.cut_power();
    host.machine.boot_again().unwrap();
    assert_eq!(host.active(), ids(&sets::swapped()));
    assert_eq!(host.sh("/opt/mesosphere/bin/app"), "app 2");
    host.units_follow_links();
}
