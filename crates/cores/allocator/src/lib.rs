//! Who is offered what: hierarchical dominant resource fairness with quotas, weights and filters.
//!
//! [`Allocator`] is told of agents, frameworks, and of resources that come back; [`Allocator::allocate`]
//! says whom to offer what. Its work follows what changed: agents whose resources are all in use, or that
//! nobody wants anything of, cost nothing; shares and what quotas promise are kept up, not recomputed.
//!
//! Deliberately absent: maintenance and inverse offers; the offers themselves, their ids and their ends are
//! the master's.

mod allocator;
mod filters;
mod ledger;
mod market;
mod options;
mod sorter;

pub use allocator::{Allocation, Allocator};
pub use ledger::Quota;
pub use options::{AgentTerms, Capabilities, MIN_CPUS, MIN_MEM, Options};
pub use sorter::SorterKind;
