//! What the agent starts in its tests: the containers' helper and the command executor, as in `dcos`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("container-init") => containers::container_init_main(),
        Some("executor") => executor::main(std::env::vars_os()),
        other => {
            eprintln!("node: found {other:?}, allowed are container-init and executor");
            ExitCode::from(2)
        }
    }
}
