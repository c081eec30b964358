//! The two commands of `dcos` that a task's processes are, as a program of its own for the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("container-init") => containers::container_init_main(),
        Some("executor") => executor::main(std::env::vars_os()),
        other => {
            eprintln!("container-init or executor, not {other:?}");
            ExitCode::from(2)
        }
    }
}
