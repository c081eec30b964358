//! Images of Debian's packages.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use debian::Deb;

use super::Image;
use super::definition::Definition;
use super::error::ImageProblem;
use super::record::{self, Record};
use crate::sources::apt;

/// Where images are, below the cache.
pub(super) const IMAGES: &str = "docker";
/// The files of packages, below it.
const ARCHIVES: &str = "archives";
/// What is being made; what a killed run left has this ending, too.
const UNFINISHED: &str = "new";
/// Directories that builds are given, which have to be there.
const PLACES: [&str; 2] = ["opt/mesosphere", "pkg"];

/// What no build reads: manuals and translations. Licences stay.
const UNREAD: [&str; 3] = ["usr/share/info", "usr/share/locale", "usr/share/man"];

/// The image that the folder defines.
pub(super) fn get(
    name: &str,
    folder: &Path,
    cache: &Path,
    say: &dyn Fn(&str),
) -> Result<Image, ImageProblem> {
    let definition = Definition::read(folder)?;
    let (images, key) = (cache.join(IMAGES), definition.key());
    let known = record::find(&images, &key);
    if let Some(record) = &known
        && let Some(image) = of(record, &images)
    {
        return Ok(image);
    }
    if !host::is_root() {
        return Err(ImageProblem::Root);
    }
    sweep(&images)?;
    if definition.written.debian.is_empty() {
        // Files of its own alone: nobody is asked.
        let record = make(name, &definition, &[], &images, None, say)?;
        return finish(&images, &key, &record);
    }
    let record = apt::with(cache, |apt| {
        // What was found out once stays, as long as it can be had.
        if let Some(record) = known
            && make(name, &definition, &record.debian, &images, Some(apt), say).is_ok()
        {
            return Ok(record);
        }
        let resolve = |apt: &mut debian::Apt| {
            say(&format!("{name}: asking apt for its packages"));
            let debs = apt.resolve(&definition.written.debian)?;
            make(name, &definition, &debs, &images, Some(apt), say)
        };
        match resolve(apt) {
            // They went after the lists were made; apt has fresh ones now.
            Err(ImageProblem::Debian(debian::Error::Version { .. } | debian::Error::Unknown { .. })) => {
                resolve(apt)
            }
            done => done,
        }
    })?;
    finish(&images, &key, &record)
}

/// Writes down what was made.
fn finish(images: &Path, key: &str, record: &Record) -> Result<Image, ImageProblem> {
    record::write(images, key, record)?;
    collect(images, key);
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    of(record, images).ok_or_else(|| ImageProblem::file("find", &images.join(&record.id))(missing()))
}

/// What a record tells of, if it is here.
pub(super) fn of(record: &Record, images: &Path) -> Option<Image> {
    let layers: Vec<PathBuf> = record.layers.iter().map(|layer| images.join(layer)).collect();
    let env = record.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let debs = record.debian.clone();
    let is_here = !layers.is_empty() && layers.iter().all(|layer| layer.is_dir());
    is_here.then(|| Image { id: record.id.clone(), layers, env, debs })
}

/// Makes the image of these packages, unless it is here.
fn make(
    name: &str,
    definition: &Definition,
    debs: &[Deb],
    images: &Path,
    apt: Option<&mut debian::Apt>,
    say: &dyn Fn(&str),
) -> Result<Record, ImageProblem> {
    let id = definition.id(debs);
    let digits = id.strip_prefix("sha256:").unwrap_or(&id).to_owned();
    let record = Record {
        name: name.to_owned(),
        id,
        layers: vec![Path::new(&digits).join("root")],
        environment: definition.written.environment.clone(),
        debian: debs.to_vec(),
    };
    if of(&record, images).is_some() {
        return Ok(record);
    }
    let (archives, to) = (images.join(ARCHIVES), images.join(&digits));
    fs::create_dir_all(&archives).map_err(ImageProblem::file("make the directory", &archives))?;
    let mut files = Vec::new();
    if let Some(apt) = apt {
        let megabytes = debs.iter().map(|deb| deb.size).sum::<u64>() / 1_000_000;
        say(&format!("{name}: fetching {} Debian packages ({megabytes} MB)", debs.len()));
        files = apt.fetch(debs, &archives)?;
    }
    say(&format!("{name}: putting the image together"));
    let new = images.join(format!("{digits}.{UNFINISHED}"));
    let made = fill(&new, definition, &files, &record);
    match made.and_then(|()| fs::rename(&new, &to).map_err(ImageProblem::file("rename", &new))) {
        Ok(()) => Ok(record),
        Err(error) => {
            // The next run removes what cannot be removed now.
            let _ = host::remove_tree(&new);
            Err(error)
        }
    }
}

fn fill(new: &Path, definition: &Definition, files: &[PathBuf], record: &Record) -> Result<(), ImageProblem> {
    let root = new.join("root");
    host::remove_tree(new).map_err(ImageProblem::file("remove", new))?;
    fs::create_dir_all(&root).map_err(ImageProblem::file("make the directory", &root))?;
    if !files.is_empty() {
        debian::root(files, &root)?;
    }
    for name in UNREAD {
        let path = root.join(name);
        host::remove_tree(&path).map_err(ImageProblem::file("remove", &path))?;
    }
    for place in PLACES {
        let path = root.join(place);
        fs::create_dir_all(&path).map_err(ImageProblem::file("make the directory", &path))?;
        // Whatever the umask is.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(ImageProblem::file("change the mode of", &path))?;
    }
    if let Some((folder, listing)) = &definition.over {
        listing.copy(folder, &root)?;
    }
    // For people.
    let text = serde_json::to_string_pretty(record).expect("texts are writable");
    let about = new.join("image.json");
    fs::write(&about, text).map_err(ImageProblem::file("write", &about))?;
    // Thousands of files: the disk is waited for once.
    let disk = |error: rustix::io::Errno| ImageProblem::file("write to the disk", new)(error.into());
    let opened = File::open(new).map_err(ImageProblem::file("open", new))?;
    rustix::fs::syncfs(&opened).map_err(disk)
}

/// Removes what a killed run left.
fn sweep(images: &Path) -> Result<(), ImageProblem> {
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            host::remove_tree(&path).map_err(ImageProblem::file("remove", &path))?;
        }
    }
    Ok(())
}

/// Removes images and files of packages that no record tells of any more. What cannot be removed stays.
fn collect(images: &Path, key: &str) {
    let kept = record::forget_oldest(images, key);
    let roots: BTreeSet<String> =
        kept.iter().filter_map(|record| Some(record.id.strip_prefix("sha256:")?.to_owned())).collect();
    let files: BTreeSet<String> = kept.iter().flat_map(|record| &record.debian).map(Deb::file_name).collect();
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for name in names(images) {
        let is_image = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_image && !roots.contains(&name) {
            let _ = host::remove_tree(&images.join(name));
        }
    }
    for name in names(&images.join(ARCHIVES)) {
        if !files.contains(&name) {
            let _ = host::remove_tree(&images.join(ARCHIVES).join(name));
        }
    }
}
