//! The rules of the house as tests: layers, dependencies, licences, sources, generated code.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod dependencies;
mod layers;
mod sources;
mod workspace;

use std::process::Command;

#[test]
fn committed_code_is_what_the_proto_files_say() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["codegen", "--check"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
