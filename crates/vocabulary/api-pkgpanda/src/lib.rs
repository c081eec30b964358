//! Host packages in words: ids, pkginfo, manifests, the canonical hash, the JSON that is written.
//!
//! Everything here is a value or a text: nothing reads a directory, and whether packages fit together is
//! decided elsewhere (`pkgpanda-core`). Names and formats are those of pkgpanda 0.2, the program of DC/OS 1.x.

mod contents;
pub mod hash;
pub mod http;
mod id;
pub mod json;
mod manifest;
mod names;
mod pkginfo;
mod role;
pub mod step;

pub use contents::{Contents, Kind};
pub use id::{IdProblem, MAX_ID, PackageId, PackageName, looks_like_id};
pub use manifest::{File, MANIFEST, Manifest, ManifestProblem};
pub use names::{
    BUILDINFO, CHECKS, PKGINFO, RESERVED_UNITS, SERVICE_CONFIGURATION, TARBALL_SUFFIX, WANTS, WELL_KNOWN,
    is_group, is_username,
};
pub use pkginfo::{PkgInfo, PkgInfoProblem, Requirement};
pub use role::{Role, RoleProblem};
