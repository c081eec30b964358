//! What is done when no journal tells what was under way.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;

use api_pkgpanda::step::{ActiveSet, GENERATIONS, Links, Place, STAGED, STAGED_UNITS, STOPPING, Step};
use api_pkgpanda::{WANTS, WELL_KNOWN};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::root::UNFINISHED_FILES;
use crate::tree::{Opened, Tree, names};
use crate::{Error, Generation, Host, Locked};

impl Locked<'_> {
    /// Makes the tree what the active generation says it is, whatever became of it: removes links of ours that it does not
    /// have, makes those that are missing, leaves what is not ours alone. With no generation active, nothing of ours is left
    /// but packages. Says which generation is active.
    ///
    /// # Errors
    /// What cannot be read or done.
    pub fn repair(&mut self, host: &mut dyn Host) -> Result<Option<u64>, Error> {
        let current = self.root.current()?;
        let none = ActiveSet {
            root: self.root.path().to_string_lossy().into_owned(),
            unit_directory: self.root.unit_directory.as_ref().map(|path| path.to_string_lossy().into_owned()),
            ..ActiveSet::default()
        };
        let set = current.as_ref().map_or(&none, |current| &current.set);
        let generation = match &current {
            Some(current) => {
                Some(Opened::open(&self.root.path().join(format!("{GENERATIONS}/{}", current.number)))?)
            }
            None => None,
        };
        let units = match set.unit_directory.as_ref().map(|path| Opened::open(path.as_ref())).transpose() {
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            units => units?,
        };
        let mut tree = self.tree(units, generation);
        let ours = [
            ActiveSet::ours(&set.root, &format!("{}/packages", set.root)),
            vec!["current/".to_owned(), "../current/".to_owned()],
        ]
        .concat();
        let directories: BTreeSet<&str> =
            set.links.keys().chain(&set.directories).map(String::as_str).collect();
        for top in WELL_KNOWN {
            sweep(&mut tree, Place::Root, top, &set.links, &directories, &ours)?;
        }
        sweep_links(&mut tree, Place::Root, "", &set.links, &ours)?;
        if tree.units.is_some() {
            let directories = set.unit_links.keys().map(String::as_str).collect();
            sweep(&mut tree, Place::Units, WANTS, &set.unit_links, &directories, &ours)?;
            sweep_links(&mut tree, Place::Units, "", &set.unit_links, &ours)?;
            tree.apply(&Step::RemoveTree { place: Place::Units, path: STAGED_UNITS.to_owned() })?;
            make(&mut tree, Place::Units, &set.unit_links, &[])?;
        }
        make(&mut tree, Place::Root, &set.links, &set.directories)?;
        if tree.generation.is_some() {
            for path in [STAGED, STOPPING] {
                tree.apply(&Step::RemoveTree { place: Place::Generation, path: path.to_owned() })?;
            }
        }
        for name in UNFINISHED_FILES {
            tree.apply(&Step::RemoveTree { place: Place::Root, path: name.to_owned() })?;
        }
        let units = tree.units.take();
        self.end_repair(current.as_ref(), units.as_ref(), host)?;
        Ok(current.map(|current| current.number))
    }

    fn end_repair(
        &mut self,
        current: Option<&Generation>,
        units: Option<&Opened>,
        host: &mut dyn Host,
    ) -> Result<(), Error> {
        let kept: Vec<u64> = current
            .map(|current| [Some(current.number), current.state.last_good])
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        self.remove_generations(&kept)?;
        self.tree(None, None)
            .apply(&Step::RemoveDirectory { place: Place::Root, path: GENERATIONS.to_owned() })?;
        self.sync(units)?;
        // Which units had been stopped, nobody knows any more.
        let all: Vec<String> = current.iter().flat_map(|current| current.set.units.keys()).cloned().collect();
        let started = match all.is_empty() {
            true => Ok(()),
            false => host.reload_units().and_then(|()| host.start_units(&all)),
        };
        self.forget_journal()?;
        started.map_err(|source| Error::Start { source })
    }
}

/// Removes what is ours and not of the set, in a directory and below it; directories that are empty go, too.
fn sweep(
    tree: &mut Tree<'_>,
    place: Place,
    directory: &str,
    links: &Links,
    directories: &BTreeSet<&str>,
    ours: &[String],
) -> Result<(), Error> {
    for below in sweep_links(tree, place, directory, links, ours)? {
        sweep(tree, place, &format!("{directory}/{below}"), links, directories, ours)?;
    }
    let has_below = |path: &&&str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    if !directories.contains(directory) && directories.iter().find(has_below).is_none() {
        tree.apply(&Step::RemoveDirectory { place, path: directory.to_owned() })?;
    }
    Ok(())
}

/// Removes the links of one directory that are ours and not of the set; names the directories in it.
fn sweep_links(
    tree: &mut Tree<'_>,
    place: Place,
    directory: &str,
    links: &Links,
    ours: &[String],
) -> Result<Vec<String>, Error> {
    let base = match (place, &tree.units) {
        (Place::Units, Some(units)) => units.path.clone(),
        _ => tree.root.path.clone(),
    };
    let path: PathBuf = if directory.is_empty() { base } else { base.join(directory) };
    let failed = |errno: Errno| Error::file("read directory", &path, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The top may be a link to where it is.
    let flags = if directory.is_empty() { flags - OFlags::NOFOLLOW } else { flags };
    let opened = match rustix::fs::openat(rustix::fs::CWD, &path, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(errno)),
    };
    let wanted = links.get(directory);
    let mut directories = Vec::new();
    for name in names(opened.as_fd()).map_err(failed)? {
        let text = name.to_string_lossy().into_owned();
        let Ok(target) = rustix::fs::readlinkat(&opened, name.as_c_str(), Vec::new()) else {
            let stat =
                rustix::fs::statat(&opened, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                directories.push(text);
            }
            continue;
        };
        let target = target.to_string_lossy();
        let is_wanted = |(prefix, names): (&String, &Vec<String>)| {
            target.strip_prefix(prefix.as_str()) == Some(text.as_str()) && names.contains(&text)
        };
        if ours.iter().any(|prefix| target.starts_with(prefix))
            && !wanted.into_iter().flatten().any(is_wanted)
        {
            rustix::fs::unlinkat(&opened, name.as_c_str(), AtFlags::empty()).map_err(failed)?;
            tree.done(format_args!("remove {directory}/{text}"));
        }
    }
    Ok(directories)
}

/// Makes what is missing.
fn make(tree: &mut Tree<'_>, place: Place, links: &Links, directories: &[String]) -> Result<(), Error> {
    let mut paths = BTreeSet::new();
    for path in links.keys().chain(directories) {
        let mut path = path.as_str();
        while !path.is_empty() && paths.insert(path) {
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    for path in paths {
        tree.apply(&Step::Directory { place, path: path.to_owned() })?;
    }
    for (directory, groups) in links {
        for (prefix, names) in groups {
            let (directory, prefix, names) = (directory.clone(), prefix.clone(), names.clone());
            tree.apply(&Step::Links { place, directory, prefix, names })?;
        }
    }
    Ok(())
}
