//! The token that is demanded with `--auth`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base::Auth;

use crate::{Error, console};

/// Where the token of the cluster in `dir` is.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("token")
}

/// The token in `dir`, made at first with 256 random bits and readable by its owner alone.
pub(crate) fn take(dir: &Path) -> Result<Auth, Error> {
    let path = path(dir);
    match path.exists() {
        true => read(&path),
        false => make(&path),
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

/// The token in the file `path`, which `dcos up --auth` or `dcos master --auth` made.
///
/// # Errors
/// When there is none.
pub fn read(path: &Path) -> Result<Auth, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let token = text.trim();
    if token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Auth::new(Some(token.to_owned())));
    }
    let problem = "it has no token (64 hexadecimal digits); remove it and a new one is made".to_owned();
    Err(Error::Record { path: path.to_owned(), problem })
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
}
