//! Host packages on real systemd machines: `pkgpanda` as an operator runs it, with units that run, processes
//! that are killed at any moment, power that fails and disks that are full.

mod bootstrap;
mod built;
mod crashes;
mod host;
mod lifecycle;
mod package;
mod refusals;
mod rows;
mod sets;
mod tree;
mod visible;
mod whole;
