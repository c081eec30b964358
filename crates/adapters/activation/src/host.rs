use std::error::Error;

use api_pkgpanda::step::Account;

/// What a [`Host`] reports: it says by itself what was attempted on what.
pub type HostError = Box<dyn Error + Send + Sync>;

/// What an activation changes beside files. Every call may come again after a crash.
pub trait Host {
    /// The number of a user, if there is that user; an error if it is not in the group that is asked for.
    fn find_user(&mut self, account: &Account) -> Result<Option<u32>, HostError>;
    /// Makes a user that is not there, and says its number.
    fn create_user(&mut self, account: &Account) -> Result<u32, HostError>;
    /// Removes a user that [`Host::create_user`] made; fine if it is not there.
    fn remove_user(&mut self, user: &str) -> Result<(), HostError>;
    /// Stops units; fine for those that do not run or are not known.
    fn stop_units(&mut self, units: &[String]) -> Result<(), HostError>;
    /// Has unit files read again.
    fn reload_units(&mut self) -> Result<(), HostError>;
    /// Starts units; fine for those that run.
    fn start_units(&mut self, units: &[String]) -> Result<(), HostError>;
}

/// No host: for trees that are only built. Units are left alone, and users cannot be had.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn find_user(&mut self, _: &Account) -> Result<Option<u32>, HostError> {
        Ok(None)
    }

    fn create_user(&mut self, account: &Account) -> Result<u32, HostError> {
        Err(format!("user {} is needed, but no users are made here", account.user).into())
    }

    fn remove_user(&mut self, _: &str) -> Result<(), HostError> {
        Ok(())
    }

    fn stop_units(&mut self, _: &[String]) -> Result<(), HostError> {
        Ok(())
    }

    fn reload_units(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn start_units(&mut self, _: &[String]) -> Result<(), HostError> {
        Ok(())
    }
}
