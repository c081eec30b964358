//! The service as its clients and its master see it: the real service on a loopback address, and a scripted master
//! that speaks the real scheduler API and plays an agent that starts every task at once.

mod apps;
mod bad_input;
mod events;
mod groups;
mod health;
mod master;
mod mesos;
mod service;
mod tasks;
