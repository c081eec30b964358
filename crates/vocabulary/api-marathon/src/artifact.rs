use serde::{Deserialize, Serialize};

/// Something that is fetched into a task's sandbox before it starts.
///
/// Marathon: RAML type `Artifact`, in its order of fields; `sha256` is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Where it is fetched from.
    pub uri: String,
    /// Whether an archive is unpacked.
    pub extract: bool,
    /// Whether it is made executable; then it is not unpacked.
    pub executable: bool,
    /// Whether the agent keeps it for other tasks.
    pub cache: bool,
    /// Its path in the sandbox, if other than the last part of the URI.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dest_path: Option<String>,
    /// SHA-256 of what is fetched, in hexadecimal; a task whose artifact has another fails.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
}

/// Endings of files that an old `uris` field means to be unpacked.
///
/// Marathon: `FetchUri.supportedFileTypes`.
const ARCHIVES: [&str; 9] =
    [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip"];

impl Artifact {
    /// What `uri` means in the old `uris` field: what looks like an archive is unpacked.
    ///
    /// Marathon: `AppNormalization.Artifacts`, `FetchUri.isExtract`.
    pub(crate) fn of_uri(uri: &str) -> Artifact {
        let path = path(uri);
        Artifact {
            uri: uri.to_owned(),
            extract: is_uri(uri) && ARCHIVES.iter().any(|ending| path.ends_with(ending)),
            executable: false,
            cache: false,
            dest_path: None,
            sha256: None,
        }
    }
}

/// The path of a URI, without query and fragment.
fn path(uri: &str) -> &str {
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    &uri[..end]
}

/// Whether `java.net.URI` takes this, for what Marathon's users may give: a scheme that is one, no blanks, no control
/// characters, no brackets of other languages, and whole percent escapes.
pub(crate) fn is_uri(uri: &str) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = uri.as_bytes();
    let escapes_are_whole = (0..bytes.len())
        .all(|at| bytes[at] != b'%' || (is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2))));
    let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !"\"<>\\^`{|}".contains(c);
    let scheme_is_one = match uri.find([':', '/', '?', '#']) {
        Some(end) if uri[end..].starts_with(':') => {
            let scheme = &uri[..end];
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
                && uri.len() > end + 1
        }
        _ => true,
    };
    !uri.is_empty() && escapes_are_whole && uri.chars().all(allowed) && scheme_is_one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let check = |uri: &str, expected: bool| assert_eq!(is_uri(uri), expected, "{uri}");
        check("http://example.com/a%20b.tgz?x=1#y", true);
        check("file:///etc/docker.tar.gz", true);
        check("a", true);
        check("/etc/passwd", true);
        check("https://example.com/ä", true);
        check("http://example.com/a b", false);
        check("http://example.com/%2", false);
        check("1http://example.com", false);
        check("://example.com", false);
        check("http:", false);
        check("", false);
        check("c:\\x", false);
    }

    #[test]
    fn what_old_uris_mean() {
        let check = |uri: &str, extract: bool| assert_eq!(Artifact::of_uri(uri).extract, extract, "{uri}");
        check("http://example.com/a.tar.gz", true);
        check("http://example.com/a.tgz?token=1", true);
        check("file:///a.zip", true);
        check("http://example.com/a", false);
        check("http://example.com/a.tar.zst", false);
        check("http://example.com/a b.tgz", false);
    }
}
