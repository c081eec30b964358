mod disk;
mod home;
mod running;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use self::disk::Disk;
use self::home::Home;
use crate::{Snapshot, until};

pub use self::running::Running;

/// How long a machine may take to boot, or to power off.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a program may run inside that a test waits for.
const PROGRAM: Duration = Duration::from_secs(180);

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

/// What a machine of DC/OS keeps, and what must not shine through from this machine.
const ITS_OWN: &[&str] = &["opt/mesosphere", "etc/mesosphere", "var/lib/dcos"];

/// What a machine is made with.
#[derive(Clone, Debug, Default)]
pub struct MachineOptions {
    /// The size in MiB of an ext4 disk of its own for all that is written, whose power can be cut and
    /// which can be full; none puts it onto this machine's disk.
    pub disk: Option<u32>,
    /// Files of this machine, and where the machine sees them, read-only.
    pub binds: Vec<(PathBuf, PathBuf)>,
}

/// A machine with systemd as its first process, its own network (loopback only) and cgroups: this
/// machine's files under an overlay, so that nothing has to be downloaded and nothing here is written to.
/// Needs root, `systemd-nspawn` and dbus. Dropping it powers it off and removes it; so does the end of
/// this process, however it ends.
#[derive(Debug)]
pub struct Machine {
    home: Home,
    options: MachineOptions,
    disk: Option<Disk>,
    booted: Option<Booted>,
}

#[derive(Debug)]
struct Booted {
    nspawn: Child,
    init: u32,
}

impl Machine {
    /// Boots a machine and waits until its units have started. `Err` says what is missing here.
    ///
    /// # Errors
    /// Root, the program `systemd-nspawn`, overlayfs or a step of booting is missing; which, says the text.
    pub fn boot(name: &str) -> Result<Machine, String> {
        Machine::with(name, MachineOptions::default())
    }

    /// [`Self::boot`] with options.
    ///
    /// # Errors
    /// As [`Self::boot`].
    pub fn with(name: &str, options: MachineOptions) -> Result<Machine, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("booting a machine needs root".into());
        }
        let home = Home::new(name)?;
        let disk = options.disk.map(|mib| Disk::new(&home, mib)).transpose()?;
        let mut machine = Machine { home, options, disk, booted: None };
        machine.mount()?;
        prepare(&machine.root(), machine.home.name())?;
        machine.start()?;
        Ok(machine)
    }

    /// Where the machine's root directory is seen from here, without what it mounts itself (`/run`,
    /// `/tmp`, `/proc`). Another path after each boot.
    pub fn root(&self) -> PathBuf {
        self.home.inside("root")
    }

    /// What runs a program inside of the machine when it is put in front of it.
    pub fn prefix(&self) -> Vec<OsString> {
        let init = self.booted.as_ref().map_or(0, |booted| booted.init).to_string();
        let words = ["nsenter", "--target", &init, "--mount", "--pid", "--uts", "--ipc", "--net", "--"];
        words.map(OsString::from).to_vec()
    }

    /// A program inside of the machine, not yet started.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a program inside of the machine and waits for its end.
    ///
    /// # Panics
    /// If `nsenter` cannot be started, or the program has not ended after three minutes.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        match host::run(&mut self.command(program, arguments), PROGRAM) {
            Ok(ran) => Output { status: ran.status, stdout: ran.stdout, stderr: ran.stderr },
            Err(error) => panic!("{program} {}: {error}", arguments.join(" ")),
        }
    }

    /// Starts a program inside of the machine.
    ///
    /// # Panics
    /// If `nsenter` cannot be started.
    #[track_caller]
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Running {
        Running::start(self.command(program, arguments))
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

    /// What is different on this machine from the one it was made of, each path as it is seen there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn snapshot(&self) -> std::io::Result<Snapshot> {
        Snapshot::of_overlay(&self.home.inside("files/up"), &self.root())
    }

    /// Kills the machine's first process, and with it all others; what is on its disk is what was
    /// written and not yet lost: with a disk of its own, all that was not yet synced is. It is off then.
    ///
    /// # Panics
    /// If its files do not come free.
    pub fn cut_power(&mut self) {
        if let Some(disk) = &self.disk {
            disk.cut_power(&self.home).unwrap_or_else(|error| panic!("cutting the power: {error}"));
        }
        if let Some(mut booted) = self.booted.take() {
            booted.kill();
        }
        self.home.unmount().unwrap_or_else(|error| panic!("after cutting the power: {error}"));
    }

    /// Powers it off in good order.
    pub fn power_off(&mut self) {
        if let Some(mut booted) = self.booted.take() {
            booted.power_off();
        }
    }

    /// Boots it again after [`Self::cut_power`] or [`Self::power_off`], on the same files.
    ///
    /// # Errors
    /// As [`Self::boot`].
    pub fn boot_again(&mut self) -> Result<(), String> {
        self.power_off();
        self.home.unmount()?;
        self.home.renew()?;
        self.mount()?;
        self.start()
    }

    /// Mounts the disk, if it has one, and the overlay.
    fn mount(&mut self) -> Result<(), String> {
        if let Some(disk) = &self.disk {
            disk.mount(&self.home)?;
        }
        let files = self.home.dir().join("files");
        for part in ["up", "work"] {
            fs::create_dir_all(self.home.inside("files").join(part)).map_err(|error| error.to_string())?;
        }
        let options = format!("lowerdir=/,upperdir={0}/up,workdir={0}/work", files.display());
        let root = self.home.dir().join("root");
        self.home.enter("mount", &["-t", "overlay", "overlay", "-o", &options, &root.display().to_string()])
    }

    fn start(&mut self) -> Result<(), String> {
        let nspawn = self.nspawn()?;
        self.booted = Some(Booted { nspawn, init: 0 });
        let booted = until(PATIENCE, || {
            let booted = self.booted.as_mut()?;
            booted.init = child_of(booted.nspawn.id())?;
            let state = self.run("systemctl", &["is-system-running"]);
            matches!(text(&state.stdout).trim(), "running" | "degraded").then_some(())
        });
        booted.ok_or_else(|| "the machine did not boot".into())
    }

    /// The machine's processes live in cgroups of their own in every hierarchy, so that its systemd never
    /// touches those of this machine.
    fn nspawn(&self) -> Result<Child, String> {
        let name = self.home.name();
        let binds: String = (self.options.binds.iter())
            .map(|(from, to)| format!("--bind-ro={}:{} ", from.display(), to.display()))
            .collect();
        let script = format!(
            "for c in /sys/fs/cgroup/*; do mkdir -p $c/{name}; \
             if [ -f $c/cpuset.cpus ]; then cat $c/cpuset.cpus > $c/{name}/cpuset.cpus; \
             cat $c/cpuset.mems > $c/{name}/cpuset.mems; fi; echo $$ > $c/{name}/cgroup.procs || true; done; \
             exec nsenter --target {} --mount systemd-nspawn --quiet --register=no --keep-unit \
             --machine={name} --directory={} --network-namespace-path=/run/netns/{name} {binds}\
             --resolv-conf=off --timezone=off --console=pipe \
             --capability=all --system-call-filter='@keyring bpf' /init-rw",
            self.home.keeper(),
            self.home.dir().join("root").display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1").current_dir("/");
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        shell.spawn().map_err(|error| format!("starting systemd-nspawn: {error}"))
    }
}

/// What makes a machine of this one's files.
fn prepare(root: &Path, name: &str) -> Result<(), String> {
    for own in ITS_OWN {
        let _ = fs::remove_dir_all(root.join(own));
    }
    let units = root.join("etc/systemd/system");
    for entry in fs::read_dir(&units).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".wants") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    // As every machine has it.
    fs::create_dir_all(units.join("multi-user.target.wants")).map_err(|error| error.to_string())?;
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
    fs::set_permissions(root.join("init-rw"), fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())
}

impl Booted {
    fn power_off(&mut self) {
        if self.init != 0 {
            // systemd's signal for powering off: SIGRTMIN+4.
            let _ = Command::new("kill").args(["-s", "RTMIN+4", &self.init.to_string()]).status();
        }
        if until(PATIENCE, || self.nspawn.try_wait().ok().flatten()).is_none() {
            self.kill();
        }
    }

    fn kill(&mut self) {
        match Pid::from_raw(self.init as i32) {
            Some(pid) => {
                let _ = kill_process(pid, Signal::KILL);
                let _ = until(PATIENCE, || self.nspawn.try_wait().ok().flatten());
            }
            None => {
                let _ = self.nspawn.kill();
            }
        }
        let _ = self.nspawn.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
    }
}

fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
