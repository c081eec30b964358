//! Where an executor runs: its sandbox, its environment, its container.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use agent_core::{Launch, Run};
use base::AgentId;
use containers::{ContainerSpec, Limits};
use mesos_proto::v1::{CommandInfo, FrameworkInfo, TaskInfo};
use resources::Resources;

use crate::Config;
use crate::meta::run_path;

/// Why a container cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io { attempt: &'static str, path: PathBuf, source: io::Error },
    #[error("user '{0}' does not exist on this agent")]
    UnknownUser(String),
    #[error("the agent does not run as root and cannot run a task as user '{wanted}', only as '{own}'")]
    OtherUser { wanted: String, own: String },
    #[error("{0}")]
    Resources(#[from] resources::InvalidResource),
}

/// The sandbox of a run: `<dir>/slaves/<agent>/frameworks/<fw>/executors/<ex>/runs/<container>`.
pub(crate) fn sandbox_path(dir: &Path, agent_id: &AgentId, run: &Run) -> PathBuf {
    run_path(&dir.join("slaves"), agent_id, run)
}

/// Makes the sandbox and says what is to run in it. `address` is where the agent listens.
pub(crate) fn prepare(
    config: &Config,
    launch: &Launch,
    address: &str,
) -> Result<ContainerSpec, SandboxError> {
    let sandbox = sandbox_path(&config.dir, &launch.agent_id, &launch.run);
    let command = launch.executor.command.clone().unwrap_or_default();
    let user = user_of(&launch.framework, Some(&command));
    let owner = find_user(&user, own_user(&command).is_some())?;
    make(&sandbox, owner.as_ref())?;
    set_latest(&sandbox)?;
    let (program, argv) = match &launch.task {
        Some(_) => program_of(&config.executor),
        None => custom_program(&command),
    };
    let container_id = launch.run.container_id.clone();
    Ok(ContainerSpec {
        env: environment(config, launch, &command, &sandbox, address),
        // The command executor starts the task as its user itself.
        user: launch.task.is_none().then_some(user).filter(|_| host::is_root()),
        limits: limits(config, launch)?,
        ..ContainerSpec::new(container_id, program, argv, sandbox)
    })
}

/// The task's own user, else its framework's (Mesos: `--switch_user`).
pub(crate) fn user_of(framework: &FrameworkInfo, command: Option<&CommandInfo>) -> String {
    command.and_then(own_user).unwrap_or(&framework.user).to_owned()
}

/// The user that the task itself names.
fn own_user(command: &CommandInfo) -> Option<&str> {
    command.user.as_deref().filter(|user| !user.is_empty())
}

/// Checks that a task can run as this user; None where nothing has to be changed. `is_own` says that the
/// task names it itself.
fn find_user(name: &str, is_own: bool) -> Result<Option<host::User>, SandboxError> {
    let own = host::User::current();
    if name.is_empty() || name == own.name {
        return Ok(None);
    }
    let found = host::User::by_name(name);
    if !host::is_root() {
        return stay(name, is_own, found.as_ref(), &own).map(|()| None);
    }
    found.map(Some).ok_or_else(|| SandboxError::UnknownUser(name.to_owned()))
}

/// Whether a task that is to run as `name` may run as `own`, who is not root and cannot become another.
///
/// A framework says `root` without meaning anything by it, as a default; then Mesos without root runs
/// the task as itself. A task that names `root` means it.
fn stay(name: &str, is_own: bool, found: Option<&host::User>, own: &host::User) -> Result<(), SandboxError> {
    match found {
        Some(user) if user.uid == own.uid || (user.uid == 0 && !is_own) => Ok(()),
        _ => Err(SandboxError::OtherUser { wanted: name.to_owned(), own: own.name.clone() }),
    }
}

fn make(sandbox: &Path, owner: Option<&host::User>) -> Result<(), SandboxError> {
    let failed = |attempt| move |source| SandboxError::Io { attempt, path: sandbox.to_owned(), source };
    fs::create_dir_all(sandbox).map_err(failed("make"))?;
    // As in Mesos: others of the machine may not look into a sandbox.
    fs::set_permissions(sandbox, fs::Permissions::from_mode(0o750)).map_err(failed("restrict"))?;
    // Made here for the task's user, who may open them anew as /dev/stdout.
    for output in ["stdout", "stderr"] {
        let path = sandbox.join(output);
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        made.map_err(failed("make the output files of"))?;
        if let Some(user) = owner {
            chown(&path, Some(user.uid), Some(user.gid)).map_err(failed("give away"))?;
        }
    }
    if let Some(user) = owner {
        chown(sandbox, Some(user.uid), Some(user.gid)).map_err(failed("give away"))?;
    }
    Ok(())
}

/// `runs/latest` leads to the newest run.
fn set_latest(sandbox: &Path) -> Result<(), SandboxError> {
    let (Some(runs), Some(name)) = (sandbox.parent(), sandbox.file_name()) else { return Ok(()) };
    let (latest, fresh) = (runs.join("latest"), runs.join(".latest.new"));
    let failed = |attempt| {
        let path = latest.clone();
        move |source| SandboxError::Io { attempt, path, source }
    };
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(name, &fresh).map_err(failed("link"))?;
    fs::rename(&fresh, &latest).map_err(failed("link"))
}

fn program_of(command: &[String]) -> (PathBuf, Vec<String>) {
    let program = command.first().map_or("", String::as_str);
    let mut argv = command.to_vec();
    if program == containers::OWN_PROGRAM {
        argv[0] = containers::OWN_NAME.to_owned();
    }
    (program.into(), argv)
}

fn custom_program(command: &CommandInfo) -> (PathBuf, Vec<String>) {
    let value = command.value.clone().unwrap_or_default();
    if command.shell.unwrap_or(true) {
        return ("/bin/sh".into(), vec!["sh".into(), "-c".into(), value]);
    }
    // As in Mesos the arguments begin with the name that the program sees as its own.
    let argv = if command.arguments.is_empty() { vec![value.clone()] } else { command.arguments.clone() };
    (value.into(), argv)
}

/// Mesos: `executorEnvironment`, and what the command of a custom executor asks for. What a command task
/// asks for its executor adds when it starts the task: the executor itself may be root where the task is
/// not, so the task's author must not choose which agent it listens to.
fn environment(
    config: &Config,
    launch: &Launch,
    command: &CommandInfo,
    sandbox: &Path,
    address: &str,
) -> Vec<(String, String)> {
    let grace = launch
        .executor
        .shutdown_grace_period
        .as_ref()
        .map_or(config.executor_shutdown_grace_period, |period| {
            std::time::Duration::from_nanos(u64::try_from(period.nanoseconds).unwrap_or(0))
        });
    let sandbox = sandbox.display().to_string();
    let mut all: Vec<(String, String)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("LIBPROCESS_IP", config.ip.to_string()),
        ("LIBPROCESS_PORT", "0".to_owned()),
        ("MESOS_FRAMEWORK_ID", launch.run.framework_id.to_string()),
        ("MESOS_EXECUTOR_ID", launch.run.executor_id.to_string()),
        ("MESOS_DIRECTORY", sandbox.clone()),
        ("MESOS_SANDBOX", sandbox),
        ("MESOS_SLAVE_ID", launch.agent_id.to_string()),
        ("MESOS_SLAVE_PID", format!("slave(1)@{address}")),
        ("MESOS_AGENT_ENDPOINT", address.to_owned()),
        ("MESOS_DOMAIN_SOCKET", config.socket_path().display().to_string()),
        ("MESOS_CHECKPOINT", "1".to_owned()),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "1".to_owned()),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", base::duration_text(grace)),
        ("MESOS_RECOVERY_TIMEOUT", base::duration_text(config.recovery_timeout)),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs".to_owned()),
        ("MESOS_CONTAINER_ID", launch.run.container_id.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let own = command.environment.as_ref().filter(|_| launch.task.is_none());
    for variable in own.iter().flat_map(|environment| &environment.variables) {
        let value = variable.value.clone().unwrap_or_default();
        match all.iter_mut().find(|(name, _)| *name == variable.name) {
            Some((_, known)) => *known = value,
            None => all.push((variable.name.clone(), value)),
        }
    }
    all
}

/// What all resources together allow; a command task may have limits above what it is guaranteed.
fn limits(config: &Config, launch: &Launch) -> Result<Limits, SandboxError> {
    let all = Resources::from_wire(&launch.resources)?;
    let mut limits = limits_of(&all, config);
    if let Some(task) = &launch.task {
        let own = Resources::from_wire(&launch.executor.resources)?;
        apply_limits(&mut limits, task, &own);
    }
    Ok(limits)
}

/// The bounds that resources alone set.
pub(crate) fn limits_of(all: &Resources, config: &Config) -> Limits {
    let cpu_milli = (all.cpus().to_f64() * 1000.0).round() as u64;
    let memory = all.mem().to_f64();
    Limits {
        cpu_milli,
        cpu_quota_milli: config.enforce_cpu_quota.then_some(cpu_milli),
        memory_bytes: (memory > 0.0).then_some(mib(memory)),
        pids: Some(config.max_processes),
    }
}

fn apply_limits(limits: &mut Limits, task: &TaskInfo, own: &Resources) {
    if let Some(cpus) = task.limits.get("cpus") {
        let sum = cpus.value + own.cpus().to_f64();
        limits.cpu_quota_milli = sum.is_finite().then_some((sum * 1000.0).round() as u64);
    }
    if let Some(memory) = task.limits.get("mem") {
        let sum = memory.value + own.mem().to_f64();
        limits.memory_bytes = sum.is_finite().then_some(mib(sum));
    }
}

fn mib(amount: f64) -> u64 {
    (amount * f64::from(1 << 20)) as u64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mesos_proto::v1::value::Scalar;
    use mesos_proto::v1::{Environment, ExecutorInfo, environment};
    use resources::WireForm;

    use super::*;

    fn config() -> Config {
        Config::new(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 5050).into(), "/d".into())
    }

    fn launch(task: TaskInfo) -> Launch {
        let wire = |text: &str| Resources::parse(text).expect("it is right").to_wire(WireForm::Refined);
        Launch {
            agent_id: "S0".into(),
            run: Run { framework_id: "f".into(), executor_id: "e".into(), container_id: "c".into() },
            framework: FrameworkInfo { user: "root".into(), ..Default::default() },
            executor: ExecutorInfo { resources: wire("cpus:0.1;mem:32"), ..Default::default() },
            task: Some(Box::new(task)),
            resources: wire("cpus:0.6;mem:96"),
        }
    }

    #[test]
    fn without_root_nobody_else_runs_a_task() {
        let user = |name: &str, uid| host::User { name: name.into(), uid, gid: uid, home: "/".into() };
        let check = |found: Option<host::User>, is_own, expect: bool| {
            let name = found.as_ref().map_or("ghost", |user| user.name.as_str());
            let stayed = stay(name, is_own, found.as_ref(), &user("me", 1000));
            let text = format!(
                "the agent does not run as root and cannot run a task as user '{name}', only as 'me'"
            );
            let told = stayed.map_err(|error| error.to_string());
            assert_eq!(told, if expect { Ok(()) } else { Err(text) }, "{name} {is_own}");
        };
        check(Some(user("root", 0)), false, true);
        check(Some(user("root", 0)), true, false);
        // Another name of the same user.
        check(Some(user("alias", 1000)), true, true);
        for is_own in [false, true] {
            check(Some(user("other", 1001)), is_own, false);
            check(None, is_own, false);
        }
    }

    #[test]
    fn a_tasks_user_is_its_own_or_its_frameworks() {
        let framework = FrameworkInfo { user: "theirs".into(), ..Default::default() };
        let command = |user: Option<&str>| CommandInfo { user: user.map(Into::into), ..Default::default() };
        assert_eq!(user_of(&framework, None), "theirs");
        assert_eq!(user_of(&framework, Some(&command(None))), "theirs");
        assert_eq!(user_of(&framework, Some(&command(Some("")))), "theirs");
        assert_eq!(user_of(&framework, Some(&command(Some("own")))), "own");
    }

    #[test]
    fn a_custom_executors_command_says_the_last_word_in_its_environment() {
        let variable = |name: &str, value: &str| environment::Variable {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        let variables = vec![variable("A", "1"), variable("LIBPROCESS_PORT", "7")];
        let command = CommandInfo { environment: Some(Environment { variables }), ..Default::default() };
        let sandbox = Path::new("/d/sandbox");
        let mut launch = launch(TaskInfo::default());
        let all = environment(&config(), &launch, &command, sandbox, "127.0.0.1:5051");
        assert!(all.contains(&("LIBPROCESS_PORT".into(), "0".into())), "a task's is not its executor's");
        launch.task = None;
        let all = environment(&config(), &launch, &command, sandbox, "127.0.0.1:5051");
        let check = |name: &str, value: &str| {
            let found: Vec<&str> = all.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
            assert_eq!(found, [value], "{name}");
        };
        check("A", "1");
        check("LIBPROCESS_PORT", "7");
        check("MESOS_DOMAIN_SOCKET", "/d/executors.sock");
        check("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs");
        check("MESOS_RECOVERY_TIMEOUT", "15mins");
        check("MESOS_SANDBOX", "/d/sandbox");
        check("MESOS_SLAVE_PID", "slave(1)@127.0.0.1:5051");
    }

    #[test]
    fn limits_follow_resources_unless_the_task_has_its_own() {
        let check = |own: &[(&str, f64)], quota: Option<u64>, mib: Option<u64>| {
            let limits =
                own.iter().map(|(name, value)| ((*name).to_owned(), Scalar { value: *value })).collect();
            let found = limits_for(TaskInfo { limits, ..Default::default() });
            assert_eq!((found.cpu_milli, found.cpu_quota_milli), (600, quota));
            assert_eq!(found.memory_bytes, mib.map(|mib| mib << 20));
        };
        check(&[], Some(600), Some(96));
        check(&[("cpus", 2.0)], Some(2100), Some(96));
        check(&[("cpus", f64::INFINITY), ("mem", 128.0)], None, Some(160));
        check(&[("mem", f64::INFINITY)], Some(600), None);
    }

    fn limits_for(task: TaskInfo) -> Limits {
        limits(&config(), &launch(task)).expect("its resources are right")
    }

    #[test]
    fn a_custom_executor_is_started_as_its_command_says() {
        let check = |shell, value: &str, arguments: &[&str], program: &str, argv: &[&str]| {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let value = Some(value.to_owned());
            let command = CommandInfo { shell, value, arguments, ..Default::default() };
            let (found, found_argv) = custom_program(&command);
            assert_eq!((found, found_argv), (program.into(), argv.iter().map(|a| (*a).to_owned()).collect()));
        };
        check(None, "./run -x", &[], "/bin/sh", &["sh", "-c", "./run -x"]);
        check(Some(false), "/bin/run", &[], "/bin/run", &["/bin/run"]);
        check(Some(false), "/bin/run", &["run", "-x"], "/bin/run", &["run", "-x"]);
    }
}
