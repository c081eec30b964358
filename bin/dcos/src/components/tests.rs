use clap::FromArgMatches;

use super::*;

/// The arguments of the command line, whose first word is the component's command.
fn parse<A: FromArgMatches>(line: &str) -> Result<A, String> {
    let words = ["dcos"].into_iter().chain(line.split(' '));
    let matches = crate::arguments::all().try_get_matches_from(words).map_err(|error| error.to_string())?;
    let (_, matches) = matches.subcommand().unwrap();
    Ok(A::from_arg_matches(matches).unwrap())
}

#[test]
fn flags_mean_what_they_mean_in_mesos() {
    let line = "mesos-master --ip=10.0.0.1 --work_dir=/m --slave_ping_timeout=20secs --offer_timeout=2mins \
                --max_agent_ping_timeouts=5 --max_agent_ping_timeouts=20 --external_log_file=/log";
    let arguments: MesosMasterArguments = parse(line).unwrap();
    assert_eq!(arguments.output(), Output::StderrAndFile("/log".into()));
    let config = arguments.config().unwrap();
    assert_eq!((config.ip, config.port), (Ipv4Addr::new(10, 0, 0, 1), 5050));
    assert_eq!(config.agent_ping_timeout, Duration::from_secs(20));
    assert_eq!(config.max_agent_ping_timeouts, 20);
    assert_eq!(config.offer_timeout, Some(Duration::from_secs(120)));

    let resources = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(resources.path(), "cpus:4\n").unwrap();
    let line = format!(
        "mesos-slave --ip_discovery_command=hostname;true --ip=10.0.0.2 --resources=file://{} --gc_delay=2days \
         --cgroups_enable_cfs=false --default_role=slave_public",
        resources.path().display()
    );
    let config = parse::<MesosAgentArguments>(&line).unwrap().config().unwrap();
    assert_eq!(config.master, SocketAddr::from(([10, 0, 0, 2], 5050)));
    assert_eq!(config.resources.as_deref(), Some("cpus:4"));
    assert_eq!(config.gc_delay, Duration::from_secs(2 * 86_400));
    assert!(!config.enforce_cpu_quota);
    assert_eq!(config.default_role.as_deref(), Some("slave_public"));
    assert!(config.at_gateway.iter().any(|(port, _)| *port == 80));
}

#[test]
fn mm04_mm08_mm09_how_agents_are_given_up_is_said_as_in_mesos() {
    let line = "mesos-master --ip=10.0.0.1 --work_dir=/m --agent_removal_rate_limit=1/20mins \
                --recovery_slave_removal_limit=25% --registry_max_agent_age=2days --registry_max_agent_count=5";
    let config = parse::<MesosMasterArguments>(line).unwrap().config().unwrap();
    assert_eq!(config.agent_removal_rate_limit.unwrap().to_string(), "1/20mins");
    assert_eq!(config.recovery_agent_removal_limit, 25.0);
    assert_eq!(config.registry_max_agent_age, Duration::from_secs(2 * 86_400));
    assert_eq!(config.registry_max_agent_count, 5);
    for wrong in [
        "--agent_removal_rate_limit=20mins",
        "--agent_removal_rate_limit=0/20mins",
        "--agent_removal_rate_limit=1/0secs",
        "--recovery_agent_removal_limit=25",
        "--recovery_agent_removal_limit=101%",
    ] {
        assert!(parse::<MesosMasterArguments>(&format!("mesos-master {wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn flags_mean_what_they_mean_in_marathon() {
    let line = "marathon-server --ip 10.0.0.1 --task_launch_timeout 86400000 --decline_offer_duration=300000 \
                --default_accepted_resource_roles *,slave_public --mesos_user root --local_port_max 10100";
    let config = parse::<MarathonArguments>(line).unwrap().config().unwrap();
    assert_eq!(config.master, SocketAddr::from(([10, 0, 0, 1], 5050)));
    assert_eq!(config.core.launch_timeout, Duration::from_secs(86_400));
    assert_eq!(config.core.decline_offer_duration, Duration::from_secs(300));
    assert_eq!(config.core.default_accepted_resource_roles.len(), 2);
    assert_eq!(config.core.user, "root");
    assert_eq!(config.core.service_ports, 10_000..=10_100);
}

#[test]
fn admin_router_is_a_masters_or_an_agents() {
    let role = |rest: &str| {
        let line = format!("admin-router --ip 10.0.0.1{rest}");
        let config = parse::<RouterArguments>(&line).unwrap().config().unwrap();
        (config.port, matches!(config.role, Role::Master { .. }))
    };
    assert_eq!(role(""), (61001, false));
    assert_eq!(role(" --role master"), (80, true));
    assert_eq!(role(" --mesos 10.0.0.9:5050 --port 8000"), (8000, true));
}

#[test]
fn what_is_wrong_is_named() {
    let check = |line: &str, problem: &str| {
        let refused = match line.split(' ').next().unwrap() {
            "mesos-agent" => parse::<MesosAgentArguments>(line)
                .and_then(|arguments| arguments.config().map(drop).map_err(|error| error.to_string())),
            "marathon-server" => parse::<MarathonArguments>(line)
                .and_then(|arguments| arguments.config().map(drop).map_err(|error| error.to_string())),
            _ => parse::<RouterArguments>(line)
                .and_then(|arguments| arguments.config().map(drop).map_err(|error| error.to_string())),
        };
        let told = refused.unwrap_err();
        assert!(told.contains(problem), "{line}: {told}");
    };
    check("mesos-agent", "--ip is to name it, or --ip_discovery_command");
    check("mesos-agent --ip ::1", "the address of this node is ::1, allowed is an IPv4 address");
    check("mesos-agent --ip 10.0.0.1 --gc_delay 2", "like 90secs, 10mins, 1.5hrs or 2days");
    check("mesos-agent --ip 10.0.0.1 --master zk://zk-1.zk:2181/mesos", "allowed is an IP address");
    check("mesos-agent --ip 10.0.0.1 --resources file:///nowhere", "/nowhere cannot be read");
    check("marathon-server --ip 10.0.0.1 --local_port_min 30000", "--local_port_min 30000 is above");
    check("admin-router --ip 10.0.0.1 --activate_auth_module", "asks for authentication: --token-file");
    check("admin-router --ip 10.0.0.1 --cluster_id_file /nowhere", "the cluster's id from /nowhere");
}
