//! The tar format: v7, ustar, PAX, GNU, with links, devices, attributes and holes.

mod header;
mod pax;
mod reader;
mod sparse;
pub(crate) mod writer;

pub(crate) use reader::{Entry, Reader};
