//! What may come out of an archive, and whose it will be.

/// How much may come out of an archive. A bomb ends at these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of contents that are written, over all files. Holes of sparse files are not written.
    pub bytes: u64,
    /// Entries: files, directories, links, headers that describe other headers; and as many
    /// directories that only the names of others speak of.
    pub entries: u64,
}

/// Whose the extracted files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says, with set-user-id bits and extended attributes: for image layers, as root.
    Keep,
    /// All of it belongs to this user; set-user-id, set-group-id and sticky bits are dropped.
    Give {
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
    /// All of it belongs to who extracts it; set-user-id, set-group-id and sticky bits are dropped.
    Current,
}

/// What names that begin with `.wh.` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteouts {
    /// Names like any other. A parent that is a symbolic link out of the directory is refused.
    Plain,
    /// Deletions in an image layer, turned into what overlayfs understands: `.wh.name` into a
    /// character device 0:0, `.wh..wh..opq` into the attribute `trusted.overlay.opaque` of its
    /// directory. Parents that are symbolic links are followed as if the directory were the root,
    /// as container tools do.
    Overlay,
}

/// How to extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much may come out.
    pub limits: Limits,
    /// Whose the files will be.
    pub ownership: Ownership,
    /// What `.wh.` means.
    pub whiteouts: Whiteouts,
    /// Whether devices and FIFOs are made; otherwise they are refused.
    pub devices: bool,
}

impl Options {
    /// For a layer of a container image: owners, modes and times kept, whiteouts for overlayfs.
    pub fn layer(limits: Limits) -> Options {
        Options { limits, ownership: Ownership::Keep, whiteouts: Whiteouts::Overlay, devices: true }
    }

    /// For what a task has fetched: plain files of `owner` (user and group), or of the caller.
    pub fn sandbox(limits: Limits, owner: Option<(u32, u32)>) -> Options {
        let ownership = match owner {
            Some((uid, gid)) => Ownership::Give { uid, gid },
            None => Ownership::Current,
        };
        Options { limits, ownership, whiteouts: Whiteouts::Plain, devices: false }
    }
}

/// What came out of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of contents written.
    pub bytes: u64,
    /// Entries read, and directories made because names lie below them.
    pub entries: u64,
    /// The layer hides everything below it (`.wh..wh..opq` at its top). Overlayfs does not look at
    /// that attribute on a layer's own top: whoever mounts must leave out the layers below.
    pub opaque: bool,
}
