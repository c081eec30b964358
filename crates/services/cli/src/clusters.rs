//! The clusters that are set up: directories of `~/.dcos/clusters`, shared with the official CLI.
//! dcos-cli: `config.Manager`.

use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base::nearest;

use crate::Error;
use crate::settings::Settings;

/// A cluster's settings in its directory.
const SETTINGS: &str = "dcos.toml";
/// The file that only the attached cluster's directory has.
const ATTACHED: &str = "attached";
/// The cluster's certificates in its directory.
const CERTIFICATES: &str = "dcos_ca.crt";

/// The clusters that are set up.
#[derive(Clone, Debug)]
pub(crate) struct Clusters {
    dir: PathBuf,
}

impl Clusters {
    /// Those of that directory: `DCOS_DIR`, else `~/.dcos`.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<String>) -> Clusters {
        let dir = variable("DCOS_DIR").map(PathBuf::from).unwrap_or_else(|| {
            let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
            home.unwrap_or_else(|| host::User::current().home).join(".dcos")
        });
        Clusters { dir: dir.join("clusters") }
    }

    /// All of them, in the order of their ids. Directories without settings are none.
    pub(crate) fn all(&self) -> Result<Vec<Settings>, Error> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Ok(Vec::new()) };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let read = |path: &PathBuf| Settings::read(&path.join(SETTINGS)).transpose();
        paths.iter().filter_map(read).collect()
    }

    /// The one that is attached, or the only one.
    pub(crate) fn current(&self) -> Result<Option<Settings>, Error> {
        let mut all = self.all()?;
        if all.len() > 1 {
            all.retain(|settings| settings.dir().join(ATTACHED).is_file());
        }
        match all.len() {
            0 | 1 => Ok(all.pop()),
            _ => Err(Error::new("multiple clusters are attached")
                .hint("Say which one is meant with `dcos cluster attach <cluster>`.")),
        }
    }

    /// The one of that name or id; of the start of an id, too, unless `strict`.
    pub(crate) fn find(&self, name: &str, strict: bool) -> Result<Option<Settings>, Error> {
        let mut found = Vec::new();
        for settings in self.all()? {
            let id = settings.id();
            if id == name {
                return Ok(Some(settings));
            }
            let is_named = settings.kept("cluster.name").as_deref() == Some(name);
            if is_named || !strict && !name.is_empty() && id.starts_with(name) {
                found.push(settings);
            }
        }
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(Error::new("multiple matches found")
                .hint("Say which one is meant by its whole ID: `dcos cluster list` shows them.")),
        }
    }

    /// [`Clusters::find`] of what has to be there.
    pub(crate) fn get(&self, name: &str) -> Result<Settings, Error> {
        if let Some(found) = self.find(name, false)? {
            return Ok(found);
        }
        let names: Vec<String> = self.all()?.iter().filter_map(|one| one.kept("cluster.name")).collect();
        let error = Error::new(format!("no match found for '{name}'"));
        Err(match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => error.hint(format!("Did you mean '{meant}'?")),
            None => error.hint("`dcos cluster list` shows the clusters that are set up."),
        })
    }

    /// Settings for the cluster of that id, which were not written yet.
    pub(crate) fn fresh(&self, id: &str) -> Result<Settings, Error> {
        let is_name = !id.is_empty() && !id.starts_with('.') && !id.contains('/') && !id.contains('\0');
        match is_name {
            true => Ok(Settings::new(self.dir.join(id).join(SETTINGS))),
            false => Err(Error::new(format!("the cluster says that its id is '{id}', which is none"))),
        }
    }

    /// Writes the settings, with the cluster's own certificates if it has some.
    pub(crate) fn save(&self, settings: &mut Settings, certificates: Option<&[u8]>) -> Result<(), Error> {
        let dir = settings.dir().to_owned();
        let failed = |path: &Path, error| Error::new(format!("{} cannot be made: {error}", path.display()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir);
        made.map_err(|error| failed(&dir, error))?;
        if let Some(certificates) = certificates {
            let path = dir.join(CERTIFICATES);
            std::fs::write(&path, certificates).map_err(|error| failed(&path, error))?;
            settings.set("core.ssl_verify", &path.to_string_lossy())?;
        }
        settings.write()
    }

    /// Attaches that one, and no other.
    pub(crate) fn attach(&self, settings: &Settings) -> Result<(), Error> {
        let path = settings.dir().join(ATTACHED);
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&path);
        made.map_err(|error| Error::new(format!("{} cannot be made: {error}", path.display())))?;
        for other in self.all()?.iter().filter(|other| other.dir() != settings.dir()) {
            // It was not attached, mostly.
            let _ = std::fs::remove_file(other.dir().join(ATTACHED));
        }
        Ok(())
    }

    /// Forgets that one.
    pub(crate) fn remove(&self, settings: &Settings) -> Result<(), Error> {
        let removed = std::fs::remove_dir_all(settings.dir());
        removed
            .map_err(|error| Error::new(format!("{} cannot be removed: {error}", settings.dir().display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(names: &[(&str, &str)]) -> (tempfile::TempDir, Clusters) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_string_lossy().into_owned();
        let clusters = Clusters::new(|name| (name == "DCOS_DIR").then(|| home.clone()));
        for (id, name) in names {
            let mut settings = clusters.fresh(id).unwrap();
            settings.set("cluster.name", name).unwrap();
            clusters.save(&mut settings, None).unwrap();
        }
        (dir, clusters)
    }

    #[test]
    fn the_only_one_or_the_attached_one_is_meant() {
        let (_dir, one) = clusters(&[]);
        assert!(one.current().unwrap().is_none());
        let (_dir, one) = clusters(&[("79893270", "a")]);
        assert_eq!(one.current().unwrap().unwrap().id(), "79893270");
        let (_dir, two) = clusters(&[("79893270", "a"), ("97193161", "b")]);
        assert!(two.current().unwrap().is_none());
        for name in ["a", "97193161", "7989"] {
            let wanted = two.get(name).unwrap();
            two.attach(&wanted).unwrap();
            assert_eq!(two.current().unwrap().unwrap().id(), wanted.id());
        }
        std::fs::write(two.dir.join("97193161").join(ATTACHED), "").unwrap();
        assert!(two.current().unwrap_err().to_string().starts_with("multiple clusters are attached\n"));
    }

    #[test]
    fn clusters_are_found_by_name_id_or_its_start() {
        let (_dir, found) = clusters(&[("79893270", "same"), ("29891250", "same"), ("79000000", "prod")]);
        let check = |name: &str, strict, expected: Option<&str>| {
            let id = found.find(name, strict).unwrap().map(|settings| settings.id());
            assert_eq!(id.as_deref(), expected, "{name}");
        };
        check("prod", true, Some("79000000"));
        check("79893270", true, Some("79893270"));
        check("790", false, Some("79000000"));
        check("790", true, None);
        check("", false, None);
        for name in ["same", "79"] {
            assert!(found.find(name, false).unwrap_err().to_string().starts_with("multiple matches found\n"));
        }
        let error = found.get("prdo").unwrap_err().to_string();
        assert_eq!(error, "no match found for 'prdo'\nDid you mean 'prod'?");
    }

    #[test]
    fn an_id_is_the_name_of_a_directory() {
        let (_dir, clusters) = clusters(&[]);
        for id in ["", ".", "..", "../x", "a/b"] {
            assert!(clusters.fresh(id).is_err(), "{id}");
        }
    }
}
