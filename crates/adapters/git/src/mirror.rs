use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::{TRANSFER, done, git};

/// Makes a mirror of the repository at `url` in the directory `into`, which must not be there: all its branches and
/// tags under their own names. What is half done lies beside it under the ending `.new`, and is removed by the next
/// call.
///
/// # Errors
/// When the repository cannot be had; nothing is at `into` then.
pub fn mirror(url: &str, into: &Path) -> Result<(), Error> {
    let url = checked(url)?;
    let new = beside(into);
    let file = |attempt, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { attempt, path, source }
    };
    host::remove_tree(&new).map_err(file("remove", &new))?;
    let mut command = git(Path::new("/"));
    // Templates bring hooks and attributes.
    command.args(["clone", "--quiet", "--mirror", "--template=", "--", url]).arg(absolute(&new)?);
    let cloned = done(command, TRANSFER, "clone", &shown(url));
    match cloned.and_then(|_| std::fs::rename(&new, into).map_err(file("rename", &new))) {
        Ok(()) => Ok(()),
        Err(error) => {
            // The next call tries again.
            let _ = host::remove_tree(&new);
            Err(error)
        }
    }
}

/// Brings the mirror up to what the repository at `url` has now; and `commit`, where one is given and no branch or
/// tag leads to it, if the server gives it away.
///
/// # Errors
/// When the repository cannot be had; the mirror has what it had then.
pub fn fetch(url: &str, mirror: &Path, commit: Option<&str>) -> Result<(), Error> {
    let url = checked(url)?;
    let mut command = git(mirror);
    command.args(["fetch", "--quiet", "--force", "--no-write-fetch-head"]);
    match commit {
        None => command.args(["--prune", "--", url, "+refs/*:refs/*"]),
        Some(commit) => command.args(["--", url, commit]),
    };
    done(command, TRANSFER, "fetch", &shown(url)).map(drop)
}

/// A URL or path that git takes for nothing else; helper programs (`ext::`) are none.
fn checked(url: &str) -> Result<&str, Error> {
    let is_helper = url.split_once("::").is_some_and(|(name, _)| !name.contains(['/', '[']));
    let is_broken = url.is_empty() || url.starts_with('-') || url.contains(|c: char| c.is_control());
    if is_helper || is_broken {
        return Err(Error::Name { found: url.to_owned(), what: "URL of a git repository" });
    }
    Ok(url)
}

/// The URL without a password.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => url.to_owned(),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// git runs in another directory.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::File { attempt: "find", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let check = |url, expected: &str| assert_eq!(shown(url), expected);
        check("https://git.example/a/b.git", "https://git.example/a/b.git");
        check("https://user:secret@git.example/a/b.git", "https://git.example/a/b.git");
        check("https://token@git.example", "https://git.example/");
        check("/srv/a@b", "/srv/a@b");
        check("git@git.example:a/b", "git@git.example:a/b");
    }

    #[test]
    fn urls_that_git_would_take_for_something_else_are_refused() {
        let check = |url: &str, is_good: bool| assert_eq!(checked(url).is_ok(), is_good, "{url}");
        for good in
            ["https://git.example/a", "git@git.example:a/b", "/srv/a", "ssh://[::1]/a", "file:///a::b"]
        {
            check(good, true);
        }
        for bad in ["", "--upload-pack=touch /x", "ext::sh -c true", "a\nb"] {
            check(bad, false);
        }
    }
}
