use api_pkgpanda::{Contents, PackageId, PkgInfo};
use serde_json::Value;

/// A package as activation sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// Its id.
    pub id: PackageId,
    /// What it says about itself.
    pub info: PkgInfo,
    /// What it brings.
    pub contents: Contents,
    /// How it was built, where it tells.
    pub buildinfo: Option<Value>,
    /// A hash of its contents, for packages whose id does not tell of changes (setup packages): units that depend on
    /// it restart when it changes.
    pub fingerprint: Option<String>,
}

impl Package {
    /// A package that says and brings nothing.
    pub fn new(id: PackageId) -> Self {
        Self {
            id,
            info: PkgInfo::default(),
            contents: Contents::default(),
            buildinfo: None,
            fingerprint: None,
        }
    }

    /// The variant that it was built in; none is the default one. mkpanda has always told it by how the package was
    /// built only.
    pub fn variant(&self) -> Option<&str> {
        let built = || self.buildinfo.as_ref()?.get("variant")?.as_str();
        self.info.variant.as_deref().or_else(built).filter(|variant| !variant.is_empty())
    }
}
