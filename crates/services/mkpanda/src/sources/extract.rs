//! Archives as sources.

use std::fs::{self, File};
use std::path::Path;

use archive::{Compression, Detected, Limits, Options, ReadAhead};

use super::error::SourceProblem;

/// More than any source has.
const LIMITS: Limits = Limits { bytes: 64 << 30, entries: 2_000_000 };
/// How many names an error shows.
const SHOWN: usize = 5;

/// Unpacks the archive `file` into the folder `to`, without the one directory that holds everything.
pub(super) fn extract(file: &Path, to: &Path) -> Result<(), SourceProblem> {
    let failed = |source| SourceProblem::Archive { file: file.to_owned(), source };
    // Beside, so that what is in it can be moved.
    let whole = to.with_added_extension("unpacked");
    fs::create_dir(&whole).map_err(SourceProblem::file("make the directory", &whole))?;
    let opened = File::open(file).map_err(SourceProblem::file("open", file))?;
    let options = Options::sandbox(LIMITS, None);
    if file.extension().is_some_and(|ending| ending == "zip") {
        archive::unpack_zip(opened, &whole, &options).map_err(failed)?;
    } else {
        let reader = Compression::detect(opened).and_then(Detected::reader).map_err(failed)?;
        let reader = ReadAhead::new(reader).map_err(SourceProblem::file("start a thread for", file))?;
        archive::unpack_tar(reader, &whole, &options).map_err(failed)?;
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&whole).map_err(SourceProblem::file("read the directory", &whole))? {
        names.push(entry.map_err(SourceProblem::file("read the directory", &whole))?.file_name());
    }
    names.sort();
    let top = match &names[..] {
        [name] if whole.join(name).symlink_metadata().is_ok_and(|meta| meta.is_dir()) => whole.join(name),
        _ => return Err(SourceProblem::Top { file: file.to_owned(), found: shown(&names) }),
    };
    fs::remove_dir(to).map_err(SourceProblem::file("replace", to))?;
    fs::rename(&top, to).map_err(SourceProblem::file("rename", &top))?;
    fs::remove_dir(&whole).map_err(SourceProblem::file("remove", &whole))
}

fn shown(names: &[std::ffi::OsString]) -> String {
    let mut shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| name.to_string_lossy().into_owned()).collect();
    match names.len() {
        0 => return "nothing".to_owned(),
        1 => return format!("{}, which is no directory", shown[0]),
        more if more > SHOWN => shown.push(format!("and {} more", more - SHOWN)),
        _ => {}
    }
    shown.join(", ")
}
