use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use host::{Ran, RunError};

use crate::{SystemdError, Unit, UnitFailure, unit};

/// How long a call may take that waits for no unit.
const PROMPT: Duration = Duration::from_secs(60);

/// How long a call may take that waits for units, unless the caller says otherwise. systemd gives a
/// single unit 90 seconds to start or stop by default, and units wait for one another.
const PATIENCE: Duration = Duration::from_secs(600);

/// How many lines of a unit's journal explain its failure.
const JOURNAL_LINES: &str = "10";

/// `systemctl stop`: there is no such unit (any more).
const NOT_LOADED: i32 = 5;

/// Whether a call waits until the units have become what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Until they have, or have failed to.
    UntilDone,
    /// Not: it is only asked for.
    Not,
}

/// The machine as a whole, as `systemctl is-system-running` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemState {
    /// All is up.
    Running,
    /// All is up but the units that have failed.
    Degraded,
    /// Anything else: `starting`, `stopping`, `maintenance`, `offline`.
    Other(String),
}

/// systemd of a machine. Its default is this one.
#[derive(Clone, Debug)]
pub struct Systemd {
    prefix: Vec<OsString>,
    patience: Duration,
}

impl Default for Systemd {
    fn default() -> Self {
        Systemd::of([])
    }
}

impl Systemd {
    /// systemd of the machine on which `prefix` runs a program, such as `nsenter --target PID --all --`.
    pub fn of(prefix: impl IntoIterator<Item = OsString>) -> Systemd {
        Systemd { prefix: prefix.into_iter().collect(), patience: PATIENCE }
    }

    /// With another limit for calls that wait for units.
    pub fn with_patience(self, patience: Duration) -> Systemd {
        Systemd { patience, ..self }
    }

    /// Whether systemd has booted this machine (sd_booted(3)).
    pub fn is_here() -> bool {
        Path::new("/run/systemd/system").is_dir()
    }

    /// Makes systemd read its unit files again.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn daemon_reload(&self) -> Result<(), SystemdError> {
        self.ask("reload unit files", &["daemon-reload"], &[], Block::Not).map(drop)
    }

    /// Makes a unit start with the machine, as its `[Install]` section says. Unit files are not read again.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn enable(&self, unit: &str) -> Result<(), SystemdError> {
        self.ask("enable", &["enable", "--no-reload", "--quiet"], &[unit], Block::Not).map(drop)
    }

    /// Makes a unit no longer start with the machine. Fine if its file is gone. Unit files are not read
    /// again.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn disable(&self, unit: &str) -> Result<(), SystemdError> {
        match self.ask("disable", &["disable", "--no-reload", "--quiet"], &[unit], Block::Not) {
            Err(SystemdError::Refused { said, .. }) if said.contains("does not exist") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Starts units. When it waits for a target, it waits for what the target wants, too, but tells no
    /// failures of that: see [`Self::failures`].
    ///
    /// # Errors
    /// [`SystemdError::Failed`] if any of `units` does not start.
    pub fn start(&self, units: &[&str], block: Block) -> Result<(), SystemdError> {
        self.bring_up("start", units, block)
    }

    /// Stops and starts units; those that do not run are started.
    ///
    /// # Errors
    /// [`SystemdError::Failed`] if any of `units` does not start.
    pub fn restart(&self, units: &[&str], block: Block) -> Result<(), SystemdError> {
        self.bring_up("restart", units, block)
    }

    /// Stops units. What systemd does not know is stopped.
    ///
    /// # Errors
    /// [`SystemdError::Failed`] if it waits and any of `units` still runs.
    pub fn stop(&self, units: &[&str], block: Block) -> Result<(), SystemdError> {
        if units.is_empty() {
            return Ok(());
        }
        match self.ask("stop", &["stop"], units, block) {
            // One unknown unit hides in the exit code whether the others were stopped.
            Err(SystemdError::Refused { attempted, code: NOT_LOADED, .. }) => {
                let wrong = |unit: &Unit| match block {
                    Block::UntilDone => !matches!(unit.active.as_str(), "inactive" | "failed"),
                    Block::Not => unit.is_active(),
                };
                self.must_be_none(attempted, self.failing(units, wrong)?)
            }
            other => other.map(drop),
        }
    }

    /// Forgets that units have failed, so that they no longer make the machine `degraded` nor a start
    /// hit its limit. Fine if systemd does not know them.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn reset_failed(&self, units: &[&str]) -> Result<(), SystemdError> {
        if units.is_empty() {
            return Ok(());
        }
        match self.ask("reset", &["reset-failed"], units, Block::Not) {
            Err(SystemdError::Refused { said, .. }) if said.contains("not loaded") => Ok(()),
            other => other.map(drop),
        }
    }

    /// The states of units, in the order asked for. A unit that systemd does not know has the load
    /// state `not-found`.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn states(&self, units: &[&str]) -> Result<Vec<Unit>, SystemdError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let properties = format!("--property={}", unit::PROPERTIES);
        let ran = self.ask("show", &["show", &properties], units, Block::Not)?;
        let said = String::from_utf8_lossy(&ran.stdout);
        let states = Unit::read(&said);
        if states.len() == units.len() {
            return Ok(states);
        }
        Err(SystemdError::Unclear { attempted: attempt("show", units), said: said.into_owned() })
    }

    /// The state of one unit.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn state(&self, unit: &str) -> Result<Unit, SystemdError> {
        Ok(self.states(&[unit])?.remove(0))
    }

    /// Those of `units` that have failed, with the ends of their journals.
    ///
    /// # Errors
    /// As [`SystemdError`] says.
    pub fn failures(&self, units: &[&str]) -> Result<Vec<UnitFailure>, SystemdError> {
        self.failing(units, Unit::has_failed)
    }

    /// The state of the machine as a whole.
    ///
    /// # Errors
    /// As [`SystemdError`] says; that something has failed is no error here.
    pub fn is_system_running(&self) -> Result<SystemState, SystemdError> {
        let attempted = "ask for the state of the system";
        let ran = self.run(attempted, "systemctl", &["is-system-running"], &[], PROMPT)?;
        match String::from_utf8_lossy(&ran.stdout).trim() {
            "running" => Ok(SystemState::Running),
            "degraded" => Ok(SystemState::Degraded),
            "" => Err(SystemdError::Refused {
                attempted: attempted.to_owned(),
                code: ran.code(),
                said: ran.last_lines(5),
            }),
            other => Ok(SystemState::Other(other.to_owned())),
        }
    }

    fn bring_up(&self, verb: &str, units: &[&str], block: Block) -> Result<(), SystemdError> {
        if units.is_empty() {
            return Ok(());
        }
        match self.ask(verb, &[verb], units, block) {
            Err(refused @ SystemdError::Refused { .. }) => {
                let failures = self.failing(units, |unit| !unit.is_active())?;
                if failures.is_empty() {
                    return Err(refused);
                }
                self.must_be_none(attempt(verb, units), failures)
            }
            other => other.map(drop),
        }
    }

    fn must_be_none(&self, attempted: String, failures: Vec<UnitFailure>) -> Result<(), SystemdError> {
        if failures.is_empty() { Ok(()) } else { Err(SystemdError::Failed { attempted, failures }) }
    }

    fn failing(
        &self,
        units: &[&str],
        wrong: impl Fn(&Unit) -> bool,
    ) -> Result<Vec<UnitFailure>, SystemdError> {
        let failing: Vec<Unit> = self.states(units)?.into_iter().filter(wrong).collect();
        if !failing.is_empty() {
            // What the units have said just now is to be seen; where it cannot be, the rest is.
            let _ = self.run("sync the journal", "journalctl", &["--sync"], &[], PROMPT);
        }
        Ok(failing.into_iter().map(|unit| UnitFailure { journal: self.journal(&unit.name), unit }).collect())
    }

    /// The end of a unit's journal; the reason if it cannot be read, since this only explains another
    /// failure.
    fn journal(&self, unit: &str) -> Vec<String> {
        let arguments = ["--no-pager", "--quiet", "--output=cat", "--lines", JOURNAL_LINES, "--unit", unit];
        match self.run("read the journal", "journalctl", &arguments, &[], PROMPT) {
            Ok(ran) if ran.status.success() => {
                String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect()
            }
            Ok(ran) => vec![format!("(journalctl ended with {}: {})", ran.code(), ran.last_lines(1))],
            Err(error) => vec![format!("(the journal could not be read: {error})")],
        }
    }

    /// Asks `systemctl` and wants it to succeed.
    fn ask(&self, verb: &str, arguments: &[&str], units: &[&str], block: Block) -> Result<Ran, SystemdError> {
        let waits = matches!(arguments[0], "start" | "restart" | "stop");
        let mut arguments = arguments.to_vec();
        let timeout = match block {
            Block::UntilDone => self.patience,
            Block::Not => PROMPT,
        };
        if waits && block == Block::Not {
            arguments.push("--no-block");
        }
        let attempted = attempt(verb, units);
        let ran = self.run(&attempted, "systemctl", &arguments, units, timeout)?;
        if ran.status.success() {
            return Ok(ran);
        }
        Err(SystemdError::Refused { attempted, code: ran.code(), said: ran.last_lines(5) })
    }

    fn run(
        &self,
        attempted: &str,
        program: &str,
        arguments: &[&str],
        units: &[&str],
        timeout: Duration,
    ) -> Result<Ran, SystemdError> {
        let mut words = self.prefix.iter().map(OsString::as_os_str).chain([OsStr::new(program)]);
        let mut command = Command::new(words.next().expect("the program is there"));
        command.args(words).args(arguments);
        if !units.is_empty() {
            command.arg("--").args(units);
        }
        command.env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0").env("LC_ALL", "C").current_dir("/");
        let ran: Result<Ran, RunError> = host::run(&mut command, timeout);
        ran.map_err(|source| SystemdError::Run { attempted: attempted.to_owned(), source })
    }
}

fn attempt(verb: &str, units: &[&str]) -> String {
    match units {
        [] => verb.to_owned(),
        units => format!("{verb} {}", units.join(" ")),
    }
}
