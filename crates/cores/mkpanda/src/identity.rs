//! What a package's version is made of, and the files that tell of it.

use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::{IdProblem, PackageId, hash, json};
use serde_json::{Map, Value, json};

use crate::buildinfo::BuildInfo;
use crate::source::SourceId;
use crate::variant::PackageKey;

/// The version of the rules by which versions are made.
pub const PKGPANDA_VERSION: &str = "0.2";

/// Everything that a package's version depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The package and its variant.
    pub key: &'a PackageKey,
    /// What it is built from.
    pub buildinfo: &'a BuildInfo,
    /// What each of its sources adds, by the sources' names.
    pub source_ids: &'a BTreeMap<String, SourceId>,
    /// The SHA-1 of its build script.
    pub build: &'a str,
    /// The id of the image that it is built in.
    pub docker: &'a str,
    /// The hash of its folder `extra`, if it has one.
    pub extra_source: Option<&'a str>,
    /// The ids of all packages that it requires, and that these require.
    pub requires: &'a BTreeSet<PackageId>,
}

impl Inputs<'_> {
    /// The value whose canonical hash is the version (mkpanda: `IdBuilder`).
    #[must_use]
    pub fn build_ids(&self) -> Value {
        let info = self.buildinfo;
        let mut ids = Map::new();
        let mut set = |name: &str, value: Value| ids.insert(name.to_owned(), value);
        set("build", self.build.into());
        set("docker", self.docker.into());
        set("environment", json!(info.environment));
        set("name", self.key.name.as_str().into());
        set("pkgpanda_version", PKGPANDA_VERSION.into());
        set("requires", self.requires.iter().map(PackageId::as_str).collect());
        set("sources", self.source_ids.iter().map(|(name, id)| (name.clone(), id.to_json())).collect());
        set("state_directory", info.state_directory.into());
        set("variant", self.key.variant.as_str().into());
        for (name, value) in [
            ("extra_source", self.extra_source),
            ("group", info.group.as_deref()),
            ("username", info.username.as_deref()),
            ("version_extra", info.version_extra.as_deref()),
        ] {
            if let Some(value) = value {
                set(name, value.into());
            }
        }
        if let Some(sysctl) = &info.sysctl {
            set("sysctl", json!(sysctl));
        }
        // Left out when it is not asked for, so that such packages are called as the original calls them.
        if info.network {
            set("network", true.into());
        }
        Value::Object(ids)
    }

    /// The package's id: its version is the hash of [`Inputs::build_ids`], after `version_extra` and an underscore
    /// if there is one.
    ///
    /// # Errors
    /// A name that no id can have, or one that makes it too long.
    pub fn package_id(&self) -> Result<PackageId, IdProblem> {
        let version = hash::canonical(&self.build_ids()).expect("it holds texts, whole numbers and booleans");
        let version = match &self.buildinfo.version_extra {
            Some(extra) => format!("{extra}_{version}"),
            None => version,
        };
        PackageId::new(self.key.name.as_str(), &version)
    }

    /// The sources as written, each with what it adds to the version.
    #[must_use]
    pub fn full_sources(&self) -> Value {
        let full = |(name, source): (&String, &crate::Source)| {
            let mut value = source.to_json();
            if let Some(id) = self.source_ids.get(name) {
                let (key, id) = id.entry();
                value[key] = id.into();
            }
            (name.clone(), value)
        };
        self.buildinfo.sources.iter().map(full).collect()
    }

    /// The text of `buildinfo.full.json`.
    #[must_use]
    pub fn buildinfo_full_json(&self, id: &PackageId) -> String {
        let mut full = json!({
            "build_ids": self.build_ids(),
            "name": self.key.name.as_str(),
            "package_version": id.version(),
            "sources": self.full_sources(),
            "variant": self.key.variant.name(),
        });
        if let Some(extra) = self.extra_source {
            full["extra_source"] = extra.into();
        }
        json::pretty(&full)
    }
}

/// The text of `pkginfo.json`.
#[must_use]
pub fn pkginfo_json(buildinfo: &BuildInfo) -> String {
    json::pretty(&buildinfo.pkginfo().to_json())
}

#[cfg(test)]
mod tests;
