//! Logs of all components: lines of text to standard error, or to one file of bounded size for each
//! component.
//!
//! Which lines are written is said by `DCOS_LOG`: a level (`info`), and levels of their own for crates
//! or modules (`warn,master=debug`). A component's lines are those within its span, which
//! [`component`] makes. Deliberately absent: traces, metrics, shipping of logs.

mod file;
mod filter;
mod sink;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use file::LogFile;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To standard error, where a unit's journal takes them.
    Stderr,
    /// To standard error, and to the end of this file, too: it is made if it is missing, and whoever
    /// looks after it may cut it off while it is written.
    StderrAndFile(PathBuf),
    /// To `<directory>/<component>.log` for the lines within a component's span, to
    /// `<directory>/dcos.log` for others.
    Directory(PathBuf),
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `DCOS_LOG` is no filter.
    #[error(
        "DCOS_LOG is {value:?}, in which {part:?} is no filter: allowed are error, warn, info, debug, trace, off, \
         and one of them for a part of the program, as in warn,master=debug"
    )]
    Filter {
        /// What was found.
        value: String,
        /// What of it is wrong.
        part: String,
    },
    /// The directory could not be made.
    #[error("make the log directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file could not be opened.
    #[error("open the log file {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process has a subscriber already.
    #[error("set up logging")]
    Init(#[source] TryInitError),
}

/// Sends this process' log lines to `output`. `filter` is the value of `DCOS_LOG`; without it `info`
/// and above is written. To be called once, by the binary. What is returned makes the log more verbose than
/// that: 0 as `filter` says, 1 with `debug` of what it does not name, above that with `trace`.
///
/// # Errors
/// See [`Error`].
pub fn init(output: Output, filter: Option<&str>) -> Result<impl Fn(u32) + Send + Sync + 'static, Error> {
    let usual = filter::parse(filter.unwrap_or_default())?;
    let (filtered, handle) = reload::Layer::new(usual.clone());
    let registry = tracing_subscriber::registry().with(filtered);
    let result = match output {
        Output::Stderr => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal())
                .with_span_events(FmtSpan::NONE);
            registry.with(lines).try_init()
        }
        Output::StderrAndFile(path) => {
            let file = file::append(&path).map_err(|source| Error::File { path, source })?;
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr.and(Arc::new(file)))
                .with_ansi(false)
                .with_span_events(FmtSpan::NONE);
            registry.with(lines).try_init()
        }
        Output::Directory(path) => {
            std::fs::create_dir_all(&path)
                .map_err(|source| Error::Directory { path: path.clone(), source })?;
            registry.with(sink::Sink::new(path)).try_init()
        }
    };
    result.map_err(Error::Init)?;
    Ok(move |level| {
        // The subscriber lives as long as the process, so that this cannot fail.
        let _ = handle.reload(filter::louder(&usual, level));
    })
}

/// The file that the lines of the component `name` go to with [`Output::Directory`].
pub fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{}.log", sink::file_name(name)))
}

/// The span of a component's lines. A service's future is to be instrumented with it.
pub fn component(name: &str) -> tracing::Span {
    tracing::error_span!(target: sink::TARGET, "component", name)
}
