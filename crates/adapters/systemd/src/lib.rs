//! systemd by its own programs `systemctl` and `journalctl`: units are started, stopped, restarted and
//! enabled, and their states told. Every call has a timeout, and every error says what was attempted
//! on which units and what systemd said about it.
//!
//! Entry point: [`Systemd`]. Everything here blocks. Deliberately absent: the text of units and where
//! they lie, transient units, the D-Bus interface, and any opinion about which units there should be.

mod error;
mod systemctl;
mod unit;

pub use error::{SystemdError, UnitFailure};
pub use systemctl::{Block, SystemState, Systemd};
pub use unit::Unit;
