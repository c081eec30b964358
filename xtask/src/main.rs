//! Chores of the workspace. `cargo xtask codegen` writes the protobuf code and tables that are
//! committed; `cargo xtask codegen --check` fails if they are not what the `.proto` files say.
//! `cargo xtask docs` writes the reference of the app definition; with `--check` it compares it.
//! `cargo xtask rows` writes which tests prove which row of the Mesos compatibility table; `--check` tells
//! what of it is wrong.

mod codegen;
mod docs;
mod rows;
mod tables;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["docs"] => docs::run(codegen::Mode::Write),
        ["docs", "--check"] => docs::run(codegen::Mode::Check),
        ["rows"] => rows::run(codegen::Mode::Write),
        ["rows", "--check"] => rows::run(codegen::Mode::Check),
        _ => bail!("usage: cargo xtask codegen|docs|rows [--check]"),
    }
}
