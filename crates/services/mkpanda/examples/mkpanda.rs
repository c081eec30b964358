//! The service as a program of its own, for the tests: what `dcos mkpanda` and `dcos container-init` dispatch to.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("container-init") => containers::container_init_main(),
        _ => mkpanda::main(std::env::args_os().skip(1)),
    }
}
