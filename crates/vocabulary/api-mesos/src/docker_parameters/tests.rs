use super::*;

fn parse(key: &str, value: &str) -> Result<DockerParameters, String> {
    DockerParameters::parse([(key, value)]).map_err(|error| error.to_string())
}

#[test]
fn what_has_a_meaning_is_understood() {
    let none = DockerParameters::default;
    let check = |key: &str, value: &str, expected: DockerParameters| {
        assert_eq!(parse(key, value), Ok(expected), "{key} {value}");
    };
    check("env", "A=b=c", DockerParameters { environment: vec![("A".into(), "b=c".into())], ..none() });
    check("e", "A=", DockerParameters { environment: vec![("A".into(), String::new())], ..none() });
    check(
        "cap-add",
        "cap_net_admin",
        DockerParameters { add_capabilities: vec!["NET_ADMIN".into()], ..none() },
    );
    check("cap-drop", "all", DockerParameters { drop_capabilities: vec!["ALL".into()], ..none() });
    check("shm-size", "64m", DockerParameters { shm_bytes: Some(64 << 20), ..none() });
    check("shm-size", "1GiB", DockerParameters { shm_bytes: Some(1 << 30), ..none() });
    check("privileged", "true", DockerParameters { privileged: Some(true), ..none() });
    check("workdir", "/srv", DockerParameters { working_dir: Some("/srv".into()), ..none() });
    check("security-opt", "seccomp=unconfined", DockerParameters { seccomp_unconfined: true, ..none() });
    check("rm", "true", none());
    check("label", "a=b", none());
    let volume = |read_only| BindVolume { source: "/a".into(), target: "/b".into(), read_only };
    check("volume", "/a:/b:ro", DockerParameters { volumes: vec![volume(true)], ..none() });
    check("v", "/a:/b", DockerParameters { volumes: vec![volume(false)], ..none() });
    let tmpfs = Tmpfs { target: "/t".into(), bytes: Some(1 << 20), read_only: true };
    check("tmpfs", "/t:size=1m,ro", DockerParameters { tmpfs: vec![tmpfs], ..none() });
    let hosts = vec![("db".into(), IpAddr::from([10, 0, 0, 1]))];
    check("add-host", "db:10.0.0.1", DockerParameters { hosts, ..none() });
    let limit = |soft, hard| RLimit {
        r#type: Some(mesos_proto::v1::r_limit_info::r_limit::Type::RlmtNofile as i32),
        soft,
        hard,
    };
    let rlimits = vec![limit(Some(10), Some(20))];
    check("ulimit", "nofile=10:20", DockerParameters { rlimits, ..none() });
    let rlimits = vec![limit(Some(10), Some(u64::MAX))];
    check("ulimit", "nofile=10:-1", DockerParameters { rlimits, ..none() });
    check("ulimit", "nofile=-1", DockerParameters { rlimits: vec![limit(None, None)], ..none() });
}

#[test]
fn what_is_not_allowed_is_named() {
    let check = |key: &str, value: &str, expected: &str| {
        let text = format!("docker parameter '{key}' is '{value}'; allowed is {expected}");
        assert_eq!(parse(key, value), Err(text), "{key} {value}");
    };
    check("env", "A", "NAME=value");
    check("cap-add", "FLY", "a capability of Linux such as NET_ADMIN, or ALL");
    check("privileged", "perhaps", "true or false");
    check("shm-size", "0", "a number of bytes, or with a unit: 512k, 64m, 1g");
    check("shm-size", "99999999999g", "a number of bytes, or with a unit: 512k, 64m, 1g");
    check("workdir", "srv", "an absolute path without '..'");
    check("ulimit", "nofile=20:10", "a soft limit that is not above the hard one");
    check("ulimit", "files=20", "name=soft or name=soft:hard, such as nofile=1024:2048");
    check("dns", "here", "an IP address");
    check("rm", "false", "true: nothing of a container that ended is left");
    for bad in ["data:/b", "/a", "/a:b", "/a:/b:z", "/a/../..:/b", "/a:/", "/a:/./"] {
        let allowed = "/path/on/the/host:/path/in/the/container, with :ro or :rw after it if wanted";
        check("volume", bad, allowed);
    }
    let allowed = "/path/in/the/container, with :size=64m, :ro or :rw after it if wanted";
    for bad in ["t", "/", "/t:huge"] {
        check("tmpfs", bad, allowed);
    }
}

#[test]
fn what_has_no_meaning_is_refused_by_name() {
    let check = |key: &str, hint: &str| {
        let error = parse(key, "x").unwrap_err();
        assert!(error.starts_with(&format!("docker parameter '{key}' has no meaning here; ")), "{error}");
        assert!(error.contains(hint), "{error}");
    };
    check("log-driver", "add-host, cap-add");
    check("publish", "'portMappings'");
    check("net", "'networks'");
    check("", "these have one");
}

#[test]
fn the_table_can_be_searched() {
    let all: Vec<&str> = names().collect();
    assert!(all.is_sorted());
    assert!(SHORT.iter().all(|(_, long)| all.contains(long)));
}
