//! Container networks: bridges, interfaces, port mappings.

mod config;
mod error;
mod networks;

pub use config::{Attached, Config, PortMapping, Protocol};
pub use error::Error;
pub use networks::Networks;
