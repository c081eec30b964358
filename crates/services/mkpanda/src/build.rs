//! The building of one package.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use api_pkgpanda::{BUILDINFO, MANIFEST, Manifest, PKGINFO};
use containers::{Exit, Mount};
use mkpanda_core::PackageKey;
use pkgpanda_core::Package;
use tokio::runtime::Handle;

use crate::SOURCE_DATE_EPOCH;
use crate::cache::{Cache, Output, prefix};
use crate::container::{Builders, Ended, Job};
use crate::error::{BuildError, ScriptFailure};
use crate::pack;
use crate::plan::Planned;
use crate::repository::{PACKAGES, Repository, Unpacked, contents_of};
use crate::result::{self, Listed, SBOM};
use crate::schedule::{Built, Tell};

/// How much of a log's end is looked at.
const TAIL_BYTES: u64 = 64 << 10;

/// How many of a log's last lines are shown.
const TAIL_LINES: usize = 20;

/// Where programs are looked for in images that do not tell.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs a build script.
const SHELL: [&str; 8] = ["/bin/bash", "-o", "nounset", "-o", "pipefail", "-o", "errexit", "/pkg/build"];

/// What all builds of a run share.
pub(crate) struct Workshop<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) builders: &'a Builders,
    pub(crate) runtime: &'a Handle,
    pub(crate) repository: &'a Repository<'a>,
    /// Whether the folders of builds stay in the cache.
    pub(crate) keep: bool,
    /// How many processors builds are told of.
    pub(crate) cores: usize,
    /// Held while a tarball is written.
    pub(crate) packing: Mutex<()>,
}

/// The folders of one build.
struct Folders {
    top: PathBuf,
    /// What it is made from.
    src: PathBuf,
    /// What it is to make.
    result: PathBuf,
}

impl Folders {
    fn make(cache: &Cache) -> Result<Folders, BuildError> {
        let top = cache.fresh("build");
        let (src, result) = (top.join("src"), top.join("result"));
        for path in [&top, &src, &result] {
            fs::create_dir(path).map_err(|source| BuildError::file("make", path, source))?;
        }
        Ok(Folders { top, src, result })
    }
}

/// The files of a package by which it is one.
struct Texts {
    buildinfo: String,
    sbom: String,
    manifest: Manifest,
}

impl Texts {
    /// Adds them to the result, the manifest with all others in it last.
    fn write(folders: &Folders, planned: &Planned, mut listed: Listed) -> Result<Texts, BuildError> {
        let write = |name: &str, text: &str| -> Result<(), BuildError> {
            let path = folders.result.join(name);
            fs::write(&path, text).map_err(|source| BuildError::file("write", &path, source))?;
            result::set_time(&path).map_err(|source| BuildError::file("set the time of", &path, source))
        };
        let info = mkpanda_core::pkginfo_json(&planned.info);
        let buildinfo = planned.inputs().buildinfo_full_json(&planned.id);
        for (name, text) in [(PKGINFO, &info), (BUILDINFO, &buildinfo)] {
            write(name, text)?;
            listed.add(name, text);
        }
        let sbom = planned.sbom(&listed.sums);
        write(SBOM, &sbom)?;
        listed.add(SBOM, &sbom);
        write(MANIFEST, &listed.manifest.to_text())?;
        let top = &folders.result;
        result::set_time(top).map_err(|source| BuildError::file("set the time of", top, source))?;
        Ok(Texts { buildinfo, sbom, manifest: listed.manifest })
    }
}

impl Workshop<'_> {
    /// Builds a package in a container, from what it requires and from its sources.
    ///
    /// # Errors
    /// Why there is no such package now. Nothing of the attempt is left but its log.
    pub(crate) fn build(&self, planned: &Planned, tell: &Tell) -> Result<Built, BuildError> {
        let folders = Folders::make(self.cache)?;
        let built = self.build_in(&folders, planned, tell);
        let kept = match self.keep {
            true => self.keep_folders(&folders, &planned.key),
            false => Ok(()),
        };
        // What cannot be removed now is removed by the next run.
        let _ = self.cache.remove(&folders.top);
        kept.and(built)
    }

    fn build_in(&self, folders: &Folders, planned: &Planned, tell: &Tell) -> Result<Built, BuildError> {
        if planned.has_sources() {
            tell.phase("getting its sources");
            planned.checkout_to(&folders.src, &|text| tell.line(text))?;
        }
        let log = self.log(&planned.key)?;
        tell.phase(format!("building (log: {})", log.display()));
        let ended = self.builders.run(self.job(folders, planned, log.clone())?)?;
        match ended {
            Ended::Exit(Exit::Code(0)) => {}
            Ended::Cancelled => return Err(BuildError::Cancelled),
            ended => return Err(script_failed(&planned.key, ended, log)),
        }
        tell.phase("packing");
        let refused = |source| BuildError::Result { key: planned.key.clone(), source };
        let listed = result::settle(&folders.result).map_err(refused)?;
        let texts = Texts::write(folders, planned, listed)?;
        let outputs = self.outputs(folders, planned, &texts.sbom)?;
        self.hand_on(folders, planned, &texts)?;
        Ok(Built { how: format!("{} is built", planned.id), outputs })
    }

    /// An empty log, where people look for it.
    fn log(&self, key: &PackageKey) -> Result<PathBuf, BuildError> {
        let folder = self.cache.package(key.name.as_str());
        let log = folder.join(format!("{}build.log", prefix(key.variant.name())));
        fs::create_dir_all(&folder).map_err(|source| BuildError::file("make", &folder, source))?;
        File::create(&log).map_err(|source| BuildError::file("write", &log, source))?;
        Ok(log)
    }

    fn job(&self, folders: &Folders, planned: &Planned, log: PathBuf) -> Result<Job, BuildError> {
        let destination = format!("{PACKAGES}/{}", planned.id);
        // What the id is made of, even if somebody edits it at this moment.
        let (script, extra) = (folders.top.join("build"), folders.top.join("extra"));
        fs::write(&script, &planned.script).map_err(|source| BuildError::file("write", &script, source))?;
        let mut layers = planned.image.layers.clone();
        let mut mounts = vec![
            Mount::tmpfs("/tmp", None),
            Mount::bind(&folders.src, "/pkg/src"),
            Mount::bind(&script, "/pkg/build").read_only(),
        ];
        if planned.copy_extra(&extra)? {
            mounts.push(Mount::bind(&extra, "/pkg/extra").read_only());
        }
        let active = self.repository.active(&planned.requires, layers.len())?;
        layers.extend(active.layers);
        mounts.extend(active.mounts);
        mounts.push(Mount::bind(&folders.result, &destination));
        Ok(Job {
            name: planned.id.to_string().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_"),
            layers,
            mounts,
            env: self.environment(planned, destination),
            argv: SHELL.map(str::to_owned).to_vec(),
            network: planned.info.network,
            log,
        })
    }

    fn environment(&self, planned: &Planned, destination: String) -> Vec<(String, String)> {
        let own = [
            ("HOME", "/tmp".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("NUM_CORES", self.cores.to_string()),
            ("PKG_ID", planned.id.to_string()),
            ("PKG_NAME", planned.key.name.to_string()),
            ("PKG_PATH", destination),
            ("PKG_VARIANT", planned.key.variant.as_str().to_owned()),
            ("PKG_VERSION", planned.id.version().to_owned()),
            ("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.to_string()),
            ("TZ", "UTC".to_owned()),
        ];
        let mut all = vec![("PATH".to_owned(), USUAL_PATH.to_owned())];
        all.retain(|(name, _)| planned.image.env.iter().all(|(given, _)| given != name));
        all.extend(planned.image.env.iter().cloned());
        all.retain(|(name, _)| own.iter().all(|(given, _)| given != name));
        all.extend(own.map(|(name, value)| (name.to_owned(), value)));
        all
    }

    /// What the cache gets of the package: the tarball first, what names it last.
    fn outputs(&self, folders: &Folders, planned: &Planned, sbom: &str) -> Result<Vec<Output>, BuildError> {
        let (id, key) = (&planned.id, &planned.key);
        let from = self.cache.fresh("tarball");
        // One at a time: each takes all processors, and for each of these a hundred megabytes.
        let alone = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        pack::write(&folders.result, &from, self.cores)
            .map_err(|source| BuildError::Pack { what: key.to_string(), source })?;
        drop(alone);
        let latest = self.cache.latest(key.name.as_str(), key.variant.name());
        Ok(vec![
            Output { from, to: self.cache.tarball(id) },
            self.cache.write(self.cache.sbom(id), sbom)?,
            self.cache.write(latest, id.as_str())?,
        ])
    }

    /// Gives the result to the packages that require it.
    fn hand_on(&self, folders: &Folders, planned: &Planned, texts: &Texts) -> Result<(), BuildError> {
        let dir = match self.keep {
            // It stays where people look for it.
            true => self.kept(&planned.key, "result"),
            false => {
                let dir = self.cache.fresh("package");
                fs::rename(&folders.result, &dir)
                    .map_err(|source| BuildError::file("move", &folders.result, source))?;
                dir
            }
        };
        let buildinfo = serde_json::from_str(&texts.buildinfo).expect("it was just written as JSON");
        let package = Package {
            info: planned.info.pkginfo(),
            contents: contents_of(&texts.manifest),
            buildinfo: Some(buildinfo),
            ..Package::new(planned.id.clone())
        };
        self.repository.put(Unpacked { dir, package: Arc::new(package) });
        Ok(())
    }

    fn kept(&self, key: &PackageKey, what: &str) -> PathBuf {
        self.cache.package(key.name.as_str()).join(format!("{}{what}", prefix(key.variant.name())))
    }

    /// Leaves the folders in the cache.
    fn keep_folders(&self, folders: &Folders, key: &PackageKey) -> Result<(), BuildError> {
        for (from, what) in [(&folders.src, "src"), (&folders.result, "result")] {
            let to = self.kept(key, what);
            self.cache.remove(&to)?;
            fs::rename(from, &to).map_err(|source| BuildError::file("keep", from, source))?;
        }
        Ok(())
    }
}

/// The error for a script that did not end well: what it was, and what can be seen of it.
fn script_failed(key: &PackageKey, ended: Ended, log: PathBuf) -> BuildError {
    let how = match ended {
        Ended::Exit(Exit::Code(code)) => format!("ended with status {code}"),
        Ended::Exit(Exit::Signal(signal)) => format!("was ended by signal {signal}"),
        Ended::Exit(Exit::Unknown) => "ended, nobody knows how".to_owned(),
        Ended::TimedOut(after) => format!("had not ended after {} hours", after.as_secs() / 3600),
        Ended::TooLong(limit) => format!("had filled its log with more than {} MB", limit >> 20),
        Ended::Cancelled => "was cancelled".to_owned(),
    };
    let tail = tail(&log).unwrap_or_else(|error| vec![format!("(cannot be read: {error})")]);
    let outside = tail.iter().rev().find_map(|line| path_outside(line)).map(str::to_owned);
    BuildError::Script(Box::new(ScriptFailure { key: key.clone(), how, outside, log, tail }))
}

/// The last lines of a log, without what would do something to a terminal.
fn tail(log: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let plain = |line: &&str| line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(plain).collect())
}

/// The path in a program's complaint that it could not write to a file system that is read-only.
fn path_outside(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(": Read-only file system")?;
    let quoted = before.trim_end_matches(['\'', '"', '\u{2019}']);
    let from = match quoted.len() < before.len() {
        true => quoted.rfind(['\'', '"', '\u{2018}'])?,
        false => quoted.rfind(' ')?,
    };
    let path = quoted[from..].trim_start_matches(['\'', '"', '\u{2018}', ' ']);
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_a_build_must_not_write_to_are_found() {
        let check = |line: &str, expect: Option<&str>| assert_eq!(path_outside(line), expect, "{line}");
        check("/pkg/build: line 3: /usr/x: Read-only file system", Some("/usr/x"));
        check("touch: cannot touch '/usr/a b': Read-only file system", Some("/usr/a b"));
        check("mkdir: cannot create directory ‘/x’: Read-only file system", Some("/x"));
        check("cp: cannot create regular file '/etc/x': Read-only file system", Some("/etc/x"));
        check("make: *** x: Read-only file system", None);
        check("all is well", None);
    }

    #[test]
    fn the_end_of_a_log_is_plain_text() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let lines: Vec<String> = (0..10_000).map(|number| format!("\x1b[1mline\t{number}\x07")).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        let tail = tail(&log).unwrap();
        assert_eq!((tail.len(), &tail[0][..], &tail[19][..]), (20, "[1mline\t9980", "[1mline\t9999"));
        fs::write(&log, "").unwrap();
        assert!(super::tail(&log).unwrap().is_empty());
    }
}
