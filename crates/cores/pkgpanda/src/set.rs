use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::step::{Account, ActivePackage, ActiveSet, Links, StateDirectory};
use api_pkgpanda::{Kind, RESERVED_UNITS, Role, SERVICE_CONFIGURATION, WANTS, WELL_KNOWN};

use crate::{Layout, Package, Problem, environment, validate};

/// The links of every root that follow the active generation, in the top directory.
pub(crate) const FIXED: [&str; 4] =
    ["active", "active.buildinfo.full.json", "environment", "environment.export"];
/// What their targets begin with.
pub(crate) const FIXED_PREFIX: &str = "current/";

/// What a host is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What is remembered of it in its generation.
    pub active: ActiveSet,
    /// Where packages lie.
    pub repository: String,
    /// The text of `environment`.
    pub environment: String,
    /// The text of `environment.export`.
    pub environment_export: String,
    /// The text of `active.buildinfo.full.json`.
    pub buildinfo: String,
    /// The text of `etc/dcos-service-configuration.json`.
    pub service_configuration: String,
    /// Users of its packages, sorted.
    pub accounts: Vec<Account>,
    /// State directories of its packages, sorted.
    pub state_directories: Vec<StateDirectory>,
}

impl Set {
    /// The set of these packages on a host of these roles. The order of packages and roles does not matter.
    ///
    /// # Errors
    /// Every problem at once: those of [`validate`], and files and directories that are in each other's way.
    pub fn of(
        packages: &[impl Borrow<Package>],
        roles: &[Role],
        layout: &Layout,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = validate(packages);
        let mut sorted: Vec<&Package> = packages.iter().map(Borrow::borrow).collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let roles: Vec<Role> = roles.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let farm = Farm::of(&sorted, &roles, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut active = ActiveSet {
            format: ActiveSet::FORMAT,
            packages: farm.packages(),
            roles: roles.iter().map(Role::to_string).collect(),
            root: layout.root.clone(),
            unit_directory: layout.host.as_ref().map(|host| host.unit_directory.clone()),
            ..ActiveSet::default()
        };
        farm.links(&layout.root, &mut active);
        if layout.host.is_none() {
            (active.unit_links, active.units) = Default::default();
        }
        Ok(Self {
            repository: layout.repository.clone(),
            environment: environment::environment(&layout.root, &sorted),
            environment_export: environment::environment_export(&layout.root, &sorted),
            buildinfo: environment::buildinfo(&sorted),
            service_configuration: environment::service_configuration(&sorted),
            accounts: accounts(&sorted, layout),
            state_directories: state_directories(&sorted, layout),
            active,
        })
    }
}

fn accounts(packages: &[&Package], layout: &Layout) -> Vec<Account> {
    let mut accounts: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for info in packages.iter().map(|package| &package.info).filter(|_| layout.host.is_some()) {
        if let Some(user) = &info.username {
            let group = accounts.entry(user).or_default();
            *group = group.take().or_else(|| info.group.clone().filter(|group| !group.is_empty()));
        }
    }
    accounts.into_iter().map(|(user, group)| Account { user: user.to_owned(), group }).collect()
}

fn state_directories(packages: &[&Package], layout: &Layout) -> Vec<StateDirectory> {
    let Some(host) = &layout.host else { return Vec::new() };
    let wanted = packages.iter().filter(|package| package.info.state_directory);
    let directory = |package: &&Package| StateDirectory {
        path: format!("{}/{}", host.state_root, package.id.name()),
        user: package.info.username.clone(),
    };
    wanted.map(directory).collect()
}

/// All packages' directories merged.
struct Farm<'a> {
    packages: &'a [&'a Package],
    directories: BTreeMap<Cow<'a, str>, Directory<'a>>,
}

/// One directory of the farm.
struct Directory<'a> {
    /// The first package that brings it; an index.
    owner: usize,
    /// What is linked in it, with the package (an index) and the directory at the top of the package.
    links: BTreeMap<&'a str, (usize, &'a str)>,
}

impl<'a> Farm<'a> {
    fn of(packages: &'a [&'a Package], roles: &'a [Role], problems: &mut Vec<Problem>) -> Self {
        let known = WELL_KNOWN.iter().chain(&[WANTS]);
        let tops: BTreeMap<String, &str> = known
            .flat_map(|top| {
                let twins = roles.iter().map(move |role| (format!("{top}_{role}"), *top));
                [(top.to_string(), *top)].into_iter().chain(twins)
            })
            .collect();
        let mut farm = Self { packages, directories: BTreeMap::new() };
        for (index, package) in packages.iter().enumerate() {
            for (path, kind) in &package.contents.entries {
                let (source, rest) = path.split_once('/').unwrap_or((path, ""));
                let Some(top) = tops.get(source).copied() else { continue };
                let path: Cow<'a, str> = match (source == top, rest) {
                    (true, _) => Cow::Borrowed(path),
                    (false, "") => Cow::Borrowed(top),
                    (false, rest) => Cow::Owned(format!("{top}/{rest}")),
                };
                match kind {
                    Kind::Directory => farm.directory(path, index),
                    Kind::File if rest.is_empty() => {
                        problems
                            .push(Problem::NoDirectory { id: package.id.clone(), path: source.to_owned() });
                    }
                    Kind::File => farm.link(path, rest, source, index, roles, problems),
                }
            }
        }
        farm.reserved(problems);
        farm.files_against_directories(problems);
        farm
    }

    /// Notes a directory and those above it.
    fn directory(&mut self, path: Cow<'a, str>, owner: usize) {
        if self.directories.contains_key(&path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(Cow::Owned(above.to_owned()), owner);
        }
        self.directories.insert(path, Directory { owner, links: BTreeMap::new() });
    }

    fn link(
        &mut self,
        path: Cow<'a, str>,
        rest: &'a str,
        source: &'a str,
        package: usize,
        roles: &[Role],
        problems: &mut Vec<Problem>,
    ) {
        let name = rest.rsplit('/').next().expect("a split text has a last part");
        let above = &path[..path.len() - name.len() - 1];
        if !self.directories.contains_key(above) {
            self.directory(Cow::Owned(above.to_owned()), package);
        }
        let directory = self.directories.get_mut(above).expect("it has just been made sure of");
        let Some((first, _)) = directory.links.insert(name, (package, source)) else { return };
        let id = |index: usize| self.packages[index].id.clone();
        problems.push(match first == package {
            true => {
                Problem::SameFileOfRoles { path: path.into_owned(), id: id(first), roles: roles.to_vec() }
            }
            false => Problem::SameFile { path: path.into_owned(), first: id(first), second: id(package) },
        });
    }

    fn reserved(&self, problems: &mut Vec<Problem>) {
        let link = |directory: &str, name: &str| {
            let (package, _) = self.directories.get(directory)?.links.get(name)?;
            Some(self.packages[*package].id.clone())
        };
        if let Some(id) = link("etc", SERVICE_CONFIGURATION) {
            problems.push(Problem::ReservedFile { id, path: format!("etc/{SERVICE_CONFIGURATION}") });
        }
        for unit in RESERVED_UNITS {
            if let Some(id) = link(WANTS, unit) {
                problems.push(Problem::ReservedUnit { id, unit: unit.to_owned() });
            }
        }
    }

    fn files_against_directories(&self, problems: &mut Vec<Problem>) {
        for (path, directory) in &self.directories {
            let Some((above, name)) = path.rsplit_once('/') else { continue };
            if let Some((file, _)) = self.directories.get(above).and_then(|above| above.links.get(name)) {
                problems.push(Problem::FileAndDirectory {
                    path: path.to_string(),
                    directory: self.packages[directory.owner].id.clone(),
                    file: self.packages[*file].id.clone(),
                });
            }
        }
    }

    fn packages(&self) -> BTreeMap<String, ActivePackage> {
        let mut shared = vec![false; self.packages.len()];
        let brought = self.directories.iter().filter(|(path, _)| !is_below(path, WANTS));
        for (package, _) in brought.flat_map(|(_, directory)| directory.links.values()) {
            shared[*package] = true;
        }
        let active = |(package, shared): (&&Package, bool)| {
            let requires: BTreeSet<&String> =
                package.info.requires.iter().map(|requirement| &requirement.name).collect();
            let active = ActivePackage {
                id: package.id.to_string(),
                requires: requires.into_iter().cloned().collect(),
                contents: package.fingerprint.clone(),
                shared,
            };
            (package.id.name().to_owned(), active)
        };
        self.packages.iter().zip(shared).map(active).collect()
    }

    /// Writes links, directories and units down.
    fn links(&self, root: &str, active: &mut ActiveSet) {
        let mut without_links: BTreeSet<&str> = WELL_KNOWN.into_iter().collect();
        for (path, directory) in &self.directories {
            let is_unit = is_below(path, WANTS);
            if directory.links.is_empty() {
                // Directories for units alone are known by the links in them.
                if !is_unit {
                    without_links.insert(path);
                }
                continue;
            }
            let mut groups: BTreeMap<(usize, &str), Vec<String>> = BTreeMap::new();
            for (name, (package, source)) in &directory.links {
                groups.entry((*package, source)).or_default().push((*name).to_owned());
            }
            let rest = path.split_once('/').map_or("", |(_, rest)| rest);
            for ((package, source), names) in groups {
                let package = self.packages[package].id.name();
                let slash = if rest.is_empty() { "" } else { "/" };
                let prefix = format!("{root}/active/{package}/{source}{slash}{rest}/");
                if &**path == WANTS {
                    // Every unit has a link beside those wants, by which systemd finds it.
                    active.units.extend(names.iter().map(|unit| (unit.clone(), package.to_owned())));
                    insert(&mut active.unit_links, "", prefix.clone(), names.clone());
                }
                let links = if is_unit { &mut active.unit_links } else { &mut active.links };
                insert(links, path, prefix, names);
            }
        }
        for (directory, prefix, names) in
            [("", FIXED_PREFIX, &FIXED[..]), ("etc", "../current/", &[SERVICE_CONFIGURATION])]
        {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            insert(&mut active.links, directory, prefix.to_owned(), names);
        }
        without_links.retain(|path| !active.links.contains_key(*path));
        active.directories = without_links.into_iter().map(str::to_owned).collect();
    }
}

fn insert(links: &mut Links, directory: &str, prefix: String, names: Vec<String>) {
    links.entry(directory.to_owned()).or_default().insert(prefix, names);
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
