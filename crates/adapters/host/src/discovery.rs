use std::net::IpAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::{RunError, run};

/// How long the command may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many lines of what it said are told when it fails.
const LINES: usize = 5;

/// Why a command did not tell this machine's address.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// It did not run to its end.
    #[error("the command {command:?}, which is to tell this machine's address")]
    Run {
        /// The command.
        command: String,
        /// Why.
        source: RunError,
    },
    /// It failed.
    #[error("the command {command:?}, which is to tell this machine's address, failed ({status}): {said}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        said: String,
    },
    /// It told something else.
    #[error("the command {command:?} printed {found:?}, allowed is one IP address")]
    NoAddress {
        /// The command.
        command: String,
        /// What it printed.
        found: String,
    },
}

/// The address of this machine that a shell command prints, as Mesos' `--ip_discovery_command` and DC/OS'
/// `detect_ip` do. Waits for its end, 30 seconds at most.
///
/// # Errors
/// See [`DiscoveryError`].
pub fn discover_address(command: &str) -> Result<IpAddr, DiscoveryError> {
    discover(command, TIMEOUT)
}

fn discover(command: &str, timeout: Duration) -> Result<IpAddr, DiscoveryError> {
    let named = || command.to_owned();
    let ran = run(Command::new("/bin/sh").args(["-c", command]), timeout)
        .map_err(|source| DiscoveryError::Run { command: named(), source })?;
    if !ran.status.success() {
        let (status, said) = (ran.status, ran.last_lines(LINES));
        return Err(DiscoveryError::Failed { command: named(), status, said });
    }
    let found = String::from_utf8_lossy(&ran.stdout);
    let found = found.trim();
    found.parse().map_err(|_| DiscoveryError::NoAddress { command: named(), found: found.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_the_command_prints() {
        let check = |command: &str, expected: &str| {
            let found = discover(command, Duration::from_millis(300));
            let text = found.map_or_else(|error| error.to_string(), |address| address.to_string());
            assert!(text.contains(expected), "{command}: {text}");
        };
        check("echo 10.0.0.7", "10.0.0.7");
        check("printf ' ::1\n\n'", "::1");
        check("echo a; echo b", "printed \"a\\nb\", allowed is one IP address");
        check("echo no route >&2; exit 3", "failed (exit status: 3): no route");
        let late = discover("sleep 30", Duration::from_millis(300));
        assert!(matches!(late, Err(DiscoveryError::Run { source: RunError::TimedOut { .. }, .. })));
    }
}
