//! The directories that nested containers work in. They are below that of the outermost container, whose user
//! may put links into it: no step here follows one.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use base::ContainerId;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};

use crate::sandbox::{Held, Owner};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `<of the outermost>/containers/<child>/containers/<its child>`.
pub(crate) fn sandbox_below(root: &Path, id: &ContainerId) -> PathBuf {
    id.as_str().split('.').skip(1).fold(root.to_owned(), |path, name| path.join("containers").join(name))
}

/// Makes the sandbox of a container, with its output files, and gives the directory. `root` is the outermost
/// container's.
pub(super) fn make(root: &Path, id: &ContainerId, owner: Option<Owner>) -> io::Result<OwnedFd> {
    let mut directory = rustix::fs::open(root, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
    for name in id.as_str().split('.').skip(1) {
        for name in ["containers", name] {
            match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            directory = rustix::fs::openat(&directory, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
        }
    }
    // As that of the outermost: others of the machine may not look into it.
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o750))?;
    for output in ["stdout", "stderr"] {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&directory, output, flags, Mode::from_raw_mode(0o644))?;
        give(&file, owner)?;
    }
    give(&directory, owner)?;
    Ok(directory)
}

/// Makes the directories of `path` below the outermost container's sandbox that are missing. What is there may
/// be a file at the end.
pub(super) fn make_shared(root: &Path, path: &Path, owner: Option<Owner>) -> io::Result<()> {
    let mut directory = rustix::fs::open(root, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
    for name in path.iter().filter(|name| *name != ".") {
        let made = rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755));
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::PATH;
        let next = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
        match made {
            Ok(()) => {
                let opened = rustix::fs::openat(&directory, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
                give(&opened, owner)?;
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        directory = next;
    }
    Ok(())
}

fn give(file: &OwnedFd, owner: Option<Owner>) -> io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    Ok(rustix::fs::fchown(file, Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)))?)
}

/// Removes a sandbox with all that is in it; no error if there is none.
pub(super) fn remove(sandbox: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (sandbox.parent(), sandbox.file_name()) else { return Ok(()) };
    let parent = match rustix::fs::openat2(
        CWD,
        parent,
        OFlags::PATH | DIRECTORY,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    ) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        parent => parent?,
    };
    match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        found => found?,
    };
    host::remove_tree(&Held::open(parent).path().join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out() {
        let dir = std::env::temp_dir().join(format!("agent-nested-sandbox-{}", std::process::id()));
        let (root, other) = (dir.join("root"), dir.join("other"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(other.join("c")).unwrap();
        let id = ContainerId::from("r.c.d");
        make(&root, &id, None).unwrap();
        make(&root, &id, None).expect("once more is no error");
        let sandbox = sandbox_below(&root, &id);
        assert_eq!(sandbox, root.join("containers/c/containers/d"));
        assert!(sandbox.join("stdout").is_file() && sandbox.join("stderr").is_file());
        remove(&sandbox).unwrap();
        remove(&sandbox).expect("once more is no error");
        assert!(!sandbox.exists() && sandbox.parent().unwrap().exists());
        fs::remove_dir_all(root.join("containers")).unwrap();
        symlink(&other, root.join("containers")).unwrap();
        assert!(make(&root, &"r.c".into(), None).is_err());
        assert!(remove(&root.join("containers/c")).is_err());
        assert!(other.join("c").exists() && !other.join("c/stdout").exists());
        fs::remove_dir_all(dir).unwrap();
    }
}
