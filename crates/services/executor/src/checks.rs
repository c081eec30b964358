//! When a task is checked and what a result means (Mesos: src/checks). No IO: who probes is told the
//! [`Target`] and hands back an [`Outcome`].

use std::time::Duration;

use base::Mono;
use mesos_proto::v1::{CheckInfo, CheckStatusInfo, CommandInfo, HealthCheck, check_info, check_status_info};
use mesos_proto::v1::{health_check, network_info};

/// What a check looks at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Command(CommandInfo),
    Http { port: u16, path: String, https: bool, ipv6: bool },
    Tcp { port: u16, ipv6: bool },
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command exited with this status.
    Exited(i32),
    /// The server answered with this status code.
    Status(u16),
    /// Whether a connection was made.
    Connected(bool),
    /// It could not be found out.
    Failed(String),
}

/// What follows from an outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing that anybody is told.
    Silent,
    Healthy,
    /// `kill` says that there were too many failures in a row.
    Unhealthy {
        why: String,
        kill: bool,
    },
    /// A check's result is another than before.
    Changed(CheckStatusInfo),
}

/// One health check or check of one task.
#[derive(Debug)]
pub(crate) struct Checker {
    pub(crate) target: Target,
    /// `None`: a probe may take for ever.
    pub(crate) timeout: Option<Duration>,
    /// When the next probe begins; `None` while one is under way or after [`Checker::stop`].
    pub(crate) due: Option<Mono>,
    interval: Duration,
    stopped: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Health { began: Mono, grace: Duration, allowed_failures: u32, failures: u32, initializing: bool },
    Check { previous: CheckStatusInfo },
}

fn seconds(seconds: f64) -> Duration {
    // Negative and absurd ones are refused by the master; here they must only not panic.
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn port(port: u32) -> Option<u16> {
    u16::try_from(port).ok()
}

/// Mesos takes a path without its slash.
fn path(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

impl Checker {
    /// `None` if the check says nothing that can be looked at.
    pub(crate) fn of_health(now: Mono, health: &HealthCheck) -> Option<Checker> {
        let ipv6 = |protocol| protocol == network_info::Protocol::IPv6;
        let target = match health.r#type() {
            health_check::Type::Command => Target::Command(health.command.clone()?),
            health_check::Type::Http => {
                let http = health.http.as_ref()?;
                Target::Http {
                    port: port(http.port)?,
                    path: path(http.path()),
                    https: http.scheme() == "https",
                    ipv6: ipv6(http.protocol()),
                }
            }
            health_check::Type::Tcp => {
                let tcp = health.tcp.as_ref()?;
                Target::Tcp { port: port(tcp.port)?, ipv6: ipv6(tcp.protocol()) }
            }
            health_check::Type::Unknown => return None,
        };
        let kind = Kind::Health {
            began: now,
            grace: seconds(health.grace_period_seconds()),
            allowed_failures: health.consecutive_failures(),
            failures: 0,
            initializing: true,
        };
        let (delay, interval) = (health.delay_seconds(), health.interval_seconds());
        Some(Self::new(now, target, delay, interval, health.timeout_seconds(), kind))
    }

    /// `None` if the check says nothing that can be looked at.
    pub(crate) fn of_check(now: Mono, check: &CheckInfo) -> Option<Checker> {
        let target = match check.r#type() {
            check_info::Type::Command => Target::Command(check.command.as_ref()?.command.clone()),
            check_info::Type::Http => {
                let http = check.http.as_ref()?;
                Target::Http { port: port(http.port)?, path: path(http.path()), https: false, ipv6: false }
            }
            check_info::Type::Tcp => Target::Tcp { port: port(check.tcp.as_ref()?.port)?, ipv6: false },
            check_info::Type::Unknown => return None,
        };
        let kind = Kind::Check { previous: empty_status(check.r#type()) };
        let (delay, interval) = (check.delay_seconds(), check.interval_seconds());
        Some(Self::new(now, target, delay, interval, check.timeout_seconds(), kind))
    }

    fn new(now: Mono, target: Target, delay: f64, interval: f64, timeout: f64, kind: Kind) -> Checker {
        let timeout = Some(seconds(timeout)).filter(|timeout| !timeout.is_zero());
        let due = Some(now + seconds(delay));
        Checker { target, timeout, due, interval: seconds(interval), stopped: false, kind }
    }

    /// What a failure of this check is called, in Mesos' words.
    pub(crate) fn name(&self) -> &'static str {
        match self.target {
            Target::Command(_) => "COMMAND health check",
            Target::Http { .. } => "HTTP health check",
            Target::Tcp { .. } => "TCP health check",
        }
    }

    /// No further probe begins, and a result that still comes means nothing.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.due = None;
    }

    /// Takes a probe's outcome; the next begins an interval later.
    pub(crate) fn take(&mut self, now: Mono, outcome: Outcome) -> Verdict {
        if self.stopped {
            return Verdict::Silent;
        }
        self.due = Some(now + self.interval);
        match &mut self.kind {
            Kind::Check { previous } => {
                let kind = previous.r#type();
                let status = status_of(kind, &outcome);
                if status == *previous {
                    return Verdict::Silent;
                }
                *previous = status;
                Verdict::Changed(status)
            }
            Kind::Health { began, grace, allowed_failures, failures, initializing } => {
                match failure_of(outcome) {
                    None => {
                        let news = *initializing || *failures > 0;
                        (*initializing, *failures) = (false, 0);
                        if news { Verdict::Healthy } else { Verdict::Silent }
                    }
                    // A zero grace period is none at all, also in the instant of the start.
                    Some(_) if *initializing && !grace.is_zero() && now.since(*began) <= *grace => {
                        Verdict::Silent
                    }
                    Some(why) => {
                        *failures += 1;
                        Verdict::Unhealthy { why, kill: *failures >= *allowed_failures }
                    }
                }
            }
        }
    }
}

/// A status of the right type without a result yet; every status of a checked task has one.
pub(crate) fn empty_status(kind: check_info::Type) -> CheckStatusInfo {
    let mut status = CheckStatusInfo { r#type: Some(kind as i32), ..Default::default() };
    match kind {
        check_info::Type::Command => status.command = Some(Default::default()),
        check_info::Type::Http => status.http = Some(Default::default()),
        check_info::Type::Tcp => status.tcp = Some(Default::default()),
        check_info::Type::Unknown => {}
    }
    status
}

fn status_of(kind: check_info::Type, outcome: &Outcome) -> CheckStatusInfo {
    let mut status = empty_status(kind);
    match outcome {
        Outcome::Exited(code) => status.command = Some(check_status_info::Command { exit_code: Some(*code) }),
        Outcome::Status(code) => {
            status.http = Some(check_status_info::Http { status_code: Some((*code).into()) });
        }
        Outcome::Connected(made) => status.tcp = Some(check_status_info::Tcp { succeeded: Some(*made) }),
        Outcome::Failed(_) => {}
    }
    status
}

fn failure_of(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Exited(0) | Outcome::Status(200..400) | Outcome::Connected(true) => None,
        Outcome::Exited(code) => Some(format!("Command exited with status {code}")),
        Outcome::Status(code) => Some(format!("Unexpected HTTP response code: {code}")),
        Outcome::Connected(false) => Some("TCP connection failed".to_owned()),
        Outcome::Failed(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn http_health(grace: f64, failures: u32) -> Checker {
        let health = HealthCheck {
            delay_seconds: Some(1.0),
            interval_seconds: Some(10.0),
            timeout_seconds: Some(0.0),
            consecutive_failures: Some(failures),
            grace_period_seconds: Some(grace),
            r#type: Some(health_check::Type::Http as i32),
            http: Some(health_check::HttpCheckInfo {
                port: 80,
                path: Some("up".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        Checker::of_health(at(0), &health).unwrap()
    }

    fn unhealthy(kill: bool) -> Verdict {
        Verdict::Unhealthy { why: "Unexpected HTTP response code: 500".into(), kill }
    }

    #[test]
    fn health_is_told_when_it_changes_and_kills_after_enough_failures() {
        let mut health = http_health(5.0, 2);
        assert_eq!(health.target, Target::Http { port: 80, path: "/up".into(), https: false, ipv6: false });
        assert_eq!((health.due, health.timeout), (Some(at(1)), None));
        let mut check = |time, status, expect| {
            assert_eq!(health.take(at(time), Outcome::Status(status)), expect, "at {time}");
            assert_eq!(health.due, Some(at(time + 10)));
        };
        check(2, 500, Verdict::Silent);
        check(5, 503, Verdict::Silent);
        check(6, 500, unhealthy(false));
        check(7, 399, Verdict::Healthy);
        check(8, 200, Verdict::Silent);
        check(9, 500, unhealthy(false));
        check(10, 200, Verdict::Healthy);
        check(11, 500, unhealthy(false));
        check(12, 500, unhealthy(true));
        check(13, 500, unhealthy(true));
        health.stop();
        assert_eq!(health.take(at(14), Outcome::Status(200)), Verdict::Silent);
        assert_eq!(health.due, None);
    }

    #[test]
    fn the_grace_period_ends_with_the_first_success() {
        let mut health = http_health(100.0, 1);
        assert_eq!(health.take(at(1), Outcome::Status(500)), Verdict::Silent);
        assert_eq!(health.take(at(2), Outcome::Status(200)), Verdict::Healthy);
        assert_eq!(health.take(at(3), Outcome::Status(500)), unhealthy(true));
        let mut health = http_health(0.0, 1);
        assert_eq!(health.take(at(0), Outcome::Status(500)), unhealthy(true));
    }

    #[test]
    fn a_check_tells_changes_only() {
        let command = CommandInfo { value: Some("true".into()), ..Default::default() };
        let check = CheckInfo {
            r#type: Some(check_info::Type::Command as i32),
            command: Some(check_info::Command { command }),
            ..Default::default()
        };
        let mut check = Checker::of_check(at(0), &check).unwrap();
        let exited = |code| status_of(check_info::Type::Command, &Outcome::Exited(code));
        assert_eq!(check.take(at(1), Outcome::Failed("x".into())), Verdict::Silent);
        assert_eq!(check.take(at(1), Outcome::Exited(1)), Verdict::Changed(exited(1)));
        assert_eq!(check.take(at(1), Outcome::Exited(1)), Verdict::Silent);
        assert_eq!(check.take(at(1), Outcome::Exited(0)), Verdict::Changed(exited(0)));
        let none = empty_status(check_info::Type::Command);
        assert_eq!(check.take(at(1), Outcome::Failed("x".into())), Verdict::Changed(none));
    }

    #[test]
    fn what_cannot_be_looked_at_is_no_check() {
        assert!(Checker::of_health(at(0), &HealthCheck::default()).is_none());
        assert!(Checker::of_check(at(0), &CheckInfo::default()).is_none());
        let port = Some(health_check::TcpCheckInfo { port: 70_000, protocol: None });
        let tcp =
            HealthCheck { r#type: Some(health_check::Type::Tcp as i32), tcp: port, ..Default::default() };
        assert!(Checker::of_health(at(0), &tcp).is_none());
    }
}
