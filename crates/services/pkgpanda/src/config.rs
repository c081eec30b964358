//! Where everything is on this host, and how its units are handled.

use std::path::{Path, PathBuf};

use host::Accounts;
use systemd::{Block, Systemd};

/// Where DC/OS is installed, unless said otherwise.
pub const ROOT: &str = "/opt/mesosphere";
/// Where the host's configuration is, unless said otherwise.
pub const CONFIG_DIR: &str = "/etc/mesosphere";
/// Where state directories of packages are made.
pub const STATE_DIR_ROOT: &str = "/var/lib/dcos";
/// Where unit files are linked and written.
pub const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// What a command or the HTTP API works on.
#[derive(Clone, Debug)]
pub struct Config {
    /// The root that packages are activated in (`--root`).
    pub root: PathBuf,
    /// The host's configuration: roles, setup flags, setup packages (`--config-dir`).
    pub config_dir: PathBuf,
    /// The directory of package directories (`--repository`).
    pub repository: PathBuf,
    /// Below which packages get their state directories. Only tests have reason to change it.
    pub state_dir_root: PathBuf,
    /// Where unit files are linked and written, if they are not below the root. Only tests have reason to change it.
    pub system_units: PathBuf,
    /// What is done about units.
    pub units: Units,
    /// The host's users and groups.
    pub accounts: Accounts,
    /// The host's systemd.
    pub systemd: Systemd,
}

/// What is done about units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Units are stopped, started and reloaded. With `--no-systemd` only their links are kept.
    pub manage: bool,
    /// Starting and stopping is waited for; not so with `--no-block-systemd`.
    pub block: bool,
    /// Units are linked below the root instead of `/etc/systemd/system` (`--rooted-systemd`, and `--no-systemd` with
    /// another root than the usual one).
    pub rooted: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: ROOT.into(),
            config_dir: CONFIG_DIR.into(),
            repository: Path::new(ROOT).join("packages"),
            state_dir_root: STATE_DIR_ROOT.into(),
            system_units: SYSTEM_UNITS.into(),
            units: Units { manage: true, block: true, rooted: false },
            accounts: Accounts::default(),
            systemd: Systemd::default(),
        }
    }
}

impl Units {
    /// Whether systemd is waited for.
    pub(crate) fn blocking(self) -> Block {
        match self.block {
            true => Block::UntilDone,
            false => Block::Not,
        }
    }
}

impl Config {
    /// The directory of links to the units that DC/OS wants: `dcos.target.wants`.
    pub fn wants_dir(&self) -> PathBuf {
        self.unit_dir().join("dcos.target.wants")
    }

    /// Whether the directory of units is the host's and the root is not the one that the host has it for: what is
    /// there may be of another root.
    pub(crate) fn shares_units(&self) -> bool {
        !self.units.rooted && self.root != Path::new(ROOT)
    }

    /// Whether this is the target of a link to a unit of this root, in a directory that roots share. The packages of
    /// the usual root are that one's, whoever else activates them.
    pub(crate) fn is_own_unit(&self, target: &Path) -> bool {
        let is_own_repository = !self.repository.starts_with(ROOT);
        target.starts_with(&self.root) || is_own_repository && target.starts_with(&self.repository)
    }

    /// The directory above it, where every unit is linked, too.
    pub fn unit_dir(&self) -> PathBuf {
        match self.units.rooted {
            true => self.root.clone(),
            false => self.system_units.clone(),
        }
    }
}
