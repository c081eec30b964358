//! What to fetch, as a task says it.

/// One thing to fetch (Mesos: `CommandInfo.URI`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// `http://`, `https://`, `file://` or an absolute path.
    pub value: String,
    /// Makes the file executable for everybody; nothing is extracted then.
    pub executable: bool,
    /// Unpacks what its name says is an archive.
    pub extract: bool,
    /// Goes through the cache of the agent.
    pub cache: bool,
    /// The file's name below the sandbox, with directories if it likes; else the last component of
    /// `value`.
    pub output_file: Option<String>,
    /// The SHA-256 that the bytes must have, in hexadecimal.
    pub sha256: Option<String>,
}

/// How far a fetch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being fetched, without credentials.
    pub uri: String,
    /// Which of the URIs it is, from 1.
    pub number: usize,
    /// How many URIs there are.
    pub count: usize,
    /// What is being done.
    pub step: Step,
    /// Bytes done in this step.
    pub bytes: u64,
    /// Bytes of this step where known.
    pub total: Option<u64>,
}

/// What is being done to a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes come in.
    Download,
    /// Somebody else downloads the same into the cache.
    Wait,
    /// A local or cached file is copied.
    Copy,
    /// An archive is unpacked.
    Extract,
}
