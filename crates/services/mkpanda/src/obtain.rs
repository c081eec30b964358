//! Getting a package that the cache does not have: from the repository, or by building it.

use std::fs;

use base::with_causes;

use crate::build::Workshop;
use crate::cache::Output;
use crate::download::Remote;
use crate::error::BuildError;
use crate::plan::Planned;
use crate::repository;
use crate::result::SBOM;
use crate::schedule::{Built, Tell};

/// The ways to a package.
pub(crate) struct Obtain<'a> {
    pub(crate) workshop: Workshop<'a>,
    pub(crate) remote: Option<&'a Remote>,
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
        if !remote.fetch(id, &tarball, self.workshop.runtime)? {
            return Ok(None);
        }
        let unpacked = repository::unpack(&tarball, id, cache.fresh("package"))?;
        let mut outputs = vec![Output { from: tarball, to: cache.tarball(id) }];
        let within = unpacked.dir.join(SBOM);
        // Packages of the original have none.
        if within.exists() {
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
