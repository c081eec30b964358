//! Downloads of packages.
//!
//! A package is at `BASE/packages/NAME/ID.tar.xz`. From the web it comes into a part file in the repository, which
//! outlives the process: the next fetch of the same URL goes on where this one ended, if the server still has the
//! same file. From a directory it is unpacked where it lies.

mod download;
mod error;
mod origin;
mod part;
mod show;
mod small;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::Duration;

use api_pkgpanda::PackageId;
use web_client::{Url, WebClient};

use crate::repository::{Added, Repository};

pub use error::FetchError;
pub use origin::Origin;

use download::download;
use origin::Place;
use part::Part;
use show::Shown;

/// How downloads are made.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: web_client::Config,
    /// Attempts in a row that bring nothing before it is given up.
    attempts: u32,
    /// The first pause between two; it doubles.
    pause: Duration,
}

impl Default for Fetcher {
    fn default() -> Fetcher {
        Fetcher { client: web_client::Config::default(), attempts: 5, pause: Duration::from_millis(500) }
    }
}

/// Told how many bytes are there, and how many there will be, if the server said so.
pub type OnProgress<'a> = dyn FnMut(u64, Option<u64>) + 'a;

impl Fetcher {
    /// One that asks the proxies that the environment names.
    pub fn from_environment() -> Fetcher {
        Fetcher { client: web_client::Config::from_environment(), ..Fetcher::default() }
    }

    /// Brings a package into the repository. Nothing happens if it is there already, unless it is damaged: then it is
    /// replaced, active or not. Blocks, for as long as the download takes.
    ///
    /// # Errors
    /// Of whatever kind: the repository is as before.
    pub fn fetch(
        &self,
        repository: &Repository,
        origin: &Origin,
        id: &PackageId,
        progress: &mut OnProgress<'_>,
    ) -> Result<Added, FetchError> {
        if !repository.lacks(id)? {
            return Ok(Added::Already);
        }
        match origin.place_of(id)? {
            Place::File(path) => Ok(repository.add_as(id, &path)?),
            Place::Web(url) => self.fetch_url(repository, &url, id, progress),
        }
    }

    fn fetch_url(
        &self,
        repository: &Repository,
        url: &Url,
        id: &PackageId,
        progress: &mut OnProgress<'_>,
    ) -> Result<Added, FetchError> {
        let mut part = Part::open(repository.dir(), id, url)?;
        if !repository.lacks(id)? {
            // Another has fetched it while this process waited for it.
            part.remove();
            return Ok(Added::Already);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(FetchError::Runtime)?;
        let client = WebClient::new(self.client.clone());
        let downloaded = runtime.block_on(download(self, &client, url, &mut part, progress));
        if let Err(error) = downloaded {
            if error.is_no_space() {
                // What fills the disk is of no use to anybody.
                part.remove();
            }
            return Err(error);
        }
        match repository.add_as(id, part.path()) {
            Ok(added) => {
                part.remove();
                Ok(added)
            }
            Err(problem) if problem.is_of_tarball() => {
                part.remove();
                Err(FetchError::Tarball { url: url.clone(), problem })
            }
            Err(problem) => Err(problem.into()),
        }
    }

    /// Fetches packages one after the other until one cannot be had, and tells `out` of each
    /// (pkgpanda: `fetch`), and `err` of those that were there and damaged. On a terminal the bytes that came are
    /// counted.
    ///
    /// # Errors
    /// That of the first that cannot be had; those before it are there.
    pub fn fetch_all(
        &self,
        repository: &Repository,
        origin: &Origin,
        ids: &[PackageId],
        is_terminal: bool,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<(), crate::Error> {
        for id in ids {
            let mut shown = Shown::begin(id, is_terminal, out)?;
            let fetched =
                self.fetch(repository, origin, id, &mut |bytes, whole| shown.progress(bytes, whole));
            shown.end(&fetched)?;
            if fetched? == Added::Replaced {
                tell_replaced(id, err);
            }
        }
        Ok(())
    }
}

/// Says that a package was not just added. What cannot be said is lost.
pub(crate) fn tell_replaced(id: &PackageId, err: &mut dyn Write) {
    let _ = writeln!(
        err,
        "{id} was damaged, and has been replaced: units that run have its former files until they are restarted"
    );
}
