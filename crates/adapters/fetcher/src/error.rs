//! Why a fetch failed, in the words that a user sees as the reason of a failed task.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A URI that could not be fetched. Nothing of its file is in the sandbox.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {uri}: {problem}")]
pub struct FetchError {
    /// The URI without credentials.
    pub uri: String,
    /// What happened.
    pub problem: Problem,
}

/// What happened to a fetch.
#[derive(Debug)]
pub enum Problem {
    /// The URI, or what is said beside it, is wrong.
    Invalid(String),
    /// No answer came, or not to its end, as often as it was tried.
    Web {
        /// The last failure.
        error: web_client::Error,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server refused.
    Status {
        /// Its status line, as `404 Not Found`.
        status: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// What the server has became something else again and again, while it was downloaded.
    Changes {
        /// How often it was tried.
        attempts: u32,
    },
    /// There is more than the disk may take.
    NoSpace {
        /// Bytes that are needed, where known.
        needed: Option<u64>,
        /// Bytes that may be taken.
        free: u64,
        /// Of which disk.
        directory: PathBuf,
    },
    /// The bytes are not the promised ones.
    Sha256 {
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// A local file cannot be read.
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is to be read is not a file.
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The archive was fetched, but not extracted.
    Extract {
        /// Why.
        error: archive::Error,
    },
    /// The agent could not store it.
    Store {
        /// What was attempted, and on what.
        attempt: String,
        /// Why.
        source: io::Error,
    },
    /// The agent could not make the file in the sandbox.
    Place {
        /// Why.
        error: archive::Error,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Invalid(what) => f.write_str(what),
            Problem::Web { error, attempts } => {
                // The error's text begins with the URL, which stands before it already.
                let text = error.to_string();
                let start = text.find("://").and_then(|at| Some(at + text[at..].find(": ")? + 2));
                f.write_str(&text[start.unwrap_or(0)..])?;
                tried(*attempts, f)
            }
            Problem::Status { status, attempts } => {
                write!(f, "the server answered {status}")?;
                tried(*attempts, f)
            }
            Problem::Changes { attempts } => {
                f.write_str("it changes on the server while it is downloaded")?;
                tried(*attempts, f)
            }
            Problem::NoSpace { needed, free, directory } => {
                match needed {
                    Some(needed) => write!(f, "it has {}, but only {}", size(*needed), size(*free))?,
                    None => write!(f, "it has more than the {} that", size(*free))?,
                }
                let verb = if needed.is_some() { "may" } else { "may still" };
                write!(f, " {verb} be written to the disk of {}", directory.display())
            }
            Problem::Sha256 { expected, found } => {
                write!(f, "its SHA-256 is {found}, but should be {expected}")
            }
            Problem::Source { path, source } => write!(f, "{} cannot be read: {source}", path.display()),
            Problem::NotAFile { path, kind } => write!(f, "{} is a {kind}, not a file", path.display()),
            Problem::Extract { error } => {
                write!(f, "the archive cannot be extracted: {}", base::with_causes(error))
            }
            Problem::Store { attempt, source } => write!(f, "{attempt}: {source}"),
            Problem::Place { error } => {
                write!(f, "the file cannot be made in the sandbox: {}", base::with_causes(error))
            }
        }
    }
}

fn tried(attempts: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if attempts > 1 { write!(f, " (tried {attempts} times)") } else { Ok(()) }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

/// The cache's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("use {} as the fetcher's cache", .path.display())]
pub struct OpenError {
    /// The directory, or a file in it.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        let check = |bytes, expect: &str| assert_eq!(size(bytes), expect);
        check(0, "0 bytes");
        check(1023, "1023 bytes");
        check(1536, "1.5 KiB");
        check(3 << 30, "3.0 GiB");
        check(u64::MAX, "16384.0 PiB");
    }

    #[test]
    fn urls_stand_once() {
        let url: web_client::Url = "http://me:pw@h:80/a".parse().unwrap();
        let error = web_client::Error::Name { url, host: "h".into(), why: "no such name".into() };
        let error = FetchError { uri: "http://h:80/a".into(), problem: Problem::Web { error, attempts: 2 } };
        let expect =
            "cannot fetch http://h:80/a: the name 'h' cannot be resolved: no such name (tried 2 times)";
        assert_eq!(error.to_string(), expect);
    }
}
