//! On a small file system of its own: full of bytes, full of inodes, read-only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use activation::Error;

use crate::crash::same;
use crate::site::{Site, new_packages, old_packages};

/// An ext4 of 1 MiB on a loop device, unmounted when it is dropped.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// None without the rights for it, which is told.
    fn mount() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            eprintln!("SKIP: mounting needs root");
            return None;
        }
        let disk = Self { dir: tempfile::tempdir().unwrap() };
        let (image, place) = (disk.dir.path().join("image"), disk.place());
        fs::create_dir(&place).unwrap();
        fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
        run(
            "mke2fs",
            &["-q", "-t", "ext4", "-b", "1024", "-N", "400", "-m", "0", "-O", "^has_journal", text(&image)],
        );
        run("mount", &["-o", "loop", text(&image), text(&place)]);
        Some(disk)
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// A host of which root, units and state directories are on the disk.
    fn site(&self) -> Site {
        for name in ["root", "units", "state"] {
            fs::create_dir(self.place().join(name)).unwrap();
            symlink(self.place().join(name), self.dir.path().join(name)).unwrap();
        }
        Site { durable: true, ..Site::new(self.dir.path()) }
    }

    fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), text(&self.place())]);
    }

    /// Takes all space but so many KiB.
    fn fill_bytes(&self, left: u64) {
        let path = self.place().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        let mut size = 0;
        while let Ok(written) = file.write(&[1; 1024]) {
            size += written as u64;
        }
        file.sync_all().unwrap();
        file.set_len(size.saturating_sub(left * 1024)).unwrap();
        file.sync_all().unwrap();
    }

    /// Takes all inodes but so many.
    fn fill_inodes(&self, left: u64) {
        let fillers = self.place().join("fillers");
        fs::create_dir(&fillers).unwrap();
        let mut made = Vec::new();
        loop {
            let path = fillers.join(made.len().to_string());
            if fs::write(&path, "").is_err() {
                break;
            }
            made.push(path);
        }
        made.iter().take(left as usize).for_each(|path| fs::remove_file(path).unwrap());
    }

    fn free(&self) {
        let _ = fs::remove_file(self.place().join("filler"));
        let _ = fs::remove_dir_all(self.place().join("fillers"));
        rustix::fs::sync();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.place()).status();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// With 0, 1, 2, ... of something left until it is enough: always exactly the old set with a clear error, then the new one.
fn with_ever_more(fill: fn(&Disk, u64), at_least: u64) {
    let Some(disk) = Disk::mount() else { return };
    let site = disk.site();
    site.activate(&old_packages()).unwrap();
    let old = site.snapshot();
    let mut messages = Vec::new();
    for left in 0.. {
        assert!(left < 300, "never enough");
        fill(&disk, left);
        let result = site.activate(&new_packages());
        disk.free();
        match result {
            Err(error) => {
                assert!(error.is_no_space(), "{left} left: {error:?}");
                assert!(!matches!(error, Error::Unfinished { .. } | Error::NotTakenBack { .. }), "{error:?}");
                let text = error.to_string();
                assert!(text.contains("make space"), "{text}");
                messages.push(text.replace(text_of(&disk).as_str(), ""));
                let found = site.snapshot();
                same(&found, &old);
                site.check();
            }
            Ok(_) => break,
        }
    }
    site.check();
    messages.dedup();
    assert!(messages.len() as u64 >= at_least, "the disk was to be full at many places: {messages:#?}");
    site.activate(&old_packages()).unwrap();
    let found = site.snapshot();
    same(&found, &old);
}

fn text_of(disk: &Disk) -> String {
    disk.place().to_str().unwrap().to_owned()
}

#[test]
fn without_bytes() {
    with_ever_more(Disk::fill_bytes, 10);
}

#[test]
fn without_inodes() {
    with_ever_more(Disk::fill_inodes, 10);
}

#[test]
fn read_only() {
    let Some(disk) = Disk::mount() else { return };
    let site = disk.site();
    site.activate(&old_packages()).unwrap();
    let old = site.snapshot();
    disk.remount("ro");
    let root = site.root();
    let Err(error) = root.lock(std::time::Duration::ZERO, |_| ()) else {
        panic!("a lock on a read-only disk")
    };
    assert!(error.to_string().ends_with("root/pkgpanda.lock (mount it writable)"), "{error}");
    assert_eq!(root.active().unwrap().len(), 4, "reading needs no lock");
    assert_eq!(site.snapshot(), old);
    disk.remount("rw");
    site.activate(&new_packages()).unwrap();
    site.check();
}
