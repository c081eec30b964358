//! The agent among a simulated master, disk, containers and executors.

mod behaviour;
mod draining;
mod groups;
mod preparation;
mod simulation;
mod world;
