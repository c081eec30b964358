//! Packages put together to a root file system, as a package manager would leave it, without its scripts.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::alternatives::Alternatives;
use crate::deb::{control, extract};
use crate::error::Error;

/// The directories that are one with their namesakes below `/usr`.
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
/// What every program expects to be there, with its mode.
const DIRECTORIES: [(&str, u32); 12] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];
/// Files that scripts copy once, or what they hold at least.
const FILES: [(&str, &str, &str); 3] = [
    (
        "etc/passwd",
        "usr/share/base-passwd/passwd.master",
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "usr/share/base-passwd/group.master", "root:x:0:\nnogroup:x:65534:\n"),
    (
        "etc/nsswitch.conf",
        "usr/share/libc-bin/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
];
/// Where the certificates of authorities come from, and the one file that programs read them from.
const CERTIFICATES: (&str, &str) = ("usr/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt");
/// The most bytes that one file copied here has.
const FILE_LIMIT: u64 = 1 << 20;
/// How long the cache of libraries may take.
const LDCONFIG: Duration = Duration::from_secs(60);

/// Makes a root file system of the packages in `files` in the directory `into`, which must be there and empty:
/// unpacked in this order, `/bin` and its like merged into `/usr`, users and groups of Debian, links for names such as
/// `awk`, certificates and the cache of libraries. Needs root. Files have the times of their packages; directories
/// may not.
///
/// # Errors
/// The directory is in no useful state then.
pub fn root(files: &[PathBuf], into: &Path) -> Result<(), Error> {
    let mut alternatives = Alternatives::default();
    for file in files {
        extract(file, into)?;
        if let Some(script) = control(file, "postinst")? {
            alternatives.read(&script);
        }
    }
    for (name, mode) in DIRECTORIES {
        let path = into.join(name);
        if path.symlink_metadata().is_err() {
            fs::create_dir(&path).map_err(Error::file("make the directory", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(Error::file("change the mode of", &path))?;
        }
    }
    for name in MERGED {
        merge_into_usr(into, name)?;
    }
    let inside = Inside::open(into)?;
    for (name, model, least) in FILES {
        let text = inside.read(model)?.unwrap_or_else(|| least.into());
        inside.write_new(name, &text)?;
    }
    for (link, target) in alternatives.links() {
        inside.link_new(link, target)?;
    }
    certificates(into, &inside)?;
    cache_libraries(into)
}

/// Makes `NAME` a link to `usr/NAME`, which gets all that is in it.
fn merge_into_usr(root: &Path, name: &str) -> Result<(), Error> {
    let (from, to) = (root.join(name), root.join("usr").join(name));
    match from.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {
            if to.symlink_metadata().is_err() {
                fs::rename(&from, &to).map_err(Error::file("rename", &from))?;
            } else {
                merge(root, &from, &to)?;
            }
        }
        Ok(_) => return Ok(()),
        Err(_) if to.is_dir() => {}
        Err(_) => return Ok(()),
    }
    let target = Path::new("usr").join(name);
    std::os::unix::fs::symlink(target, &from).map_err(Error::file("make the link", &from))
}

/// Moves all that is in `from` into `to`, and removes `from`.
fn merge(root: &Path, from: &Path, to: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(from).map_err(Error::file("read the directory", from))?;
    for entry in entries {
        let name = entry.map_err(Error::file("read the directory", from))?.file_name();
        let (here, there) = (from.join(&name), to.join(&name));
        let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        if there.symlink_metadata().is_err() || leads(root, &there, &here) {
            fs::rename(&here, &there).map_err(Error::file("rename", &here))?;
        } else if is_directory(&here) && is_directory(&there) {
            merge(root, &here, &there)?;
        } else if leads(root, &here, &there) || same(&here, &there) {
            fs::remove_file(&here).map_err(Error::file("remove", &here))?;
        } else {
            let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
            return Err(Error::Merge { first: below(&here), second: below(&there) });
        }
    }
    fs::remove_dir(from).map_err(Error::file("remove", from))
}

/// Whether `link` is a link to `target`, both below `root`, by their names.
fn leads(root: &Path, link: &Path, target: &Path) -> bool {
    let (Ok(to), Some(parent)) = (fs::read_link(link), link.parent()) else { return false };
    let mut at = if to.is_absolute() { root.to_owned() } else { parent.to_owned() };
    for component in to.components() {
        match component {
            Component::Normal(name) => at.push(name),
            // Nothing is above the root.
            Component::ParentDir if at != root => drop(at.pop()),
            _ => {}
        }
    }
    at == target
}

/// Whether two links, or two files, are the same in all that counts.
fn same(first: &Path, second: &Path) -> bool {
    match (fs::read_link(first), fs::read_link(second)) {
        (Ok(first), Ok(second)) => first == second,
        (Err(_), Err(_)) => {
            fs::read(first).ok().is_some_and(|bytes| fs::read(second).is_ok_and(|b| b == bytes))
        }
        _ => false,
    }
}

/// Puts the certificates of authorities into one file, if there are any.
fn certificates(root: &Path, inside: &Inside) -> Result<(), Error> {
    let (from, to) = CERTIFICATES;
    let mut names = Vec::new();
    let mut directories = vec![PathBuf::from(from)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(root.join(&directory)) else { continue };
        for entry in entries.flatten() {
            let name = directory.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(name),
                Ok(kind) if kind.is_file() && name.extension().is_some_and(|end| end == "crt") => {
                    names.push(name)
                }
                _ => {}
            }
        }
    }
    names.sort();
    let mut all = Vec::new();
    for name in &names {
        all.extend(inside.read(&name.to_string_lossy())?.unwrap_or_default());
        if !all.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let parent = root.join("etc/ssl/certs");
    fs::create_dir_all(&parent).map_err(Error::file("make the directory", &parent))?;
    inside.write_new(to, &all)
}

/// Where libraries lie that are not in the usual directories. Programs run without it, too, but for those.
fn cache_libraries(root: &Path) -> Result<(), Error> {
    let file = |path| Error::file("make the cache of libraries of", path);
    let ldconfig = ["/sbin/ldconfig", "/usr/sbin/ldconfig"].into_iter().find(|path| Path::new(path).exists());
    let (Some(ldconfig), true) = (ldconfig, root.join("etc/ld.so.conf").exists()) else { return Ok(()) };
    let ran = host::run(Command::new(ldconfig).arg("-X").arg("-r").arg(root), LDCONFIG);
    match ran.map_err(|error| file(root)(io::Error::other(error)))? {
        ran if ran.status.success() => Ok(()),
        ran => Err(file(root)(io::Error::other(ran.last_lines(3)))),
    }
}

/// The root as a process inside would see it: links of its own lead nowhere else.
struct Inside {
    root: OwnedFd,
    path: PathBuf,
}

impl Inside {
    fn open(path: &Path) -> Result<Inside, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Error::file("open", path)(errno.into()))?;
        Ok(Inside { root, path: path.to_owned() })
    }

    fn find(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), within)
    }

    /// A file, if it is there.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let file = match self.find(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(self.error("open", path, errno)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(Error::file("read", &self.path.join(path)))?;
        Ok(Some(bytes))
    }

    /// Writes a file, unless its name is taken.
    fn write_new(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let failed = |errno| self.error("write", path, errno);
        let parent = self.find(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(file) => {
                // Whatever the umask is.
                rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(failed)?;
                File::from(file).write_all(bytes).map_err(Error::file("write", &self.path.join(path)))
            }
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Makes a link to what is there, unless its name is taken or its directory missing.
    fn link_new(&self, link: &str, target: &str) -> Result<(), Error> {
        let (parent, name) = link.rsplit_once('/').unwrap_or(("", link));
        if self.find(target, OFlags::PATH).is_err() {
            return Ok(());
        }
        let Ok(parent) = self.find(parent, OFlags::PATH | OFlags::DIRECTORY) else { return Ok(()) };
        if rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(());
        }
        rustix::fs::symlinkat(target, &parent, name).map_err(|errno| self.error("make the link", link, errno))
    }

    fn error(&self, attempt: &'static str, path: &str, errno: Errno) -> Error {
        Error::file(attempt, &self.path.join(path.trim_start_matches('/')))(errno.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn bin_becomes_a_link_and_all_of_it_is_below_usr() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "bin/sed", "sed");
        write(root, "bin/both", "same");
        write(root, "usr/bin/both", "same");
        write(root, "usr/bin/awk", "awk");
        write(root, "bin/real", "real");
        symlink("/usr/bin/awk", root.join("bin/awk")).unwrap();
        symlink("../../bin/real", root.join("usr/bin/real")).unwrap();
        write(root, "lib64/ld.so", "ld");
        write(root, "lib/a/b/one", "1");
        write(root, "usr/lib/a/b/two", "2");
        write(root, "usr/sbin/tool", "");
        for name in MERGED {
            merge_into_usr(root, name).unwrap();
        }
        for (name, text) in [("both", "same"), ("sed", "sed"), ("awk", "awk"), ("real", "real")] {
            assert_eq!(fs::read_to_string(root.join("usr/bin").join(name)).unwrap(), text);
            assert!(root.join("usr/bin").join(name).symlink_metadata().unwrap().is_file(), "{name}");
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            assert_eq!(fs::read_link(root.join(name)).unwrap(), Path::new("usr").join(name));
        }
        assert!(root.join("lib/a/b/one").exists() && root.join("lib/a/b/two").exists());
        assert!(root.join("lib32").symlink_metadata().is_err());
    }

    #[test]
    fn different_files_are_not_merged() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "bin/x", "one");
        write(dir.path(), "usr/bin/x", "two");
        let error = merge_into_usr(dir.path(), "bin").unwrap_err();
        assert_eq!(error.to_string(), "bin/x and usr/bin/x are both there and differ: they cannot be one");
    }

    #[test]
    fn nothing_is_read_written_or_linked_outside_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        write(&root, "usr/bin/tool", "");
        fs::create_dir(&outside).unwrap();
        write(&outside, "secret", "secret");
        symlink(&outside, root.join("etc")).unwrap();
        symlink("../../outside", root.join("var")).unwrap();
        let inside = Inside::open(&root).unwrap();
        assert_eq!(inside.read("etc/secret").unwrap(), None);
        assert_eq!(inside.read("var/secret").unwrap(), None);
        inside.write_new("etc/passwd", b"").unwrap_err();
        inside.link_new("/etc/tool", "/usr/bin/tool").unwrap();
        inside.link_new("/usr/bin/gone", "/etc/secret").unwrap();
        inside.link_new("/usr/bin/t", "/usr/bin/tool").unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_link(root.join("usr/bin/t")).unwrap(), Path::new("/usr/bin/tool"));
        assert!(root.join("usr/bin/gone").symlink_metadata().is_err());
    }
}
