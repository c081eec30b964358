//! What a URI means: where its bytes are, and the name of its file.

use std::path::PathBuf;

use web_client::Url;

use crate::uri::Uri;

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// On a server.
    Web(Url),
    /// On this machine.
    File(PathBuf),
}

/// A URI that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) location: Location,
    /// For people: without credentials and without control characters.
    pub(crate) shown: String,
    /// The file's name below the sandbox.
    pub(crate) output: String,
    pub(crate) executable: bool,
    pub(crate) extract: Option<Extract>,
    pub(crate) cache: bool,
    /// In lower case.
    pub(crate) sha256: Option<String>,
}

/// How something is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extract {
    /// A tar, compressed or not: its first bytes tell.
    Tar,
    /// A zip.
    Zip,
    /// One compressed file, whose name loses that many characters.
    File(usize),
}

/// Extensions of what is unpacked (Mesos: docs/fetcher.md, and Zstandard beside).
const EXTENSIONS: &[(&str, Extract)] = &[
    (".tar", Extract::Tar),
    (".tgz", Extract::Tar),
    (".tar.gz", Extract::Tar),
    (".tbz2", Extract::Tar),
    (".tar.bz2", Extract::Tar),
    (".txz", Extract::Tar),
    (".tar.xz", Extract::Tar),
    (".tzst", Extract::Tar),
    (".tar.zst", Extract::Tar),
    (".zip", Extract::Zip),
    (".gz", Extract::File(".gz".len())),
    (".zst", Extract::File(".zst".len())),
];

impl Source {
    /// Understands a URI.
    ///
    /// # Errors
    /// The shown URI, and what is wrong.
    pub(crate) fn of(uri: &Uri) -> Result<Source, (String, String)> {
        // Mesos: launcher/fetcher.cpp, download().
        let value = uri.value.trim_start();
        let shown = shown(value);
        let wrong = |what: String| (shown.clone(), what);
        let location = location(value).map_err(wrong)?;
        let output = match &uri.output_file {
            Some(name) => output_file(name).map_err(wrong)?,
            None => base_name(value).map_err(wrong)?,
        };
        let sha256 = uri.sha256.as_deref().map(str::to_ascii_lowercase);
        if let Some(hash) =
            sha256.as_ref().filter(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(wrong(format!(
                "its sha256 '{}' is not of 64 hexadecimal digits",
                printable(hash, 80)
            )));
        }
        let extract = (uri.extract && !uri.executable).then(|| extract(&output)).flatten();
        Ok(Source { location, shown, output, executable: uri.executable, extract, cache: uri.cache, sha256 })
    }
}

fn location(value: &str) -> Result<Location, String> {
    if value.contains(['\\', '\'', '\0']) {
        // Mesos: Fetcher::basename.
        return Err("a URI must not have a backslash, a quote or a zero byte in it".to_owned());
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        if value.starts_with('/') {
            return Ok(Location::File(value.into()));
        }
        return Err("it is neither a URL like https://host/path nor an absolute path".to_owned());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => value.parse().map(Location::Web).map_err(|_| "its URL is malformed".to_owned()),
        "file" => {
            let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
            if !path.starts_with('/') {
                return Err("a file URI must have an absolute path, like file:///path".to_owned());
            }
            Ok(Location::File(path.into()))
        }
        "" => Err("it has no scheme; http, https and file are supported".to_owned()),
        scheme => {
            Err(format!("its scheme '{}' is not supported; http, https and file are", printable(scheme, 40)))
        }
    }
}

/// The last component, with all that follows it: as in Mesos, a query stays in the file's name.
fn base_name(value: &str) -> Result<String, String> {
    let path = value.split_once("://").map_or(value, |(_, rest)| rest);
    let name = path.rsplit_once('/').map_or("", |(_, name)| name);
    if matches!(name, "" | "." | "..") {
        return Err("it ends without a file name; set output_file".to_owned());
    }
    Ok(name.to_owned())
}

fn output_file(name: &str) -> Result<String, String> {
    let wrong = |what: &str| Err(format!("its output_file '{}' {what}", printable(name, 200)));
    if name.is_empty() {
        return Err("its output_file is empty".to_owned());
    }
    if name.starts_with('/') {
        return wrong("is absolute; it must be below the sandbox");
    }
    if name.split('/').any(|component| component == "..") {
        return wrong("has '..' in it; it must be below the sandbox");
    }
    if name.ends_with('/') || name.split('/').all(|component| matches!(component, "" | ".")) {
        return wrong("names a directory, not a file");
    }
    Ok(name.to_owned())
}

fn extract(output: &str) -> Option<Extract> {
    // The longest that fits: `.tar.gz` is more than `.gz`.
    let name = output.rsplit('/').next().unwrap_or(output);
    let fitting = EXTENSIONS.iter().filter(|(extension, _)| name.ends_with(extension));
    let (extension, extract) = fitting.max_by_key(|(extension, _)| extension.len())?;
    // A file that would be called nothing stays as it is.
    (name.len() > extension.len() || !matches!(extract, Extract::File(_))).then_some(*extract)
}

/// The URI without credentials: neither a user's nor what a query may hold.
fn shown(value: &str) -> String {
    let (scheme, rest) = value.split_once("://").map_or(("", value), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let query = if query.is_empty() { "" } else { "?..." };
    let start = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    printable(&format!("{start}{host}{path}{query}"), 500)
}

/// At most so many characters, none of them a control character.
fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> Uri {
        Uri {
            value: value.to_owned(),
            executable: false,
            extract: true,
            cache: false,
            output_file: None,
            sha256: None,
        }
    }

    #[test]
    fn good_ones() {
        let check = |value: &str, output: &str, file: Option<&str>, extract| {
            let source = Source::of(&uri(value)).unwrap();
            assert_eq!((source.output.as_str(), source.extract), (output, extract), "{value}");
            match (source.location, file) {
                (Location::File(path), Some(file)) => assert_eq!(path, PathBuf::from(file), "{value}"),
                (Location::Web(_), None) => {}
                (other, _) => panic!("{value}: {other:?}"),
            }
        };
        check("http://h/a", "a", None, None);
        check("  https://me:pw@h:8443/x/a.tgz", "a.tgz", None, Some(Extract::Tar));
        check("HTTP://h/a.zip", "a.zip", None, Some(Extract::Zip));
        check("http://h/a.zip?v=1", "a.zip?v=1", None, None);
        check("/etc/hosts", "hosts", Some("/etc/hosts"), None);
        check("file:///a/b.tar.gz", "b.tar.gz", Some("/a/b.tar.gz"), Some(Extract::Tar));
        check("file://localhost/a/b.gz", "b.gz", Some("/a/b.gz"), Some(Extract::File(3)));
        check("/x.tar.zst", "x.tar.zst", Some("/x.tar.zst"), Some(Extract::Tar));
        check("/x.zst", "x.zst", Some("/x.zst"), Some(Extract::File(4)));
        check("/.gz", ".gz", Some("/.gz"), None);
        check("/x.TGZ", "x.TGZ", Some("/x.TGZ"), None);
        let named = Uri { output_file: Some("d/e.tar".into()), ..uri("http://h/x?y") };
        let source = Source::of(&named).unwrap();
        assert_eq!((source.output.as_str(), source.extract), ("d/e.tar", Some(Extract::Tar)));
        let program = Uri { executable: true, ..uri("http://h/x.tgz") };
        assert_eq!(Source::of(&program).unwrap().extract, None);
        let hashed = Uri { sha256: Some("AB".repeat(32)), ..uri("http://h/x") };
        assert_eq!(Source::of(&hashed).unwrap().sha256, Some("ab".repeat(32)));
    }

    #[test]
    fn bad_ones_say_what_is_wrong() {
        let check = |uri: Uri, expect: &str| {
            let (shown, what) = Source::of(&uri).unwrap_err();
            assert_eq!(format!("{shown}: {what}"), expect);
        };
        for scheme in ["ftp", "hdfs", "s3", "ftps"] {
            let expect =
                format!("{scheme}://h/a: its scheme '{scheme}' is not supported; http, https and file are");
            check(uri(&format!("{scheme}://h/a")), &expect);
        }
        check(uri(""), ": it is neither a URL like https://host/path nor an absolute path");
        check(uri("a/b"), "a/b: it is neither a URL like https://host/path nor an absolute path");
        check(uri("file://a/b"), "file://a/b: a file URI must have an absolute path, like file:///path");
        check(uri("://a"), "a: it has no scheme; http, https and file are supported");
        check(uri("http://me:pw@h/a/"), "http://h/a/: it ends without a file name; set output_file");
        check(uri("http://h"), "http://h: it ends without a file name; set output_file");
        check(uri("/a/.."), "/a/..: it ends without a file name; set output_file");
        check(
            uri("http://h/a'b"),
            "http://h/a'b: a URI must not have a backslash, a quote or a zero byte in it",
        );
        check(
            uri("http://h/a?token=secret\\"),
            "http://h/a?...: a URI must not have a backslash, a quote or a zero byte in it",
        );
        check(uri("http:///a"), "http:///a: its URL is malformed");
        let output = |name: &str| Uri { output_file: Some(name.into()), ..uri("/a") };
        check(output(""), "/a: its output_file is empty");
        check(output("/x"), "/a: its output_file '/x' is absolute; it must be below the sandbox");
        check(
            output("x/../../y"),
            "/a: its output_file 'x/../../y' has '..' in it; it must be below the sandbox",
        );
        check(output("x/"), "/a: its output_file 'x/' names a directory, not a file");
        check(output("./."), "/a: its output_file './.' names a directory, not a file");
        let hash = |text: &str| Uri { sha256: Some(text.into()), ..uri("/a") };
        check(hash("abc"), "/a: its sha256 'abc' is not of 64 hexadecimal digits");
        check(
            uri("ftp\u{1b}://h/a"),
            "ftp?://h/a: its scheme 'ftp?' is not supported; http, https and file are",
        );
    }
}
