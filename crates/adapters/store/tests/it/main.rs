//! The contract of the store, on every backend; and what only the durable one promises.

mod conformance;
mod crash;
mod embedded;
