//! What an archive says about an entry beside its contents.

/// Mode, owner, time and attributes of an entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    /// Owner; more than a user number can be is found out where it is used.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Seconds since the epoch.
    pub(crate) seconds: i64,
    /// And nanoseconds, below a billion.
    pub(crate) nanoseconds: u32,
    /// Extended attributes, names with their namespace.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with contents.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that came before.
    HardLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A FIFO.
    Fifo,
}
