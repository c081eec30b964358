use std::net::Ipv4Addr;

use agent_core::Run;
use mesos_proto::v1::{Environment, ExecutorInfo, FrameworkInfo, TaskInfo, environment as wire};

use super::*;

fn config() -> Config {
    Config::new(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 5050).into(), "/d".into())
}

fn launch(task: TaskInfo) -> Launch {
    Launch {
        agent_id: "S0".into(),
        run: Run { framework_id: "f".into(), executor_id: "e".into(), container_id: "c".into() },
        framework: FrameworkInfo { user: "root".into(), ..Default::default() },
        executor: ExecutorInfo::default(),
        task: Some(Box::new(task)),
        plan: ContainerPlan::default(),
        resources: Vec::new(),
    }
}

type Found = Vec<(String, String)>;

fn of(launch: &Launch, image: Option<&Effective>) -> Found {
    let sandbox = Path::new("/d/sandbox");
    let view = View { sandbox, socket: Path::new("/d/executors/agent.sock") };
    environment(&config(), launch, image, sandbox, view, "127.0.0.1:5051")
}

fn check(all: &Found, name: &str, value: &str) {
    let found: Vec<&str> = all.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    assert_eq!(found, [value], "{name}");
}

#[test]
fn a_custom_executors_command_says_the_last_word_in_its_environment() {
    let variable = |name: &str, value: &str| wire::Variable {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let variables = vec![variable("A", "1"), variable("LIBPROCESS_PORT", "7")];
    let command = CommandInfo { environment: Some(Environment { variables }), ..Default::default() };
    let mut launch = launch(TaskInfo::default());
    launch.executor.command = Some(command);
    check(&of(&launch, None), "LIBPROCESS_PORT", "0");
    launch.task = None;
    let image = Effective { env: vec!["A=0".into(), "B=x=y".into()], ..Default::default() };
    let all = of(&launch, Some(&image));
    check(&all, "A", "1");
    check(&all, "B", "x=y");
    check(&all, "LIBPROCESS_PORT", "7");
    check(&all, "LIBPROCESS_IP", "127.0.0.1");
    check(&all, "MESOS_DOMAIN_SOCKET", "/d/executors/agent.sock");
    check(&all, "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs");
    check(&all, "MESOS_RECOVERY_TIMEOUT", "15mins");
    check(&all, "MESOS_SANDBOX", "/d/sandbox");
    check(&all, "MESOS_SLAVE_PID", "slave(1)@127.0.0.1:5051");
}

#[test]
fn the_command_executor_is_told_what_its_image_says() {
    let mut launch = launch(TaskInfo::default());
    launch.plan.network = NetworkPlan::None;
    let docker = &mut launch.plan.docker;
    docker.environment = vec![("A".into(), "2".into()), ("C".into(), "3".into())];
    docker.user = Some("app".into());
    let strings = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let config = ImageConfig {
        entrypoint: strings(&["/e"]),
        cmd: strings(&["c"]),
        env: strings(&["A=1", "B=1"]),
        working_dir: "/w".into(),
        ..Default::default()
    };
    let effective = Effective::of(&config, &launch.plan);
    assert_eq!(effective.env, ["B=1", "A=2", "C=3"]);
    let all = of(&launch, Some(&effective));
    let text =
        r#"{"entrypoint":["/e"],"cmd":["c"],"env":["B=1","A=2","C=3"],"user":"app","working_dir":"/w"}"#;
    check(&all, "DCOS_IMAGE_CONFIG", text);
    check(&all, "LIBPROCESS_IP", "0.0.0.0");
    assert!(all.iter().all(|(name, _)| name != "B"), "the task's variables are not its executor's");
    launch.plan.docker.entrypoint = Some("/mine".into());
    let effective = Effective::of(&config, &launch.plan);
    assert_eq!((effective.entrypoint, effective.cmd), (strings(&["/mine"]), Vec::new()));
}
