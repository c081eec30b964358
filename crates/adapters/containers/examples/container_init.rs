//! The helper as a program of its own, for the tests: what `dcos container-init` dispatches to.

fn main() -> std::process::ExitCode {
    containers::container_init_main()
}
