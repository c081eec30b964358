//! Chores of the workspace. `cargo xtask codegen` writes the protobuf code and tables that are
//! committed; `cargo xtask codegen --check` fails if they are not what the `.proto` files say.

mod codegen;
mod tables;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        _ => bail!("usage: cargo xtask codegen [--check]"),
    }
}
