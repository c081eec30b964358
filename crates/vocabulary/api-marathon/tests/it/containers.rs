//! Containers, networks and artifacts: from the forms that Marathon takes to the form that it shows, and what it refuses.

use serde_json::{Value, json};

use crate::{body_of, patch, post};

/// Posts an app of these members and compares these members of what is shown; null means that it is not shown.
fn check(given: Value, shown: Value) {
    let mut app = json!({"id": "/a"});
    for (name, value) in given.as_object().expect("an object") {
        app[name] = value.clone();
    }
    let found = post(&app.to_string()).unwrap_or_else(|error| panic!("{app}: {error}"));
    let found = serde_json::to_value(&found).expect("it has string keys");
    for (name, value) in shown.as_object().expect("an object") {
        assert_eq!(found.get(name).unwrap_or(&Value::Null), value, "{name} of {app}");
    }
    let again = post(&found.to_string()).unwrap_or_else(|error| panic!("{found}: {error}"));
    assert_eq!(
        serde_json::to_value(&again).expect("it has string keys"),
        found,
        "what is shown can be posted"
    );
}

fn default_ports() -> Value {
    json!([{"port": 0, "name": "default", "protocol": "tcp"}])
}

fn mapping(container: u16, host: u16) -> Value {
    json!({"containerPort": container, "hostPort": host, "labels": {}, "protocol": "tcp", "servicePort": 0})
}

#[test]
fn images_on_the_hosts_network() {
    let image = json!({"forcePullImage": false, "image": "nginx", "parameters": [], "privileged": false});
    check(
        json!({"container": {"type": "MESOS", "docker": {"image": "nginx"}}}),
        json!({
            "container": {"type": "MESOS", "docker": image, "volumes": []},
            "networks": [{"mode": "host"}], "portDefinitions": default_ports()
        }),
    );
    // The type that is meant by none.
    check(
        json!({"container": {"docker": {"image": "nginx"}}, "args": ["-v"]}),
        json!({"container": {"type": "DOCKER", "docker": image, "volumes": []}, "args": ["-v"]}),
    );
    check(
        json!({"container": {
            "type": "DOCKER", "docker": {
                "image": "nginx", "network": "HOST", "portMappings": [], "privileged": true, "forcePullImage": true,
                "parameters": [{"key": "hostname", "value": "web"}]
            },
            "volumes": [{"containerPath": "/data", "hostPath": "/srv", "mode": "ro"}]
        }}),
        json!({
            "container": {
                "type": "DOCKER", "docker": {
                    "forcePullImage": true, "image": "nginx",
                    "parameters": [{"key": "hostname", "value": "web"}], "privileged": true
                },
                "volumes": [{"containerPath": "/data", "hostPath": "/srv", "mode": "RO"}]
            },
            "networks": [{"mode": "host"}], "portDefinitions": default_ports()
        }),
    );
    // Mappings map nothing there.
    check(
        json!({"container": {"type": "MESOS", "portMappings": [{"containerPort": 80}]}, "cmd": "run"}),
        json!({"container": {"type": "MESOS", "volumes": []}, "portDefinitions": default_ports()}),
    );
    check(
        json!({"container": {"type": "MESOS", "linuxInfo": {
            "seccomp": {"unconfined": true}, "ipcInfo": {"mode": "PRIVATE", "shmSize": 64}
        }}, "cmd": "run", "tty": false}),
        json!({"container": {"type": "MESOS", "linuxInfo": {
            "seccomp": {"unconfined": true}, "ipcInfo": {"mode": "PRIVATE", "shmSize": 64}
        }, "volumes": []}, "tty": false}),
    );
}

#[test]
fn fields_are_in_marathons_order() {
    let body = r#"{"id": "/a", "networks": [{"mode": "container/bridge"}],
        "container": {"portMappings": [{"name": "http", "containerPort": 80}], "docker": {"image": "nginx"}},
        "fetch": [{"cache": true, "uri": "http://x/y"}]}"#;
    let text = serde_json::to_string(&post(body).unwrap()).unwrap();
    let expected = concat!(
        r#""container":{"type":"DOCKER","docker":{"forcePullImage":false,"image":"nginx","parameters":[],"#,
        r#""privileged":false},"volumes":[],"portMappings":[{"containerPort":80,"hostPort":0,"labels":{},"#,
        r#""name":"http","protocol":"tcp","servicePort":0}]},"cpus":1.0"#
    );
    assert!(text.contains(expected), "{text}");
    let fetch = r#""executor":"","fetch":[{"uri":"http://x/y","extract":true,"executable":false,"cache":true}],"instances":1"#;
    assert!(text.contains(fetch), "{text}");
    assert!(text.contains(r#""networks":[{"mode":"container/bridge"}],"requirePorts":false"#), "{text}");
}

#[test]
fn bridges_in_both_forms() {
    let bridge = json!([{"mode": "container/bridge"}]);
    let mapped = |mappings: Value| {
        json!({
            "container": {
                "type": "DOCKER",
                "docker": {"forcePullImage": false, "image": "i", "parameters": [], "privileged": false},
                "volumes": [], "portMappings": mappings
            },
            "networks": bridge, "portDefinitions": null, "requirePorts": false
        })
    };
    let mut default = mapping(0, 0);
    default["name"] = json!("default");
    // (docker, rest of the container, rest of the app, mappings)
    for (docker, container, rest, mappings) in [
        (
            json!({}),
            json!({"portMappings": [{"containerPort": 80}]}),
            json!({"networks": bridge}),
            json!([mapping(80, 0)]),
        ),
        (json!({}), json!({}), json!({"networks": bridge, "requirePorts": true}), json!([default])),
        (json!({}), json!({"portMappings": []}), json!({"networks": bridge}), json!([])),
        (json!({"network": "BRIDGE"}), json!({}), json!({}), json!([default])),
        (
            json!({"network": "BRIDGE", "portMappings": [{"containerPort": 80, "hostPort": 8080}]}),
            json!({}),
            json!({}),
            json!([mapping(80, 8080)]),
        ),
        (json!({"network": "BRIDGE", "portMappings": []}), json!({}), json!({}), json!([])),
        (json!({"network": "BRIDGE", "portMappings": []}), json!({"portMappings": []}), json!({}), json!([])),
        (
            json!({"network": "BRIDGE", "portMappings": []}),
            json!({"portMappings": [{}]}),
            json!({}),
            json!([mapping(0, 0)]),
        ),
        // One mapping for each of the old ports.
        (
            json!({"network": "BRIDGE", "portMappings": [{"containerPort": 80}]}),
            json!({}),
            json!({"ports": [0, 0]}),
            json!([mapping(80, 0), mapping(0, 0)]),
        ),
        (
            json!({"network": "BRIDGE", "portMappings": []}),
            json!({}),
            json!({"ipAddress": {"networkName": "my-bridge"}}),
            json!([]),
        ),
        (
            json!({"portMappings": []}),
            json!({}),
            json!({"ipAddress": {"networkName": "mesos-bridge"}}),
            json!([]),
        ),
    ] {
        let mut given = json!({"container": {"type": "DOCKER", "docker": {"image": "i"}}});
        let merge = |into: &mut Value, members: Value| {
            for (name, value) in members.as_object().expect("an object") {
                into[name] = value.clone();
            }
        };
        merge(&mut given["container"]["docker"], docker);
        merge(&mut given["container"], container);
        merge(&mut given, rest);
        check(given, mapped(mappings));
    }
}

#[test]
fn containers_that_come_with_a_network() {
    let mut default = mapping(0, 0);
    default["name"] = json!("default");
    check(
        json!({"cmd": "run", "networks": [{"mode": "container/bridge", "labels": {"l": "v"}}]}),
        json!({
            "container": {"type": "MESOS", "volumes": [], "portMappings": [default]}, "portDefinitions": null,
            "networks": [{"mode": "container/bridge", "labels": {"l": "v"}}]
        }),
    );
    let discovery = json!({"ports": [{"number": 80, "name": "http", "labels": {"VIP_0": "/a:80"}}]});
    check(
        json!({"cmd": "run", "ipAddress": {"networkName": "mesos-bridge", "groups": ["x"], "discovery": discovery}}),
        json!({
            "container": {"type": "MESOS", "volumes": [], "portMappings": [{
                "containerPort": 80, "hostPort": 0, "labels": {"VIP_0": "/a:80"}, "name": "http", "protocol": "tcp",
                "servicePort": 0
            }]},
            "networks": [{"mode": "container/bridge"}]
        }),
    );
}

#[test]
fn health_checks_find_the_first_mapping() {
    let app = post(
        r#"{"id": "/a", "container": {"docker": {"image": "i"}}, "networks": [{"mode": "container/bridge"}],
            "healthChecks": [{"protocol": "HTTP"}]}"#,
    )
    .unwrap();
    assert_eq!(app.health_checks[0].port_index, Some(0));
}

#[test]
fn artifacts_in_both_forms() {
    let shown = |uri: &str, extract: bool| json!([{"uri": uri, "extract": extract, "executable": false, "cache": false}]);
    check(json!({"cmd": "run", "uris": ["http://x/a.tgz"]}), json!({"fetch": shown("http://x/a.tgz", true)}));
    check(
        json!({"cmd": "run", "uris": ["http://x/a"], "fetch": []}),
        json!({"fetch": shown("http://x/a", false)}),
    );
    check(json!({"cmd": "run", "uris": [], "fetch": []}), json!({"fetch": null}));
    check(
        json!({"cmd": "run", "uris": [], "fetch": [{"uri": "http://x/a"}]}),
        json!({"fetch": shown("http://x/a", true)}),
    );
    let sha256 = "A".repeat(64);
    check(
        json!({"cmd": "run", "fetch": [{
            "uri": "http://x/a", "extract": false, "executable": true, "cache": true, "destPath": "b/c", "sha256": sha256
        }]}),
        json!({"fetch": [{
            "uri": "http://x/a", "extract": false, "executable": true, "cache": true, "destPath": "b/c",
            "sha256": "a".repeat(64)
        }]}),
    );
}

/// Posts an app with these members besides an id and a command; compares paths and errors.
fn refused(members: Value, message: &str, expected: &[(&str, &str)]) {
    let mut app = json!({"id": "/a", "cmd": "run"});
    for (name, value) in members.as_object().expect("an object") {
        app[name] = value.clone();
    }
    let error = post(&app.to_string()).expect_err(&app.to_string());
    let body = body_of(&error);
    assert_eq!((error.status, &body["message"]), (422, &json!(message)), "{app}: {body}");
    let details = body["details"].as_array().expect("details");
    let found: Vec<Value> = details
        .iter()
        .flat_map(|detail| {
            let errors = detail["errors"].as_array().expect("errors");
            errors.iter().map(|error| json!([detail["path"], error]))
        })
        .collect();
    let expected: Vec<Value> = expected.iter().map(|(path, error)| json!([path, error])).collect();
    assert_eq!(found, expected, "{app}");
}

fn content(members: Value, path: &str, error: &str) {
    refused(members, "Object is not valid", &[(path, error)]);
}

fn shape(members: Value, path: &str, error: &str) {
    refused(members, "Invalid JSON", &[(path, error)]);
}

#[test]
fn wrong_shapes_of_containers() {
    let container = |container: Value, path: &str, error: &str| {
        shape(json!({ "container": container }), &format!("/container{path}"), error);
    };
    container(json!(7), "", "error.expected.jsobject");
    container(json!({"type": "LXC"}), "/type", "error.unknown.enum.literal");
    container(json!({"docker": {}}), "/docker/image", "error.path.missing");
    container(json!({"docker": {"image": ""}}), "/docker/image", "error.minLength");
    container(
        json!({"docker": {"image": "i", "privileged": 1}}),
        "/docker/privileged",
        "error.expected.jsboolean",
    );
    container(
        json!({"docker": {"image": "i", "network": "OVERLAY"}}),
        "/docker/network",
        "error.unknown.enum.literal",
    );
    container(
        json!({"docker": {"image": "i", "parameters": [{"key": "", "value": "x"}]}}),
        "/docker/parameters(0)/key",
        "error.minLength",
    );
    container(
        json!({"docker": {"image": "i", "parameters": [{"key": "k"}]}}),
        "/docker/parameters(0)/value",
        "error.path.missing",
    );
    container(
        json!({"portMappings": [{"containerPort": 65536}]}),
        "/portMappings(0)/containerPort",
        "error.max",
    );
    container(json!({"portMappings": [{"hostPort": -1}]}), "/portMappings(0)/hostPort", "error.min");
    container(json!({"portMappings": [{"name": "A"}]}), "/portMappings(0)/name", "error.pattern");
    container(
        json!({"portMappings": [{"protocol": "tcp,udp"}]}),
        "/portMappings(0)/protocol",
        "error.unknown.enum.literal",
    );
    container(
        json!({"volumes": [{"containerPath": "/a", "mode": "RO"}]}),
        "/volumes(0)/hostPath",
        "error.path.missing",
    );
    container(
        json!({"volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RX"}]}),
        "/volumes(0)/mode",
        "error.unknown.enum.literal",
    );
    container(json!({"linuxInfo": {"ipcInfo": {}}}), "/linuxInfo/ipcInfo/mode", "error.path.missing");
    shape(json!({"networks": [{"mode": "weave"}]}), "/networks(0)/mode", "error.unknown.enum.literal");
    shape(json!({"networks": [{"name": "A"}]}), "/networks(0)/name", "error.pattern");
    shape(json!({"fetch": [{}]}), "/fetch(0)/uri", "error.path.missing");
    shape(json!({"fetch": [{"uri": "x".repeat(1025)}]}), "/fetch(0)/uri", "error.maxLength");
    shape(json!({"fetch": [{"uri": "x", "sha256": "12"}]}), "/fetch(0)/sha256", "error.pattern");
    shape(json!({"uris": [""]}), "/uris(0)", "error.minLength");
    shape(
        json!({"ipAddress": {"discovery": {"ports": [{}]}}}),
        "/ipAddress/discovery/ports(0)/name",
        "error.path.missing",
    );
}

#[test]
fn wrong_contents_of_containers() {
    let docker = |docker: Value, path: &str, error: &str| {
        content(json!({"container": {"type": "DOCKER", "docker": docker}}), path, error);
    };
    let mesos = |docker: Value, path: &str, error: &str| {
        content(json!({"container": {"type": "MESOS", "docker": docker}}), path, error);
    };
    content(json!({"container": {"type": "DOCKER"}}), "/container/docker", "not defined");
    let meaningless = json!([{"key": "hostname", "value": "web"}, {"key": "publish", "value": "80:80"}]);
    docker(
        json!({"image": "i", "parameters": meaningless}),
        "/container/docker/parameters(1)",
        "docker parameter 'publish' has no meaning here; say it with 'portMappings'",
    );
    docker(
        json!({"image": "a b"}),
        "/container/docker/image",
        "must not contain spaces or control characters",
    );
    docker(
        json!({"image": "i", "pullConfig": {"secret": "s"}}),
        "/container/docker/pullConfig",
        "pullConfig is not supported with Docker containerizer",
    );
    mesos(
        json!({"image": "i", "pullConfig": {"secret": "s"}}),
        "/container/docker/pullConfig",
        "Feature secrets is not enabled. Enable with --enable_features secrets)",
    );
    docker(
        json!({"image": "i", "credential": {"principal": "p"}}),
        "/container/docker/credential",
        "must be empty",
    );
    mesos(json!({"image": "i", "network": "BRIDGE"}), "/container/docker/network", "must be empty");
    mesos(json!({"image": "i", "portMappings": []}), "/container/docker/portMappings", "must be empty");
    mesos(
        json!({"image": "i", "parameters": [{"key": "hostname", "value": "x"}]}),
        "/container/docker/parameters",
        "must be empty",
    );
    mesos(
        json!({"image": "i", "privileged": true}),
        "/container/docker/privileged",
        "only supported with container type DOCKER; supported with type MESOS is false",
    );
    docker(
        json!({"image": "i", "network": "NONE"}),
        "/container/docker/network",
        "unsupported docker network type NONE",
    );
    docker(
        json!({"image": "i", "network": "USER"}),
        "/networks",
        "Network name must be specified when container network is selected.",
    );
    docker(
        json!({"image": "i", "network": "BRIDGE", "portMappings": [{"name": "x"}, {"name": "x"}]}),
        "/container/docker/portMappings",
        "Port names must be unique.",
    );
    content(
        json!({"container": {
            "docker": {"image": "i", "network": "BRIDGE", "portMappings": [{}]}, "portMappings": []
        }}),
        "/",
        "cannot specify both portMappings and docker.portMappings",
    );
    content(
        json!({"container": {"docker": {"image": "i", "network": "HOST"}}, "networks": [{"mode": "host"}]}),
        "/",
        "must not specify both container.docker.network and networks",
    );
    content(
        json!({"container": {"docker": {"image": "i"}, "linuxInfo": {"seccomp": {"unconfined": true}}}}),
        "/container/linuxInfo",
        "only supported with container type MESOS; type DOCKER has docker.parameters",
    );
    content(
        json!({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"unconfined": false}}}}),
        "/container/linuxInfo/seccomp",
        "Seccomp unconfined must be true when Profile is NOT defined",
    );
    content(
        json!({"cmd": null, "container": {"type": "MESOS"}}),
        "/",
        "a container without docker.image needs one of 'cmd' or 'args'",
    );
}

#[test]
fn wrong_volumes() {
    let volume = |volume: Value, path: &str, error: &str| {
        content(
            json!({"container": {"type": "MESOS", "volumes": [volume]}}),
            &format!("/container/volumes(0){path}"),
            error,
        );
    };
    volume(
        json!({"containerPath": "/a/../../b", "hostPath": "/srv", "mode": "RO"}),
        "/containerPath",
        "found '/a/../../b', allowed are paths without '..'",
    );
    volume(
        json!({"containerPath": "/.", "hostPath": "/srv", "mode": "RO"}),
        "/containerPath",
        "found '/.', allowed are paths below the root and the sandbox",
    );
    volume(
        json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}),
        "/persistent",
        "persistent volumes are not supported yet; supported are volumes with a hostPath",
    );
    volume(
        json!({"containerPath": "data", "mode": "RW", "external": {"provider": "dvdi"}}),
        "/external",
        "external volumes are not supported yet; supported are volumes with a hostPath",
    );
    volume(
        json!({"containerPath": "data", "secret": "s"}),
        "/secret",
        "Feature secrets is not enabled. Enable with --enable_features secrets)",
    );
    let twice = json!({"containerPath": "/a", "hostPath": "/srv", "mode": "RO"});
    content(
        json!({"container": {"type": "MESOS", "volumes": [twice, twice]}}),
        "/container/volumes(1)/containerPath",
        "found '/a', where another volume is",
    );
}

#[test]
fn wrong_networks_and_ports() {
    let single =
        "May specify a single host network, single bridge network, or else 1-to-n container networks";
    content(json!({"networks": [{"mode": "host"}, {"mode": "container/bridge"}]}), "/networks", single);
    content(
        json!({"networks": [{"mode": "container/bridge", "name": "x"}]}),
        "/networks",
        "Bridge networks may not have names",
    );
    content(
        json!({"networks": [{"mode": "container"}]}),
        "/networks",
        "Network name must be specified when container network is selected.",
    );
    content(
        json!({"networks": [{"mode": "container", "name": "dcos"}]}),
        "/networks(0)/mode",
        "found 'container' (network 'dcos'), which is not supported yet; supported are 'host' and 'container/bridge'",
    );
    content(
        json!({"networks": [{"mode": "host"}], "ipAddress": {"networkName": "mesos-bridge"}}),
        "/",
        "must not specify both networks and ipAddress",
    );
    content(
        json!({"ipAddress": {"networkName": "mesos-bridge"}, "ports": [0]}),
        "/",
        "cannot specify both an IP address and port",
    );
    content(
        json!({
            "container": {"docker": {"image": "i"}},
            "ipAddress": {"networkName": "mesos-bridge", "discovery": {"ports": []}}
        }),
        "/ipAddress",
        "ipAddress/discovery is not allowed for Docker containers",
    );
    let bridged = |mappings: Value, path: &str, error: &str| {
        content(
            json!({
                "container": {"type": "MESOS", "portMappings": mappings}, "networks": [{"mode": "container/bridge"}]
            }),
            path,
            error,
        );
    };
    bridged(json!([{"name": "x"}, {"name": "x"}]), "/container/portMappings", "Port names must be unique.");
    bridged(
        json!([{"networkNames": ["dcos"]}]),
        "/container/portMappings(0)/networkNames(0)",
        "is not one of ()",
    );
    bridged(
        json!([{"hostPort": 8080}, {"hostPort": 8080}]),
        "/container/portMappings(1)/hostPort",
        "found 8080, which another mapping has; for both protocols of a port write 'udp,tcp'",
    );
}

#[test]
fn wrong_artifacts() {
    content(json!({"fetch": [{"uri": "http://x/a b"}]}), "/fetch(0)/uri", "URI has invalid syntax.");
    content(json!({"uris": ["http://x/a b"]}), "/uris(0)", "URI has invalid syntax.");
    content(
        json!({"uris": ["http://x"], "fetch": [{"uri": "http://y"}]}),
        "/uris",
        "may not be set in conjunction with fetch",
    );
    content(
        json!({"fetch": [{"uri": "http://x", "destPath": "../x"}]}),
        "/fetch(0)/destPath",
        "found '../x', allowed are paths relative to the sandbox that do not leave it",
    );
}

#[test]
fn every_problem_of_a_container_is_told_at_once() {
    refused(
        json!({
            "container": {
                "type": "MESOS",
                "docker": {"image": "a b", "privileged": true},
                "volumes": [{"containerPath": "d", "mode": "RW", "persistent": {"size": 1}}]
            },
            "networks": [{"mode": "container", "name": "dcos"}]
        }),
        "Object is not valid",
        &[
            (
                "/container/volumes(0)/persistent",
                "persistent volumes are not supported yet; supported are volumes with a hostPath",
            ),
            ("/container/docker/image", "must not contain spaces or control characters"),
            (
                "/container/docker/privileged",
                "only supported with container type DOCKER; supported with type MESOS is false",
            ),
            (
                "/networks(0)/mode",
                "found 'container' (network 'dcos'), which is not supported yet; supported are 'host' and 'container/bridge'",
            ),
        ],
    );
}

#[test]
fn a_patch_of_the_image_and_of_the_network() {
    let app = post(
        r#"{"id": "/a", "networks": [{"mode": "container/bridge"}],
            "container": {"docker": {"image": "i:1"}, "portMappings": [{"containerPort": 80}]}}"#,
    )
    .unwrap();
    let image = r#"{"container": {"docker": {"image": "i:2"}, "portMappings": [{"containerPort": 80}]}}"#;
    let changed = patch(&app, image).unwrap();
    assert!(app.is_upgrade(&changed));
    assert_eq!(changed.image().map(|docker| docker.image.as_str()), Some("i:2"));
    assert_eq!(changed.networks, app.networks);
    // A container is replaced as a whole, and so are its mappings.
    let without = patch(&app, r#"{"container": {"docker": {"image": "i:2"}}}"#).unwrap();
    assert_eq!(without.ports().map(|port| port.name).collect::<Vec<_>>(), [Some("default")]);
    let on_host = patch(&app, r#"{"networks": [{"mode": "host"}]}"#).unwrap();
    assert_eq!(on_host.port_definitions.as_ref().map(Vec::len), Some(1));
    assert_eq!(on_host.container.as_ref().and_then(|container| container.port_mappings.clone()), None);
    let back = patch(&on_host, r#"{"networks": [{"mode": "container/bridge"}], "instances": 2}"#).unwrap();
    assert_eq!(back.image(), app.image(), "the container stays");
    assert_eq!((back.port_definitions.as_ref(), back.ports().count()), (None, 1));
}
