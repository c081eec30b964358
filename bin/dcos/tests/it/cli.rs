//! The command line of users, against a real cluster: what it prints, refuses and keeps.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use testkit::{Cluster, Options, eventually};

use crate::apps::{DCOS, settled, sleepers};

/// The program as a user's shell runs it, with settings of its own.
struct User {
    home: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a command said and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
    }
}

impl User {
    fn new() -> User {
        User { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// One whose commands go to that cluster.
    fn of(cluster: &Cluster) -> User {
        let dir = cluster.dir().canonicalize().unwrap();
        User::new().with("DCOS_CLUSTER", dir.to_str().unwrap())
    }

    fn with(mut self, name: &'static str, value: &str) -> User {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(DCOS);
        command.args(line.split(' '));
        for name in ["DCOS_URL", "DCOS_ACS_TOKEN", "DCOS_CLUSTER", "DCOS_SSL_VERIFY", "DCOS_TIMEOUT"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home.path()).env("DCOS_DIR", self.home.path().join(".dcos"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    fn dcos(&self, line: &str) -> Said {
        self.command(line).output().unwrap().into()
    }

    fn dcos_with(&self, line: &str, stdin: &str) -> Said {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    #[track_caller]
    fn prints(&self, line: &str, stdout: &str) {
        let said = self.dcos(line);
        let expected = Said { stdout: stdout.to_owned(), stderr: String::new(), code: Some(0) };
        assert_eq!(said, expected, "dcos {line}");
    }

    #[track_caller]
    fn refused(&self, line: &str, stderr: &str) {
        let said = self.dcos(line);
        let expected = Said { stdout: String::new(), stderr: format!("Error: {stderr}\n"), code: Some(1) };
        assert_eq!(said, expected, "dcos {line}");
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let said = self.dcos(line);
        assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)), "dcos {line}");
        serde_json::from_str(&said.stdout).unwrap()
    }
}

/// The id in `Created deployment <id>`.
#[track_caller]
fn deployment(said: &Said) -> String {
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)));
    said.stdout.strip_prefix("Created deployment ").unwrap().trim_end().to_owned()
}

#[test]
fn an_app_from_its_definition_to_its_end() {
    let cluster = Cluster::start(DCOS, Options::default());
    let user = User::of(&cluster);
    user.prints("marathon ping", "Marathon ping response[1x]: \"pong\"\n");
    user.prints(
        "marathon app list",
        "  ID  MEM  CPUS  TASKS  HEALTH  DEPLOYMENT  WAITING  CONTAINER  CMD  ROLE\n",
    );
    let definition = sleepers("hello", 2).to_string();
    let file = user.home.path().join("hello.json");
    std::fs::write(&file, &definition).unwrap();
    let created = deployment(&user.dcos_with("marathon app add", &definition));
    let watched = user.dcos(&format!("marathon deployment watch {created}"));
    assert_eq!(watched.code, Some(0), "{watched:?}");
    settled(&cluster, "hello", 2);
    user.prints(
        "marathon app list",
        "    ID    MEM  CPUS  TASKS  HEALTH  DEPLOYMENT  WAITING  CONTAINER        CMD            ROLE\n\
         \u{20} /hello  32   0.01  2/2    ---     ---         false    MESOS      exec sleep 3600  slave_public\n",
    );
    user.prints("marathon app list -q", "/hello\n");
    assert_eq!(user.json("marathon app list --json")[0]["id"], "/hello");
    assert_eq!(user.json("marathon app show hello")["instances"], 2);
    user.refused(
        &format!("marathon app add {}", file.display()),
        "Application '/hello' already exists\n\
         To change it: dcos marathon app update /hello < app_resource.json",
    );
    user.refused("marathon deployment list", "There are no deployments");
    user.prints("marathon deployment list --json", "[]\n");

    let tasks = user.dcos("marathon task list -q hello").stdout;
    let tasks: Vec<&str> = tasks.lines().collect();
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    let table = user.dcos("marathon task list").stdout;
    let words: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["APP", "HEALTHY", "STARTED", "HOST", "ID", "ROLE"]);
    assert_eq!(user.json(&format!("marathon task show {}", tasks[0]))["appId"], "/hello");
    user.prints(&format!("marathon task kill {}", tasks[0]), &format!("Killed tasks: ['{}']\n", tasks[0]));
    let scaled = user.dcos(&format!("marathon task kill --scale {}", tasks[1])).stdout;
    assert!(scaled.starts_with("Created deployment: "), "{scaled}");
    settled(&cluster, "hello", 1);

    deployment(&user.dcos("marathon app update hello mem=48 env={\"A\":\"b\"}"));
    let app = settled(&cluster, "hello", 1);
    assert_eq!((&app["mem"], &app["env"]), (&json!(48.0), &json!({"A": "b"})));
    deployment(&user.dcos_with("marathon app update hello", "{\"mem\": 40}"));
    settled(&cluster, "hello", 1);
    let versions = user.json("marathon app version list hello");
    assert!(versions.as_array().unwrap().len() >= 3, "{versions}");
    assert_eq!(user.json("marathon app version list --max-count 1 hello"), json!([versions[0]]));
    assert_eq!(user.json("marathon app show --app-version -1 hello")["mem"], 48.0);

    user.refused(
        "marathon app start hello 3",
        "application '/hello' already started: 1 instances\n\
         To scale it: dcos marathon app update /hello instances=3",
    );
    deployment(&user.dcos("marathon app restart hello"));
    settled(&cluster, "hello", 1);
    deployment(&user.dcos("marathon app stop hello"));
    settled(&cluster, "hello", 0);
    user.refused("marathon app stop hello", "app '/hello' already stopped: 0 instances");
    user.refused(
        "marathon app restart hello",
        "unable to perform rolling restart of application '/hello' because it has no running tasks",
    );
    user.prints("marathon app kill hello", "Killed tasks: []\n");
    deployment(&user.dcos("marathon app start hello"));
    settled(&cluster, "hello", 1);
    user.prints("marathon app remove hello", "");
    eventually("hello is gone", || (user.dcos("marathon app list -q").stdout.is_empty()).then_some(()));
}

#[test]
fn groups_are_made_listed_scaled_and_removed() {
    let cluster = Cluster::start(DCOS, Options::default());
    let user = User::of(&cluster);
    user.prints("marathon group list", "  ID  APPS  ENFORCE_ROLE\n");
    let group = json!({"id": "/shop", "apps": [sleepers("shop/web", 1)]});
    deployment(&user.dcos_with("marathon group add", &group.to_string()));
    settled(&cluster, "shop/web", 1);
    user.prints(
        "marathon group list",
        "   ID    APPS  ENFORCE_ROLE\n\
         \u{20} /shop     1  False\n",
    );
    assert_eq!(user.json("marathon group list --json")[0]["id"], "/shop");
    assert_eq!(user.json("marathon group show shop")["apps"][0]["id"], "/shop/web");
    deployment(&user.dcos("marathon group scale shop 2"));
    settled(&cluster, "shop/web", 2);
    user.prints("marathon group remove shop", "");
    eventually("the group is gone", || (user.json("marathon group list --json") == json!([])).then_some(()));
}

#[test]
fn why_an_app_waits_is_said_everywhere() {
    let cluster = Cluster::start(DCOS, Options::default());
    let user = User::of(&cluster);
    cluster.create_app(&json!({"id": "/big", "cmd": "true", "cpus": 1000, "mem": 32}));
    let waits = "not enough cpus for 1000 (1 of 1 agents)";
    let list = eventually("the offer is turned down", || {
        let list = user.dcos("marathon app list").stdout;
        list.contains(waits).then_some(list)
    });
    let words: Vec<&str> = list.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words[words.len() - 3..], ["ROLE", "WAITING", "FOR"]);
    let shown = user.dcos("marathon app show big");
    assert_eq!(shown.stderr, format!("0 of 1 instances of /big run. It waits: {waits}.\n"));
    let summary = user.dcos("marathon debug summary big");
    assert_eq!(summary.stderr, format!("/big waits: {waits}\n"));
    let line = summary.stdout.lines().find(|line| line.trim_start().starts_with("CPUS")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["CPUS", "1000", "0/1", "0.00%"]);
    let details = user.dcos("marathon debug details big").stdout;
    let line = details.lines().nth(1).unwrap().split_whitespace().take(4).collect::<Vec<_>>();
    assert_eq!(line[1..], ["ok", "ok", "-"]);
    assert_eq!(user.json("marathon debug list --json")[0]["app"]["id"], "/big");
    let blocked = user.dcos("marathon app update big mem=64");
    let running = user.dcos("marathon deployment list -q").stdout;
    assert_eq!(
        blocked.stderr,
        format!(
            "Error: changes blocked: deployment already in progress for app\n\
             Wait for it with `dcos marathon deployment watch {0}`, or override it with --force.\n",
            running.trim_end()
        )
    );
    let running = running.trim_end();
    let mut watch = user.command(&format!("marathon deployment watch --interval 60 {running}"));
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It listens to how the deployment ends before it says its first word.
    let mut word = [0];
    watch.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    let rolled_back = user.json(&format!("marathon deployment rollback {running}"));
    assert!(rolled_back["deploymentId"].is_string(), "{rolled_back}");
    let watched = Said::from(watch.wait_with_output().unwrap());
    let undone = format!("Error: deployment {running} was undone, stopped or overridden\n");
    assert!(watched.stderr.starts_with(&undone) && watched.code == Some(1), "{watched:?}");

    let failing = json!({"id": "/fails", "cmd": "exit 3", "cpus": 0.01, "mem": 32, "backoffSeconds": 600});
    cluster.create_app(&failing);
    eventually("its failure is said", || {
        let shown = user.dcos("marathon app show fails").stderr;
        let start = "0 of 1 instances of /fails run. It waits: held back ";
        let failure = "Command exited with status 3";
        (shown.starts_with(start) && shown.contains(failure)).then_some(())
    });
}

#[test]
fn slips_are_refused_with_what_was_meant() {
    let cluster = Cluster::start(DCOS, Options::default());
    let user = User::of(&cluster);
    user.refused(
        "marathon app show hello",
        "App '/hello' does not exist\nThere are no apps yet; `dcos marathon app add <file>` adds one.",
    );
    cluster.create_app(&sleepers("hello", 0));
    for command in ["show", "stop", "start", "restart", "remove", "kill", "update", "version list"] {
        let meant = "App '/helo' does not exist. Did you mean '/hello'?";
        user.refused(&format!("marathon app {command} helo"), meant);
    }
    user.refused(
        "marathon app show database",
        "App '/database' does not exist\n`dcos marathon app list` shows those that do.",
    );
    user.refused(
        "marathon app add none.json",
        "can't read from resource: none.json. Please check that it exists",
    );
    let warned = user.dcos_with("marathon app update hello", r#"{"instnaces": 0}"#);
    let meant = "Warning: an app has no field 'instnaces'; it is passed over. Did you mean 'instances'?\n";
    assert!(warned.code == Some(0) && warned.stderr == meant, "{warned:?}");
    user.refused(
        "marathon app update hello cpus=-1",
        "Invalid JSON\n  /cpus: found -1, allowed is 0.001 or more",
    );
    user.refused("marathon app start hello -- -1", "the number of instances must be positive: -1");
    user.refused("marathon app version list --max-count 0 hello", "maximum count must be a positive number");
    user.refused("marathon app show --app-version 2 hello", "relative versions must be negative: 2");
    user.refused("marathon app show --app-version -7 hello", "application '/hello' only has 1 version(s)");
    user.refused(
        "marathon task show x",
        "Task 'x' does not exist\n`dcos marathon task list` shows those that do.",
    );
    user.refused(
        "marathon app update hello cpus",
        "'cpus' is not a valid json-item\nAllowed is key=value, as in cpus=0.5 or 'env={\"A\": \"b\"}'.",
    );
    user.refused("marathon deployment stop none", "DeploymentPlan none does not exist");
    let broken = user.dcos_with("marathon app add", "{");
    assert!(broken.stderr.starts_with("Error: error loading JSON: "), "{broken:?}");
    let invalid = user.dcos_with("marathon app add", r#"{"id": "/x", "cmd": "true", "cpus": -1}"#);
    assert!(invalid.stderr.contains("/cpus"), "{invalid:?}");
    let unknown = user.dcos("marathon app lst");
    assert!(unknown.stderr.starts_with("Error: unrecognized subcommand 'lst'\n"), "{unknown:?}");
    assert!(unknown.stderr.contains("'list'"), "{unknown:?}");
    assert_eq!(unknown.code, Some(1));
}

#[test]
fn a_cluster_that_does_not_answer_is_named_with_what_to_do() {
    let subnet = testkit::own_subnet();
    let url = format!("http://{}1:5050", subnet.trim_end_matches("0/24"));
    let address = url.trim_start_matches("http://");
    let reason = format!("cannot connect to {address}: Connection refused (os error 111)");
    User::new().with("DCOS_URL", &url).refused(
        "marathon app list",
        &format!(
            "the cluster at {url} does not answer: {reason}\n\
             It is named by DCOS_URL; unset that to use the attached cluster, or one of this machine."
        ),
    );
    let user = User::new().with("DCOS_CLUSTER", "x");
    user.refused(
        "marathon app list",
        "DCOS_CLUSTER is 'x', and there is no such cluster\n\
         Allowed is the name or ID of one that `dcos cluster list` shows, or the directory of a `dcos up`.",
    );
    user.refused("cluster setup", "missing cluster URL\nE.g. dcos cluster setup http://127.0.0.1");
    user.refused(
        "cluster attach none",
        "no match found for 'none'\n`dcos cluster list` shows the clusters that are set up.",
    );
    let user = User::new().with("DCOS_URL", "ftp://x");
    let said = user.dcos("marathon app list").stderr;
    assert!(said.starts_with("Error: 'ftp://x' is no URL of a cluster: "), "{said}");
}

#[test]
fn a_cluster_with_a_token_is_set_up_attached_and_forgotten() {
    let arguments = vec!["--auth".to_owned()];
    let cluster = Cluster::start(DCOS, Options { arguments, ..Options::default() });
    let url = format!("http://{}", cluster.router()).trim_end_matches(":80").to_owned();
    let token = cluster.dir().join("token");
    // Whoever may read the token needs no setup.
    User::of(&cluster).prints("marathon app list -q", "");
    let other = User::new().with("DCOS_URL", &url);
    other.refused("marathon app list", "authentication failed, please run `dcos auth login`");
    other.prints(
        "auth list-providers",
        "  PROVIDER ID              LOGIN METHOD\n\
         \u{20} dcos-token   Log in using the token of the cluster\n",
    );

    let user = User::new();
    let wrong = user.home.path().join("wrong");
    std::fs::write(&wrong, "0000\n").unwrap();
    user.refused(&format!("cluster setup {url} --token-file {}", wrong.display()), "invalid auth token");
    user.refused(
        &format!("cluster setup {url} --username bob"),
        "this cluster takes no username and password\n\
         It takes: dcos-token. With a token: --token-file <file>.",
    );
    let set_up = user.dcos(&format!("cluster setup {url} --name dev --token-file {}", token.display()));
    assert_eq!((set_up.stdout.as_str(), set_up.code), ("", Some(0)), "{set_up:?}");
    user.prints("marathon app list -q", "");

    let list = user.json("cluster list --json");
    let own = list.as_array().unwrap().iter().find(|item| item["name"] == "dev").unwrap();
    assert_eq!((&own["attached"], &own["status"]), (&json!(true), &json!("AVAILABLE")));
    let id = own["cluster_id"].as_str().unwrap();
    let dir = user.home.path().join(".dcos/clusters").join(id);
    assert!(dir.join("attached").is_file());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.join("dcos.toml")), 0o600);
    user.prints(
        "config show",
        &format!("cluster.name dev\ncore.dcos_acs_token ********\ncore.dcos_url {url}\ncore.timeout 180\n"),
    );
    user.prints("config set core.timeout 20", "");
    user.prints("config show core.timeout", "20\n");
    user.refused(
        "config set core.timeout soon",
        "core.timeout cannot be 'soon'\nAllowed is a number of seconds, 1 or more.",
    );
    user.refused("config show core.tiemout", "unknown key \"core.tiemout\"\nDid you mean core.timeout?");
    let valid = user.dcos("config validate");
    assert_eq!(valid.stdout, "Congratulations, your configuration is valid!\n");

    user.prints("auth logout", "");
    user.refused("marathon app list", "authentication failed, please run `dcos auth login`");
    let login = user.dcos(&format!("auth login --token-file {}", token.display()));
    assert_eq!((login.stderr.as_str(), login.code), ("Login successful\n", Some(0)));
    user.prints("marathon app list -q", "");
    user.prints("cluster rename dev prod", "");
    user.prints("cluster remove prod", "");
    assert!(!dir.exists());

    let real = cluster.dir().canonicalize().unwrap();
    let attached = user.dcos(&format!("cluster attach {}", real.display()));
    assert_eq!(attached.stderr, format!("You are now attached to cluster {id}\n"));
    user.prints("marathon app list -q", "");
}

#[test]
fn versions_and_help() {
    let user = User::new().with("DCOS_CLUSTER", "x");
    let version = env!("CARGO_PKG_VERSION");
    user.prints("--version", &format!("dcoscli.version={version}\n"));
    let cluster = Cluster::start(DCOS, Options::default());
    let user = User::of(&cluster);
    user.prints(
        "--version",
        &format!(
            "dcoscli.version={version}\ndcos.version={version}\ndcos.variant=open\ndcos.commit=\n\
             dcos.bootstrap-id=\n"
        ),
    );
    for line in ["help", "--help", "marathon", "marathon --help", "help marathon app", "config"] {
        let said = user.dcos(line);
        assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)), "dcos {line}");
        assert!(said.stdout.contains("Usage: dcos"), "dcos {line}: {}", said.stdout);
    }
    let traced = user.dcos("-v marathon ping --once").stderr;
    assert!(traced.contains("GET /service/marathon/ping"), "{traced}");

    // A reader that goes away is told nothing.
    let mut command = user.command("marathon about");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(141)));
}

#[test]
fn bash_completes_commands_and_ids() {
    let cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&sleepers("hello", 0));
    let user = User::of(&cluster);
    let script = user.home.path().join("completion");
    std::fs::write(&script, user.dcos("completion bash").stdout).unwrap();
    let bin = user.home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(DCOS, bin.join("dcos")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let check = |words: &str, expected: &str| {
        let words: Vec<&str> = words.split(',').collect();
        let (current, last) = (words[words.len() - 1], words.len() - 1);
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let test = format!(
            "source '{}'\nCOMP_WORDS=({}); COMP_CWORD={last}; _dcos_ids dcos '{current}' ''; echo \"${{COMPREPLY[*]}}\"",
            script.display(),
            quoted.join(" "),
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &test]).env("PATH", &path).env("HOME", user.home.path());
        bash.envs(user.variables.iter().map(|(name, value)| (name, value)));
        let said = Said::from(bash.output().unwrap());
        assert_eq!((said.stdout.trim_end(), said.stderr.as_str()), (expected, ""), "{words:?}");
    };
    check("dcos,marathon,app,sh", "show");
    check("dcos,marathon,app,show,/he", "/hello");
    check("dcos,marathon,app,show,he", "hello");
    check("dcos,marathon,app,show,--app", "--app-version");
}
