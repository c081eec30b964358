//! Whole commands on hosts of their own.

mod activation;
mod commands;
mod scene;
mod setup;
