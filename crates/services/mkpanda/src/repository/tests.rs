use std::os::unix::fs::PermissionsExt;

use api_pkgpanda::{Requirement, SERVICE_CONFIGURATION};

use super::*;

/// Where a path below a root leads, as text: a link's target, a file's text, the mode of all but links.
type Seen = BTreeMap<String, String>;

fn see(root: &Path, below: &str, seen: &mut Seen) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(below).join(entry.file_name()).to_str().unwrap().to_owned();
        let meta = entry.metadata().unwrap();
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            see(root, &path, seen);
            // As an overlay has it: directories of several layers become one, with the mode of the highest.
            seen.insert(path, format!("directory {mode:o}"));
        } else if meta.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            seen.insert(path, format!("link to {}", target.display()));
        } else {
            let text = fs::read_to_string(entry.path()).unwrap();
            seen.insert(path, format!("file {mode:o} {text}"));
        }
    }
}

/// What there is in one root of all these layers.
fn stacked(layers: &[PathBuf]) -> Seen {
    let mut all = Seen::new();
    for layer in layers {
        let mut seen = Seen::new();
        see(&layer.join(ROOT), "", &mut seen);
        for (path, what) in seen {
            let of_another_kind = all
                .insert(path.clone(), what.clone())
                .is_some_and(|below| below.split(' ').next() != what.split(' ').next());
            assert!(!of_another_kind, "{path} hides something else");
        }
    }
    all
}

fn package(name: &str, requires: &[&str], environment: &[(&str, &str)], files: &[&str]) -> Package {
    let mut package = Package::new(format!("{name}--{}", "a".repeat(40)).parse().unwrap());
    let requirement = |name: &&str| Requirement { name: (*name).to_owned(), variant: None };
    package.info.requires = requires.iter().map(requirement).collect();
    package.info.environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for path in files {
        match path.strip_suffix('/') {
            Some(path) => package.contents.add(path, Kind::Directory),
            None => package.contents.add(path, Kind::File),
        }
    }
    package.buildinfo = Some(serde_json::json!({"name": name}));
    package
}

fn packages() -> Vec<Package> {
    vec![
        package("a", &[], &[], &["bin/", "bin/a", "lib/deep/er/a", "share/a", "lib/deep/"]),
        package("b", &["a"], &[("B", "1")], &["bin/b", "lib/deep/b", "etc/empty/", "include/x/"]),
        package("c", &["a", "b"], &[], &["lib/deep/er/c", "dcos.target.wants/c.service", "etc/c"]),
        package("d", &[], &[("D", "two words")], &[]),
    ]
}

/// Every set of these packages that can be active.
fn sets(packages: &[Package]) -> Vec<Vec<&Package>> {
    let choose = |bits: usize| packages.iter().enumerate().filter(move |(at, _)| bits & 1 << at != 0);
    let all = (1..1 << packages.len()).map(|bits| choose(bits).map(|(_, package)| package).collect());
    all.filter(|set: &Vec<&Package>| {
        let has = |name: &str| set.iter().any(|package| package.id.name() == name);
        set.iter().all(|package| package.info.requires.iter().all(|required| has(&required.name)))
    })
    .collect()
}

/// `kept`: who is not in the scratch folder. `below`: how many layers the image has.
fn check(kept: &str, below: usize, layers: impl Fn(usize) -> usize) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.sweep().unwrap();
    let repository = Repository::new(&cache);
    let packages = packages();
    for package in &packages {
        let at = if package.id.name() == kept { dir.path().join("kept") } else { cache.fresh("package") };
        fs::create_dir(&at).unwrap();
        fs::write(at.join("file"), package.id.name()).unwrap();
        repository.put(Unpacked { dir: at, package: Arc::new(package.clone()) });
    }
    let sets = sets(&packages);
    assert_eq!(sets.len(), 7);
    // Twice: what was made for one build serves the next.
    for set in sets.iter().chain(&sets) {
        let ids: BTreeSet<PackageId> = set.iter().map(|package| package.id.clone()).collect();
        let active = repository.active(&ids, below).unwrap();
        assert_eq!(active.layers.len(), layers(set.len()));
        let mut seen = stacked(&active.layers);
        // The packages themselves, as layers or mounts.
        for id in &ids {
            let mounted = active.mounts.iter().find(|mount| mount.target.ends_with(id));
            let is_layer = seen.contains_key(&format!("packages/{id}/file"));
            assert_ne!(mounted.is_some(), is_layer, "{id}");
            assert!(mounted.is_none_or(|mount| mount.read_only));
            assert_eq!(fs::read_to_string(repository.get(id).unwrap().dir.join("file")).unwrap(), id.name());
        }
        assert_eq!(active.mounts.is_empty(), layers(1) > 1 && ids.iter().all(|id| id.name() != kept));
        seen.retain(|path, _| path != "packages" && !path.starts_with("packages/"));
        let fresh = tempfile::tempdir().unwrap();
        active::activate(fresh.path(), set).unwrap();
        let mut expected = Seen::new();
        see(fresh.path(), "", &mut expected);
        assert_eq!(seen, expected);
        assert!(seen.contains_key(&format!("etc/{SERVICE_CONFIGURATION}")));
    }
}

#[test]
fn layers_look_like_a_root_that_was_made_for_the_set_alone() {
    check("nobody", 1, |packages| packages + 2);
    // It stays where it was asked to.
    check("b", 1, |packages| packages + 2);
    // More than the kernel stacks.
    check("nobody", RootFs::LAYERS_LIMIT - 2, |_| 1);
}

#[test]
fn packages_that_do_not_fit_together_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.sweep().unwrap();
    let repository = Repository::new(&cache);
    let packages = [package("a", &[], &[], &["bin/x"]), package("b", &[], &[], &["bin/x"])];
    for package in &packages {
        let dir = cache.fresh("package");
        fs::create_dir(&dir).unwrap();
        repository.put(Unpacked { dir, package: Arc::new(package.clone()) });
    }
    let ids = packages.map(|package| package.id).into();
    let error = repository.active(&ids, 1).unwrap_err().to_string();
    assert!(error.contains("cannot be active together") && error.contains("bin/x"), "{error}");
}
