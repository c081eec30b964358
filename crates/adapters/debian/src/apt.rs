use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use host::Ran;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// How long apt may look through its lists.
const ASK: Duration = Duration::from_secs(120);
/// How long it may fetch new lists.
const REFRESH: Duration = Duration::from_secs(600);
/// How long it may download packages.
const DOWNLOAD: Duration = Duration::from_secs(1800);
/// Where this machine's apt keeps its lists.
const HOST_LISTS: &str = "/var/lib/apt/lists";
/// The lines of apt that an error shows.
const LINES: usize = 6;

/// One package of the archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deb {
    /// Its name, such as `libc6`.
    pub package: String,
    /// Its version, with the epoch.
    pub version: String,
    /// `amd64`, or `all`.
    pub architecture: String,
    /// The SHA-256 of its file, 64 digits.
    pub sha256: String,
    /// Bytes of its file.
    pub size: u64,
}

impl Deb {
    /// The name of its file as apt gives it: a `:` of the version is `%3a`.
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.package, self.version.replace(':', "%3a"), self.architecture)
    }
}

/// This machine's apt, seen as if nothing were installed. One value at a time uses a directory: who shares one takes
/// a lock.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
    /// More of apt's configuration.
    configuration: Option<PathBuf>,
    /// Fresh lists were fetched by this value: fetching them again brings nothing new.
    refreshed: bool,
}

impl Apt {
    /// apt with its state in `dir`, which is made if it is missing. Nothing is asked yet.
    ///
    /// The lists are this machine's, unless those that [`Apt::refresh`] has put into `dir` are newer.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: &Path) -> Result<Apt, Error> {
        for part in ["state", "cache", "cache/none/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(Error::file("make the directory", &path))?;
        }
        let status = dir.join("status");
        // apt's index is of the file as it was.
        if !status.exists() {
            fs::write(&status, "").map_err(Error::file("write", &status))?;
        }
        Ok(Apt { dir: dir.to_owned(), configuration: None, refreshed: false })
    }

    /// The same, with a file of apt's configuration that is read before this machine's (`APT_CONFIG`): other sources,
    /// for example.
    #[must_use]
    pub fn with_configuration(self, file: &Path) -> Apt {
        Apt { configuration: Some(file.to_owned()), ..self }
    }

    /// Fetches new lists, into the directory of its own.
    ///
    /// # Errors
    /// When a source cannot be reached or is not trusted. The lists that were there stay.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let attempt = "fetch its lists of packages";
        let lists = self.dir.join("lists/partial");
        fs::create_dir_all(&lists).map_err(Error::file("make the directory", &lists))?;
        self.refreshed = true;
        let mut command = self.command("apt-get", &self.dir.join("lists"));
        // Without this, a source that is not reached is a warning.
        command.args(["-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Languages=none"]);
        command.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "-qq", "update"]);
        self.run(attempt, command, REFRESH).map(drop)
    }

    /// The packages that `wanted` (`NAME` or `NAME=VERSION`) consist of, with all that they depend on but nothing
    /// that is merely recommended, sorted. What apt does not know is looked for in fresh lists once.
    ///
    /// # Errors
    /// Names which package, or version of it, is not to be had, and what is.
    pub fn resolve(&mut self, wanted: &[impl AsRef<str>]) -> Result<Vec<Deb>, Error> {
        let mut names = Vec::new();
        for wanted in wanted {
            names.push(Wanted::parse(wanted.as_ref())?);
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.again_with_fresh_lists(|apt| apt.uris("find packages", &["install"], &names))
    }

    /// One version of one package, without what it depends on.
    ///
    /// # Errors
    /// As [`Apt::resolve`].
    pub fn find(&mut self, package: &str, version: &str) -> Result<Deb, Error> {
        let wanted = Wanted::parse(&format!("{package}={version}"))?;
        let names = std::slice::from_ref(&wanted);
        let mut found =
            self.again_with_fresh_lists(|apt| apt.uris("find a package", &["download"], names))?;
        found.pop().ok_or_else(|| Error::Unknown { package: package.to_owned() })
    }

    /// Brings the files of `debs` into the directory `into`, under their [`Deb::file_name`]; those that are there
    /// already are checked and kept. Gives their paths, in the order of `debs`.
    ///
    /// # Errors
    /// When one is not to be had, or is not what its digest says. Others may be there then, each of them whole.
    pub fn fetch(&mut self, debs: &[Deb], into: &Path) -> Result<Vec<PathBuf>, Error> {
        let partial = into.join("partial");
        let mut missing = Vec::new();
        for deb in debs {
            let path = into.join(deb.file_name());
            if path.exists() && digest(&path)? != deb.sha256 {
                fs::remove_file(&path).map_err(Error::file("remove the damaged", &path))?;
            }
            // A killed run may have left it whole.
            let left = partial.join(deb.file_name());
            if !path.exists() && left.exists() && digest(&left)? == deb.sha256 {
                keep(&left, &path)?;
            }
            if !path.exists() {
                missing.push(deb);
            }
        }
        host::remove_tree(&partial).map_err(Error::file("remove", &partial))?;
        if !missing.is_empty() {
            fs::create_dir_all(&partial).map_err(Error::file("make the directory", &partial))?;
            // The version may have gone since the lists were made, and the lists say so once they are fresh.
            self.again_with_fresh_lists(|apt| apt.download(&missing, &partial))?;
            for deb in missing {
                let from = partial.join(deb.file_name());
                check(deb, &digest(&from)?)?;
                keep(&from, &into.join(deb.file_name()))?;
            }
            host::remove_tree(&partial).map_err(Error::file("remove", &partial))?;
        }
        Ok(debs.iter().map(|deb| into.join(deb.file_name())).collect())
    }

    fn download(&self, debs: &[&Deb], into: &Path) -> Result<(), Error> {
        let wanted: Vec<Wanted> = debs.iter().map(|deb| Wanted::of(deb)).collect();
        // What apt would fetch now under these names may be something else than what was found.
        let announced = self.uris("find packages", &["download"], &wanted)?;
        for deb in debs {
            match announced.iter().find(|other| other.package == deb.package) {
                Some(found) => check(deb, &found.sha256)?,
                None => return Err(Error::Unknown { package: deb.package.clone() }),
            }
        }
        let mut command = self.command("apt-get", &self.lists());
        command.args(["-qq", "download"]).args(wanted.iter().map(Wanted::argument)).current_dir(into);
        self.run("download packages", command, DOWNLOAD).map(drop)
    }

    /// Tries again with fresh lists what failed in a way that those may mend; the error is the first one, unless
    /// the lists were fetched.
    fn again_with_fresh_lists<T>(&mut self, attempt: impl Fn(&Apt) -> Result<T, Error>) -> Result<T, Error> {
        match attempt(self) {
            Err(Error::Unknown { .. } | Error::Version { .. } | Error::Apt { .. }) if !self.refreshed => {}
            done => return done,
        }
        match self.refresh() {
            Ok(()) => attempt(self),
            // Without the archive the lists that are here are all there is to tell of.
            Err(unreachable) => attempt(self).map_err(|error| match error {
                Error::Apt { attempt, said } => {
                    Error::Apt { attempt, said: format!("{said}\n{unreachable}") }
                }
                error => error,
            }),
        }
    }

    /// What apt would download for a command.
    fn uris(&self, attempt: &'static str, words: &[&str], wanted: &[Wanted]) -> Result<Vec<Deb>, Error> {
        let mut command = self.command("apt-get", &self.lists());
        command.args(["-qq", "--print-uris", "-o", "Acquire::ForceHash=sha256"]);
        command.args(words).args(wanted.iter().map(Wanted::argument));
        let ran = match host::run(&mut command, ASK).map_err(Error::Run)? {
            ran if ran.status.success() => ran,
            ran => return Err(self.explain(attempt, &ran, wanted)),
        };
        let said = String::from_utf8_lossy(&ran.stdout);
        let mut debs = Vec::new();
        for line in said.lines().filter(|line| line.starts_with('\'')) {
            let parsed = parse(line).ok_or_else(|| Error::Answer { attempt, line: line.to_owned() })?;
            debs.push(parsed);
        }
        // apt takes a name that it does not know for a pattern, or for something that another package provides.
        if let Some(missing) = wanted.iter().find(|wanted| !debs.iter().any(|deb| deb.package == wanted.name))
        {
            return Err(Error::Unknown { package: missing.name.clone() });
        }
        debs.sort();
        debs.dedup();
        Ok(debs)
    }

    fn explain(&self, attempt: &'static str, ran: &Ran, wanted: &[Wanted]) -> Error {
        let said = String::from_utf8_lossy(&ran.stderr);
        for wanted in wanted {
            let name = &wanted.name;
            if said.contains(&format!("Unable to locate package {name}\n"))
                || said.contains(&format!("Package '{name}' has no installation candidate"))
            {
                return Error::Unknown { package: name.clone() };
            }
            if let Some(version) = &wanted.version
                && said.contains(&format!("Version '{version}' for '{name}' was not found"))
            {
                let offered = self.candidate(name).unwrap_or_else(|| "none".to_owned());
                return Error::Version { package: name.clone(), version: version.clone(), offered };
            }
        }
        Error::Apt { attempt, said: ran.last_lines(LINES) }
    }

    /// The version of a package that apt would install.
    fn candidate(&self, package: &str) -> Option<String> {
        let mut command = self.command("apt-cache", &self.lists());
        let ran = host::run(command.args(["policy", package]), ASK).ok()?;
        let said = String::from_utf8_lossy(&ran.stdout);
        let version = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
        (version != "(none)").then(|| version.to_owned())
    }

    fn lists(&self) -> PathBuf {
        let own = self.dir.join("lists");
        // apt renames new lists into the directory.
        let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
        let host = changed(Path::new(HOST_LISTS)).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_newest = changed(&own) >= Some(host) || !has_lists(Path::new(HOST_LISTS));
        if has_lists(&own) && is_newest { own } else { HOST_LISTS.into() }
    }

    fn command(&self, program: &str, lists: &Path) -> Command {
        let mut command = Command::new(program);
        let mut set = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            let mut option = std::ffi::OsString::from(format!("{name}="));
            option.push(value.as_ref());
            command.arg("-o").arg(option);
        };
        set("Dir::State", &self.dir.join("state"));
        set("Dir::State::lists", &lists);
        set("Dir::State::status", &self.dir.join("status"));
        set("Dir::Cache", &self.dir.join("cache"));
        // Always empty: what lies in it is not announced.
        set("Dir::Cache::archives", &"none");
        set("Dir::Cache::pkgcache", &"pkgcache.bin");
        set("Dir::Cache::srcpkgcache", &"");
        set("APT::Install-Recommends", &"false");
        set("APT::Install-Suggests", &"false");
        set("APT::Get::AllowUnauthenticated", &"false");
        set("APT::Get::Assume-Yes", &"true");
        set("Acquire::Retries", &"3");
        set("Acquire::http::Timeout", &"30");
        set("Acquire::https::Timeout", &"30");
        // The directory is this value's alone, and the machine's lists are only read.
        set("Debug::NoLocking", &"true");
        if host::is_root() {
            // apt's own user cannot write to where we keep packages.
            set("APT::Sandbox::User", &"root");
        }
        if let Some(file) = &self.configuration {
            command.env("APT_CONFIG", file);
        }
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn run(&self, attempt: &'static str, mut command: Command, timeout: Duration) -> Result<Ran, Error> {
        match host::run(&mut command, timeout).map_err(Error::Run)? {
            ran if ran.status.success() => Ok(ran),
            ran => Err(Error::Apt { attempt, said: ran.last_lines(LINES) }),
        }
    }
}

/// Gives a file its name when it is on the disk.
fn keep(from: &Path, to: &Path) -> Result<(), Error> {
    File::open(from).and_then(|file| file.sync_all()).map_err(Error::file("write to the disk", from))?;
    fs::rename(from, to).map_err(Error::file("rename", from))
}

fn has_lists(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn check(deb: &Deb, found: &str) -> Result<(), Error> {
    if deb.sha256 == found {
        return Ok(());
    }
    let (package, version) = (deb.package.clone(), deb.version.clone());
    Err(Error::Hash { package, version, expected: deb.sha256.clone(), found: found.to_owned() })
}

/// The SHA-256 of a file.
fn digest(path: &Path) -> Result<String, Error> {
    let read = Error::file("read", path);
    let hash = || -> io::Result<String> {
        let mut hasher = Hasher(Sha256::new());
        io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    hash().map_err(read)
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A package as it is asked for.
#[derive(Debug)]
struct Wanted {
    name: String,
    version: Option<String>,
}

impl Wanted {
    /// Checks what apt would take for an option, a pattern or a removal.
    fn parse(text: &str) -> Result<Wanted, Error> {
        let refuse = |rule| Error::Name { found: text.to_owned(), rule };
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_later = |byte: u8| is_first(&byte) || b"+-.".contains(&byte);
        let is_name = name.bytes().all(is_later) && name.as_bytes().first().is_some_and(is_first);
        if !is_name || name.len() < 2 || name.ends_with('-') {
            return Err(refuse("a name has lower case letters, digits, '+', '-' and '.', two at least"));
        }
        let is_version = |byte: u8| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte);
        let begins = |version: &str| version.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if version.is_some_and(|version| !begins(version) || !version.bytes().all(is_version)) {
            return Err(refuse("a version begins with a digit and has letters, digits, '.+-~:'"));
        }
        Ok(Wanted { name: name.to_owned(), version: version.map(str::to_owned) })
    }

    fn of(deb: &Deb) -> Wanted {
        Wanted { name: deb.package.clone(), version: Some(deb.version.clone()) }
    }

    fn argument(&self) -> String {
        match &self.version {
            Some(version) => format!("{}={version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Reads a line such as `'URI' gcc_4%3a12.2.0-3_amd64.deb 5216 SHA256:2f..`.
fn parse(line: &str) -> Option<Deb> {
    let (_, rest) = line.strip_prefix('\'')?.rsplit_once("' ")?;
    let mut words = rest.split(' ');
    let (name, size, hash) = (words.next()?, words.next()?, words.next()?);
    let mut parts = name.strip_suffix(".deb")?.split('_').map(unquoted);
    let (package, version, architecture) = (parts.next()??, parts.next()??, parts.next()??);
    let sha256 = hash.strip_prefix("SHA256:")?.to_ascii_lowercase();
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_whole = parts.next().is_none() && !package.contains('/') && !version.contains('/');
    (is_digest && is_whole).then_some(Deb {
        package,
        version,
        architecture,
        sha256,
        size: size.parse().ok()?,
    })
}

/// Undoes `%3a`.
fn unquoted(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let byte = u8::from_str_radix(piece.get(..2)?, 16).ok().filter(u8::is_ascii)?;
        plain.push(char::from(byte));
        plain.push_str(&piece[2..]);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_is_read() {
        let hash = "a".repeat(64);
        let check = |line: &str, expected: Option<(&str, &str, &str, u64)>| {
            let found = parse(&line.replace("HASH", &format!("SHA256:{hash}")));
            let found = found
                .as_ref()
                .map(|deb| (deb.package.as_str(), deb.version.as_str(), deb.architecture.as_str(), deb.size));
            assert_eq!(found, expected, "{line}");
        };
        check(
            "'http://archive.example/pool/g/gcc_12.2.0-3_amd64.deb' gcc_4%3a12.2.0-3_amd64.deb 5216 HASH",
            Some(("gcc", "4:12.2.0-3", "amd64", 5216)),
        );
        check("'file:/a b/x' x+y_1_all.deb 0 HASH", Some(("x+y", "1", "all", 0)));
        check("'file:/x' x_1_all.deb 0 MD5Sum:00", None);
        check("'file:/x' x_1_all.deb many HASH", None);
        check("'file:/x' x_1.deb 0 HASH", None);
        check("'file:/x' x_1_2_all.deb 0 HASH", None);
        check("'file:/x' x_..%2f1_all.deb 0 HASH", None);
        check("'file:/x' x_%zz_all.deb 0 HASH", None);
        check("'file:/x", None);
    }

    #[test]
    fn names_that_apt_would_take_for_something_else_are_refused() {
        let check = |text: &str, is_good: bool| {
            let wanted = Wanted::parse(text);
            assert_eq!(wanted.is_ok(), is_good, "{text}: {wanted:?}");
            if let Ok(wanted) = wanted {
                assert_eq!(wanted.argument(), text);
            }
        };
        for good in ["bash", "g++", "libc6=2.36-9+deb12u14", "gcc=4:12.2.0-3", "0ad", "ab=1~rc1"] {
            check(good, true);
        }
        for bad in ["", "b", "-o", "bash-", "Bash", "a b", "bash/stable", "bash:arm64", "bash=", "bash=-1"] {
            check(bad, false);
        }
        for bad in ["bash=1*", "bash=v1", "bash=1/2", "^bash", "?essential", "lib*", "./a.deb", "+a"] {
            check(bad, false);
        }
    }

    #[test]
    fn files_are_named_as_apt_names_them() {
        let deb = Deb {
            package: "gcc".into(),
            version: "4:12.2.0-3".into(),
            architecture: "amd64".into(),
            sha256: String::new(),
            size: 0,
        };
        assert_eq!(deb.file_name(), "gcc_4%3a12.2.0-3_amd64.deb");
    }
}
