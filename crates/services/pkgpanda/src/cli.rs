//! The commands of `pkgpanda`: their words, their output, their exit codes.

mod arguments;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use api_pkgpanda::PackageId;
use arguments::{Asked, Command};

use crate::activate::Afterwards;
use crate::fetch::{Fetcher, Origin, tell_replaced};
use crate::repository::{Added, Repository, Verification};
use crate::{Config, Error, activate, bootstrap, check, install, remove, session, setup, uninstall};

/// Where a command writes.
pub struct Streams<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
    /// Whether somebody watches `out` being written.
    pub is_terminal: bool,
}

/// Runs a command line, without the program's name, as a process of its own does: with the usual file mode
/// mask, on the standard streams.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let words: Vec<OsString> = words.collect();
    // Where the directory was removed, only relative paths are wrong, and become so.
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let mut out = BufWriter::new(io::stdout().lock());
    let is_terminal = io::stdout().is_terminal();
    let streams = Streams { out: &mut out, err: &mut io::stderr(), is_terminal };
    ExitCode::from(run(&words, &directory, &Config::default(), streams))
}

/// Runs a command line, without the program's name, and returns its exit code: 0 or 1. Relative paths are
/// taken against `directory`; where no option says otherwise, the command works on `usual`.
///
/// Checks have the standard streams of this process.
pub fn run(words: &[OsString], directory: &Path, usual: &Config, mut streams: Streams<'_>) -> u8 {
    let mut hint = None;
    let ended = match arguments::parse(words, directory, usual) {
        Asked::Help => streams.out.write_all(arguments::help().as_bytes()).map(|()| 0).map_err(Error::from),
        Asked::Bad(what) => {
            let line = if what.is_empty() { String::new() } else { format!("{what}\n") };
            say(streams.err, &format!("{line}{}", arguments::USAGE));
            return 1;
        }
        Asked::Run(command, config) => {
            let ended = dispatch(command, &config, directory, &mut streams);
            hint = ended.as_ref().err().and_then(|error| error.hint(&config));
            ended
        }
    };
    match ended.and_then(|code| Ok(streams.out.flush().map(|()| code)?)) {
        Ok(code) => code,
        // Whoever does not read on needs to hear nothing.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => 1,
        Err(error) => {
            // In the order in which things happened, where both go to one place.
            let _ = streams.out.flush();
            say(streams.err, &format!("{}{}\n", error.prefix(), base::with_causes(&error)));
            if let Some(hint) = hint {
                say(streams.err, &format!("{hint}\n"));
            }
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
    directory: &Path,
    streams: &mut Streams<'_>,
) -> Result<u8, Error> {
    let Streams { out, err, is_terminal } = streams;
    let repository = Repository::new(&config.repository);
    match command {
        Command::Activate { ids, check } => activate::activate(config, &ids, afterwards(check), out, err)?,
        Command::Swap { id, check } => activate::swap(config, &id, afterwards(check), out, err)?,
        Command::Rollback => activate::rollback(config, err)?,
        Command::Active => {
            session::settle(config, err)?;
            for id in install::active(config)? {
                writeln!(out, "{id}")?;
            }
        }
        Command::Fetch { repository_url, ids } => {
            session::settle(config, err)?;
            let ids = ids.iter().map(|id| id.parse()).collect::<Result<Vec<PackageId>, _>>()?;
            let origin = Origin::parse(&repository_url, directory)?;
            Fetcher::from_environment().fetch_all(&repository, &origin, &ids, *is_terminal, out, err)?;
        }
        Command::Add { tarball } => {
            session::settle(config, err)?;
            match repository.add(&directory.join(tarball))? {
                (_, Added::New) => {}
                (_, Added::Already) => writeln!(out, "Package already added.")?,
                (id, Added::Replaced) => tell_replaced(&id, err),
            }
        }
        Command::List => {
            session::settle(config, err)?;
            list(&repository.list()?, out)?;
        }
        Command::Remove { ids } => remove::remove(config, &ids, out, err)?,
        Command::Verify { ids } => return verify(config, &repository, &ids, out, err),
        Command::Bootstrap(request) => bootstrap::bootstrap(config, &request, out, err)?,
        Command::Setup => setup::setup(config, directory, out, err)?,
        Command::Uninstall => uninstall::uninstall(config, out, err)?,
        Command::Check { list } => return checks(list, config, out, err),
    }
    Ok(0)
}

fn afterwards(check: bool) -> Afterwards {
    match check {
        true => Afterwards::Check,
        false => Afterwards::Nothing,
    }
}

/// Prints ids, those of one name below it if there are several (pkgpanda: print_repo_list).
fn list(ids: &[PackageId], out: &mut dyn Write) -> io::Result<()> {
    for of_name in ids.chunk_by(|one, next| one.name() == next.name()) {
        match of_name {
            [id] => writeln!(out, "{id}")?,
            several => {
                writeln!(out, "{}:", several[0].name())?;
                several.iter().try_for_each(|id| writeln!(out, "  {}", id.version()))?;
            }
        }
    }
    Ok(())
}

fn checks(list: bool, config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Error> {
    session::settle(config, err)?;
    let checked = session::generation(config);
    let checks = activate::checks(config, err)?;
    if list {
        check::print(&checks, out)?;
        return Ok(0);
    }
    let passed = check::run(&checks, out, err)?;
    if passed {
        session::prove(config, checked);
    }
    Ok(u8::from(!passed))
}

/// Compares packages, all if none is named, with what their manifests list.
fn verify(
    config: &Config,
    repository: &Repository,
    ids: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Error> {
    session::settle(config, err)?;
    let ids = if ids.is_empty() { repository.list()? } else { activate::parse(ids)? };
    let mut damaged = 0;
    for id in &ids {
        match repository.verify(id)? {
            Verification::Whole { entries, bytes } => {
                writeln!(out, "{id}: whole ({entries} entries, {bytes} bytes)")?
            }
            Verification::NoManifest => writeln!(out, "{id}: has no manifest to be compared with")?,
            Verification::Damaged(differences) => {
                damaged += 1;
                writeln!(out, "{id}: damaged")?;
                differences.iter().try_for_each(|difference| writeln!(out, "  {difference}"))?;
            }
        }
        out.flush()?;
    }
    if damaged > 0 {
        out.flush()?;
        let all = ids.len();
        writeln!(
            err,
            "{damaged} of {all} packages are damaged: `pkgpanda fetch --repository-url=URL ID` or \
             `pkgpanda add ID.tar.xz` replaces each, active or not"
        )?;
    }
    Ok(u8::from(damaged > 0))
}
