//! The one place that writes: a tree below one directory, every step relative to a descriptor.
//!
//! Few system calls a file: a directory is resolved once and its descriptor kept, so a file costs
//! open, write, set times and close, and owner and mode only where they are not right by themselves.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, makedev,
};
use rustix::io::Errno;

use crate::error::{Error, Refusal, shown};
use crate::meta::{EntryKind, Meta};
use crate::name::{Name, split};
use crate::options::{Options, Ownership, Whiteouts};
use crate::replace;

/// The most directories that are kept open.
const OPEN_DIRECTORIES: usize = 64;
/// The mode of a directory that no entry describes.
const IMPLIED_MODE: u32 = 0o755;
/// How often the kernel is asked again when somebody else moves directories meanwhile.
const TRIES: usize = 16;
/// What overlayfs reads as "nothing of the layers below".
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Writes below one directory.
pub(crate) struct Tree {
    top: Rc<Dir>,
    options: Options,
    /// Whether owners, modes and attributes are the archive's.
    keep: bool,
    umask: u32,
    me: (u32, u32),
    open: HashMap<Vec<u8>, Rc<Dir>>,
    /// The directory that was used last, which is mostly the next one.
    recent: Option<(Vec<u8>, Rc<Dir>)>,
    /// Directories whose time, and maybe mode, is set when nothing is written into them any more.
    unfinished: Vec<Unfinished>,
    /// Something was replaced: an unfinished name may not be that directory any more.
    replaced: bool,
    opaque: bool,
    written: u64,
    /// Directories made that no entry describes, or not yet.
    implied: u64,
}

/// An open directory.
pub(crate) struct Dir {
    pub(crate) fd: OwnedFd,
    /// What is made in it gets its group.
    setgid: bool,
}

struct Unfinished {
    name: Vec<u8>,
    times: Timestamps,
    mode: Option<u32>,
}

impl Tree {
    /// Opens `into`, which must be there.
    pub(crate) fn open(into: &Path, options: Options) -> Result<Tree, Error> {
        let top_name = into.display().to_string();
        let failed = |source: Errno| Error::Write {
            attempt: "open directory",
            entry: top_name.clone(),
            source: source.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(into, flags, Mode::empty()).map_err(failed)?;
        let top = Rc::new(Dir::of(fd).map_err(failed)?);
        Ok(Tree {
            top,
            options,
            keep: options.ownership == Ownership::Keep,
            umask: umask(),
            me: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            open: HashMap::new(),
            recent: None,
            unfinished: Vec::new(),
            replaced: false,
            opaque: false,
            written: 0,
            implied: 0,
        })
    }

    /// Bytes of contents written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Directories made so far because a name lies below them.
    pub(crate) fn implied(&self) -> u64 {
        self.implied
    }

    /// Makes a directory, or gives one that is there what the archive says of it.
    pub(crate) fn directory(&mut self, name: &Name, meta: &Meta) -> Result<(), Error> {
        if name.is_top() {
            // What a task's archive says of `.` is not said of its sandbox.
            let top = Rc::clone(&self.top);
            return if self.keep { self.describe(name.bytes(), &top.fd, true, meta) } else { Ok(()) };
        }
        let parent = self.parent(name)?;
        let wanted = self.mode(meta);
        // A directory that its maker cannot enter is closed at the end; root can enter any.
        let while_filled = if self.me.0 == 0 { wanted } else { wanted | 0o700 };
        let mut opaque = false;
        for _ in 0..TRIES {
            match rustix::fs::mkdirat(&parent.fd, name.last(), Mode::from_raw_mode(while_filled & 0o777)) {
                Ok(()) => return self.made(name, &parent, meta, opaque),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::write("make directory", name.bytes(), errno)),
            }
            let found = self.stat(&parent, name)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                if !self.keep {
                    return Ok(());
                }
                let fd = self.open_made(&parent, name)?;
                return self.describe(name.bytes(), &fd, true, meta);
            }
            opaque |= self.options.whiteouts == Whiteouts::Overlay && is_whiteout(&found);
            self.replace(&parent, name)?;
        }
        Err(Error::write("make directory", name.bytes(), Errno::EXIST))
    }

    /// Finishes a directory that was just made.
    fn made(&mut self, name: &Name, parent: &Dir, meta: &Meta, opaque: bool) -> Result<(), Error> {
        let wanted = self.mode(meta);
        let masked = wanted & !self.umask & 0o777;
        let owner = self.owner(meta, name.bytes(), parent)?;
        let plain = !self.keep || (masked == wanted && meta.attributes.is_empty());
        if plain && owner.is_none() && !opaque && (self.me.0 == 0 || wanted & 0o700 == 0o700) {
            let mode = None;
            self.unfinished.push(Unfinished { name: name.bytes().to_vec(), times: times(meta), mode });
            return Ok(());
        }
        let fd = self.open_made(parent, name)?;
        if opaque {
            self.set_opaque(name.bytes(), &fd)?;
        }
        self.describe(name.bytes(), &fd, parent.setgid, meta)
    }

    /// Gives an open directory owner, mode and attributes; its time, and a mode that would lock us
    /// out, come at the end.
    fn describe(&mut self, name: &[u8], fd: &OwnedFd, chown: bool, meta: &Meta) -> Result<(), Error> {
        let wanted = self.mode(meta);
        if let Some((uid, gid)) = self.wanted_owner(meta, name)?
            && (chown || (uid, gid) != self.me)
        {
            rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|errno| Error::write("change the owner of", name, errno))?;
        }
        let locked = self.me.0 != 0 && wanted & 0o700 != 0o700;
        let mode = locked.then_some(if self.keep { wanted } else { wanted & !self.umask });
        if self.keep {
            let now = if locked { wanted | 0o700 } else { wanted };
            rustix::fs::fchmod(fd, Mode::from_raw_mode(now))
                .map_err(|errno| Error::write("change the mode of", name, errno))?;
            attributes(name, fd, meta)?;
            if now & 0o2000 != 0 {
                // What is made in it from now on gets its group: a descriptor kept before knows not.
                self.forget();
            }
        }
        self.unfinished.push(Unfinished { name: name.to_vec(), times: times(meta), mode });
        Ok(())
    }

    /// Makes an empty file, which takes the place of whatever had its name, and is not reached
    /// through any other name. [`Tree::close`] finishes it.
    pub(crate) fn file(&mut self, name: &Name, meta: &Meta) -> Result<OwnedFd, Error> {
        let parent = self.parent(name)?;
        let wanted = self.mode(meta);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.make(&parent, name, "write file", |parent, last| {
            rustix::fs::openat(&parent.fd, last, flags, Mode::from_raw_mode(wanted & 0o777))
        })?;
        if let Some((uid, gid)) = self.owner(meta, name.bytes(), &parent)? {
            rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|errno| Error::write("change the owner of", name.bytes(), errno))?;
        }
        if self.keep && wanted & !self.umask & 0o777 != wanted {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(wanted))
                .map_err(|errno| Error::write("change the mode of", name.bytes(), errno))?;
        }
        Ok(fd)
    }

    /// Whether `bytes` more of contents may come out.
    pub(crate) fn afford(&self, entry: &[u8], bytes: u64) -> Result<(), Error> {
        let limit = self.options.limits.bytes;
        if bytes > limit - self.written {
            return Err(Error::TooLarge { entry: shown(entry), limit });
        }
        Ok(())
    }

    /// Appends to a file.
    pub(crate) fn write(&mut self, entry: &[u8], fd: &OwnedFd, mut bytes: &[u8]) -> Result<(), Error> {
        self.afford(entry, bytes.len() as u64)?;
        while !bytes.is_empty() {
            match rustix::io::write(fd, bytes) {
                Ok(0) => return Err(Error::write("write file", entry, Errno::IO)),
                Ok(count) => {
                    self.written += count as u64;
                    bytes = &bytes[count..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::write("write file", entry, errno)),
            }
        }
        Ok(())
    }

    /// Gives a written file its attributes and its time. Writing clears capabilities: they come last.
    pub(crate) fn close(&mut self, entry: &[u8], fd: OwnedFd, meta: &Meta) -> Result<(), Error> {
        if self.keep {
            attributes(entry, &fd, meta)?;
        }
        rustix::fs::futimens(&fd, &times(meta)).map_err(|errno| Error::write("set the time of", entry, errno))
    }

    /// Makes a symbolic link; where it leads is its own business, nothing is written through it.
    pub(crate) fn symlink(&mut self, name: &Name, target: &[u8], meta: &Meta) -> Result<(), Error> {
        let parent = self.parent(name)?;
        self.make(&parent, name, "make symbolic link", |parent, last| {
            rustix::fs::symlinkat(target, &parent.fd, last)
        })?;
        self.describe_at(&parent, name, meta)
    }

    /// Makes a hard link to something that this tree holds already.
    pub(crate) fn hard_link(&mut self, name: &Name, target: &[u8]) -> Result<(), Error> {
        let to = || shown(target);
        let mut known = Name::default();
        if known.set(target).is_err() {
            return Err(Error::refused(name.bytes(), Refusal::LinkLeadsOut(to())));
        }
        if known.is_top() {
            return Err(Error::refused(name.bytes(), Refusal::LinkToDirectory(to())));
        }
        let from = match self.find(known.parent()) {
            Ok(from) => from,
            Err(Errno::XDEV) => return Err(Error::refused(name.bytes(), Refusal::LinkLeadsOut(to()))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(Error::refused(name.bytes(), Refusal::LinkToNothing(to())));
            }
            Err(errno) => return Err(Error::write("make hard link", name.bytes(), errno)),
        };
        let parent = self.parent(name)?;
        let stat = |dir: &Dir, last: &[u8]| rustix::fs::statat(&dir.fd, last, AtFlags::SYMLINK_NOFOLLOW);
        let is_directory =
            |found: rustix::fs::Stat| FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        for _ in 0..TRIES {
            match rustix::fs::linkat(&from.fd, known.last(), &parent.fd, name.last(), AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {
                    return Err(Error::refused(name.bytes(), Refusal::LinkToNothing(to())));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(if stat(&from, known.last()).is_ok_and(is_directory) {
                        Error::refused(name.bytes(), Refusal::LinkToDirectory(to()))
                    } else {
                        Error::write("make hard link", name.bytes(), errno)
                    });
                }
            }
            if stat(&from, known.last()).is_ok_and(is_directory) {
                return Err(Error::refused(name.bytes(), Refusal::LinkToDirectory(to())));
            }
            // To itself by another name: it is there, and must not be removed first.
            let (there, here) = (stat(&from, known.last()), stat(&parent, name.last()));
            if let (Ok(there), Ok(here)) = (&there, &here)
                && (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
            {
                return Ok(());
            }
            if there.is_err() {
                return Err(Error::refused(name.bytes(), Refusal::LinkToNothing(to())));
            }
            self.replace(&parent, name)?;
        }
        Err(Error::write("make hard link", name.bytes(), Errno::EXIST))
    }

    /// Makes a device or a FIFO.
    pub(crate) fn special(
        &mut self,
        name: &Name,
        kind: EntryKind,
        device: (u32, u32),
        meta: &Meta,
    ) -> Result<(), Error> {
        let (what, file_type) = match kind {
            EntryKind::CharacterDevice => ("character device", FileType::CharacterDevice),
            EntryKind::BlockDevice => ("block device", FileType::BlockDevice),
            _ => ("FIFO", FileType::Fifo),
        };
        if !self.options.devices {
            return Err(Error::refused(name.bytes(), Refusal::Special(what)));
        }
        let parent = self.parent(name)?;
        let wanted = self.mode(meta);
        let device = makedev(device.0, device.1);
        self.make(&parent, name, "make device", |parent, last| {
            rustix::fs::mknodat(&parent.fd, last, file_type, Mode::from_raw_mode(wanted & 0o777), device)
        })?;
        self.describe_at(&parent, name, meta)?;
        if self.keep && wanted & !self.umask & 0o777 != wanted {
            // No descriptor of a device is opened, that could do anything; it was just made here.
            rustix::fs::chmodat(&parent.fd, name.last(), Mode::from_raw_mode(wanted), AtFlags::empty())
                .map_err(|errno| Error::write("change the mode of", name.bytes(), errno))?;
        }
        Ok(())
    }

    /// Turns `.wh.` names into what overlayfs understands. Gives false for other names.
    ///
    /// A whiteout is about the layers below, never about what its own layer brings, whichever of
    /// the two comes first (OCI image spec, "Whiteouts").
    pub(crate) fn whiteout(&mut self, name: &Name) -> Result<bool, Error> {
        let Some(hidden) = name.last().strip_prefix(b".wh.") else { return Ok(false) };
        if self.options.whiteouts == Whiteouts::Plain {
            return Ok(false);
        }
        if hidden == b".wh..opq" {
            let directory = self.parent(name)?;
            self.opaque |= name.parent().is_empty();
            self.set_opaque(name.parent(), &directory.fd)?;
            return Ok(true);
        }
        // What aufs kept for itself.
        if hidden.starts_with(b".wh.") {
            return Ok(true);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::refused(name.bytes(), Refusal::Whiteout));
        }
        let parent = self.parent(name)?;
        let none = Mode::empty();
        match rustix::fs::mknodat(&parent.fd, hidden, FileType::CharacterDevice, none, makedev(0, 0)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&parent.fd, hidden, flags, Mode::empty()) {
                    Ok(directory) => self.set_opaque(name.bytes(), &directory)?,
                    // A file hides what is below it by being there.
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(errno) => return Err(Error::write("open directory", name.bytes(), errno)),
                }
            }
            Err(errno) => return Err(Error::write("make whiteout", name.bytes(), errno)),
        }
        Ok(true)
    }

    /// Sets what could not be set while directories were filled. Gives whether the top is opaque.
    pub(crate) fn finish(mut self) -> Result<bool, Error> {
        let mut unfinished = std::mem::take(&mut self.unfinished);
        // Children before parents, and neighbours together.
        unfinished.reverse();
        for Unfinished { name, times, mode } in unfinished {
            let failed = |errno| Error::write("set the time of", &name, errno);
            if name.is_empty() {
                rustix::fs::futimens(&self.top.fd, &times).map_err(failed)?;
                continue;
            }
            let (parent, last) = split(&name);
            let parent = match self.find(parent) {
                Ok(parent) => parent,
                Err(_) if self.replaced => continue,
                Err(errno) => return Err(failed(errno)),
            };
            if mode.is_none() && !self.replaced {
                rustix::fs::utimensat(&parent.fd, last, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = match rustix::fs::openat(&parent.fd, last, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if self.replaced => continue,
                // Closed by an earlier, equal name.
                Err(Errno::ACCESS) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            rustix::fs::futimens(&fd, &times).map_err(failed)?;
            if let Some(mode) = mode {
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))
                    .map_err(|errno| Error::write("change the mode of", &name, errno))?;
            }
        }
        Ok(self.opaque)
    }

    /// The directory that `name` lies in, made if it is missing.
    pub(crate) fn parent(&mut self, name: &Name) -> Result<Rc<Dir>, Error> {
        if name.is_top() {
            return Err(Error::refused(b".", Refusal::NoName));
        }
        self.find_or_make(name.parent(), name.bytes())
    }

    fn find_or_make(&mut self, directory: &[u8], entry: &[u8]) -> Result<Rc<Dir>, Error> {
        match self.find(directory) {
            Ok(found) => return Ok(found),
            Err(Errno::NOENT) => {}
            // It may be a whiteout of this very layer, which is told below.
            Err(Errno::NOTDIR) if self.options.whiteouts == Whiteouts::Overlay => {}
            Err(Errno::XDEV) => return Err(Error::refused(entry, Refusal::ParentLeadsOut)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(Error::refused(entry, Refusal::ParentNoDirectory));
            }
            Err(errno) => return Err(Error::write("open the directory of", entry, errno)),
        }
        // The depth of this recursion is bounded by the check of the name.
        let (above, last) = split(directory);
        let parent = self.find_or_make(above, entry)?;
        // One entry can have hundreds of directories in its name.
        let limit = self.options.limits.entries;
        self.implied += 1;
        if self.implied > limit {
            return Err(Error::TooMany { limit });
        }
        let make = || rustix::fs::mkdirat(&parent.fd, last, Mode::from_raw_mode(IMPLIED_MODE));
        let mut made = make();
        let hidden = made == Err(Errno::EXIST)
            && self.options.whiteouts == Whiteouts::Overlay
            && rustix::fs::statat(&parent.fd, last, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|it| is_whiteout(&it));
        if hidden {
            let removed = rustix::fs::unlinkat(&parent.fd, last, AtFlags::empty());
            made = removed.and_then(|()| make());
        }
        let failed = |errno| Error::write("make the directory of", entry, errno);
        match made {
            Ok(()) => {}
            // Somebody else made it, or it is a link that leads nowhere, or no directory.
            Err(Errno::EXIST) => {
                return self.find(directory).map_err(|_| Error::refused(entry, Refusal::ParentNoDirectory));
            }
            Err(errno) => return Err(failed(errno)),
        }
        let owner = match self.options.ownership {
            Ownership::Keep => (0, 0),
            Ownership::Give { uid, gid } => (uid, gid),
            Ownership::Current => self.me,
        };
        let found = self.find(directory).map_err(failed)?;
        if owner != self.me || (self.keep && parent.setgid) {
            rustix::fs::fchown(&found.fd, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
                .map_err(failed)?;
        }
        if hidden {
            self.set_opaque(directory, &found.fd)?;
        }
        Ok(found)
    }

    /// A directory that is there.
    fn find(&mut self, directory: &[u8]) -> Result<Rc<Dir>, Errno> {
        if directory.is_empty() {
            return Ok(Rc::clone(&self.top));
        }
        if let Some((name, found)) = &self.recent
            && name == directory
        {
            return Ok(Rc::clone(found));
        }
        let found = match self.open.get(directory) {
            Some(found) => Rc::clone(found),
            None => {
                let found = Rc::new(Dir::of(self.resolve(directory)?)?);
                if self.open.len() == OPEN_DIRECTORIES {
                    self.open.clear();
                }
                self.open.insert(directory.to_vec(), Rc::clone(&found));
                found
            }
        };
        let mut name = self.recent.take().map(|(name, _)| name).unwrap_or_default();
        name.clear();
        name.extend_from_slice(directory);
        self.recent = Some((name, Rc::clone(&found)));
        Ok(found)
    }

    fn resolve(&self, directory: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let within = match self.options.whiteouts {
            Whiteouts::Plain => ResolveFlags::BENEATH,
            Whiteouts::Overlay => ResolveFlags::IN_ROOT,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let opened = rustix::fs::openat2(
                &self.top.fd,
                directory,
                flags,
                Mode::empty(),
                within | ResolveFlags::NO_MAGICLINKS,
            );
            match opened {
                // Somebody renamed something meanwhile: the kernel could not be sure.
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => {}
                other => return other,
            }
        }
    }

    /// Makes something that must be new, and removes what is in its place.
    fn make<T>(
        &mut self,
        parent: &Dir,
        name: &Name,
        attempt: &'static str,
        make: impl Fn(&Dir, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        for _ in 0..TRIES {
            match make(parent, name.last()) {
                Ok(made) => return Ok(made),
                Err(Errno::EXIST) => self.replace(parent, name)?,
                Err(errno) => return Err(Error::write(attempt, name.bytes(), errno)),
            }
        }
        Err(Error::write(attempt, name.bytes(), Errno::EXIST))
    }

    /// Removes what has this name; in a layer a directory with all that is in it.
    fn replace(&mut self, parent: &Dir, name: &Name) -> Result<(), Error> {
        let what = replace::remove(&parent.fd, name.last(), self.keep).map_err(|errno| match errno {
            Errno::NOTEMPTY => Error::refused(name.bytes(), Refusal::ReplacesDirectory),
            errno => Error::write("replace", name.bytes(), errno),
        })?;
        if what != replace::Removed::Other {
            self.replaced = true;
            self.forget();
        }
        Ok(())
    }

    /// Forgets open directories: a name may lead elsewhere now.
    fn forget(&mut self) {
        self.open.clear();
        self.recent = None;
    }

    fn stat(&self, parent: &Dir, name: &Name) -> Result<rustix::fs::Stat, Error> {
        rustix::fs::statat(&parent.fd, name.last(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Error::write("look at", name.bytes(), errno))
    }

    /// Opens a directory that was made here: never through a link.
    fn open_made(&self, parent: &Dir, name: &Name) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent.fd, name.last(), flags, Mode::empty())
            .map_err(|errno| Error::write("open directory", name.bytes(), errno))
    }

    /// Owner and time of what has no descriptor.
    fn describe_at(&mut self, parent: &Dir, name: &Name, meta: &Meta) -> Result<(), Error> {
        if let Some((uid, gid)) = self.owner(meta, name.bytes(), parent)? {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(&parent.fd, name.last(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| Error::write("change the owner of", name.bytes(), errno))?;
        }
        rustix::fs::utimensat(&parent.fd, name.last(), &times(meta), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Error::write("set the time of", name.bytes(), errno))
    }

    fn set_opaque(&self, name: &[u8], directory: &OwnedFd) -> Result<(), Error> {
        rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
            .map_err(|errno| Error::write("make opaque", name, errno))
    }

    /// The mode that something gets, before the umask where that counts.
    fn mode(&self, meta: &Meta) -> u32 {
        meta.mode & if self.keep { 0o7777 } else { 0o777 }
    }

    /// The owner to set on what was just made in `parent`; none if it is that already.
    fn owner(&self, meta: &Meta, name: &[u8], parent: &Dir) -> Result<Option<(u32, u32)>, Error> {
        let wanted = self.wanted_owner(meta, name)?;
        Ok(wanted.filter(|wanted| parent.setgid || *wanted != self.me))
    }

    fn wanted_owner(&self, meta: &Meta, name: &[u8]) -> Result<Option<(u32, u32)>, Error> {
        // The highest number means "leave it" to the kernel.
        let number = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        match self.options.ownership {
            Ownership::Current => Ok(None),
            Ownership::Give { uid, gid } => Ok(Some((uid, gid))),
            Ownership::Keep => match (number(meta.uid), number(meta.gid)) {
                (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
                _ => Err(Error::write("change the owner of", name, Errno::INVAL)),
            },
        }
    }
}

impl Dir {
    fn of(fd: OwnedFd) -> Result<Dir, Errno> {
        let setgid = rustix::fs::fstat(&fd)?.st_mode & 0o2000 != 0;
        Ok(Dir { fd, setgid })
    }
}

fn is_whiteout(found: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec { tv_sec: meta.seconds, tv_nsec: meta.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Sets the attributes that an image may bring. Overlayfs' own would let a layer read what is not
/// its own; labels of a security module belong to the machine that made the image.
fn attributes(entry: &[u8], fd: &OwnedFd, meta: &Meta) -> Result<(), Error> {
    for (name, value) in &meta.attributes {
        let is_capability = name == b"security.capability";
        let is_users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        let is_acl = name.starts_with(b"system.posix_acl_");
        if !(is_capability || is_users || is_acl) || name.contains(&0) {
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // Not every file system keeps them; a program without its capability says so itself.
            Err(Errno::OPNOTSUPP) => {}
            Err(Errno::PERM | Errno::INVAL) if !is_capability => {}
            Err(errno) => return Err(Error::write("set an attribute of", entry, errno)),
        }
    }
    Ok(())
}

/// The process's umask, without changing it: that would touch every thread.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
