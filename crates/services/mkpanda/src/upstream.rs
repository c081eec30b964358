//! The packages of others, which fill in what the folder itself does not have: `upstream.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mkpanda_core::{Source, SourceId};

use crate::cache::Cache;
use crate::error::BuildError;
use crate::sources::Fetcher;

/// The checkout, below `cache/upstream`.
const CHECKOUT: &str = "checkout";
/// What is checked out, below `cache/upstream`.
const ID: &str = "id";
/// What fetching keeps, below `cache/upstream`.
const SOURCES: &str = "sources";

/// The folder of upstream's packages, checked out if what is there is another one.
pub(crate) fn packages(root: &Path, source: Source, cache: &Cache) -> Result<PathBuf, BuildError> {
    let failed = |source| BuildError::Upstream { source };
    let upstream = cache.upstream();
    let (checkout, id_file, sources) = (upstream.join(CHECKOUT), upstream.join(ID), upstream.join(SOURCES));
    let mut fetcher = Fetcher::new(root, &sources, &BTreeMap::from([(CHECKOUT.to_owned(), source)]));
    let ids = fetcher.ids().map_err(failed)?;
    let id = ids.get(CHECKOUT).map(SourceId::to_json).unwrap_or_default().to_string();
    if !(checkout.is_dir() && fs::read_to_string(&id_file).is_ok_and(|found| found == id)) {
        let fresh = cache.fresh("upstream");
        for path in [&fresh, &sources] {
            fs::create_dir_all(path).map_err(|source| BuildError::file("make", path, source))?;
        }
        fetcher.checkout_to(&fresh, &|text| eprintln!("upstream: {text}")).map_err(failed)?;
        cache.remove(&id_file)?;
        cache.remove(&checkout)?;
        let new = fresh.join(CHECKOUT);
        fs::rename(&new, &checkout).map_err(|source| BuildError::file("move", &new, source))?;
        cache.publish(&[cache.write(id_file, &id)?])?;
    }
    Ok(checkout.join("packages"))
}
