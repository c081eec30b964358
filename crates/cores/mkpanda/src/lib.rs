//! What building packages means, as data: buildinfo, trees, ids, order, bills of materials.
//!
//! [`BuildInfo`] and [`TreeInfo`] are what people write; a [`Graph`] of all packages gives the set of a tree and the
//! order of building; [`Inputs`] name a package and write its files; a bootstrap is named by [`bootstrap_id`];
//! [`package_sbom`] and [`bootstrap_sbom`] write bills of materials.
//!
//! What it deliberately does not do: no IO at all (files are given as texts, folders as lists of hashes), no running
//! of builds, and no decision on what to fetch and what to build.

mod bootstrap;
mod buildinfo;
mod graph;
mod identity;
mod json;
mod problem;
mod read;
mod sbom;
mod source;
mod treeinfo;
mod variant;

pub use bootstrap::{active_json, bootstrap_id, complete_json};
pub use buildinfo::{BuildInfo, DEFAULT_BUILD_SCRIPT, DEFAULT_DOCKER};
pub use graph::{Graph, GraphError, PackageSet};
pub use identity::{Inputs, PKGPANDA_VERSION, pkginfo_json};
pub use json::MAX_FILE;
pub use problem::{Invalid, Problem};
pub use sbom::{Component, DebianPackage, FileSum, PackageBill, bootstrap_sbom, package_sbom};
pub use source::{Download, Source, SourceId};
pub use treeinfo::TreeInfo;
pub use variant::{PackageKey, Variant, VariantFileError};
