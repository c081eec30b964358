//! The commands of `pkgpanda`: their words, their output, their exit codes.

mod arguments;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use arguments::{Asked, Command};

use crate::{Config, Error, check, install};

/// Runs a command line, without the program's name, as a process of its own does: with the usual file mode
/// mask, on the standard streams.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let words: Vec<OsString> = words.collect();
    // Where the directory was removed, only relative paths are wrong, and become so.
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let mut out = BufWriter::new(io::stdout().lock());
    let code = run(&words, &directory, &Config::default(), &mut out, &mut io::stderr());
    ExitCode::from(code)
}

/// Runs a command line, without the program's name, and returns its exit code: 0 or 1. Relative paths are
/// taken against `directory`; where no option says otherwise, the command works on `usual`.
///
/// What was asked for goes to `out`, everything else to `err`. Checks and other programs have the standard
/// streams of this process.
pub fn run(
    words: &[OsString],
    directory: &Path,
    usual: &Config,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let ended = match arguments::parse(words, directory, usual) {
        Asked::Help => out.write_all(arguments::help().as_bytes()).map(|()| 0).map_err(Error::from),
        Asked::Bad(what) => {
            let line = if what.is_empty() { String::new() } else { format!("{what}\n") };
            say(err, &format!("{line}{}", arguments::USAGE));
            return 1;
        }
        Asked::Run(command, config) => dispatch(command, &config, out, err),
    };
    match ended.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => code,
        // Whoever does not read on needs to hear nothing.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 1,
        Err(error) => {
            // In the order in which things happened, where both go to one place.
            let _ = out.flush();
            say(err, &format!("{}{}\n", error.prefix(), base::with_causes(&error)));
            1
        }
    }
}

/// Says something beside the output. What cannot be said is lost.
fn say(err: &mut dyn Write, text: &str) {
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn dispatch(
    command: Command,
    config: &Config,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Error> {
    match command {
        Command::Active => {
            for id in install::active(config)? {
                writeln!(out, "{id}")?;
            }
            Ok(0)
        }
        Command::Check { list } => checks(list, config, out, err),
        _ => Ok(1),
    }
}

fn checks(list: bool, config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Error> {
    let packages =
        install::active(config)?.into_iter().map(|id| (id.clone(), install::package_dir(config, &id)));
    let checks = check::find(packages, err)?;
    if list {
        check::print(&checks, out)?;
        return Ok(0);
    }
    let passed = check::run(&checks, out, err)?;
    Ok(u8::from(!passed))
}
