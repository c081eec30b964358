//! What packages are made from: where it comes from, what identifies it, and how it gets into a build.
//!
//! What a source is named by is mostly written in the buildinfo ([`Fetcher::ids`]): a server is asked only when the
//! package has to be built ([`Fetcher::checkout_to`]), and not even then for what the cache has. What comes out is
//! the same everywhere: one time for all, and modes that depend on nobody's umask.
//!
//! Whoever uses it holds the lock of the cache.

pub(crate) mod apt;
mod debian;
mod download;
mod error;
mod extract;
mod git;
mod runtime;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mkpanda_core::{Source, SourceId};
use web_client::{Config, WebClient};

pub use error::{SourceError, SourceProblem};
pub(crate) use runtime::wait_for;
pub use tree::TreeError;
pub(crate) use tree::{Listing, Modes, settle};

/// The sources of one package.
#[derive(Debug)]
pub struct Fetcher {
    /// The folder of the package.
    folder: PathBuf,
    /// What the cache has of the package: `cache/packages/NAME`.
    cache: PathBuf,
    sources: BTreeMap<String, Source>,
    /// Of sources that lie on this machine, what was found when their ids were.
    listings: BTreeMap<String, Listing>,
    /// What was found to be checked out, of the same.
    commits: BTreeMap<String, String>,
}

/// One source: what is needed to name it in errors and to keep it.
struct Place<'a> {
    name: &'a str,
    folder: &'a Path,
    /// `cache/packages/NAME/SOURCE`.
    cache: PathBuf,
}

impl Fetcher {
    /// The sources of a package whose buildinfo is in `folder` and whose part of the cache is
    /// `cache/packages/NAME`. Nothing is read yet.
    #[must_use]
    pub fn new(folder: &Path, cache: &Path, sources: &BTreeMap<String, Source>) -> Fetcher {
        Fetcher {
            folder: folder.to_owned(),
            cache: cache.to_owned(),
            sources: sources.clone(),
            listings: BTreeMap::new(),
            commits: BTreeMap::new(),
        }
    }

    /// What each source adds to the package's version. Only this machine is asked, and only for what the buildinfo
    /// does not say: `local` and `git_local`.
    ///
    /// # Errors
    /// Names the source: it is not there, cannot be read, or has changes that no commit has.
    pub fn ids(&mut self) -> Result<BTreeMap<String, SourceId>, SourceError> {
        let mut ids = BTreeMap::new();
        for (name, source) in &self.sources {
            let failed = |problem| SourceError::new(name, source, problem);
            let id = match source {
                Source::Local { rel_path } => {
                    let listing = Listing::of(&self.folder.join(rel_path));
                    let listing = listing.map_err(|error| failed(error.into()))?;
                    let contents = listing.contents();
                    self.listings.insert(name.clone(), listing);
                    SourceId::Contents(contents)
                }
                Source::GitLocal { rel_path } => {
                    let commit = git::local_commit(&self.folder.join(rel_path)).map_err(failed)?;
                    self.commits.insert(name.clone(), commit.clone());
                    SourceId::Commit(commit)
                }
                other => other.declared_id().expect("all other kinds say theirs"),
            };
            ids.insert(name.clone(), id);
        }
        Ok(ids)
    }

    /// Brings the sources into the folder `into`, which must be there, each to a folder of its name. What has to be
    /// fetched for it stays in the cache. `say` is told what takes long, and of commits that are not the newest.
    ///
    /// # Errors
    /// Names the source, and what of it cannot be had. What is half done in the cache goes on next time.
    pub fn checkout_to(&self, into: &Path, say: &dyn Fn(&str)) -> Result<(), SourceError> {
        for (name, source) in &self.sources {
            let failed = |problem| SourceError::new(name, source, problem);
            let place = Place { name, folder: &self.folder, cache: self.cache.join(name) };
            let to = into.join(name);
            fs::create_dir(&to).map_err(SourceProblem::file("make the directory", &to)).map_err(failed)?;
            self.checkout(&place, source, &to, say).map_err(failed)?;
        }
        Ok(())
    }

    fn checkout(
        &self,
        place: &Place<'_>,
        source: &Source,
        to: &Path,
        say: &dyn Fn(&str),
    ) -> Result<(), SourceProblem> {
        match source {
            Source::Git { git, commit, ref_origin } => {
                git::checkout(place, git, commit, ref_origin, to, say)?;
                settle(to, Modes::Plain)?;
            }
            Source::GitLocal { rel_path } => {
                let path = place.folder.join(rel_path);
                let commit = match self.commits.get(place.name) {
                    Some(commit) => commit.clone(),
                    None => git::local_commit(&path)?,
                };
                ::git::checkout(&path, &commit, to)?;
                settle(to, Modes::Plain)?;
            }
            Source::Url(wanted) => {
                let file = download::get(place, wanted, &web(), say)?;
                let to_file = to.join(wanted.file_name());
                fs::copy(&file, &to_file).map_err(SourceProblem::file("copy", &file))?;
                settle(to, Modes::Plain)?;
            }
            Source::UrlExtract(wanted) => {
                let file = download::get(place, wanted, &web(), say)?;
                extract::extract(&file, to)?;
                settle(to, Modes::Plain)?;
            }
            Source::Local { rel_path } => {
                let path = place.folder.join(rel_path);
                match self.listings.get(place.name) {
                    Some(listing) => listing.copy(&path, to)?,
                    None => Listing::of(&path)?.copy(&path, to)?,
                }
                settle(to, Modes::Plain)?;
            }
            Source::Debian { package, version, sha256 } => {
                debian::checkout(place, package, version, sha256, to, say)?;
                settle(to, Modes::Kept)?;
            }
        }
        Ok(())
    }
}

/// Nothing is read or opened before it is used.
fn web() -> WebClient {
    WebClient::new(Config::from_environment())
}

#[cfg(test)]
mod tests;
