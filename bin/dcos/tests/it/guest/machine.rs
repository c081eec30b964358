//! A virtual machine made of a kernel, busybox, the program and some files, which runs one script and reports on
//! its console. `make test` fetches the kernel and names it in `DCOS_TEST_KERNEL`; its modules are beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use testkit::until;

use crate::apps::DCOS;

/// Software emulation is about ten times slower than the machine itself, which runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(600);

/// The root of the guest is a mount of its own, because what the kernel unpacks its files into cannot be pivoted.
const INIT: &str = r#"#!/guest/bin/busybox sh
for module in /modules/*; do /guest/bin/busybox insmod $module; done
/guest/bin/busybox mount -t tmpfs tmpfs /new
/guest/bin/busybox cp -a /guest/. /new/
exec /guest/bin/busybox switch_root /new /script
"#;

/// A machine that has not started yet.
pub(crate) struct Guest {
    kernel: PathBuf,
    emulator: PathBuf,
    scratch: tempfile::TempDir,
    archive: Archive,
}

impl Guest {
    /// One with busybox and the program, or `None`, aloud, where this machine cannot have one.
    pub(crate) fn new(what: &str) -> Option<Guest> {
        let kernel = std::env::var_os("DCOS_TEST_KERNEL").map(PathBuf::from).filter(|path| path.is_file());
        let Some(kernel) = kernel else {
            eprintln!("SKIP {what}: DCOS_TEST_KERNEL names no kernel (make test fetches one)");
            return None;
        };
        let Some(emulator) = on_path("qemu-system-x86_64") else {
            eprintln!("SKIP {what}: qemu-system-x86_64 is not installed");
            return None;
        };
        let scratch = tempfile::tempdir().unwrap();
        let mut guest = Guest { kernel, emulator, scratch, archive: Archive::default() };
        guest.fill().unwrap();
        Some(guest)
    }

    fn fill(&mut self) -> io::Result<()> {
        for module in fs::read_dir(self.kernel.with_file_name("modules"))? {
            let module = module?;
            let name = format!("modules/{}", module.file_name().to_string_lossy());
            self.archive.file(&name, 0o644, &fs::read(module.path())?);
        }
        for folder in
            ["new", "guest/proc", "guest/sys", "guest/dev", "guest/tmp", "guest/var/lib", "guest/run"]
        {
            self.archive.folder(folder);
        }
        self.archive.file("init", 0o755, INIT.as_bytes());
        self.file("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\n");
        self.program("busybox");
        let stripped = self.scratch.path().join("dcos");
        let strip = Command::new("strip").arg("-o").arg(&stripped).arg(DCOS).status()?;
        assert!(strip.success());
        self.archive.file("guest/bin/dcos", 0o755, &fs::read(stripped)?);
        Ok(())
    }

    /// A directory for what is made to be taken along.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Puts a file at an absolute path.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.archive.file(&format!("guest{path}"), 0o644, content);
    }

    /// Puts all files below a directory of this machine at an absolute path.
    pub(crate) fn tree(&mut self, path: &str, from: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => self.tree(&path, &entry.path()),
                false => self.file(&path, &fs::read(entry.path()).unwrap()),
            }
        }
    }

    /// Puts a program of this machine into `/bin`, with the libraries that it is linked to.
    pub(crate) fn program(&mut self, name: &str) {
        let from = on_path(name).unwrap_or_else(|| panic!("make test installs {name}"));
        self.archive.file(&format!("guest/bin/{name}"), 0o755, &fs::read(&from).unwrap());
        // Of a program that is linked to nothing, ldd says so and fails.
        let linked = Command::new("ldd").arg(from).output().unwrap().stdout;
        for library in
            String::from_utf8(linked).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
        {
            self.archive.file(&format!("guest{library}"), 0o755, &fs::read(library).unwrap());
        }
    }

    /// Starts it with `script` as its only program, and returns what the console said when it has ended.
    ///
    /// # Panics
    /// When it does not end.
    pub(crate) fn run(mut self, script: &str) -> String {
        self.archive.file("guest/script", 0o755, script.as_bytes());
        let (initrd, console) = (self.scratch.path().join("initrd"), self.scratch.path().join("console"));
        fs::write(&initrd, self.archive.end()).unwrap();
        let mut machine = Command::new(&self.emulator)
            .args([
                "-accel",
                "tcg",
                "-m",
                "2048",
                "-smp",
                "2",
                "-display",
                "none",
                "-no-reboot",
                "-nic",
                "none",
            ])
            .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(initrd)
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let ended = until(PATIENCE, || machine.try_wait().unwrap());
        let _ = machine.kill();
        let _ = machine.wait();
        let said = String::from_utf8_lossy(&fs::read(console).unwrap()).into_owned();
        assert!(ended.is_some(), "the guest did not end; it said:\n{said}");
        said
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What a kernel unpacks at its start: cpio in the `newc` form.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    /// A folder and those above it, unless they are there.
    fn folder(&mut self, name: &str) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.folder(above);
        }
        if self.names.insert(name.to_owned()) {
            self.add(name, 0o040_755, b"");
        }
    }

    /// A file, unless it is there.
    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.folder(above);
        }
        if self.names.insert(name.to_owned()) {
            self.add(name, 0o100_000 | mode, content);
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        let inode = u32::try_from(self.names.len()).unwrap();
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // inode, mode, uid, gid, links, mtime, size, device and its special number, name size, checksum
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
