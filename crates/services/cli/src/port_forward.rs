//! `dcos port-forward`.

use std::process::ExitCode;

use clap::Args;

use crate::{Context, Error};

/// `dcos port-forward APP LOCAL[:PORT]`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The id of the app
    app: String,
}

pub(crate) async fn run(arguments: Arguments, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::new(format!("ports of '{}' cannot be forwarded by this build", arguments.app)))
}
