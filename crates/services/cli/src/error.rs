//! What a command failed at.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::output;

/// The exit code of a program whose reader went away, as a shell shows it for SIGPIPE.
const CLOSED: u8 = 128 + 13;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Error {
    kind: Kind,
    /// What the user does next, a sentence or a command.
    next: Option<String>,
}

#[derive(Debug)]
enum Kind {
    /// Said in full.
    Said(String),
    /// The cluster answered with this status and text.
    Status(u16, String),
    /// Whoever reads stdout went away.
    Closed,
}

impl Error {
    /// What failed, as a sentence without its full stop.
    pub(crate) fn new(what: impl Into<String>) -> Error {
        Error { kind: Kind::Said(what.into()), next: None }
    }

    /// The cluster refused with this status; `what` is what it said.
    pub(crate) fn status(status: u16, what: impl Into<String>) -> Error {
        Error { kind: Kind::Status(status, what.into()), next: None }
    }

    /// The same with what the user does next.
    pub(crate) fn hint(mut self, next: impl Into<String>) -> Error {
        self.next = Some(next.into());
        self
    }

    /// The status that the cluster answered with, if that is what went wrong.
    pub(crate) fn http_status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status(status, _) => Some(status),
            _ => None,
        }
    }

    /// Whether it is nothing but a reader that went away.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.kind, Kind::Closed)
    }

    /// Says it on stderr; a reader that went away needs to hear nothing.
    pub(crate) fn report(&self) -> ExitCode {
        if let Kind::Closed = self.kind {
            return ExitCode::from(CLOSED);
        }
        output::say(&format!("Error: {self}"));
        ExitCode::FAILURE
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Said(what) | Kind::Status(_, what) => f.write_str(what)?,
            Kind::Closed => f.write_str("the output was closed")?,
        }
        match &self.next {
            Some(next) => write!(f, "\n{next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Error { kind: Kind::Closed, next: None },
            _ => Error::new(error.to_string()),
        }
    }
}
