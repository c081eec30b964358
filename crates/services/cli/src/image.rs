//! `dcos image`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::{Context, Error};

/// `dcos image`.
#[derive(Debug, Subcommand)]
pub enum Command {}

pub(crate) async fn run(command: Command, _context: &Context) -> Result<ExitCode, Error> {
    match command {}
}
