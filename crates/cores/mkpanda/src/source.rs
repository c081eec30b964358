//! Where a package's sources come from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::read::Reader;

/// One source of a package, as its buildinfo tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// A commit of a git repository.
    Git {
        /// The repository's URL.
        git: String,
        /// The commit: 40 hexadecimal digits.
        commit: String,
        /// The branch or tag that the commit was taken from: where it moved, a newer one can be had.
        ref_origin: String,
    },
    /// The commit that is checked out in a git repository on this machine, with nothing changed since.
    GitLocal {
        /// Its path relative to the package's folder.
        rel_path: String,
    },
    /// A file that is downloaded.
    Url(Download),
    /// An archive that is downloaded and unpacked without the one directory that holds all of it.
    UrlExtract(Download),
    /// A folder of this machine as it is. Not in the original.
    Local {
        /// Its path relative to the package's folder.
        rel_path: String,
    },
    /// A package of Debian, unpacked. Not in the original.
    Debian {
        /// Its name.
        package: String,
        /// Its exact version.
        version: String,
        /// The SHA-256 of its `.deb`: 64 hexadecimal digits in lower case.
        sha256: String,
    },
}

/// A file at a URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Download {
    /// `http:`, `https:` or `file:`.
    pub url: String,
    /// The SHA-1 of the file: 40 hexadecimal digits in lower case.
    pub sha1: String,
}

impl Download {
    /// The name under which the file is kept: the last segment of the URL's path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        file_name(&self.url).expect("a URL without a file name is refused on reading")
    }
}

/// What a source adds to the version of its package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SourceId {
    /// The commit of `git` and `git_local`.
    Commit(String),
    /// The SHA-1 of what `url` and `url_extract` name.
    DownloadedSha1(String),
    /// The hash of a `local` folder ([`api_pkgpanda::hash::folder`]).
    Contents(String),
    /// The SHA-256 of a `debian` package.
    Sha256(String),
}

impl SourceId {
    /// The key and the value that stand in a version's inputs.
    #[must_use]
    pub fn entry(&self) -> (&'static str, &str) {
        match self {
            SourceId::Commit(id) => ("commit", id),
            SourceId::DownloadedSha1(id) => ("downloaded_sha1", id),
            SourceId::Contents(id) => ("contents", id),
            SourceId::Sha256(id) => ("sha256", id),
        }
    }

    /// As an object of one key.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (key, id) = self.entry();
        json!({ key: id })
    }
}

/// The kinds, each with its keys beside `kind`.
const KINDS: [(&str, &[&str]); 6] = [
    ("git", &["git", "ref", "ref_origin"]),
    ("git_local", &["rel_path"]),
    ("url", &["url", "sha1"]),
    ("url_extract", &["url", "sha1"]),
    ("local", &["rel_path"]),
    ("debian", &["package", "version", "sha256"]),
];

/// What `url_extract` unpacks.
pub(crate) const ARCHIVES: &str =
    "a URL that ends with .tar.gz, .tar.xz, .tar.bz2, .tar.zst, .tgz, .tar or .zip";

impl Source {
    /// Its kind, as written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Git { .. } => "git",
            Source::GitLocal { .. } => "git_local",
            Source::Url(_) => "url",
            Source::UrlExtract(_) => "url_extract",
            Source::Local { .. } => "local",
            Source::Debian { .. } => "debian",
        }
    }

    /// What it adds to the version, for the kinds whose buildinfo says it all. For `git_local` the commit and
    /// for `local` the hash have to be found out.
    #[must_use]
    pub fn declared_id(&self) -> Option<SourceId> {
        match self {
            Source::Git { commit, .. } => Some(SourceId::Commit(commit.clone())),
            Source::Url(download) | Source::UrlExtract(download) => {
                Some(SourceId::DownloadedSha1(download.sha1.clone()))
            }
            Source::Debian { sha256, .. } => Some(SourceId::Sha256(sha256.clone())),
            Source::GitLocal { .. } | Source::Local { .. } => None,
        }
    }

    /// As it is written in a buildinfo.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let kind = self.kind();
        match self {
            Source::Git { git, commit, ref_origin } => {
                json!({"kind": kind, "git": git, "ref": commit, "ref_origin": ref_origin})
            }
            Source::GitLocal { rel_path } | Source::Local { rel_path } => {
                json!({"kind": kind, "rel_path": rel_path})
            }
            Source::Url(Download { url, sha1 }) | Source::UrlExtract(Download { url, sha1 }) => {
                json!({"kind": kind, "url": url, "sha1": sha1})
            }
            Source::Debian { package, version, sha256 } => {
                json!({"kind": kind, "package": package, "version": version, "sha256": sha256})
            }
        }
    }

    /// Reads the text of an `upstream.json`: one source, whose checkout has a folder `packages`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Source, crate::Invalid> {
        let mut reader = Reader::default();
        let members = crate::json::object(text)?;
        let source = read(&mut reader, "", &Value::Object(members));
        reader.or(source)
    }
}

/// Reads one source at `at`.
pub(crate) fn read(reader: &mut Reader, at: &str, value: &Value) -> Option<Source> {
    let members = reader.object(at, value)?;
    let kinds = KINDS.map(|(kind, _)| kind);
    let Some(kind) = members.get("kind") else {
        reader.note(Problem::new(key(at, "kind"), format!("is missing; allowed are {}", kinds.join(", "))));
        return None;
    };
    let found = KINDS.iter().find(|(name, _)| kind.as_str() == Some(name));
    let Some((kind, keys)) = found else {
        let allowed = kinds.join(", ");
        let meant = kind.as_str().and_then(|kind| base::nearest(kind, kinds));
        let allowed = meant.map_or(allowed.clone(), |meant| format!("{allowed} (did you mean {meant}?)"));
        reader.note(Problem::wrong(key(at, "kind"), kind, allowed));
        return None;
    };
    let values = exactly(reader, at, members, kind, keys)?;
    let text = |name: &str| values[name].clone();
    let (url, sha1) = ("url", "sha1");
    let noted = reader.noted();
    let source = match *kind {
        "git" => {
            reader.hex(
                &key(at, "ref"),
                &values["ref"],
                40,
                "the id of a commit: 40 hexadecimal digits, not all zero",
            );
            for name in ["git", "ref_origin"] {
                reader.argument(&key(at, name), &values[name]);
            }
            Source::Git {
                git: text("git"),
                commit: text("ref").to_ascii_lowercase(),
                ref_origin: text("ref_origin"),
            }
        }
        "git_local" | "local" => {
            reader.relative(&key(at, "rel_path"), &values["rel_path"]);
            match *kind {
                "local" => Source::Local { rel_path: text("rel_path") },
                _ => Source::GitLocal { rel_path: text("rel_path") },
            }
        }
        "url" | "url_extract" => {
            reader.lower_hex(&key(at, sha1), &values[sha1], 40);
            check_url(reader, &key(at, url), &values[url], *kind == "url_extract");
            let download = Download { url: text(url), sha1: text(sha1) };
            if *kind == "url" { Source::Url(download) } else { Source::UrlExtract(download) }
        }
        _ => {
            check_debian(reader, at, &values["package"], &values["version"]);
            reader.lower_hex(&key(at, "sha256"), &values["sha256"], 64);
            Source::Debian { package: text("package"), version: text("version"), sha256: text("sha256") }
        }
    };
    (reader.noted() == noted).then_some(source)
}

fn key(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// The texts of exactly `keys`: others and missing ones are problems.
fn exactly(
    reader: &mut Reader,
    at: &str,
    members: &Map<String, Value>,
    kind: &str,
    keys: &[&'static str],
) -> Option<BTreeMap<&'static str, String>> {
    let noted = reader.noted();
    let allowed: Vec<&str> = std::iter::once("kind").chain(keys.iter().copied()).collect();
    for name in members.keys().filter(|name| !allowed.contains(&name.as_str())) {
        reader.unknown(&key(at, name), name, &allowed, &format!("a source of kind {kind}"));
    }
    let mut values = BTreeMap::new();
    for name in keys {
        match members.get(*name) {
            None => {
                let message =
                    format!("is missing; a source of kind {kind} has exactly {}", allowed.join(", "));
                reader.note(Problem::new(key(at, name), message));
            }
            Some(value) => {
                if let Some(text) = reader.text(&key(at, name), value) {
                    values.insert(*name, text);
                }
            }
        }
    }
    (reader.noted() == noted).then_some(values)
}

fn check_url(reader: &mut Reader, at: &str, url: &str, is_archive: bool) {
    let found = Value::from(url);
    let known = ["http://", "https://", "file://"].iter().any(|scheme| url.starts_with(scheme));
    let broken = url.contains(|c: char| c.is_control() || c.is_whitespace());
    if !known || broken {
        reader.note(Problem::wrong(at, &found, "a URL with http://, https:// or file://"));
        return;
    }
    match file_name(url) {
        None => reader.note(Problem::wrong(at, &found, "a URL whose path ends with the name of a file")),
        Some(name) if is_archive && !is_archive_name(name) => {
            reader.note(Problem::wrong(at, &found, ARCHIVES))
        }
        Some(_) => {}
    }
}

fn file_name(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split(['?', '#']).next()?;
    // A file may be named relative to the package's folder, without any directory.
    let name = match rest.rsplit_once('/') {
        Some((_, name)) => name,
        None if scheme == "file" => rest,
        None => return None,
    };
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

fn is_archive_name(name: &str) -> bool {
    let endings = [".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tgz", ".tar", ".zip"];
    endings.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

/// The rules of Debian's policy, so that no name is an option or a path for apt.
fn check_debian(reader: &mut Reader, at: &str, package: &str, version: &str) {
    let is_name = |text: &str| {
        text.len() > 1
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+-.".contains(&c))
    };
    if !is_name(package) {
        let allowed = "the name of a Debian package: lower case letters, digits and +-.";
        reader.note(Problem::wrong(key(at, "package"), &package.into(), allowed));
    }
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|c| c.is_ascii_alphanumeric() || b".+-:~".contains(&c));
    if !is_version {
        let allowed = "the version of a Debian package: a digit, then letters, digits and .+-:~";
        reader.note(Problem::wrong(key(at, "version"), &version.into(), allowed));
    }
}
