use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::text;
use crate::until;

/// How long a program may take that prepares a machine.
const PROMPT: Duration = Duration::from_secs(60);

/// The file system type of a temporary file system (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// The place of a machine on this one: a directory, a mount namespace of its own, a network namespace.
///
/// The mounts are in a namespace of their own, so that no other process takes them along into its own
/// namespace and keeps them from coming free. It is kept by a process that ends with this one: it reads
/// from a pipe, and clears up when that is written to or closed.
#[derive(Debug)]
pub(super) struct Home {
    name: String,
    dir: TempDir,
    keeper: Option<Child>,
}

impl Home {
    pub(super) fn new(name: &str) -> Result<Home, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = on_disk()?;
        for part in ["files", "root"] {
            fs::create_dir(dir.path().join(part)).map_err(|error| error.to_string())?;
        }
        let mut home = Home { name, dir, keeper: None };
        home.renew()?;
        Ok(home)
    }

    /// Makes new namespaces, as a machine has them when it boots.
    pub(super) fn renew(&mut self) -> Result<(), String> {
        self.leave("still wanted\n");
        outside("ip", &["netns", "add", &self.name])?;
        let network = format!("--net=/run/netns/{}", self.name);
        outside("nsenter", &[&network, "ip", "link", "set", "lo", "up"])?;
        let mut keeper = Command::new("unshare");
        keeper.args(["--mount", "--propagation", "private", "sh", "-c", &self.keeping()]);
        // What kills this process with its group is to leave the keeper alone.
        keeper.process_group(0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        let keeper = self.keeper.insert(keeper.spawn().map_err(|error| format!("unshare: {error}"))?);
        let (own, its) = ("/proc/self/ns/mnt", format!("/proc/{}/ns/mnt", keeper.id()));
        let own = fs::read_link(own).map_err(|error| error.to_string())?;
        until(PROMPT, || (fs::read_link(&its).ok()? != own).then_some(()))
            .ok_or("no mount namespace was made")?;
        Ok(())
    }

    /// What the keeper does: wait, then end what is left of the machine, its mounts, cgroups and network.
    fn keeping(&self) -> String {
        let (name, dir) = (&self.name, self.dir.path().display());
        format!(
            "read -r word; \
             n=0; while [ $n -lt 100 ]; do p=$(find /sys/fs/cgroup/pids/{name} -name cgroup.procs -exec cat {{}} +); \
             [ -n \"$p\" ] || break; kill -9 $p; n=$((n+1)); sleep 0.1; done; \
             n=0; while [ $n -lt 100 ] && mountpoint -q {dir}/root && ! umount -R {dir}/root; do n=$((n+1)); sleep 0.1; done; \
             mountpoint -q {dir}/files && umount {dir}/files; ip netns del {name}; \
             n=0; while [ $n -lt 100 ] && ls -d /sys/fs/cgroup/*/{name}; do \
             for c in /sys/fs/cgroup/*/{name}; do find $c -depth -type d -exec rmdir {{}} +; done; \
             n=$((n+1)); [ $n -lt 2 ] || sleep 0.1; done; [ -n \"$word\" ] || rm -rf --one-file-system {dir}"
        )
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its directory, as the mount namespace's processes see it.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process that keeps the mount namespace.
    pub(super) fn keeper(&self) -> u32 {
        self.keeper.as_ref().map_or(0, Child::id)
    }

    /// A path below its directory with what is mounted there, as it is seen from here.
    pub(super) fn inside(&self, path: &str) -> PathBuf {
        let dir = self.dir.path().strip_prefix("/").expect("temporary directories are absolute");
        Path::new("/proc").join(self.keeper().to_string()).join("root").join(dir).join(path)
    }

    /// Runs a program in the mount namespace.
    pub(super) fn enter(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let target = self.keeper().to_string();
        let mut words = vec!["--target", &target, "--mount", "--", program];
        words.extend(arguments);
        outside("nsenter", &words)
    }

    /// Unmounts what is mounted, and waits until it is.
    pub(super) fn unmount(&self) -> Result<(), String> {
        for (part, how) in [("root", "--recursive"), ("files", "--quiet")] {
            let place = self.dir.path().join(part).display().to_string();
            let mut last = String::new();
            let gone = until(PROMPT, || {
                if self.enter("mountpoint", &["-q", &place]).is_err() {
                    return Some(());
                }
                last = self.enter("umount", &[how, &place]).err().unwrap_or_default();
                None
            });
            gone.ok_or(last)?;
        }
        Ok(())
    }

    /// Lets the keeper clear up and waits for it. With a word, the directory stays.
    fn leave(&mut self, word: &str) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let _ = keeper.stdin.take().map(|mut pipe| pipe.write_all(word.as_bytes()));
        if until(PROMPT, || keeper.try_wait().ok().flatten()).is_none() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.leave("");
    }
}

/// A temporary directory that can be the upper layer of an overlay: not in memory.
fn on_disk() -> Result<TempDir, String> {
    let mut refused = String::new();
    for parent in [std::env::temp_dir(), PathBuf::from("/var/tmp")] {
        let dir = tempfile::Builder::new().prefix("machine-").tempdir_in(&parent);
        let dir = dir.map_err(|error| format!("{}: {error}", parent.display()))?;
        let kind = rustix::fs::statfs(dir.path()).map_err(|error| error.to_string())?.f_type;
        if kind != TMPFS {
            return Ok(dir);
        }
        refused = format!("{} is in memory", parent.display());
    }
    Err(refused)
}

/// Runs a program on this machine.
pub(super) fn outside(program: &str, arguments: &[&str]) -> Result<(), String> {
    let attempt = || format!("{program} {}", arguments.join(" "));
    let ran = host::run(Command::new(program).args(arguments), PROMPT)
        .map_err(|error| format!("{}: {error}", attempt()))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", attempt(), text(&ran.stderr).trim()))
}
