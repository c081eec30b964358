//! What activating costs, in CPU seconds of this process: 50 packages with 8,000 links, below a directory that is given.
//!
//! `cargo run --release -p activation --example activation-cost -- /opt/somewhere`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use activation::{NoHost, Root};
use api_pkgpanda::{Contents, MANIFEST, Manifest, PkgInfo};
use pkgpanda_core::{Layout, Package, Set, plan};

const PACKAGES: usize = 50;
const LINKS: usize = 160;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir: PathBuf = std::env::args_os().nth(1).ok_or("which directory?")?.into();
    fs::create_dir_all(&dir)?;
    let top = dir.to_str().ok_or("a directory of a UTF-8 name")?.to_owned();
    for version in 1..=4 {
        for number in 0..PACKAGES {
            make(&dir.join(format!("packages/package-{number:02}--{version}")), number, version)?;
        }
    }
    let all = |version: usize| vec![version; PACKAGES];
    let mut one = all(1);
    one[7] = 2;
    println!("                         CPU s  of it in the kernel");
    for (name, versions) in [
        ("first activation", all(1)),
        ("swap of one package", one),
        ("all files of all differ", all(2)),
        ("all versions differ", all(3)),
        ("back", all(2)),
        ("every tenth file differs", all(4)),
        ("back", all(2)),
    ] {
        let begun = spent();
        let packages = load(&dir, &versions)?;
        let loaded = spent();
        let layout =
            Layout { root: top.clone(), repository: format!("{top}/packages"), ..Layout::of_bootstrap() };
        let set = Set::of(&packages, &[], &layout).map_err(|problems| format!("{problems:?}"))?;
        let merged = spent();
        let root = Root::open(&dir)?;
        let mut locked = root.lock(Duration::ZERO, |_| ())?;
        locked.recover(&mut NoHost)?;
        let current = root.current()?;
        let plan = plan(current.as_ref().map(|current| &current.set), &set);
        let planned = spent();
        locked.activate(&plan, &mut NoHost)?;
        let ended = spent();
        println!(
            "{name:<24} {:.4} {:.4}  (read {:.4}, set {:.4}, plan {:.4}, activate {:.4})",
            ended.0 - begun.0,
            ended.1 - begun.1,
            loaded.0 - begun.0,
            merged.0 - loaded.0,
            planned.0 - merged.0,
            ended.0 - planned.0
        );
    }
    let begun = spent();
    let active = Root::open(&dir)?.active()?;
    let ended = spent();
    println!(
        "{:<24} {:.4} {:.4}  ({} packages)",
        "active",
        ended.0 - begun.0,
        ended.1 - begun.1,
        active.len()
    );
    Ok(())
}

/// CPU seconds of this process until now: all, and those in the kernel.
fn spent() -> (f64, f64) {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let usage = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: f64 = usage.split(' ').nth(14).and_then(|text| text.parse().ok()).unwrap_or_default();
    (clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9, ticks / 100.0)
}

/// Writes a package's manifest; the files themselves are not looked at.
fn make(dir: &Path, number: usize, version: usize) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut manifest = Manifest::new();
    let file = || api_pkgpanda::File { mode: 0o755, size: 1000, sha256: "ab".repeat(32) };
    for top in ["bin", "lib", "lib/python3", "include"] {
        manifest.directories.insert(top.to_owned(), 0o755);
    }
    for index in 0..LINKS {
        // The second and third versions differ from the first in all names, not from each other; the fourth differs
        // from those in every tenth name.
        let mark = match version {
            1 => "",
            4 if index % 10 == 0 => "-newer",
            _ => "-new",
        };
        let path = match index % 8 {
            0 => format!("bin/p{number:02}-{index:03}{mark}"),
            1 => format!("include/p{number:02}-{index:03}{mark}.h"),
            _ => {
                let directory = format!("lib/python3/p{number:02}-{}", index % 4);
                manifest.directories.insert(directory.clone(), 0o755);
                format!("{directory}/module{index:03}{mark}.py")
            }
        };
        manifest.files.insert(path, file());
    }
    fs::write(dir.join(MANIFEST), manifest.to_text())?;
    fs::write(dir.join("pkginfo.json"), "{}")
}

fn load(dir: &Path, versions: &[usize]) -> Result<Vec<Package>, Box<dyn std::error::Error>> {
    let load = |(number, version): (usize, &usize)| {
        let id = format!("package-{number:02}--{version}");
        let path = dir.join("packages").join(&id);
        let mut package = Package::new(id.parse()?);
        package.info = PkgInfo::parse(&fs::read_to_string(path.join("pkginfo.json"))?)?;
        package.contents = Contents::of_manifest(&fs::read(path.join(MANIFEST))?)?;
        Ok(package)
    };
    versions.iter().enumerate().map(load).collect()
}
