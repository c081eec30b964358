use std::path::PathBuf;
use std::sync::Arc;

use crate::Digest;

/// Why an image could not be pulled, in words for the user who only sees the failure of a task.
/// Nothing is left of the attempt but layers that are whole.
///
/// It can be cloned: pulls of one image share one outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PullError {
    /// The registry knows no such image.
    #[error("image {image} does not exist in the registry {registry} (404): check its name and tag")]
    NotFound {
        /// The image as it was asked for.
        image: String,
        /// Who said so.
        registry: String,
    },
    /// The registry wants to know who asks (401) or does not let this one (403).
    #[error(
        "registry {registry} refuses image {image} ({status}): {}",
        match .with_credentials {
            true => "the given credentials are not accepted for it, or it does not exist",
            false => "it needs a login or does not exist; give credentials as a docker.tar.gz with \
                      .docker/config.json in the app's fetch, or in the agent's docker config",
        }
    )]
    Denied {
        /// The image as it was asked for.
        image: String,
        /// Who refuses.
        registry: String,
        /// 401 or 403.
        status: u16,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Credentials are configured in a way that this program cannot follow.
    #[error("credentials for the registry {registry}: {reason}")]
    Credentials {
        /// Whose credentials.
        registry: String,
        /// What is wrong with them.
        reason: String,
    },
    /// There is no such tarball.
    #[error("image {image} does not exist: {reason}")]
    NoTarball {
        /// The tarball's path or address.
        image: String,
        /// What the kernel or the server said.
        reason: String,
    },
    /// The server could not be reached, hangs, or breaks the rules of HTTP; several attempts failed.
    #[error("{what} of image {image} from {from}: {reason}")]
    Transfer {
        /// The image as it was asked for.
        image: String,
        /// The manifest, the configuration, a layer.
        what: String,
        /// The registry or the server.
        from: String,
        /// What happened: no route, a timeout, a broken connection after so many bytes.
        reason: String,
    },
    /// The server answered, but not with what was asked for.
    #[error("{what} of image {image}: {from} answers {status}{}", match .message.as_str() {
        "" => String::new(),
        message => format!(" ({message})"),
    })]
    Answer {
        /// The image as it was asked for.
        image: String,
        /// The manifest, the configuration, a layer, a token.
        what: String,
        /// The registry or the server.
        from: String,
        /// The HTTP status.
        status: u16,
        /// The start of what it said.
        message: String,
    },
    /// Content is not what its digest says.
    #[error("{what} of image {image} is not what it claims to be: expected {expected}, found {found}")]
    Digest {
        /// The image as it was asked for.
        image: String,
        /// The manifest, the configuration, a layer, an unpacked layer.
        what: String,
        /// The digest that was announced.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// Content has another length than announced.
    #[error("{what} of image {image} has {found}, announced were {expected} bytes")]
    Length {
        /// The image as it was asked for.
        image: String,
        /// The manifest, the configuration, a layer.
        what: String,
        /// Bytes that were announced.
        expected: u64,
        /// What came: a number of bytes, or more than a number.
        found: String,
    },
    /// There is no variant of the image for this machine.
    #[error("image {image} is not for this machine: wanted {wanted}, it is for {}", .found.join(", "))]
    Platform {
        /// The image as it was asked for.
        image: String,
        /// `linux/amd64` and the like.
        wanted: String,
        /// The platforms that there are.
        found: Vec<String>,
    },
    /// A manifest, configuration or layer of a kind that cannot be run here.
    #[error("image {image}: {reason}")]
    Unsupported {
        /// The image as it was asked for.
        image: String,
        /// What it is, and what is allowed.
        reason: String,
    },
    /// A manifest, configuration or tarball that breaks its format's rules or exceeds a limit.
    #[error("{what} of image {image} cannot be used: {reason}")]
    Malformed {
        /// The image as it was asked for.
        image: String,
        /// The manifest, the configuration, the tarball.
        what: String,
        /// The rule, and what was found.
        reason: String,
    },
    /// A layer could not be unpacked: an entry leaves the image, it is a bomb, it is broken.
    #[error("layer {layer} of image {image} cannot be unpacked: {reason}")]
    Layer {
        /// The image as it was asked for.
        image: String,
        /// The layer's diff id.
        layer: Digest,
        /// The entry and what is wrong with it.
        reason: String,
    },
    /// No room on the disk.
    #[error("no space left for image {image} in {}: free some, or set a smaller image quota", .dir.display())]
    DiskFull {
        /// The image as it was asked for.
        image: String,
        /// The images' directory.
        dir: PathBuf,
    },
    /// The images' directory cannot be used.
    #[error("image {image}: {action} {}: {source}", .path.display())]
    Io {
        /// The image as it was asked for.
        image: String,
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: Arc<std::io::Error>,
    },
    /// The images are being closed.
    #[error("image {image}: the pull was ended, the agent is stopping")]
    Closed {
        /// The image as it was asked for.
        image: String,
    },
}

/// Why the images' directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] host::LockError),
    /// It was written by a version of this program that this one does not know.
    #[error("{} has the format {found:?}; this program reads {known:?}", .path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// Its content.
        found: String,
        /// What it should be.
        known: &'static str,
    },
    /// It cannot be read or written.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Why an image could not be held or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// A name that is no file name.
    #[error("{holder:?} cannot hold an image: a holder's name has 1 to 200 of a-z, A-Z, 0-9, . _ and -")]
    Holder {
        /// The name that was given.
        holder: String,
    },
    /// The hold could not be written or removed.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none of this reference.
    #[error("there is no image {reference} on this agent")]
    NotFound {
        /// The reference, in full.
        reference: String,
    },
    /// Containers use it.
    #[error("image {reference} is used by {}: end what runs from it first", .holders.join(", "))]
    Held {
        /// The reference, in full.
        reference: String,
        /// The containers, or `a pull or launch that is under way`.
        holders: Vec<String>,
    },
    /// It could not be taken away.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}
