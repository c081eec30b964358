use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_kit::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// An absolute `http` or `https` URL. What it displays has no credentials in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    uri: Uri,
    /// `user:password` as written.
    credentials: Option<String>,
}

/// Why a text is no URL that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUrlError {
    /// It is not `scheme://host/path`.
    #[error("'{0}' is not an absolute URL like https://host/path")]
    Form(String),
    /// Its scheme is another.
    #[error("'{0}' is neither http nor https")]
    Scheme(String),
}

impl Url {
    /// The longest that is taken, in bytes.
    pub const LIMIT: usize = 16 << 10;

    /// Whether it asks for TLS.
    pub fn is_https(&self) -> bool {
        self.0.uri.scheme_str() == Some("https")
    }

    /// The host without brackets and port.
    pub fn host(&self) -> &str {
        let host = self.0.uri.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, also where the URL leaves it to the scheme.
    pub fn port(&self) -> u16 {
        self.0.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Path and query, as they go over the wire.
    pub fn target(&self) -> &str {
        self.0.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The path alone, with its escapes.
    pub fn path(&self) -> &str {
        self.0.uri.path()
    }

    /// What a `Host` header says: the port only where it is not the scheme's.
    pub fn authority(&self) -> &str {
        self.0.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// Whether the other URL leads to the same server under the same protection.
    pub fn is_same_origin(&self, other: &Url) -> bool {
        self.is_https() == other.is_https()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    /// The URL without its own credentials, and these as an `Authorization`.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let text = percent_decode_str(self.0.credentials.as_ref()?).collect::<Vec<u8>>();
        let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(text)))
            .expect("base64 has no control characters");
        value.set_sensitive(true);
        Some(value)
    }

    /// This URL with the other's credentials, unless it has its own.
    pub(crate) fn with_credentials_of(self, other: &Url) -> Url {
        if self.0.credentials.is_some() || other.0.credentials.is_none() {
            return self;
        }
        let credentials = other.0.credentials.clone();
        Url(Arc::new(Parts { uri: self.0.uri.clone(), credentials }))
    }

    /// Where a `Location` leads, seen from here (RFC 3986, 5.2, without its rarer forms).
    pub fn join(&self, location: &str) -> Result<Url, ParseUrlError> {
        let location = location.split('#').next().unwrap_or_default();
        let has_scheme = location.split_once(':').is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        if has_scheme {
            return location.parse();
        }
        let scheme = if self.is_https() { "https" } else { "http" };
        if location.starts_with("//") {
            return format!("{scheme}:{location}").parse();
        }
        let path = match location {
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            query if query.starts_with('?') => format!("{}{query}", self.0.uri.path()),
            relative => {
                let folder = self.0.uri.path().rfind('/').map_or("/", |end| &self.0.uri.path()[..=end]);
                format!("{folder}{relative}")
            }
        };
        format!("{scheme}://{}{}", self.authority(), without_dots(&path)).parse()
    }
}

/// The path with its `.` and `..` carried out.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if is_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}{query}", kept.join("/"))
}

impl FromStr for Url {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Url, ParseUrlError> {
        let text = text.split('#').next().unwrap_or_default();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(ParseUrlError::Form(hidden(text)));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(ParseUrlError::Scheme(hidden(text)));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials.to_owned()), authority),
            None => (None, authority),
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        // Spaces and letters beyond ASCII are common in what people paste.
        let target = percent_encoding::utf8_percent_encode(&target, UNWRITABLE);
        let uri: Uri = format!("{}://{authority}{target}", scheme.to_ascii_lowercase())
            .parse()
            .map_err(|_| ParseUrlError::Form(hidden(text)))?;
        let named = uri.host().is_some_and(|host| !host.is_empty());
        // The parser takes what is no number, and what is none of a port's.
        let port = authority.rsplit_once(':').filter(|(_, after)| !after.ends_with(']'));
        let port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !named || !port || text.len() > Url::LIMIT {
            return Err(ParseUrlError::Form(hidden(text)));
        }
        Ok(Url(Arc::new(Parts { uri, credentials })))
    }
}

/// What may not stand in a request's first line as it is.
const UNWRITABLE: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// A text that may be a URL, without what may be secret: all before an `@`, the query, the fragment. Not too
/// long.
pub(crate) fn hidden(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    let dots = if plain.len() < rest.len() { "?..." } else { "" };
    let start = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let shown: String = format!("{start}{plain}{dots}").chars().take(200).collect();
    shown.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Signed URLs carry secrets in their query.
        let scheme = if self.is_https() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path())?;
        if self.0.uri.query().is_some() { f.write_str("?...") } else { Ok(()) }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_show_no_secrets() {
        let check = |text: &str, shown: &str| {
            let parsed = text.parse::<Url>();
            let found = parsed.map_or_else(|error| error.to_string(), |url| url.to_string());
            assert_eq!(found, shown, "{text}");
        };
        check("http://h", "http://h/");
        check("HTTPS://H:8443/a/b?token=s#part", "https://H:8443/a/b?...");
        check("http://me:secret@h/a b", "http://h/a%20b");
        check("http://me:sec@ret@h/ä", "http://h/%C3%A4");
        check("http://[::1]:80/x", "http://[::1]:80/x");
        check("ftp://me:secret@h/x", "'ftp://h/x' is neither http nor https");
        check("me:secret@h/x", "'h/x' is not an absolute URL like https://host/path");
        let long = "s".repeat(300);
        check(&format!("ftp://me:{long}@h/x"), "'ftp://h/x' is neither http nor https");
        check(
            "http://h:port/x?token=secret",
            "'http://h:port/x?...' is not an absolute URL like https://host/path",
        );
        check("/x", "'/x' is not an absolute URL like https://host/path");
        check("http:///x", "'http:///x' is not an absolute URL like https://host/path");
        check("http://h:port/x", "'http://h:port/x' is not an absolute URL like https://host/path");
        check("http://h:/x", "'http://h:/x' is not an absolute URL like https://host/path");
        check("http://h:99999/x", "'http://h:99999/x' is not an absolute URL like https://host/path");
    }

    #[test]
    fn a_url_knows_its_server() {
        let url: Url = "http://me:p%40ss@Host/x?y".parse().expect("it is right");
        assert_eq!((url.host(), url.port(), url.target(), url.authority()), ("Host", 80, "/x?y", "Host"));
        assert_eq!(url.authorization().expect("it has"), "Basic bWU6cEBzcw==");
        let check = |other: &str, same: bool| {
            assert_eq!(url.is_same_origin(&other.parse().expect("it is right")), same, "{other}");
        };
        check("http://host:80/z", true);
        check("https://host:80/z", false);
        check("http://host:81/z", false);
        check("http://other/z", false);
    }

    #[test]
    fn locations_are_seen_from_where_they_were_met() {
        let check = |location: &str, expect: &str| {
            let url: Url = "https://h:8443/a/b?c".parse().expect("it is right");
            let joined = url.join(location).map(|url| format!("{}{}", url.authority(), url.target()));
            assert_eq!(joined.as_deref().unwrap_or("refused"), expect, "{location}");
        };
        check("https://other/x?y#z", "other/x?y");
        check("//other/x", "other/x");
        check("/x", "h:8443/x");
        check("x/y", "h:8443/a/x/y");
        check("../../../x", "h:8443/x");
        check("./", "h:8443/a/");
        check("?d=/../e", "h:8443/a/b?d=/../e");
        check("", "h:8443/a/");
        check("ftp://h/x", "refused");
        check("javascript:x", "refused");
    }
}
