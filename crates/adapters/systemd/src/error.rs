use std::fmt;

use crate::Unit;

/// Why systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// A program of systemd could not be run or did not end in time. What was asked for may go on.
    #[error("{attempted}")]
    Run {
        /// What was attempted, on which units.
        attempted: String,
        /// What came of the program.
        source: host::RunError,
    },
    /// systemd refused.
    #[error("{attempted}: systemctl ended with {code}: {said}")]
    Refused {
        /// What was attempted, on which units.
        attempted: String,
        /// The exit code of `systemctl`.
        code: i32,
        /// The last lines it said.
        said: String,
    },
    /// Units did not start, or did not stop.
    #[error("{attempted}:{}", list(.failures))]
    Failed {
        /// What was attempted.
        attempted: String,
        /// Each unit that is not as it was wanted.
        failures: Vec<UnitFailure>,
    },
    /// What `systemctl` said cannot be understood.
    #[error("{attempted}: systemctl said {said:?}")]
    Unclear {
        /// What was attempted.
        attempted: String,
        /// What it said.
        said: String,
    },
}

/// A unit that is not as it should be, with what explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFailure {
    /// The unit.
    pub unit: Unit,
    /// The last lines of its journal, oldest first.
    pub journal: Vec<String>,
}

impl fmt::Display for UnitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unit { name, load, active, sub, result, ended, .. } = &self.unit;
        write!(f, "{name} is {active} ({sub})")?;
        if load != "loaded" {
            write!(f, ", unit file {load}")?;
        }
        if !matches!(result.as_str(), "" | "success") {
            write!(f, ", result {result}")?;
        }
        if let Some(ended) = ended {
            write!(f, ", main process {ended}")?;
        }
        if self.journal.is_empty() {
            return Ok(());
        }
        write!(f, "; its journal ends:")?;
        self.journal.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

fn list(failures: &[UnitFailure]) -> String {
    failures.iter().map(|failure| format!("\n  {failure}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_state_result_and_journal() {
        let check = |unit: Unit, journal: &[&str], text: &str| {
            let journal = journal.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(UnitFailure { unit, journal }.to_string(), text);
        };
        let unit = Unit {
            name: "a.service".into(),
            load: "loaded".into(),
            active: "failed".into(),
            sub: "failed".into(),
            result: "exit-code".into(),
            ended: Some("exited 3".into()),
            ..Unit::default()
        };
        let said = "a.service is failed (failed), result exit-code, main process exited 3; its journal ends:\n    one\n    two";
        check(unit.clone(), &["one", "two"], said);
        let missing = Unit {
            load: "not-found".into(),
            active: "inactive".into(),
            sub: "dead".into(),
            ..Unit::default()
        };
        check(
            Unit { name: "b.service".into(), ..missing },
            &[],
            "b.service is inactive (dead), unit file not-found",
        );
        let error = SystemdError::Failed {
            attempted: "start a.service".into(),
            failures: vec![UnitFailure { unit, journal: vec!["one".into()] }],
        };
        assert!(error.to_string().starts_with("start a.service:\n  a.service is failed"), "{error}");
    }
}
