//! What activating a set of packages means, as data: checks, plans, journals.
//!
//! [`Set::of`] makes of packages, roles and a [`Layout`] what the host is to look like: the farm of links that is merged
//! from the packages' directories, environment, kernel settings, units, users and state directories, or it tells
//! every reason why these packages do not fit together. [`plan`] says by which idempotent steps the host gets there
//! from the set that is active now, so that a crash after any of them is recovered to exactly one of both, and which
//! units have to stop and start.
//!
//! Deliberately absent: files (the `activation` adapter carries plans out), downloads, and how packages are built.
//!
//! ```
//! use pkgpanda_core::{Layout, Package, Set, plan};
//!
//! let mesos = Package::new("mesos--1.11.0".parse().unwrap());
//! let set = Set::of(&[mesos], &[], &Layout::of_host()).unwrap();
//! assert!(!plan(None, &set).build.is_empty());
//! ```

mod environment;
mod layout;
mod package;
mod plan;
mod problem;
mod requires;
mod set;
pub mod units;
mod validate;

pub use api_pkgpanda::step::{ActiveSet, Plan, UnitActions};
pub use layout::{HostLayout, Layout};
pub use package::Package;
pub use plan::{plan, plan_takeover, same_unit_directory, uninstall};
pub use problem::Problem;
pub use set::Set;
pub use validate::validate;
