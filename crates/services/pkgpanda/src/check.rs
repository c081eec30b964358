//! The checks that active packages bring: which there are, and how they come out.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use api_pkgpanda::CHECKS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The checks of one package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checks {
    /// The package.
    pub(crate) id: String,
    /// Its directory of checks.
    dir: PathBuf,
    /// The names of those that can be executed, in order.
    pub(crate) files: Vec<String>,
}

/// The checks of the packages, in the order of their ids; packages without any are left out. One that
/// is not executable is told on `err` (pkgpanda: find_checks).
pub(crate) fn find(
    packages: impl IntoIterator<Item = (String, PathBuf)>,
    err: &mut dyn Write,
) -> io::Result<Vec<Checks>> {
    let mut packages: Vec<_> = packages.into_iter().collect();
    packages.sort();
    let mut found = Vec::new();
    for (id, package) in packages {
        let dir = package.join(CHECKS);
        let mut files = Vec::new();
        for file in names(&dir)? {
            match rustix::fs::access(dir.join(&file), rustix::fs::Access::EXEC_OK) {
                Ok(()) => files.push(file),
                Err(_) => writeln!(err, "WARNING: `{file}` is not executable")?,
            }
        }
        if !files.is_empty() {
            found.push(Checks { id, dir, files });
        }
    }
    Ok(found)
}

/// The names of the files in a directory of checks, sorted; none if there is no such directory.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Data that checks read may lie in directories.
        if !entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Prints the checks, each below its package (pkgpanda: list_checks).
pub(crate) fn print(checks: &[Checks], out: &mut dyn Write) -> io::Result<()> {
    for Checks { id, files, .. } in checks {
        writeln!(out, "{id}")?;
        files.iter().try_for_each(|file| writeln!(out, " - {file}"))?;
    }
    Ok(())
}

/// Runs all checks, with this process's standard streams, and prints those that failed (pkgpanda:
/// run_checks); why one could not be run is told on `err`. Says whether all passed.
pub(crate) fn run(checks: &[Checks], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let mut passed = true;
    for Checks { dir, files, .. } in checks {
        for file in files {
            // What was printed before stands before what the check prints.
            out.flush()?;
            let ended = run_one(&dir.join(file), TIMEOUT);
            if let Ok(Some(status)) = &ended
                && status.success()
            {
                continue;
            }
            passed = false;
            writeln!(out, "Check failed: {file}")?;
            match ended {
                Ok(Some(_)) => {}
                Ok(None) => writeln!(err, "`{file}` did not end within {} s", TIMEOUT.as_secs())?,
                Err(error) => writeln!(err, "`{file}` could not be run: {error}")?,
            }
        }
    }
    Ok(passed)
}

/// How a check ended; none if it took too long and was killed.
fn run_one(path: &Path, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = Command::new(path).stdin(Stdio::inherit()).spawn()?;
    let ended = ends_within(&child, timeout);
    if !matches!(ended, Ok(true)) {
        // It may have ended by now, which is fine.
        let _ = child.kill();
    }
    let status = child.wait()?;
    Ok(ended?.then_some(status))
}

fn ends_within(child: &Child, timeout: Duration) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("the kernel's pids are positive");
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, content: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn all_checks_run_and_the_failed_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let package = |name: &str| dir.path().join(name);
        write(&package("a--1").join("check/2-fails"), "#!/bin/sh\nexit 3\n", 0o755);
        write(&package("a--1").join("check/1-broken"), "#!/no/such/interpreter\n", 0o755);
        write(&package("a--1").join("check/3-notes"), "", 0o644);
        write(&package("a--1").join("check/data/x"), "", 0o644);
        write(&package("b--1").join("check/ok"), "#!/bin/sh\ntouch \"$0.ran\"\n", 0o755);
        write(&package("c--1").join("check/notes"), "", 0o644);
        fs::create_dir(package("d--1")).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ids = ["d--1", "c--1", "b--1", "a--1"].map(|id| (id.to_owned(), package(id)));
        let checks = find(ids, &mut err).unwrap();
        let warnings = "WARNING: `3-notes` is not executable\nWARNING: `notes` is not executable\n";
        assert_eq!(String::from_utf8(std::mem::take(&mut err)).unwrap(), warnings);
        print(&checks, &mut out).unwrap();
        let list = "a--1\n - 1-broken\n - 2-fails\nb--1\n - ok\n";
        assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), list);
        assert!(!run(&checks, &mut out, &mut err).unwrap());
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        assert_eq!(out, "Check failed: 1-broken\nCheck failed: 2-fails\n");
        assert!(err.starts_with("`1-broken` could not be run: No such file"), "{err}");
        assert!(package("b--1").join("check/ok.ran").exists(), "one that cannot be run ends the rest");
        assert!(run(&checks[1..], &mut Vec::new(), &mut Vec::new()).unwrap());
    }

    #[test]
    fn a_check_that_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hangs");
        write(&path, "#!/bin/sh\nexec sleep 3600\n", 0o755);
        assert!(run_one(&path, Duration::from_millis(200)).unwrap().is_none());
    }
}
