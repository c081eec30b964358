//! The routing table of Admin Router and the decisions taken on a request.
//!
//! A [`Table`] is an immutable snapshot, built from what is known of Mesos ([`MesosState`]) and
//! Marathon ([`App`]); [`Table::route`] decides on one request: forward it, redirect, answer, refuse.
//! The service builds a new table when the state changed and swaps it in; a request that began
//! with the old one ends with the old one.
//!
//! What it deliberately does not do: no sockets, no clock, no choice among the instances of a service
//! (that depends on which of them answers), no buffering of bodies: they always stream, so the label
//! `DCOS_SERVICE_REQUEST_BUFFERING` is valid and changes nothing. Names are resolved only as far as
//! the state tells: IP literals and the host names of agents.

mod packages;
mod page;
mod route;
mod state;
mod table;

pub use base::{Auth, COOKIES};
pub use route::{Answer, Decision, Head, Upstream};
pub use state::{Agent, App, Framework, MesosState, Task};
pub use table::{Role, Site, Table, Version};
