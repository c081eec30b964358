//! One command brings up a datacenter on one machine, or one node of a datacenter on several.
//!
//! [`up`] starts a master node and agent nodes in this process, each on its own address of a loopback
//! subnet, and stays until it is told to stop; tasks go on running. [`master_node`] and [`agent_node`]
//! do the same with one node, [`single`] with one component. [`down`] ends a cluster and its tasks.
//!
//! What a node consists of is not known here: the binary hands in [`Parts`], which make the
//! components of a node as named, supervised runs with the address each answers at. That every agent
//! is registered and offered is asked of the master over its HTTP API.
//!
//! Deliberately absent: any domain rule of Mesos or Marathon, and daemonising.

mod addresses;
mod cluster;
mod console;
mod down;
mod error;
mod foreground;
mod node;
mod probe;
mod readiness;
mod share;
mod subnet;
mod token;
mod up;

pub use down::down;
pub use error::Error;
pub use node::{
    AgentConfig, AgentNode, EndTasks, ImageOptions, MasterConfig, MasterNode, Part, Parts, agent_node,
    master_node, single, single_in, url,
};
pub use probe::probe;
pub use subnet::{Subnet, SubnetError};
pub use token::read as read_token;
pub use up::{Config, up};

/// Where a cluster or node keeps its files if it is not said: `name` in `/var/lib/dcos` for root, in
/// the user's state directory without root.
pub fn default_dir(name: &str) -> std::path::PathBuf {
    host::state_directory(|variable| std::env::var_os(variable)).join("dcos").join(name)
}
