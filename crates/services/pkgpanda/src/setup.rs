//! A bare host becomes a node: `setup`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use api_pkgpanda::PackageId;
use pkgpanda_core::units::{DCOS_SETUP, DCOS_TARGET, dcos_setup, dcos_target};
use serde_json::Value;

use crate::activate::{self, Afterwards};
use crate::fetch::{Fetcher, Origin};
use crate::files::{self, failed};
use crate::repository::Repository;
use crate::session::{self, Session};
use crate::{Config, Error, config, install};

/// What an unpacked bootstrap has, below the root, until it is set up.
const MARKER: &str = "bootstrap";
/// The version of packages that are made on the host; `setup_CONFIGID` is one, too.
const SETUP: &str = "setup";

/// Finishes what a crash left half done, and sets a bootstrap up if there is one that is not set up yet: copies
/// and fetches what is missing, activates it, starts it. A crash at any point is gone after the next setup.
/// Where there is none, that is told on `err`. pkgpanda: actions.setup.
///
/// A relative path that packages are fetched from is taken against `directory`.
pub(crate) fn setup(
    config: &Config,
    directory: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let marker = config.root.join(MARKER);
    if !marker.exists() {
        session::settle(config, err)?;
        let _ = writeln!(
            err,
            "There is nothing to set up: {} is not there, which a bootstrap has until it is set up",
            marker.display()
        );
        return Ok(());
    }
    session::change(config, err, |session| {
        // A crash may have come just before the marker's end, or another may have been faster.
        if !marker.exists() {
            return Ok(());
        }
        activate::systemd_is_there(config)?;
        write_units(config)?;
        let result = bootstrap(session, directory, out);
        // What does not start now may later: the set is active all the same, and there is nothing to set up.
        let active = result.is_ok() || matches!(result, Err(Error::Root(activation::Error::Start { .. })));
        if active {
            files::remove(&marker)?;
        }
        result
    })
}

/// Writes the units that no package brings: `dcos.target`, and on the usual root the one that runs this again at
/// every start of the machine, so that a power failure in the middle of an activation is recovered then.
fn write_units(config: &Config) -> Result<(), Error> {
    let directory = config.unit_dir();
    fs::create_dir_all(&directory).map_err(failed("make directory", &directory))?;
    files::replace(&directory.join(DCOS_TARGET), dcos_target().as_bytes())?;
    let is_usual = config.root == Path::new(config::ROOT);
    let setup = directory.join(DCOS_SETUP);
    // An installer may have written one of its own.
    if is_usual && !setup.exists() {
        files::replace(&setup, dcos_setup(config::ROOT).as_bytes())?;
    }
    if config.units.manage {
        config.systemd.daemon_reload()?;
        if is_usual {
            config.systemd.enable(DCOS_SETUP)?;
        }
    }
    Ok(())
}

fn bootstrap(session: &mut Session<'_>, directory: &Path, out: &mut dyn Write) -> Result<(), Error> {
    let config = session.config;
    let flag = |name: &str| config.config_dir.join("setup-flags").join(name);
    let mut packages = Packages {
        config,
        directory,
        repository: Repository::new(&config.repository),
        repository_url: files::read(&flag("repository-url"))?.map(|url| url.trim().to_owned()),
        wanted: Vec::new(),
    };
    packages.of_the_host(out)?;
    let active = flag("active.json");
    match ids(&active)? {
        Some(ids) => packages.as_listed(&active, &ids, out)?,
        None => packages.of_the_bootstrap(&flag("cluster-packages.json"), out)?,
    }
    packages.wanted.sort();
    packages.wanted.dedup();
    writeln!(out, "Activating packages")?;
    out.flush()?;
    let roles = install::roles(config)?;
    let loaded = activate::load(config, &packages.wanted)?;
    activate::change(session, &loaded, &roles, Afterwards::Nothing, out)
}

/// The packages that are to be active.
struct Packages<'a> {
    config: &'a Config,
    directory: &'a Path,
    repository: Repository,
    repository_url: Option<String>,
    wanted: Vec<PackageId>,
}

impl Packages<'_> {
    /// Copies the packages that were made on this host.
    fn of_the_host(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        let dir = self.config.config_dir.join("setup-packages");
        let mut names = Vec::new();
        match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => {
                for entry in entries.map_err(failed("list", &dir))? {
                    names.push(
                        entry.map_err(failed("list", &dir))?.file_name().to_string_lossy().into_owned(),
                    );
                }
            }
        }
        names.sort();
        // All of them first: a bad one keeps the others from being copied.
        let ids = names.iter().map(|name| setup_package(&dir, name)).collect::<Result<Vec<_>, _>>()?;
        for id in ids {
            writeln!(out, "Installing setup package: {id}")?;
            if self.repository.has(&id) {
                writeln!(out, "WARNING: Ignoring already installed package {id}")?;
            }
            self.repository.add_directory(&id, &dir.join(id.as_str()))?;
            self.wanted.push(id);
        }
        Ok(())
    }

    /// What the host is told to have active.
    fn as_listed(&mut self, file: &Path, listed: &[PackageId], out: &mut dyn Write) -> Result<(), Error> {
        writeln!(out, "Loaded active packages from {}", file.display())?;
        let texts: Vec<&str> = listed.iter().map(PackageId::as_str).collect();
        writeln!(out, "Ensuring all packages in active set {} are local", texts.join(","))?;
        listed.iter().try_for_each(|id| self.have(id, out))
    }

    /// What the bootstrap brought active, and what the cluster wants beside.
    fn of_the_bootstrap(&mut self, file: &Path, out: &mut dyn Write) -> Result<(), Error> {
        writeln!(out, "Calculated active packages from bootstrap tarball")?;
        self.wanted.extend(activate::parse(&install::active(self.config)?)?);
        writeln!(out, "Checking for cluster packages in: {}", file.display())?;
        let listed = ids(file)?.unwrap_or_default();
        if listed.is_empty() {
            writeln!(out, "No cluster-packages specified")?;
            return Ok(());
        }
        let texts: Vec<String> = listed.iter().map(|id| format!("'{id}'")).collect();
        writeln!(out, "Loading cluster-packages: [{}]", texts.join(", "))?;
        listed.iter().try_for_each(|id| self.have(id, out))
    }

    /// Has the package in the repository, and wants it.
    fn have(&mut self, id: &PackageId, out: &mut dyn Write) -> Result<(), Error> {
        self.wanted.push(id.clone());
        if self.repository.has(id) {
            return Ok(());
        }
        let no_url = || Error::Setting {
            path: self.config.config_dir.join("setup-flags/repository-url"),
            problem: format!(
                "package {id} is not on this host, and this file does not say where to fetch it from: write the URL into it"
            ),
        };
        let url = self.repository_url.as_deref().filter(|url| !url.is_empty()).ok_or_else(no_url)?;
        let origin = Origin::parse(url, self.directory)?;
        // Of what is not there none can be damaged.
        let (ids, err) = (std::slice::from_ref(id), &mut io::sink());
        Fetcher::from_environment().fetch_all(&self.repository, &origin, ids, false, out, err)
    }
}

fn setup_package(dir: &Path, name: &str) -> Result<PackageId, Error> {
    let problem = |problem: String| Error::Set(vec![problem]);
    let id: PackageId = name.parse().map_err(|why| {
        problem(format!("Invalid package id in setup package: {}: {why}", dir.join(name).display()))
    })?;
    let version = id.version();
    if version == SETUP || version.strip_prefix(SETUP).is_some_and(|rest| rest.starts_with('_')) {
        return Ok(id);
    }
    Err(problem(format!(
        "Setup packages (those in `{}`) must have the version setup, or one that begins with setup_. Bad package: {id}",
        dir.display()
    )))
}

/// The ids in a JSON file; none if there is no such file.
fn ids(path: &Path) -> Result<Option<Vec<PackageId>>, Error> {
    let Some(text) = files::read(path)? else { return Ok(None) };
    let wrong = |problem: String| Error::Setting { path: PathBuf::from(path), problem };
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(format!("not JSON: {error}")))?;
    let Value::Array(items) = value else {
        return Err(wrong(format!("{value} is no list of package ids")));
    };
    let id = |item: &Value| match item.as_str().map(str::parse) {
        Some(Ok(id)) => Ok(id),
        Some(Err(problem)) => Err(wrong(format!("{problem:}"))),
        None => Err(wrong(format!("{item} is no package id"))),
    };
    items.iter().map(id).collect::<Result<Vec<PackageId>, _>>().map(Some)
}
