//! Measures the running program, as a user would meet it: through sockets and `/proc`. `make bench`
//! builds what is measured; `DCOS` names it.
//!
//! Nothing here passes or fails: the table says what was measured and what the goal is.

mod allocator;
mod apps;
mod cluster;
mod container;
mod image;
mod packages;
mod scheduler;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(program) = std::env::var_os("DCOS").map(PathBuf::from).filter(|path| path.is_file()) else {
        eprintln!("DCOS has to name the program to measure; `make bench` sets it");
        return ExitCode::from(2);
    };
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|argument| argument == name);
    let mut table = table::Table::default();
    if wanted("binary") {
        cluster::binary_size(&program, &mut table);
    }
    if wanted("start") {
        cluster::start_to_ready(&program, &mut table);
    }
    if wanted("idle") {
        cluster::idle(&program, &mut table);
    }
    if wanted("allocator") {
        allocator::allocator_figures(&mut table);
    }
    if wanted("launch") {
        scheduler::launch_to_running(&program, &mut table);
    }
    if wanted("app") {
        cluster::post_to_healthy(&program, &mut table);
    }
    if wanted("memory") {
        cluster::memory_per_task(&program, &mut table);
    }
    if wanted("container") {
        container::start_to_end(&program, &mut table);
    }
    if wanted("image") {
        image::launch(&program, &mut table);
    }
    if wanted("pull") {
        image::pull(&program, &mut table);
    }
    if wanted("swarm") {
        apps::swarm_figures(&program, &mut table);
    }
    if wanted("pkgpanda") {
        packages::pkgpanda(&program, &mut table);
    }
    if wanted("mkpanda") {
        packages::mkpanda(&program, &mut table);
    }
    print!("{table}");
    ExitCode::SUCCESS
}
