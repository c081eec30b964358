//! The host around the root, as an activation changes it: users and units.

use std::io;
use std::path::PathBuf;

use activation::{Host, HostError};
use api_pkgpanda::step::Account;
use host::Group;
use pkgpanda_core::units::{DCOS_TARGET, dcos_target};
use systemd::SystemdError;

use crate::files::{self, failed};
use crate::{Config, Error};

/// The file below the configuration that says: never make users.
const MANUAL_USERS: &str = "manual_host_users";

/// The host of a configuration.
pub(crate) struct Machine<'a> {
    config: &'a Config,
    /// Units that were told to stop and not waited for: some may not have begun to.
    stopping: Vec<String>,
}

/// Why an account cannot be had.
#[derive(Debug, thiserror::Error)]
enum AccountProblem {
    #[error(
        "user {user} has to be in group {group}, which this host does not have: make it (groupadd --system {group})"
    )]
    NoGroup { user: String, group: String },
    #[error("user {user} exists and is not in group {group}: add it (usermod -a -G {group} {user})")]
    NotInGroup { user: String, group: String },
    #[error("user {user} does not exist, and {} forbids making it: make it, or remove that file", .by.display())]
    Forbidden { user: String, by: PathBuf },
}

impl Machine<'_> {
    pub(crate) fn new(config: &Config) -> Machine<'_> {
        Machine { config, stopping: Vec::new() }
    }

    /// What keeps these accounts from being had, all of it; nothing is changed.
    pub(crate) fn problems(&self, accounts: &[Account]) -> Vec<String> {
        accounts.iter().filter_map(|account| self.account(account).err()).map(|why| why.to_string()).collect()
    }

    /// The user, if there is that user and all is well with it; none if it may be made.
    fn account(&self, Account { user, group }: &Account) -> Result<Option<host::User>, AccountProblem> {
        let group = group.as_deref().map(|name| self.group(user, name)).transpose()?;
        let Some(present) = self.config.accounts.user(user) else {
            let by = self.config.config_dir.join(MANUAL_USERS);
            return if by.exists() {
                Err(AccountProblem::Forbidden { user: user.clone(), by })
            } else {
                Ok(None)
            };
        };
        match group {
            Some(group) if !group.has(&present) => {
                Err(AccountProblem::NotInGroup { user: user.clone(), group: group.name })
            }
            _ => Ok(Some(present)),
        }
    }

    fn group(&self, user: &str, name: &str) -> Result<Group, AccountProblem> {
        let none = || AccountProblem::NoGroup { user: user.to_owned(), group: name.to_owned() };
        self.config.accounts.group(name).ok_or_else(none)
    }
}

impl Host for Machine<'_> {
    fn find_user(&mut self, account: &Account) -> Result<Option<u32>, HostError> {
        Ok(self.account(account)?.map(|user| user.uid))
    }

    fn create_user(&mut self, account: &Account) -> Result<u32, HostError> {
        if let Some(present) = self.account(account)? {
            return Ok(present.uid);
        }
        Ok(self.config.accounts.create_user(&account.user, account.group.as_deref())?.uid)
    }

    fn remove_user(&mut self, user: &str) -> Result<(), HostError> {
        Ok(self.config.accounts.delete_user(user)?)
    }

    fn stop_units(&mut self, units: &[String]) -> Result<(), HostError> {
        let Config { units: how, systemd, .. } = self.config;
        if how.manage {
            systemd.stop(&names(units), how.blocking())?;
            // That one had failed is of no interest any more, and would keep the host from being well.
            systemd.reset_failed(&names(units))?;
            if !how.block {
                self.stopping.extend_from_slice(units);
            }
        }
        Ok(())
    }

    fn reload_units(&mut self) -> Result<(), HostError> {
        if self.config.units.manage {
            self.config.systemd.daemon_reload()?;
        }
        Ok(())
    }

    /// Starts `dcos.target`, too, with the machine from now on, and with it all units that it wants.
    fn start_units(&mut self, units: &[String]) -> Result<(), HostError> {
        let Config { units: how, systemd, .. } = self.config;
        if !how.manage {
            return Ok(());
        }
        let target = self.config.unit_dir().join(DCOS_TARGET);
        if !target.exists() {
            files::replace(&target, dcos_target().as_bytes())?;
            systemd.daemon_reload()?;
        }
        systemd.enable(DCOS_TARGET)?;
        // A start would cancel a stop that still waits for that of another unit, and the former program run on.
        let again: Vec<String> = std::mem::take(&mut self.stopping);
        let (again, units): (Vec<String>, Vec<String>) =
            units.iter().cloned().partition(|unit| again.contains(unit));
        systemd.restart(&names(&again), how.blocking())?;
        // A target that runs already starts what it wants, too, but is not waited for.
        let wanted: Vec<&str> = std::iter::once(DCOS_TARGET).chain(names(&units)).collect();
        let started = systemd.start(&wanted, how.blocking());
        if how.block {
            // A service of the simple type has started before it fails, and of several it is told which.
            let failures = systemd.failures(&names(&units))?;
            if !failures.is_empty() {
                return Err(
                    SystemdError::Failed { attempted: format!("start {DCOS_TARGET}"), failures }.into()
                );
            }
        }
        Ok(started?)
    }
}

/// All units that DC/OS wants, by their links (pkgpanda: Systemd.stop_all). Where roots share the directory, those of
/// this root.
pub(crate) fn linked_units(config: &Config) -> Result<Vec<String>, Error> {
    let wants = config.wants_dir();
    let entries = match std::fs::read_dir(&wants) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", &wants))?,
    };
    let mut units = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", &wants))?;
        let is_own = || std::fs::read_link(entry.path()).is_ok_and(|target| config.is_own_unit(&target));
        if !entry.path().is_dir() && (!config.shares_units() || is_own()) {
            units.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(units)
}

fn names(units: &[String]) -> Vec<&str> {
    units.iter().map(String::as_str).collect()
}
