//! Who is offered what: hierarchical dominant resource fairness with filters.
//!
//! [`Allocator`] is told of agents, frameworks, and of resources that come back; [`Allocator::allocate`]
//! says whom to offer what. Its work follows what changed: agents whose resources are all in use, or that
//! nobody wants anything of, cost nothing.
//!
//! Deliberately absent: quotas, maintenance, inverse offers and regions; the offers themselves, their ids
//! and their ends are the master's.

mod allocator;
mod filters;
mod shares;

pub use allocator::{Allocation, Allocator, Capabilities, MIN_CPUS, MIN_MEM};
