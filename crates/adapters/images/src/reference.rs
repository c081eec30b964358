use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Digest, DigestError};

/// The registry of names that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The folder of docker.io's official images.
const OFFICIAL: &str = "library/";
/// The tag of names that give neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// Bytes of a repository's name with its registry, as docker limits them.
const NAME_BYTES: usize = 255;
const TAG_BYTES: usize = 128;
/// Bytes of a tarball's path or address.
const TARBALL_BYTES: usize = 4096;
/// Compressed or not: how the paths of tarballs end.
const TARBALL_ENDINGS: &[&str] = &[".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"];

/// Which image: one in a registry, or one in a tarball.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `[registry/]repository[:tag][@digest]`, by docker's rules.
    Registry(Named),
    /// An absolute path or `file://` address: what `docker save` wrote, or an OCI layout as a tar file
    /// or a directory.
    File(PathBuf),
    /// The `http(s)://` address of such a tar file.
    Url(String),
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// `host[:port]`; `docker.io` where none was given.
    pub registry: String,
    /// The path within the registry, with docker.io's `library/` added where docker adds it.
    pub repository: String,
    /// The tag; `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// The manifest's digest. It decides, if there is a tag as well.
    pub digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no image reference: {reason}")]
pub struct ReferenceError {
    /// What was given, cut to a readable length.
    pub text: String,
    /// The rule that it breaks.
    pub reason: Reason,
}

/// The rules of references.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// It is longer than any reference may be.
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    /// The part before the first slash looks like a host, but is none.
    #[error("{0:?} is no registry: expected is host, host:port or [IPv6 address]:port")]
    Registry(String),
    /// Docker's repository names know no capitals.
    #[error("the repository {0:?} has capital letters; repositories are in lower case")]
    Capitals(String),
    /// The path in the registry is not as docker writes it.
    #[error(
        "{0:?} is no repository: allowed are words of a-z and 0-9, joined by one of . _ __ or dashes, separated by slashes"
    )]
    Repository(String),
    /// 64 hexadecimal digits are an image id.
    #[error("64 hexadecimal digits would be an image id; give a name, or name@sha256:...")]
    ImageId,
    /// What follows the colon is no tag.
    #[error(
        "{0:?} is no tag: allowed are up to 128 of a-z, A-Z, 0-9, _ . and -, starting with none of . and -"
    )]
    Tag(String),
    /// What follows the @ is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Tarballs are on this machine, in one place.
    #[error("a file:// address has the form file:///absolute/path")]
    FileAddress,
    /// A path with `..`, `.` or a NUL.
    #[error("the path of a tarball is absolute, without . and .. segments")]
    Path,
    /// An address without host, with a user or with characters that no address has.
    #[error("an address has the form http(s)://host[:port]/path, without user and password")]
    Address,
    /// An address that does not lead to a tarball.
    #[error("the path of an image's address ends in one of {}", TARBALL_ENDINGS.join(" "))]
    Ending,
    /// Another `scheme://`.
    #[error(
        "{0:?} is no way to get an image: allowed are http://, https://, file:// and names in registries"
    )]
    Scheme(String),
}

impl Reference {
    /// Reads a reference as users write it.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { text: text.chars().take(200).collect(), reason })
    }

    /// As docker shows it: without what it adds by itself.
    pub fn familiar(&self) -> String {
        match self {
            Reference::Registry(named) => named.familiar(),
            Reference::File(_) | Reference::Url(_) => self.to_string(),
        }
    }
}

impl Named {
    /// The reference without what docker adds by itself: `busybox:1.36`, not
    /// `docker.io/library/busybox:1.36`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(rest) = full.strip_prefix("docker.io/") else { return full };
        match rest.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            // docker.io/x.y/z without its registry would name a registry x.y.
            _ if split_registry(rest).0 != DEFAULT_REGISTRY => full,
            _ => rest.to_owned(),
        }
    }

    /// What the registry's API calls this version: the digest if there is one, else the tag.
    pub(crate) fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

/// In full; reading it again gives the same reference.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Registry(named) => named.fmt(f),
            Reference::File(path) => f.write_str(&path.to_string_lossy()),
            Reference::Url(url) => f.write_str(url),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Reference, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if text.len() > TARBALL_BYTES {
        return Err(Reason::TooLong(TARBALL_BYTES));
    }
    if text.starts_with('/') {
        return file(text.to_owned());
    }
    match text.split_once("://") {
        Some(("file", rest)) => {
            // An empty host and `localhost` both mean this machine.
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            let path = percent_encoding::percent_decode_str(path).decode_utf8();
            let path = path.map_err(|_| Reason::FileAddress)?;
            if path.starts_with('/') { file(path.into_owned()) } else { Err(Reason::FileAddress) }
        }
        Some(("http" | "https", rest)) => url(text, rest),
        Some((scheme, _)) => Err(Reason::Scheme(format!("{scheme}://"))),
        None => named(text).map(Reference::Registry),
    }
}

fn file(path: String) -> Result<Reference, Reason> {
    let mut segments = path.split('/');
    if path.contains('\0') || path == "/" || segments.any(|segment| matches!(segment, "." | "..")) {
        return Err(Reason::Path);
    }
    Ok(Reference::File(PathBuf::from(path)))
}

fn url(text: &str, rest: &str) -> Result<Reference, Reason> {
    let (authority, path) = rest.split_once('/').ok_or(Reason::Ending)?;
    let readable =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'));
    if !readable || authority.contains('@') || !is_host(authority) {
        return Err(Reason::Address);
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if !TARBALL_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
        return Err(Reason::Ending);
    }
    Ok(Reference::Url(text.to_owned()))
}

fn named(text: &str) -> Result<Named, Reason> {
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Reason::ImageId);
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(Digest::parse(digest)?)),
        None => (text, None),
    };
    // A colon before the last slash is the registry's port.
    let colon = name.rfind(':').filter(|colon| name.rfind('/').is_none_or(|slash| slash < *colon));
    let (name, tag) = match colon {
        Some(colon) => (&name[..colon], Some(name[colon + 1..].to_owned())),
        None => (name, None),
    };
    if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
        return Err(Reason::Tag(tag.clone()));
    }
    let (registry, repository) = split_registry(name);
    if !is_host(registry) {
        return Err(Reason::Registry(registry.to_owned()));
    }
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    if registry.len() + 1 + repository.len() > NAME_BYTES {
        return Err(Reason::TooLong(NAME_BYTES));
    }
    if !repository.split('/').all(is_component) {
        let lower = repository.to_ascii_lowercase();
        return Err(match lower != repository && lower.split('/').all(is_component) {
            true => Reason::Capitals(repository.to_owned()),
            false => Reason::Repository(repository.to_owned()),
        });
    }
    let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
    let repository = format!("{}{repository}", if official { OFFICIAL } else { "" });
    let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    Ok(Named { registry: registry.to_owned(), repository, tag, digest })
}

/// The first segment is a registry if it looks like a host: with a dot, a port, brackets or capitals,
/// or the word localhost.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '['])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if rest.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    host.is_none_or(|host| host.split('.').all(label))
        && port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=TAG_BYTES).contains(&tag.len()) && tag.bytes().all(allowed) && !tag.starts_with(['.', '-'])
}

/// Words of a-z and 0-9, joined by `.`, `_`, `__` or any number of dashes.
fn is_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut joint = String::new();
    let (Some(first), Some(last)) = (component.bytes().next(), component.bytes().last()) else {
        return false;
    };
    if !word(first) || !word(last) {
        return false;
    }
    component.bytes().chain([b'a']).all(|byte| {
        if word(byte) {
            let fine =
                matches!(joint.as_str(), "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-');
            joint.clear();
            fine
        } else {
            joint.push(char::from(byte));
            true
        }
    })
}

#[cfg(test)]
#[path = "reference/tests.rs"]
mod tests;
