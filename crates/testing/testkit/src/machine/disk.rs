use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use super::home::{Home, outside};
use crate::until;

/// How long the kernel may take to let go of a file system.
const PATIENCE: Duration = Duration::from_secs(60);

/// ext4's `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is written out.
const NOTHING_MORE_IS_WRITTEN: u32 = 2;

/// A disk of a machine's own: ext4 in a file, by a loop device that goes when it
/// is unmounted.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
}

impl Disk {
    pub(super) fn new(home: &Home, mib: u32) -> Result<Disk, String> {
        let image = home.dir().join("disk");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(u64::from(mib) << 20).map_err(|error| error.to_string())?;
        outside("mkfs.ext4", &["-q", "-F", "-m", "0", &image.display().to_string()])?;
        Ok(Disk { image })
    }

    /// Mounts it at `files`. Right after its power was cut the kernel may still hold the dead file system,
    /// on which nothing can be written: then again.
    pub(super) fn mount(&self, home: &Home) -> Result<(), String> {
        let place = home.dir().join("files").display().to_string();
        let image = self.image.display().to_string();
        let mut last = String::new();
        let mounted = until(PATIENCE, || {
            let mounted = home.enter("mount", &["-t", "ext4", "-o", "loop", &image, &place]).and_then(|()| {
                let probe = home.inside("files/probe");
                let alive = File::create(&probe).and_then(|file| file.sync_all());
                let alive = alive.and_then(|()| std::fs::remove_file(probe));
                alive.or_else(|error| home.enter("umount", &[&place]).and(Err(error.to_string())))
            });
            mounted.map_err(|error| last = error).ok()
        });
        mounted.ok_or(last)
    }

    /// From now on nothing that is written reaches the disk, as when the power fails.
    #[allow(unsafe_code)]
    pub(super) fn cut_power(&self, home: &Home) -> Result<(), String> {
        let dir = File::open(home.inside("files")).map_err(|error| error.to_string())?;
        // SAFETY: this request reads one u32, which is what the setter passes.
        let shut = unsafe { ioctl(dir.as_fd(), Setter::<SHUTDOWN, u32>::new(NOTHING_MORE_IS_WRITTEN)) };
        shut.map_err(|error| format!("EXT4_IOC_SHUTDOWN: {error}"))
    }
}
