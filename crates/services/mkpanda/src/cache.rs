//! Where everything is that mkpanda makes, and how it gets there: whole, or not at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_pkgpanda::PackageId;
use host::{FileLock, LockError};

/// How long another run is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// Something could not be done.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another run goes on here.
    #[error("another mkpanda is at work here: {0}")]
    Busy(LockError),
    /// The lock could not be tried.
    #[error(transparent)]
    Lock(LockError),
}

fn failed<'a>(attempt: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CacheError + 'a {
    move |source| CacheError::Io { attempt, path: path.to_owned(), source }
}

/// `VARIANT.`, or nothing for the default one: what names of files begin with.
pub(crate) fn prefix(variant: Option<&str>) -> String {
    variant.map(|variant| format!("{variant}.")).unwrap_or_default()
}

/// The folder `cache` of a folder of packages, held by this run alone.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    number: AtomicU64,
    _lock: FileLock,
}

impl Cache {
    /// Makes the cache if there is none, and waits for another run to end. [`Cache::sweep`] comes next.
    pub(crate) fn open(packages: &Path) -> Result<Cache, CacheError> {
        let path = packages.join("cache");
        fs::create_dir_all(&path).map_err(failed("make", &path))?;
        let lock = lock(&path.join("mkpanda.lock"))?;
        Ok(Cache { path, number: AtomicU64::new(0), _lock: lock })
    }

    /// Whether a run was killed here: others leave no scratch folder.
    pub(crate) fn is_swept(&self) -> bool {
        !self.scratch().exists()
    }

    /// Removes what a killed run left, once nothing of it runs any more.
    pub(crate) fn sweep(&self) -> Result<(), CacheError> {
        let scratch = self.scratch();
        self.empty(&scratch)?;
        // What scripts make there may be root's and open to all.
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&scratch, private).map_err(failed("change the mode of", &scratch))?;
        spread(&scratch);
        Ok(())
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What belongs to one package.
    pub(crate) fn package(&self, name: &str) -> PathBuf {
        self.path.join("packages").join(name)
    }

    /// The package itself.
    pub(crate) fn tarball(&self, id: &PackageId) -> PathBuf {
        self.package(id.name()).join(format!("{id}{}", api_pkgpanda::TARBALL_SUFFIX))
    }

    /// What the package was made of.
    pub(crate) fn sbom(&self, id: &PackageId) -> PathBuf {
        self.package(id.name()).join(format!("{id}.spdx.json"))
    }

    /// Says which one was built last.
    pub(crate) fn latest(&self, name: &str, variant: Option<&str>) -> PathBuf {
        self.package(name).join(format!("{}latest", prefix(variant)))
    }

    /// The bootstraps.
    pub(crate) fn bootstrap(&self) -> PathBuf {
        self.path.join("bootstrap")
    }

    /// What a tree consists of.
    pub(crate) fn complete(&self, variant: Option<&str>) -> PathBuf {
        self.path.join("complete").join(format!("{}complete.latest.json", prefix(variant)))
    }

    /// Where the packages of others are checked out to.
    pub(crate) fn upstream(&self) -> PathBuf {
        self.path.join("upstream")
    }

    /// What only this run has a use for. The next one removes it.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.join(".mkpanda")
    }

    /// A path in the scratch folder that nobody else uses.
    pub(crate) fn fresh(&self, what: &str) -> PathBuf {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.scratch().join(format!("{what}.{number}"))
    }

    /// What makes a file hold this text, if it does not already.
    pub(crate) fn update(&self, to: PathBuf, text: &str) -> Result<Option<Output>, CacheError> {
        match fs::read(&to) {
            Ok(found) if found == text.as_bytes() => Ok(None),
            _ => self.write(to, text).map(Some),
        }
    }

    /// Writes a text to where it is to appear with the next [`Cache::publish`].
    pub(crate) fn write(&self, to: PathBuf, text: &str) -> Result<Output, CacheError> {
        let from = self.fresh("output");
        fs::write(&from, text).map_err(failed("write", &from))?;
        Ok(Output { from, to })
    }

    /// Lets files appear under their names, one after the other, after the contents of all of them are on the disk.
    pub(crate) fn publish(&self, outputs: &[Output]) -> Result<(), CacheError> {
        if outputs.is_empty() {
            return Ok(());
        }
        let scratch = self.scratch();
        // One for all instead of one each: the disk is waited for once.
        let opened = File::open(&scratch).map_err(failed("open", &scratch))?;
        rustix::fs::syncfs(&opened)
            .map_err(io::Error::from)
            .map_err(failed("write to the disk what is below", &scratch))?;
        for Output { from, to } in outputs {
            if let Some(above) = to.parent() {
                fs::create_dir_all(above).map_err(failed("make", above))?;
            }
            fs::rename(from, to).map_err(failed("make", to))?;
        }
        Ok(())
    }

    /// Removes what is there, and makes an empty directory instead.
    pub(crate) fn empty(&self, path: &Path) -> Result<(), CacheError> {
        self.remove(path)?;
        fs::create_dir_all(path).map_err(failed("make", path))
    }

    /// Removes what is there, if anything.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), CacheError> {
        host::remove_tree(path).map_err(failed("remove", path))
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // The next run does it if this one cannot.
        let _ = host::remove_tree(&self.scratch());
    }
}

/// Asks the file system to keep what is in each directory of `scratch` apart from what is in the others: ext4 looks at all
/// that was removed lately from a group of files whenever something new comes to it, and nearly all that is made here
/// goes soon.
fn spread(scratch: &Path) {
    let Ok(opened) = File::open(scratch) else { return };
    // Other file systems do not know the flag, and have no use for it.
    let flags = rustix::fs::ioctl_getflags(&opened);
    let _ = flags.and_then(|flags| rustix::fs::ioctl_setflags(&opened, flags | rustix::fs::IFlags::TOPDIR));
}

/// A file that is written, and where it is to appear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

fn lock(path: &Path) -> Result<FileLock, CacheError> {
    FileLock::take_within(path, LOCK_TIMEOUT, |_| {}).map_err(|error| match error {
        LockError::Held { .. } => CacheError::Busy(error),
        LockError::Lock { .. } => CacheError::Lock(error),
    })
}
