//! What is in the way of a plan, found before anything changes; and what of it is there already.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use api_pkgpanda::step::{Place, Plan, STAGED, STAGED_UNITS, Step};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::tree::{Opened, names, open_below, split};
use crate::{Error, Locked};

/// From so many links in one directory on, the directory is read instead of being asked for each.
const READ_FROM: usize = 32;

/// A plan's steps as they are carried out on what is really there.
pub(crate) struct Checked {
    /// To be done after the plan's own building.
    pub(crate) build: Vec<Step>,
    pub(crate) before: Vec<Step>,
    pub(crate) after: Vec<Step>,
}

/// What was found at a path.
enum Found {
    Nothing,
    /// The link that is wanted.
    Wanted,
    /// A link that pkgpanda made.
    Ours,
    Directory,
    Foreign,
}

struct Check<'a> {
    plan: &'a Plan,
    root: &'a Opened,
    units: Option<Opened>,
    /// Directories that are not there.
    missing: BTreeSet<(Place, &'a str)>,
    in_the_way: Vec<PathBuf>,
    /// Links that take the place of something of ours, by directory and what their targets begin with.
    puts: BTreeMap<(Place, &'a str, &'a str), Vec<String>>,
}

impl Locked<'_> {
    /// Compares a plan with what is there.
    pub(crate) fn check(&self, plan: &Plan) -> Result<Checked, Error> {
        let units = plan.unit_directory.as_ref().map(|path| Opened::open(Path::new(path)));
        let units = match units.transpose() {
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            units => units?,
        };
        let mut check = Check {
            plan,
            root: &self.root.top,
            units,
            missing: BTreeSet::new(),
            in_the_way: Vec::new(),
            puts: BTreeMap::new(),
        };
        let mut before = Vec::with_capacity(plan.before.len());
        for step in &plan.before {
            before.extend(check.before(step)?);
        }
        for step in &plan.after {
            check.after(step)?;
        }
        if !check.in_the_way.is_empty() {
            check.in_the_way.sort();
            check.in_the_way.dedup();
            return Err(Error::InTheWay(check.in_the_way));
        }
        let (build, mut after) = staged(check.puts);
        after.extend_from_slice(&plan.after);
        Ok(Checked { build, before, after })
    }
}

impl<'a> Check<'a> {
    fn opened(&self, place: Place) -> Option<&Opened> {
        match place {
            Place::Root => Some(self.root),
            Place::Units => self.units.as_ref(),
            Place::Generation => None,
        }
    }

    fn path(&self, place: Place, path: &str) -> PathBuf {
        self.opened(place).map_or_else(|| PathBuf::from(path), |opened| opened.path.join(path))
    }

    /// A directory, if it is there and a directory all the way.
    fn directory(&self, place: Place, directory: &str) -> Result<Option<OwnedFd>, Error> {
        let Some(opened) = self.opened(place) else { return Ok(None) };
        match open_below(opened.fd.as_fd(), directory) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(Error::file("open directory", self.path(place, directory), errno)),
        }
    }

    /// What of a step before the flip is left to be done.
    fn before(&mut self, step: &'a Step) -> Result<Option<Step>, Error> {
        match step {
            Step::Directory { place, path } => {
                let (above, name) = split(path);
                let is_missing = self.missing.contains(&(*place, above)) || {
                    match self.directory(*place, above)? {
                        None => above.is_empty(),
                        Some(opened) => match self.look(&opened, *place, above, name, "")? {
                            Found::Nothing => true,
                            Found::Directory => return Ok(None),
                            Found::Wanted | Found::Ours | Found::Foreign => {
                                self.in_the_way.push(self.path(*place, path));
                                return Ok(None);
                            }
                        },
                    }
                };
                if is_missing {
                    self.missing.insert((*place, path));
                }
                Ok(is_missing.then(|| step.clone()))
            }
            Step::Links { place, directory, prefix, names } => {
                if self.missing.contains(&(*place, directory.as_str())) {
                    return Ok(Some(step.clone()));
                }
                let Some(opened) = self.directory(*place, directory)? else {
                    return Ok(directory.is_empty().then(|| step.clone()));
                };
                let names = self.new_links(&opened, *place, directory, prefix, names)?;
                Ok((!names.is_empty()).then(|| Step::Links {
                    place: *place,
                    directory: directory.clone(),
                    prefix: prefix.clone(),
                    names,
                }))
            }
            other => Ok(Some(other.clone())),
        }
    }

    /// Those of the links that have to be made; others are there already, have to be put, or cannot be.
    fn new_links(
        &mut self,
        opened: &OwnedFd,
        place: Place,
        directory: &'a str,
        prefix: &'a str,
        wanted: &[String],
    ) -> Result<Vec<String>, Error> {
        let there = match wanted.len() >= READ_FROM {
            true => Some(self.names(place, directory)?),
            false => None,
        };
        let mut new = Vec::with_capacity(wanted.len());
        for name in wanted {
            if there.as_ref().is_some_and(|there| !there.contains(name.as_bytes())) {
                new.push(name.clone());
                continue;
            }
            match self.look(opened, place, directory, name, prefix)? {
                Found::Nothing => new.push(name.clone()),
                Found::Wanted => {}
                Found::Ours => self.puts.entry((place, directory, prefix)).or_default().push(name.clone()),
                Found::Directory | Found::Foreign => {
                    self.in_the_way.push(self.path(place, directory).join(name));
                }
            }
        }
        Ok(new)
    }

    fn names(&self, place: Place, directory: &str) -> Result<BTreeSet<Vec<u8>>, Error> {
        let path = self.path(place, directory);
        let found = Opened::open(&path)?;
        let names = names(found.fd.as_fd()).map_err(|errno| Error::file("read directory", path, errno))?;
        Ok(names.into_iter().map(std::ffi::CString::into_bytes).collect())
    }

    /// What is there. `prefix` and name are the link that is wanted; with an empty prefix there is none.
    fn look(
        &self,
        opened: &OwnedFd,
        place: Place,
        directory: &str,
        name: &str,
        prefix: &str,
    ) -> Result<Found, Error> {
        let failed = |errno| Error::file("look at", self.path(place, directory).join(name), errno);
        match rustix::fs::readlinkat(opened, name, Vec::new()) {
            Ok(target) => {
                let target = target.to_string_lossy();
                let is_wanted = target.strip_prefix(prefix) == Some(name) && !prefix.is_empty();
                let is_ours = self.plan.ours.iter().any(|ours| target.starts_with(ours));
                Ok(match (is_wanted, is_ours) {
                    (true, _) => Found::Wanted,
                    (false, true) => Found::Ours,
                    (false, false) => Found::Foreign,
                })
            }
            Err(Errno::NOENT) => Ok(Found::Nothing),
            // What the original wrote where we have links into the generation, whose targets are relative.
            Err(Errno::INVAL) if self.plan.takeover && !prefix.is_empty() && !prefix.starts_with('/') => {
                Ok(Found::Ours)
            }
            Err(Errno::INVAL) => {
                let stat = rustix::fs::statat(opened, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                Ok(match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Found::Directory,
                    _ => Found::Foreign,
                })
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// What a step after the flip replaces has to be ours.
    fn after(&mut self, step: &'a Step) -> Result<(), Error> {
        match step {
            Step::PutLinks { place, directory, prefix, names } => {
                let Some(opened) = self.directory(*place, directory)? else {
                    self.in_the_way.push(self.path(*place, directory));
                    return Ok(());
                };
                for name in names {
                    match self.look(&opened, *place, directory, name, prefix)? {
                        Found::Nothing | Found::Wanted | Found::Ours => {}
                        Found::Foreign => self.in_the_way.push(self.path(*place, directory).join(name)),
                        Found::Directory => self.only_ours(*place, join(directory, name))?,
                    }
                }
            }
            Step::PutDirectory { place, path } => {
                let (above, name) = split(path);
                let found = match self.directory(*place, above)? {
                    Some(opened) => self.look(&opened, *place, above, name, "")?,
                    None => Found::Foreign,
                };
                if !matches!(found, Found::Nothing | Found::Ours) {
                    self.in_the_way.push(self.path(*place, path));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A directory that becomes a link must hold nothing but our links.
    fn only_ours(&mut self, place: Place, directory: String) -> Result<(), Error> {
        let Some(opened) = self.directory(place, &directory)? else { return Ok(()) };
        for name in self.names(place, &directory)? {
            let name = String::from_utf8_lossy(&name).into_owned();
            match self.look(&opened, place, &directory, &name, "")? {
                Found::Nothing | Found::Wanted | Found::Ours => {}
                Found::Foreign => self.in_the_way.push(self.path(place, &directory).join(name)),
                Found::Directory => self.only_ours(place, join(&directory, &name))?,
            }
        }
        Ok(())
    }
}

/// The steps that stage replacements, and those that put them.
fn staged(puts: BTreeMap<(Place, &str, &str), Vec<String>>) -> (Vec<Step>, Vec<Step>) {
    let (mut build, mut after) = (Vec::new(), Vec::new());
    let mut made = BTreeSet::new();
    for ((place, directory, prefix), names) in puts {
        let (staging, top) = match place {
            Place::Units => (Place::Units, STAGED_UNITS),
            Place::Root | Place::Generation => (Place::Generation, STAGED),
        };
        let mut path = top.to_owned();
        for part in [""].into_iter().chain(directory.split('/').filter(|part| !part.is_empty())) {
            path = join(&path, part);
            if made.insert((staging, path.clone())) {
                build.push(Step::Directory { place: staging, path: path.clone() });
            }
        }
        let prefix = prefix.to_owned();
        build.push(Step::Links {
            place: staging,
            directory: path,
            prefix: prefix.clone(),
            names: names.clone(),
        });
        after.push(Step::PutLinks { place, directory: directory.to_owned(), prefix, names });
    }
    (build, after)
}

fn join(directory: &str, name: &str) -> String {
    match (directory, name) {
        ("", name) => name.to_owned(),
        (directory, "") => directory.to_owned(),
        _ => format!("{directory}/{name}"),
    }
}
