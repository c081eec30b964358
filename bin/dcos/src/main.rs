//! The one program. Argument parsing and dispatch only.
//!
//! Invariant: `container-init` and `executor` are dispatched before any thread exists. The one clones
//! itself, which only a process of one thread may; the other is there once for every task and must
//! stay small.

mod arguments;
mod components;
mod parts;
mod settings;

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use arguments::{Arguments, Command, Started};
use cli::Program;
use components::ProbeArguments;
use parts::Services;
use pkgpanda::api::Api;
use runtime::Logging;
use settings::Settings;
use telemetry::Output;
use up::Parts;

/// How long a change of packages may go on after the service was told to stop: it may be the one that stops it.
const LAST_CHANGE: Duration = Duration::from_secs(20);
/// Threads that run all components of this process.
const WORKERS: usize = 2;
/// Threads for what blocks: reading files, mostly.
const BLOCKING: usize = 32;
/// The stack of each thread. Futures live on the heap; only what runs between two waits is here.
const STACK: usize = 1024 * 1024;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let called = words.next().unwrap_or_default();
    // A link to this program is the command it is named after.
    match Path::new(&called).file_name().and_then(OsStr::to_str) {
        Some("pkgpanda") => return pkgpanda::main(words),
        Some("mkpanda") => return mkpanda::main(words),
        _ => {}
    }
    match words.next().as_deref().and_then(OsStr::to_str) {
        Some("container-init") => containers::container_init_main(),
        Some("executor") => executor::main(std::env::vars_os()),
        // They read their words themselves, and need no runtime of ours.
        Some("pkgpanda") => pkgpanda::main(words),
        Some("mkpanda") => mkpanda::main(words),
        _ => {
            let Started { arguments, settings } = arguments::of_process();
            match arguments {
                Ok(arguments) => dispatch(arguments, settings),
                Err(error) => {
                    let code = cli::refuse(&error);
                    if let Some(origin) = settings.origin(&error) {
                        eprintln!("{origin}");
                    }
                    code
                }
            }
        }
    }
}

fn dispatch(arguments: Arguments, settings: Settings) -> ExitCode {
    let Arguments { version, verbosity, command } = arguments;
    let program = Program { version: arguments::VERSION, arguments: arguments::all, verbosity };
    match command {
        _ if version => cli::version(program),
        Some(Command::Cli(command)) => cli::run(command, program),
        Some(Command::Pkgpanda { words }) => pkgpanda::main(words.into_iter()),
        Some(Command::Mkpanda { words }) => mkpanda::main(words),
        Some(Command::Version) => {
            println!("dcos {}", arguments::VERSION);
            ExitCode::SUCCESS
        }
        Some(command) => component(command, settings),
        None => cli::help(program),
    }
}

fn component(command: Command, settings: Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(command, settings));
            // What does not end by itself must not keep the process.
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended
        }
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {}", base::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, settings: Settings) -> Result<(), runtime::BoxError> {
    match command {
        Command::Version | Command::Cli(_) | Command::Pkgpanda { .. } | Command::Mkpanda { .. } => {}
        Command::Up(arguments) => {
            let config = arguments.config()?;
            let services = log(Output::Directory(config.dir.join("logs")))?;
            up::up(config, &services).await?;
        }
        Command::Down { dir } => {
            up::down(&dir, &Services { logs: None, logging: Logging::default() }).await?
        }
        Command::Master(arguments) => {
            let config = arguments.config();
            let services = log(for_node(&config.dir))?;
            up::master_node(config, &services).await?;
        }
        Command::Agent(arguments) => {
            let config = arguments.config()?;
            let services = log(for_node(&config.dir))?;
            up::agent_node(config, &services).await?;
        }
        Command::MesosMaster(arguments) => {
            let services = log(arguments.output())?;
            settings.warn();
            let mut config = arguments.config()?;
            config.logging = services.logging;
            up::single(parts::mesos_master(config)).await?;
        }
        Command::MesosAgent(arguments) => {
            let services = log(arguments.output())?;
            settings.warn();
            for missing in services.missing_isolation() {
                tracing::warn!("tasks run without {missing}");
            }
            let (dir, mut config) = (arguments.work_dir(), arguments.config()?);
            let part = |dir: &Path| {
                config.dir = dir.to_owned();
                config.logging = services.logging;
                parts::mesos_agent("mesos-agent", config)
            };
            up::single_in(&dir, part).await?;
        }
        Command::MarathonServer(arguments) => {
            log(Output::Stderr)?;
            settings.warn();
            up::single(parts::marathon(arguments.config()?)).await?;
        }
        Command::AdminRouter(arguments) => {
            log(Output::Stderr)?;
            settings.warn();
            up::single(parts::admin_router("admin-router", arguments.config()?)).await?;
        }
        Command::PkgpandaApi(arguments) => {
            log(Output::Stderr)?;
            settings.warn();
            let api = Api::new(arguments.config()?);
            let ended = up::single(parts::pkgpanda_api(api.clone())).await;
            if !api.finished(LAST_CHANGE).await {
                tracing::warn!("a change of packages does not end; the next start recovers it");
            }
            ended?;
        }
        Command::Probe(ProbeArguments { address, path, within }) => {
            up::probe(&address, &path, within).await?;
        }
    }
    Ok(())
}

/// Where a node's log goes: to files when a person watches, else to standard error, where something
/// takes it that keeps it.
fn for_node(dir: &Path) -> Output {
    match std::io::stderr().is_terminal() {
        true => Output::Directory(dir.join("logs")),
        false => Output::Stderr,
    }
}

/// Sends the log there; returns the services, which are to know where it is.
fn log(output: Output) -> Result<Services, telemetry::Error> {
    let logs = match &output {
        Output::Directory(dir) => Some(dir.clone()),
        Output::Stderr | Output::StderrAndFile(_) => None,
    };
    let filter = std::env::var("DCOS_LOG").ok();
    let logging = Logging::new(telemetry::init(output, filter.as_deref())?);
    Ok(Services { logs, logging })
}
