//! Getting a package that the cache does not have: from the repository, or by building it.

use std::fs;

use api_pkgpanda::{BUILDINFO, PKGINFO};
use base::with_causes;
use pkgpanda_core::Package;
use tokio::sync::watch;

use crate::build::Workshop;
use crate::cache::Output;
use crate::download::Remote;
use crate::error::BuildError;
use crate::plan::Planned;
use crate::repository::{self, RepositoryError};
use crate::result::SBOM;
use crate::schedule::{Built, Tell};

/// The ways to a package.
pub(crate) struct Obtain<'a> {
    pub(crate) workshop: Workshop<'a>,
    pub(crate) remote: Option<&'a Remote>,
    /// Whether the whole run is to end.
    pub(crate) cancelled: &'a watch::Receiver<bool>,
}

impl Obtain<'_> {
    /// Gets the package.
    ///
    /// # Errors
    /// Why it was not built. That it could not be downloaded is a warning.
    pub(crate) fn package(&self, planned: &Planned, tell: &Tell) -> Result<Built, BuildError> {
        if let Some(remote) = self.remote {
            tell.phase("looking into the repository");
            match self.download(remote, planned) {
                Ok(Some(built)) => return Ok(built),
                Ok(None) => {}
                Err(_) if *self.cancelled.borrow() => return Err(BuildError::Cancelled),
                Err(error) => {
                    tell.line(&format!("WARNING: not taken from the repository: {}", with_causes(&error)))
                }
            }
        }
        self.workshop.build(planned, tell)
    }

    /// The package from the repository, made sure that it is whole; `None` if the repository does not have it.
    fn download(&self, remote: &Remote, planned: &Planned) -> Result<Option<Built>, BuildError> {
        let (cache, id) = (self.workshop.cache, &planned.id);
        let tarball = cache.fresh("tarball");
        if !remote.fetch(id, &tarball, self.workshop.runtime, self.cancelled)? {
            return Ok(None);
        }
        let unpacked = repository::unpack(&tarball, id, cache.fresh("package"))?;
        if let Some(why) = contradiction(planned, &unpacked.package) {
            return Err(RepositoryError::Contents { path: tarball, why }.into());
        }
        let mut outputs = vec![Output { from: tarball, to: cache.tarball(id) }];
        let within = unpacked.dir.join(SBOM);
        // Packages of the original have none. A link could lead to files of this machine.
        if within.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            let sbom = cache.fresh("sbom");
            fs::copy(&within, &sbom).map_err(|source| BuildError::file("write", &sbom, source))?;
            outputs.push(Output { from: sbom, to: cache.sbom(id) });
        }
        let latest = cache.latest(planned.key.name.as_str(), planned.key.variant.name());
        outputs.push(cache.write(latest, id.as_str())?);
        self.workshop.repository.put(unpacked);
        Ok(Some(Built { how: format!("{id} is downloaded"), outputs }))
    }
}

/// What a package says of itself, and would not if it were the one that is planned. That it was made from what its id
/// says cannot be seen in it: whoever names a repository trusts it.
fn contradiction(planned: &Planned, package: &Package) -> Option<String> {
    if package.info != planned.info.pkginfo() {
        return Some(format!("its {PKGINFO} is not the one of {}", planned.id));
    }
    let told = package.buildinfo.as_ref()?;
    let ids = planned.inputs().build_ids();
    let (name, version) = (planned.id.name().into(), planned.id.version().into());
    let expected = [("name", name), ("package_version", version), ("build_ids", ids)];
    let wrong = expected.iter().find(|(key, expected)| told.get(key) != Some(expected));
    wrong.map(|(key, _)| format!("{key} in its {BUILDINFO} is not the one of {}", planned.id))
}
