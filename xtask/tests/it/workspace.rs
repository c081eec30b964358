//! What `cargo metadata` tells, as far as the rules need it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// By package id.
    pub(crate) packages: BTreeMap<String, Package>,
    pub(crate) members: BTreeSet<String>,
}

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) folder: PathBuf,
    pub(crate) layer: Option<String>,
    /// Whether it runs in the compiler and is no part of what is built.
    pub(crate) is_macro: bool,
    /// Ids of normal and build dependencies, as resolved for this machine.
    pub(crate) dependencies: BTreeSet<String>,
    /// Ids of normal dependencies only.
    pub(crate) normal_dependencies: BTreeSet<String>,
}

impl Workspace {
    /// Asked of cargo once per test process.
    pub(crate) fn get() -> &'static Workspace {
        static WORKSPACE: OnceLock<Workspace> = OnceLock::new();
        WORKSPACE.get_or_init(|| {
            let output = Command::new(env!("CARGO"))
                .args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Workspace::read(&serde_json::from_slice(&output.stdout).unwrap())
        })
    }

    fn read(metadata: &Value) -> Workspace {
        let strings = |list: &Value| -> BTreeSet<String> {
            list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
        };
        let mut packages: BTreeMap<String, Package> = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| (package["id"].as_str().unwrap().to_owned(), Package::read(package)))
            .collect();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let package = packages.get_mut(node["id"].as_str().unwrap()).unwrap();
            for dependency in node["deps"].as_array().unwrap() {
                let id = dependency["pkg"].as_str().unwrap().to_owned();
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                if kinds.iter().any(|kind| kind["kind"].is_null()) {
                    package.normal_dependencies.insert(id.clone());
                }
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    package.dependencies.insert(id);
                }
            }
        }
        Workspace {
            root: PathBuf::from(metadata["workspace_root"].as_str().unwrap()),
            packages,
            members: strings(&metadata["workspace_members"]),
        }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().map(|id| &self.packages[id])
    }

    /// Every package that `package` is built from, itself not among them.
    pub(crate) fn closure<'a>(&'a self, package: &'a Package) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut pending: Vec<&str> = package.normal_dependencies.iter().map(String::as_str).collect();
        while let Some(id) = pending.pop() {
            if reached.insert(id) {
                pending.extend(self.packages[id].normal_dependencies.iter().map(String::as_str));
            }
        }
        reached
    }

    /// The packages that end up in what is shipped.
    pub(crate) fn shipped(&self) -> BTreeSet<&str> {
        let mut shipped = BTreeSet::new();
        let mut pending: Vec<&str> = self.members.iter().map(String::as_str).collect();
        pending.retain(|id| self.packages[*id].layer.as_deref() == Some("bin"));
        while let Some(id) = pending.pop() {
            if !self.packages[id].is_macro && shipped.insert(id) {
                pending.extend(self.packages[id].normal_dependencies.iter().map(String::as_str));
            }
        }
        shipped
    }
}

impl Package {
    fn read(package: &Value) -> Package {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        Package {
            name: text(&package["name"]).unwrap(),
            version: text(&package["version"]).unwrap(),
            license: text(&package["license"]),
            description: text(&package["description"]),
            folder: manifest.parent().unwrap().to_owned(),
            layer: text(&package["metadata"]["dcos"]["layer"]),
            is_macro: package["targets"].as_array().unwrap().iter().any(|t| t["kind"][0] == "proc-macro"),
            dependencies: BTreeSet::new(),
            normal_dependencies: BTreeSet::new(),
        }
    }
}
