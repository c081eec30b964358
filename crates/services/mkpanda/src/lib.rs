//! Builds packages, trees of them and bootstraps.
//!
//! [`main`] is the program `mkpanda`: in the folder of a package it builds that package, in the folder above a tree
//! of them (`mkpanda tree`). Each build runs in a container of its own, with a root file system from `docker/NAME/`,
//! without a network unless the package asks for one, with the packages that it requires active below
//! `/opt/mesosphere`, and may write to its destination only. What comes out is the same, to the byte, for the same
//! inputs.
//!
//! # Invariants
//! - Whatever is in the cache under its name is whole: outputs are written below `cache/.mkpanda`, brought to the disk
//!   and renamed, a tarball before the file that names it as the latest.
//! - One run at a time uses a cache. What a killed run has left (containers, their cgroups, the scratch folder) the
//!   next one removes before it does anything else.
//!
//! Deliberately absent: what packages, ids and trees *are* (that is `mkpanda-core`), and everything that is done
//! with a package on the host it is for (that is `pkgpanda`).

mod active;
mod bootstrap;
mod build;
mod cache;
mod cli;
mod container;
mod download;
mod error;
pub mod folder;
pub mod image;
mod interrupt;
mod obtain;
mod pack;
mod packages;
mod plan;
mod progress;
mod repository;
mod result;
mod run;
mod schedule;
pub mod sources;
mod upstream;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api_pkgpanda::PackageName;
use base::with_causes;

use cli::{Action, Arguments};
use error::BuildError;
use run::{Failures, Made, Options, Run};

/// 1980-01-01, the time of everything in packages: the earliest that zip files can tell.
pub(crate) const SOURCE_DATE_EPOCH: i64 = 315_532_800;

/// The program `mkpanda`, with its arguments but its own name. What it made goes to standard output, all else to
/// standard error.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match cli::parse(arguments) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprint!("{why}\n{}", cli::USAGE);
            return ExitCode::FAILURE;
        }
    };
    match &arguments.action {
        Action::Help => {
            print!("{}{}", cli::USAGE, cli::HELP);
            return ExitCode::SUCCESS;
        }
        Action::Version => {
            println!("mkpanda {}", mkpanda_core::PKGPANDA_VERSION);
            return ExitCode::SUCCESS;
        }
        Action::Package { .. } | Action::Tree { .. } => {}
    }
    // What is made has the permissions that it has everywhere, whatever the user's mask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match make(&arguments) {
        Ok((heading, made)) => {
            println!("{heading}");
            for (variant, path) in made {
                println!("{variant}:{}", path.display());
            }
            ExitCode::SUCCESS
        }
        Err(Refused::Folder) => {
            eprintln!("Not a valid package folder. Didn't find any 'buildinfo.json' files.");
            ExitCode::FAILURE
        }
        Err(Refused::Failed(failures)) => {
            for failure in failures {
                eprintln!("ERROR: {}", with_causes(&failure));
            }
            ExitCode::FAILURE
        }
    }
}

/// Why nothing was made.
enum Refused {
    /// This is no folder of a package.
    Folder,
    Failed(Failures),
}

impl<E: Into<BuildError>> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused::Failed(vec![error.into()])
    }
}

fn make(arguments: &Arguments) -> Result<(&'static str, Made), Refused> {
    let here = std::env::current_dir().map_err(|source| BuildError::file("find", Path::new("."), source))?;
    let mut options =
        Options { repository_url: arguments.repository_url.clone(), jobs: arguments.jobs, keep: false };
    if !host::is_root() {
        return Err(BuildError::NotRoot(host::User::current().name).into());
    }
    match &arguments.action {
        Action::Package { recursive, keep } => {
            let (root, name) = package_folder(&here)?;
            options.keep = *keep;
            let run = Run::open(&root, &options)?;
            let made = run.package(&name, *recursive).map_err(Refused::Failed)?;
            Ok(("Package variants available as:", made))
        }
        Action::Tree { mkbootstrap, variant } => {
            let run = Run::open(&here, &options)?;
            let made = run.trees(variant.as_deref(), *mkbootstrap).map_err(Refused::Failed)?;
            Ok(("Trees available as:", made))
        }
        Action::Help | Action::Version => unreachable!("they make nothing"),
    }
}

/// The folder of packages and the name of the one whose folder this is.
fn package_folder(here: &Path) -> Result<(PathBuf, PackageName), Refused> {
    let name = here.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    match (here.parent(), name) {
        (Some(root), Some(name)) if packages::is_package(here)? => Ok((root.to_owned(), name)),
        _ => Err(Refused::Folder),
    }
}
