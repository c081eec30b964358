//! What is installed in a root, as far as reading its directories tells.

use std::fs;
use std::io;
use std::path::Path;

use api_pkgpanda::Role;

use crate::files::{FileError, failed};
use crate::{Config, Error};

/// The directory of links to active packages, below the root.
const ACTIVE: &str = "active";
/// How often it is read again because the active set changed while it was read.
const ATTEMPTS: u32 = 100;

/// Ids of the active packages, sorted: the names that the links in `active` lead to. They are not checked, so
/// that a broken root can be looked at.
///
/// # Errors
/// [`Error::NotInstalled`] or [`Error::Broken`] if there is no `active`.
pub fn active(config: &Config) -> Result<Vec<String>, Error> {
    let active = config.root.join(ACTIVE);
    for _ in 0..ATTEMPTS {
        let generation = match fs::canonicalize(&active) {
            Ok(generation) => generation,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_active(&config.root)),
            Err(error) => return Err(failed("list", &active)(error).into()),
        };
        let ids = ids_in(&generation);
        // Another generation may have become active meanwhile, and this one be gone.
        if fs::canonicalize(&active).is_ok_and(|now| now == generation) {
            return Ok(ids?);
        }
    }
    Err(failed("list", &active)(io::Error::other("it changes all the time")).into())
}

fn ids_in(active: &Path) -> Result<Vec<String>, FileError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(active).map_err(failed("list", active))? {
        let path = entry.map_err(failed("list", active))?.path();
        let package = fs::canonicalize(&path).or_else(|_| fs::read_link(&path)).unwrap_or(path);
        ids.extend(package.file_name().map(|id| id.to_string_lossy().into_owned()));
    }
    ids.sort();
    Ok(ids)
}

fn not_active(root: &Path) -> Error {
    let root = root.to_owned();
    let left = |extension: &str| root.join(ACTIVE).with_extension(extension).exists();
    match left("old") || left("new") {
        true => Error::Broken { root },
        false => Error::NotInstalled { root },
    }
}

/// The host's roles, sorted; none if there is no directory of roles.
///
/// # Errors
/// [`Error::Set`] if a file of that directory has a name that is none of a role.
pub(crate) fn roles(config: &Config) -> Result<Vec<Role>, Error> {
    let dir = config.config_dir.join("roles");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", &dir)(error).into()),
    };
    let (mut roles, mut problems) = (Vec::new(), Vec::new());
    for entry in entries {
        let name = entry.map_err(failed("list", &dir))?.file_name();
        match name.to_string_lossy().parse::<Role>() {
            Ok(role) => roles.push(role),
            Err(problem) => problems.push(format!("{}: {problem}", dir.display())),
        }
    }
    roles.sort();
    problems.sort();
    if problems.is_empty() { Ok(roles) } else { Err(Error::Set(problems)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scene() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let config =
            Config { root: dir.path().join("root"), config_dir: dir.path().join("etc"), ..Config::default() };
        fs::create_dir_all(&config.root).unwrap();
        (dir, config)
    }

    #[test]
    fn active_ids_are_where_the_links_lead() {
        let (dir, config) = scene();
        fs::create_dir_all(dir.path().join("packages/b--2")).unwrap();
        fs::create_dir(config.root.join("active")).unwrap();
        symlink(dir.path().join("packages/b--2"), config.root.join("active/b")).unwrap();
        symlink("../nowhere/a--1", config.root.join("active/a")).unwrap();
        assert_eq!(active(&config).unwrap(), ["a--1", "b--2"]);
    }

    #[test]
    fn a_change_of_the_active_set_is_seen_as_a_whole() {
        let (_dir, config) = scene();
        let root = config.root.clone();
        let sets = [["a--1", "b--1", "c--1"], ["b--2", "c--2", "d--2"]];
        for (number, set) in sets.iter().enumerate() {
            let active = root.join(format!("generations/{number}/active"));
            fs::create_dir_all(&active).unwrap();
            for id in set {
                fs::create_dir_all(root.join("packages").join(id)).unwrap();
                symlink(root.join("packages").join(id), active.join(&id[..1])).unwrap();
            }
        }
        symlink("generations/0", root.join("current")).unwrap();
        symlink("current/active", root.join("active")).unwrap();
        let flips = std::thread::spawn(move || {
            for flip in 0..20_000 {
                symlink(format!("generations/{}", flip % 2), root.join("next")).unwrap();
                fs::rename(root.join("next"), root.join("current")).unwrap();
            }
        });
        while !flips.is_finished() {
            // Nobody changes sets that often: that it gave up is fine.
            if let Ok(ids) = active(&config) {
                assert!(sets.iter().any(|set| ids == set), "{ids:?}");
            }
        }
        flips.join().unwrap();
        assert_eq!(active(&config).unwrap(), sets[1]);
    }

    #[test]
    fn without_active_packages_what_to_do_is_said() {
        let (_dir, config) = scene();
        let message = active(&config).unwrap_err().to_string();
        let root = config.root.display();
        assert_eq!(
            message,
            format!("Install directory {root} has no active folder. Has it been bootstrapped?")
        );
        fs::create_dir(config.root.join("active.old")).unwrap();
        let message = active(&config).unwrap_err().to_string();
        assert!(message.starts_with("Broken past deploy."), "{message}");
    }

    #[test]
    fn roles_are_names_of_files_and_bad_ones_are_told_together() {
        let (_dir, config) = scene();
        assert_eq!(roles(&config).unwrap(), []);
        let file = |name: &str| {
            let path = config.config_dir.join("roles").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        file("slave");
        file("master");
        assert_eq!(roles(&config).unwrap().iter().map(Role::as_str).collect::<Vec<_>>(), ["master", "slave"]);
        file("a b");
        file(".x");
        let message = roles(&config).unwrap_err().to_string();
        assert!(
            message.contains("\".x\" is not a role") && message.contains("\"a b\" is not a role"),
            "{message}"
        );
    }
}
