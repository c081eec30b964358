//! Commits as sources.

use std::fs;
use std::path::Path;

use super::Place;
use super::error::SourceProblem;

/// The mirror of the repository, below the source's folder in the cache.
const MIRROR: &str = "cache.git";
/// How many changes an error shows.
const SHOWN: usize = 5;

/// The commit that is checked out at `path`, with nothing changed since.
pub(super) fn local_commit(path: &Path) -> Result<String, SourceProblem> {
    let mut work = ::git::work(path)?;
    if work.changes.is_empty() {
        return Ok(work.commit);
    }
    let more = work.changes.len().saturating_sub(SHOWN);
    work.changes.truncate(SHOWN);
    if more > 0 {
        work.changes.push(format!("and {more} more"));
    }
    Err(SourceProblem::Changes { path: path.to_owned(), changes: work.changes })
}

/// Writes the files of a commit to `to`.
pub(super) fn checkout(
    place: &Place<'_>,
    url: &str,
    commit: &str,
    ref_origin: &str,
    to: &Path,
    say: &dyn Fn(&str),
) -> Result<(), SourceProblem> {
    let mirror = place.cache.join(MIRROR);
    let has = |mirror: &Path| Ok::<_, SourceProblem>(::git::resolve(mirror, commit)?.is_some());
    if !mirror.exists() {
        fs::create_dir_all(&place.cache).map_err(SourceProblem::file("make the directory", &place.cache))?;
        say(&format!("cloning {url}"));
        ::git::mirror(url, &mirror)?;
    } else if let Err(error) = ::git::fetch(url, &mirror, None) {
        if !has(&mirror)? {
            return Err(error.into());
        }
        // What is wanted is here; only whether there is something newer is not known.
        say(&format!(
            "{url} could not be asked whether {ref_origin} has moved: {}",
            base::with_causes(&error)
        ));
    }
    // What no branch or tag leads to has to be asked for by itself, and servers may refuse that.
    if !has(&mirror)? && (::git::fetch(url, &mirror, Some(commit)).is_err() || !has(&mirror)?) {
        return Err(SourceProblem::NoCommit { url: url.to_owned(), commit: commit.to_owned() });
    }
    match ::git::resolve(&mirror, ref_origin)? {
        Some(newest) if newest != commit => say(&format!(
            "WARNING: {ref_origin} of {url} is {newest} now, but the buildinfo of source {} has {commit}",
            place.name
        )),
        Some(_) => {}
        None => say(&format!("WARNING: {url} has no {ref_origin}, which source {} names", place.name)),
    }
    Ok(::git::checkout(&mirror, commit, to)?)
}
