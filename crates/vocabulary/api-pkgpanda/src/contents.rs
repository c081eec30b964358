use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::manifest::{MANIFEST, ManifestProblem};
use crate::{WANTS, WELL_KNOWN};

/// What lies at a path of a package, as far as activation cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory, which is merged with those of other packages.
    Directory,
    /// Anything else: a file, or a link wherever it points. It is linked to.
    File,
}

/// What a package brings that activation has to know: the insides of the directories that are merged
/// ([`WELL_KNOWN`], [`WANTS`] and their twins of any role), and the names of its services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Paths relative to the package, the merged directories themselves included. In no order.
    pub entries: Vec<(String, Kind)>,
    /// File names of `*.service` files anywhere in the package, with repetitions.
    pub services: Vec<String>,
}

impl Contents {
    /// Whether this directory at the top of a package is merged on a host of some role.
    pub fn is_merged(top: &str) -> bool {
        WELL_KNOWN
            .iter()
            .chain(&[WANTS])
            .any(|known| top.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
    }

    /// Takes note of something in the package, if activation cares for it.
    pub fn add(&mut self, path: &str, kind: Kind) {
        let (top, name) = (path.split('/').next(), path.rsplit('/').next());
        if kind == Kind::File && name.is_some_and(|name| name.ends_with(".service")) {
            self.services.extend(name.map(str::to_owned));
        }
        if top.is_some_and(Self::is_merged) {
            self.entries.push((path.to_owned(), kind));
        }
    }

    /// Reads a manifest's text for its paths only: many times cheaper than [`crate::Manifest::parse`].
    pub fn of_manifest(text: &[u8]) -> Result<Self, ManifestProblem> {
        #[derive(Deserialize)]
        struct Paths<'a> {
            version: u32,
            #[serde(borrow)]
            directories: BTreeMap<std::borrow::Cow<'a, str>, IgnoredAny>,
            #[serde(borrow)]
            files: BTreeMap<std::borrow::Cow<'a, str>, IgnoredAny>,
            #[serde(borrow)]
            symlinks: BTreeMap<std::borrow::Cow<'a, str>, IgnoredAny>,
        }
        let paths: Paths<'_> =
            serde_json::from_slice(text).map_err(|error| ManifestProblem::Syntax(error.to_string()))?;
        if paths.version != 1 {
            return Err(ManifestProblem::Version(paths.version));
        }
        let mut contents = Self::default();
        let directories = paths.directories.keys().map(|path| (path, Kind::Directory));
        let files = paths.files.keys().chain(paths.symlinks.keys()).map(|path| (path, Kind::File));
        for (path, kind) in directories.chain(files) {
            if path.split('/').any(|part| matches!(part, "" | "." | ".."))
                || path.contains('\0')
                || path == MANIFEST
            {
                return Err(ManifestProblem::Path(path.to_string()));
            }
            contents.add(path, kind);
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_merged_and_the_services() {
        let mut contents = Contents::default();
        for (path, kind) in [
            ("bin", Kind::Directory),
            ("bin/x", Kind::File),
            ("lib_master/y.service", Kind::File),
            ("library/z", Kind::File),
            ("share/a.service", Kind::File),
            ("check.service", Kind::Directory),
            ("dcos.target.wants_slave/b.service", Kind::File),
            ("pkginfo.json", Kind::File),
        ] {
            contents.add(path, kind);
        }
        let paths: Vec<&str> = contents.entries.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["bin", "bin/x", "lib_master/y.service", "dcos.target.wants_slave/b.service"]);
        assert_eq!(contents.services, ["y.service", "a.service", "b.service"]);
    }

    #[test]
    fn a_manifest_tells_the_same() {
        let manifest = br#"{"version":1,"directories":{"bin":"0755"},
            "files":{"bin/x":{"mode":"0755","size":1,"sha256":"00"},"pkginfo.json":{"mode":"0644","size":1,"sha256":"00"}},
            "symlinks":{"bin/y":"x"}}"#;
        let contents = Contents::of_manifest(manifest).unwrap();
        let expected = [("bin", Kind::Directory), ("bin/x", Kind::File), ("bin/y", Kind::File)];
        assert!(contents.entries.iter().map(|(path, kind)| (path.as_str(), *kind)).eq(expected));
        for (text, part) in [
            (
                &br#"{"version":1,"directories":{"bin/../..":"0755"},"files":{},"symlinks":{}}"#[..],
                "no path below",
            ),
            (br#"{"version":2,"directories":{},"files":{},"symlinks":{}}"#, "version is 2"),
            (b"{", "EOF"),
        ] {
            let problem = Contents::of_manifest(text).unwrap_err().to_string();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
