use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::until;

/// How long a machine may take to boot, or to power off.
const PATIENCE: Duration = Duration::from_secs(30);

/// Units that want hardware or a network of the machine's own.
const MASKED: &[&str] = &[
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-networkd.service",
    "getty@tty1.service",
    "console-getty.service",
    "e2scrub_reap.service",
];

/// A machine with systemd as its first process, its own network (loopback only) and cgroups: this
/// machine's files under an overlay, so that nothing has to be downloaded and nothing here is written to.
/// Needs root, `systemd-nspawn` and dbus. Dropping it powers it off and removes it.
#[derive(Debug)]
pub struct Machine {
    name: String,
    dir: TempDir,
    nspawn: Child,
    init: u32,
}

impl Machine {
    /// Boots a machine and waits until its units have started. `Err` says what is missing here.
    ///
    /// # Errors
    /// Root, the program `systemd-nspawn`, overlayfs or a step of booting is missing; which, says the text.
    pub fn boot(name: &str) -> Result<Machine, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("booting a machine needs root".into());
        }
        let name = format!("{name}{}", std::process::id());
        let dir = tempfile::Builder::new().prefix("machine-").tempdir().map_err(|error| error.to_string())?;
        for part in ["up", "work", "root"] {
            fs::create_dir(dir.path().join(part)).map_err(|error| error.to_string())?;
        }
        prepare(&name, dir.path())?;
        let nspawn = start(&name, &dir.path().join("root"))?;
        let mut machine = Machine { name, dir, nspawn, init: 0 };
        let booted = until(PATIENCE, || {
            machine.init = child_of(machine.nspawn.id())?;
            let state = machine.run("systemctl", &["is-system-running"]);
            matches!(text(&state.stdout).trim(), "running" | "degraded").then_some(())
        });
        booted.map(|()| machine).ok_or_else(|| "the machine did not boot".into())
    }

    /// Where the machine's root directory is seen from here.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// What runs a program inside of the machine when it is put in front of it.
    pub fn prefix(&self) -> Vec<OsString> {
        let init = self.init.to_string();
        let words = ["nsenter", "--target", &init, "--mount", "--pid", "--uts", "--ipc", "--net", "--"];
        words.map(OsString::from).to_vec()
    }

    /// Runs a program inside of the machine and waits for its end.
    ///
    /// # Panics
    /// If `nsenter` cannot be started.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let prefix = self.prefix();
        Command::new(&prefix[0])
            .args(&prefix[1..])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("nsenter: {error}"))
    }

    /// Writes and starts a unit inside of the machine.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start_unit(&self, name: &str, unit: &str) {
        let written = fs::write(self.root().join("etc/systemd/system").join(name), unit);
        assert!(written.is_ok(), "writing {name}: {written:?}");
        self.run("systemctl", &["daemon-reload"]);
        let started = self.run("systemctl", &["start", name]);
        assert!(started.status.success(), "systemctl start {name}: {}", text(&started.stderr));
    }
}

fn prepare(name: &str, dir: &Path) -> Result<(), String> {
    let root = dir.join("root");
    let options =
        format!("lowerdir=/,upperdir={},workdir={}", dir.join("up").display(), dir.join("work").display());
    command("mount", &["-t", "overlay", "overlay", "-o", &options, &root.display().to_string()])?;
    let units = root.join("etc/systemd/system");
    for entry in fs::read_dir(&units).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".wants") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    for unit in MASKED {
        let _ = std::os::unix::fs::symlink("/dev/null", units.join(unit));
    }
    let init = "#!/bin/sh\nfor c in /sys/fs/cgroup/*; do mount -o remount,bind,rw $c; done\n\
                exec /lib/systemd/systemd --unit=multi-user.target\n";
    let write = |place: &str, content: &str| {
        fs::write(root.join(place), content).map_err(|error| format!("writing {place}: {error}"))
    };
    write("etc/machine-id", "")?;
    // What outlives its unit, as tasks do, is not waited for at the end.
    write("etc/systemd/system.conf", "[Manager]\nDefaultTimeoutStopSec=1s\n")?;
    write("etc/hostname", name)?;
    write("init-rw", init)?;
    fs::set_permissions(root.join("init-rw"), fs::Permissions::from_mode(0o755))
        .map_err(|e| e.to_string())?;
    command("ip", &["netns", "add", name])?;
    command("nsenter", &[&format!("--net=/run/netns/{name}"), "ip", "link", "set", "lo", "up"])
}

/// The machine's processes live in cgroups of their own in every hierarchy, so that its systemd never
/// touches those of this machine.
fn start(name: &str, root: &Path) -> Result<Child, String> {
    let script = format!(
        "for c in /sys/fs/cgroup/*; do mkdir -p $c/{name}; \
         if [ -f $c/cpuset.cpus ]; then cat $c/cpuset.cpus > $c/{name}/cpuset.cpus; \
         cat $c/cpuset.mems > $c/{name}/cpuset.mems; fi; echo $$ > $c/{name}/cgroup.procs || true; done; \
         exec systemd-nspawn --quiet --register=no --keep-unit --machine={name} --directory={} \
         --network-namespace-path=/run/netns/{name} --resolv-conf=off --timezone=off --console=pipe \
         --capability=all --system-call-filter='@keyring bpf' /init-rw",
        root.display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1").current_dir("/");
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    shell.spawn().map_err(|error| format!("starting systemd-nspawn: {error}"))
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.init != 0 {
            // systemd's signal for powering off: SIGRTMIN+4.
            let _ = Command::new("kill").args(["-s", "RTMIN+4", &self.init.to_string()]).status();
        }
        if until(PATIENCE, || self.nspawn.try_wait().ok().flatten()).is_none() {
            if let Some(pid) = Pid::from_raw(self.init as i32) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
        let _ = command("umount", &["--recursive", "--lazy", &self.root().display().to_string()]);
        let _ = command("ip", &["netns", "del", &self.name]);
        let _ = command(
            "sh",
            &[
                "-c",
                &format!("find /sys/fs/cgroup/*/{} -depth -type d -exec rmdir {{}} + 2>/dev/null", self.name),
            ],
        );
    }
}

fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), text(&output.stderr).trim()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
