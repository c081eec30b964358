//! Bodies of the HTTP API (`/pkgpanda/...` behind Admin Router).

use serde::{Deserialize, Serialize};

use crate::PackageId;

/// One package: the answer to `GET /repository/ID` and `GET /active/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// `NAME--VERSION`.
    pub id: PackageId,
    /// Before `--`.
    pub name: String,
    /// After `--`.
    pub version: String,
}

impl From<&PackageId> for Package {
    fn from(id: &PackageId) -> Self {
        Self { id: id.clone(), name: id.name().to_owned(), version: id.version().to_owned() }
    }
}

/// The body of `POST /repository/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Where to fetch from: the package is at `URL/packages/NAME/ID.tar.xz`.
    pub repository_url: String,
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What went wrong, for people.
    pub error: String,
    /// On `PUT /active/`: which of the packages are not in the repository, sorted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_packages: Option<Vec<String>>,
}
