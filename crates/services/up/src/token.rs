//! The token that is demanded with `--auth`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base::Auth;

use crate::{Error, console};

/// What is wrong with a file that is none of a token.
const NO_TOKEN: &str = "it has no token (64 hexadecimal digits)";

/// Where the token of the cluster in `dir` is.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("token")
}

/// The token in `dir`, made at first with 256 random bits and readable by its owner alone.
pub(crate) fn take(dir: &Path) -> Result<Auth, Error> {
    let path = path(dir);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| {
            let problem = format!("{NO_TOKEN}; remove it and a new one is made");
            Error::Record { path, problem }
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// No token is demanded. Says so if there is one in `dir`: records of before it was kept in them do
/// not tell whether the last run demanded it.
pub(crate) fn none(dir: &Path) -> Auth {
    let path = path(dir);
    if path.exists() {
        console::note(&format!("The token in {} is not demanded: that takes --auth", path.display()));
    }
    Auth::default()
}

/// The token in the file `path` that `--token-file` names, a copy of the one that `dcos up --auth` or
/// `dcos master --auth` made.
///
/// # Errors
/// When there is none.
pub fn read(path: &Path) -> Result<Auth, Error> {
    let no_token = |problem| Error::TokenFile { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| no_token(format!("it cannot be read ({error})")))?;
    parse(&text).ok_or_else(|| no_token(NO_TOKEN.to_owned()))
}

/// The token of a file's text.
fn parse(text: &str) -> Option<Auth> {
    let token = text.trim();
    let is_token = token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_token.then(|| Auth::new(Some(token.to_owned())))
}

fn make(path: &Path) -> Result<Auth, Error> {
    let token: String = (0..4).map(|_| format!("{:016x}", runtime::entropy())).collect();
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{token}"));
    written.map_err(Error::io("write", path))?;
    Ok(Auth::new(Some(token)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let token = take(dir.path()).unwrap();
        assert!(token.is_on());
        assert_eq!(take(dir.path()).unwrap(), token);
        let mode = std::fs::metadata(path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(path(dir.path()), "short").unwrap();
        assert!(matches!(take(dir.path()), Err(Error::Record { .. })));
    }

    #[test]
    fn who_names_no_token_is_told_where_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy");
        let check = |problem: &str| {
            let expected = format!(
                "--token-file {}: {problem}; it is to be a copy of the file token in the directory of the \
                 cluster's master (its DIR/token)",
                copy.display()
            );
            assert_eq!(read(&copy).unwrap_err().to_string(), expected);
        };
        check("it cannot be read (No such file or directory (os error 2))");
        std::fs::write(&copy, "short").unwrap();
        check("it has no token (64 hexadecimal digits)");
        let token = take(dir.path()).unwrap();
        std::fs::copy(path(dir.path()), &copy).unwrap();
        assert_eq!(read(&copy).unwrap(), token);
    }
}
