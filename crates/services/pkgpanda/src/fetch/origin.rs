use std::fmt;
use std::path::{Path, PathBuf};

use api_pkgpanda::{PackageId, TARBALL_SUFFIX};
use web_client::Url;

use super::FetchError;

/// Where packages come from: `--repository-url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A server; without a slash at the end.
    Web(String),
    /// A directory.
    Directory(PathBuf),
}

/// Where the tarball of a package is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Web(Url),
    File(PathBuf),
}

impl Origin {
    /// Reads `http://...`, `https://...`, `file://...` or a path; relative paths are taken against `directory`, also
    /// after `file://`. Spaces around it and slashes at its end do not count.
    ///
    /// # Errors
    /// [`FetchError::Origin`] for anything else, and for URLs that are none.
    pub fn parse(text: &str, directory: &Path) -> Result<Origin, FetchError> {
        let text = text.trim();
        let bad = |why: String| FetchError::Origin { url: text.to_owned(), why };
        if text.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        match text.split_once("://") {
            Some(("http" | "https", _)) => {
                let base = text.trim_end_matches('/');
                let _: Url = base.parse().map_err(|error| bad(format!("{error}")))?;
                Ok(Origin::Web(base.to_owned()))
            }
            Some(("file", path)) => Ok(Origin::Directory(directory.join(path))),
            Some((scheme, _)) => Err(bad(format!("the scheme {scheme} is not known"))),
            None => Ok(Origin::Directory(directory.join(text))),
        }
    }

    /// Where a package is.
    pub(crate) fn place_of(&self, id: &PackageId) -> Result<Place, FetchError> {
        self.place(&format!("packages/{}/{id}{TARBALL_SUFFIX}", id.name()))
    }

    /// Where the file at a relative path is.
    pub(crate) fn place(&self, path: &str) -> Result<Place, FetchError> {
        match self {
            Origin::Directory(directory) => Ok(Place::File(directory.join(path))),
            Origin::Web(base) => {
                let url = format!("{base}/{path}");
                let bad = |error: web_client::ParseUrlError| FetchError::Origin {
                    url: base.clone(),
                    why: error.to_string(),
                };
                Ok(Place::Web(url.parse().map_err(bad)?))
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Without the password that it may have.
            Origin::Web(base) => match base.parse::<Url>() {
                Ok(url) => write!(f, "{url}"),
                Err(_) => f.write_str("a server"),
            },
            Origin::Directory(directory) => write!(f, "{}", directory.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths() {
        let check = |text: &str, expected: &str| {
            let id: PackageId = "a@b--1:2".parse().unwrap();
            let place = Origin::parse(text, Path::new("/here")).and_then(|origin| origin.place_of(&id));
            let found = match place {
                Ok(Place::Web(url)) => url.to_string(),
                Ok(Place::File(path)) => path.display().to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{text:?}");
        };
        check(" http://h/x// \n", "http://h/x/packages/a@b/a@b--1:2.tar.xz");
        check("https://u:p@h:8/", "https://h:8/packages/a@b/a@b--1:2.tar.xz");
        check("file:///srv/x/", "/srv/x/packages/a@b/a@b--1:2.tar.xz");
        check("file://x", "/here/x/packages/a@b/a@b--1:2.tar.xz");
        check("x/y", "/here/x/y/packages/a@b/a@b--1:2.tar.xz");
        check("/x", "/x/packages/a@b/a@b--1:2.tar.xz");
        let allowed = "allowed are http://HOST/PATH, https://HOST/PATH, file:///PATH and a path";
        check(
            "ftp://h/x",
            &format!("'ftp://h/x' is no repository URL: the scheme ftp is not known; {allowed}"),
        );
        check("", &format!("'' is no repository URL: it is empty; {allowed}"));
    }

    #[test]
    fn no_password_is_shown() {
        let origin = Origin::parse("https://me:secret@h/x", Path::new("/")).unwrap();
        assert_eq!(origin.to_string(), "https://h/x");
    }
}
