use super::*;

const HOST: Capacity = Capacity { cpus: 4, memory: 9 << 30, disk: 105 << 30 };

fn config(dir: &Path) -> Config {
    Config {
        subnet: None,
        agents: None,
        public_agents: None,
        dir: dir.to_owned(),
        fresh_dir: false,
        resources: None,
        kill_tasks: false,
        auth: false,
        images: Default::default(),
        version: "1".to_owned(),
    }
}

fn settle(recorded: Option<Cluster>, change: impl Fn(&mut Config)) -> Result<Cluster, String> {
    let mut config = config(Path::new("/c"));
    change(&mut config);
    Cluster::settle(recorded, &config, HOST, &mut Rng::seeded(1)).map_err(|error| error.to_string())
}

fn agents(cluster: &Cluster) -> Vec<(&str, String, &str)> {
    let agent = |agent: &'_ Agent| agent.ip.to_string();
    cluster.agents.iter().map(|a| (a.name.as_str(), agent(a), a.resources.as_str())).collect()
}

#[test]
fn a_new_cluster_has_one_agent() {
    let cluster = settle(None, |_| ()).unwrap();
    let all = "cpus:4;mem:8192;disk:102400";
    assert_eq!(agents(&cluster), [("agent 1", "127.0.0.2".to_owned(), all)]);
    assert_eq!(settle(Some(cluster.clone()), |_| ()), Ok(cluster));
}

#[test]
fn a_cluster_grows_and_keeps_what_it_has() {
    let cluster = settle(None, |config| {
        config.subnet = Some("127.0.7.0/24".parse().unwrap());
        (config.agents, config.public_agents) = (Some(1), Some(1));
    });
    let grown = settle(Some(cluster.unwrap()), |config| config.agents = Some(2)).unwrap();
    let (half, third) = ("cpus:2;mem:4096;disk:51200", "cpus:1.333;mem:2730;disk:34133");
    let expected = [("agent 1", 2, half), ("public agent 1", 3, half), ("agent 2", 4, third)];
    let expected = expected.map(|(name, last, resources)| (name, format!("127.0.7.{last}"), resources));
    assert_eq!(agents(&grown), expected);
    assert_eq!(
        grown.excess(HOST, Path::new("/c")).as_deref(),
        Some(
            "The agents together offer more than this machine has (cpus 5.333 of 4, mem 10922 of 8192, disk \
             136533 of 102400): agent 1, public agent 1 offer cpus:2;mem:4096;disk:51200; agent 2 offers \
             cpus:1.333;mem:2730;disk:34133. Agents keep what they were made with; to share the machine evenly: \
             dcos down --dir /c, which ends its tasks, then dcos up --dir /c --agents 2 --public-agents 1"
        )
    );
    assert_eq!(settle(None, |config| config.agents = Some(3)).unwrap().excess(HOST, Path::new("/c")), None);
}

#[test]
fn what_contradicts_the_record_is_refused() {
    let recorded = settle(None, |config| {
        (config.agents, config.public_agents) = (Some(2), Some(1));
        config.resources = Some("cpus:1".to_owned());
    })
    .unwrap();
    let check = |change: fn(&mut Config), message: &str| {
        assert_eq!(settle(Some(recorded.clone()), change), Err(message.to_owned()));
    };
    check(
        |config| config.subnet = Some("127.0.1.0/24".parse().unwrap()),
        "--subnet 127.0.1.0/24: the cluster in /c has 127.0.0.0/24, where its tasks expect it; leave --subnet \
         out, name another --dir, or end that cluster with: dcos down --dir /c",
    );
    check(
        |config| config.agents = Some(1),
        "--agents 1: the cluster in /c has 2, and those left out may have tasks running; leave --agents out, \
         name another --dir, or end that cluster with: dcos down --dir /c",
    );
    check(
        |config| config.public_agents = Some(0),
        "--public-agents 0: the cluster in /c has 1, and those left out may have tasks running; leave \
         --public-agents out, name another --dir, or end that cluster with: dcos down --dir /c",
    );
    check(
        |config| config.resources = Some("cpus:2".to_owned()),
        "--resources cpus:2: the cluster in /c has cpus:1, of which its tasks have taken theirs; leave \
         --resources out, name another --dir, or end that cluster with: dcos down --dir /c",
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let check = |change: fn(&mut Config), message: &str| {
        assert_eq!(settle(None, change), Err(message.to_owned()));
    };
    check(
        |config| config.agents = Some(0),
        "--agents 0 and --public-agents 0 leave a cluster without agents, allowed is 1 or more together",
    );
    check(
        |config| config.agents = Some(254),
        "--subnet 127.0.0.0/24 has addresses for 253 agents, --agents and --public-agents ask for 254",
    );
    check(
        |config| (config.agents, config.resources) = (Some(2), Some("ports:[1-2]".to_owned())),
        "--resources \"ports:[1-2]\" gives the same ports to more than one agent of this machine, allowed is \
         to leave ports out: each agent then takes a block of its own",
    );
}

#[test]
fn the_record_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Cluster::read(dir.path()), Ok(None)));
    let cluster = settle(None, |config| config.agents = Some(3)).unwrap();
    cluster.write(dir.path()).unwrap();
    assert_eq!(Cluster::read(dir.path()).unwrap(), Some(cluster));
    let check = |text: &str, problem: &str| {
        std::fs::write(dir.path().join(RECORD), text).unwrap();
        match Cluster::read(dir.path()) {
            Err(Error::Record { problem: found, .. }) => assert!(found.starts_with(problem), "{found}"),
            other => panic!("{text}: {other:?}"),
        }
    };
    check("{", "it is no record of a cluster: ");
    check("{\"format\":1}", "it is no record of a cluster: ");
    check("{\"format\":7}", "it has format 7, this program reads format 1");
}

#[test]
fn a_token_once_demanded_stays_demanded() {
    let check = |before: bool, asked: bool, expected: bool| {
        let recorded = settle(None, |config| config.auth = before).unwrap();
        assert_eq!(recorded.auth, before);
        assert_eq!(settle(Some(recorded), |config| config.auth = asked).unwrap().auth, expected);
    };
    check(false, false, false);
    check(false, true, true);
    check(true, false, true);
    let dir = tempfile::tempdir().unwrap();
    settle(None, |config| config.auth = true).unwrap().write(dir.path()).unwrap();
    assert!(Cluster::read(dir.path()).unwrap().unwrap().auth);
    let path = dir.path().join(RECORD);
    let mut old: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    old.as_object_mut().unwrap().remove("auth").unwrap();
    std::fs::write(&path, old.to_string()).unwrap();
    assert!(!Cluster::read(dir.path()).unwrap().unwrap().auth);
}
