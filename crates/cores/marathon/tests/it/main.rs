//! Marathon against a small Mesos: scripts of what users and operators do, and long random runs with faults.

mod chaos;
mod crash;
mod deployments;
mod health;
mod launching;
mod mesos;
mod outages;
mod rolling;
mod world;
