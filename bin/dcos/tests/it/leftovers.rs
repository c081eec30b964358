//! Many image tasks that start and end while their agent is killed at random: the tasks that run stay the same
//! processes, and in the end nothing of any of them is left on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Process, in_own_network, request, running, until};

use crate::apps::is_root;
use crate::nodes::{Foreground, down};
use crate::traces::Traces;

const MASTER: &str = "127.0.0.1";
const AGENT: &str = "127.0.0.2";
const RESOURCES: &str = "cpus:64;mem:32768;disk:65536";
/// How long whatever is waited for may take: hundreds of containers on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(180);

/// How much is done.
struct Extent {
    /// Instances of each of the two apps that last, one on the host's network and one on a bridge.
    lasting: u32,
    /// The same of the two whose tasks end soon and are started again.
    short: u32,
    /// The most instances of the app that is scaled all the time.
    scaled: u32,
    /// Containers that have been started at least, all in all.
    tasks: usize,
    kills: u32,
    /// The longest time between a start of the agent and its end.
    life: Duration,
}

impl Extent {
    fn chosen() -> Extent {
        let small =
            Extent { lasting: 6, short: 3, scaled: 6, tasks: 30, kills: 6, life: Duration::from_millis(700) };
        let full = Extent {
            lasting: 80,
            short: 14,
            scaled: 12,
            tasks: 200,
            kills: 50,
            life: Duration::from_millis(2500),
        };
        if std::env::var_os("DCOS_TEST_LONG").is_some() { full } else { small }
    }
}

/// Apps of an image that are there for long and end when they are told.
const LASTING: [&str; 2] = ["lasting-host", "lasting-bridge"];
const SCALED: &str = "scaled-bridge";
const SHORT: [&str; 2] = ["short-host", "short-bridge"];

/// A master that lives on, and the agent that does not.
struct Nodes {
    agent: Foreground,
    master: Foreground,
    // The last to go: what a failed test left is ended by what is in it.
    dirs: TempDir,
}

impl Nodes {
    fn start() -> Nodes {
        let dirs = tempfile::Builder::new().prefix("dcos-").tempdir().unwrap();
        let master = Foreground::start(&["master", "--ip", MASTER], &dirs.path().join("master"));
        master.says("READY ");
        let agent = start_agent(dirs.path());
        agent.says("READY ");
        Nodes { dirs, master, agent }
    }

    fn agent_dir(&self) -> PathBuf {
        self.dirs.path().join("agent")
    }

    /// SIGKILL, and another agent on the same directory at once.
    fn replace_agent(&mut self) {
        self.agent.kill();
        self.agent = start_agent(self.dirs.path());
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let router = SocketAddr::new(MASTER.parse().unwrap(), 80);
        let body = body.map(|value| value.to_string().into_bytes());
        match request(router, method, path, &[], body.as_deref()) {
            Ok(answer) => (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default()),
            Err(error) => panic!("{method} {path}: {error:?}"),
        }
    }

    #[track_caller]
    fn scale(&self, id: &str, instances: u64) {
        let (status, answer) = self.ask(
            "PUT",
            &format!("/marathon/v2/apps/{id}?force=true"),
            Some(&json!({"instances": instances})),
        );
        assert_eq!(status, 200, "{answer}");
    }

    /// The running tasks of an app.
    fn running(&self, id: &str) -> BTreeSet<String> {
        let (_, answer) = self.ask("GET", &format!("/marathon/v2/apps/{id}/tasks"), None);
        let tasks = answer["tasks"].as_array().cloned().unwrap_or_default();
        let running = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING");
        running.filter_map(|task| task["id"].as_str().map(str::to_owned)).collect()
    }

    /// The containers there ever were, by their sandboxes.
    fn started(&self) -> usize {
        let entries = |dir: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|e| e.path())
                .collect()
        };
        let below = |dirs: Vec<PathBuf>, name: &str| -> Vec<PathBuf> {
            dirs.iter().flat_map(|dir| entries(&dir.join(name))).collect()
        };
        let agents = below(entries(&self.agent_dir().join("agents")), "slaves");
        below(below(below(agents, "frameworks"), "executors"), "runs").len()
    }
}

fn start_agent(dirs: &Path) -> Foreground {
    let arguments = ["agent", "--master", MASTER, "--ip", AGENT, "--resources", RESOURCES];
    Foreground::start(&arguments, &dirs.join("agent"))
}

/// An image made of busybox, and something to be fetched.
struct Given {
    _dir: TempDir,
    image: String,
    archive: String,
}

impl Given {
    fn make() -> Given {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let build = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/image/build");
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        run(Command::new("sh").arg(build).arg(path("image.tar")));
        std::fs::write(path("note"), "fetched").unwrap();
        run(Command::new("tar").arg("-C").arg(dir.path()).args(["-czf", &path("note.tar.gz"), "note"]));
        Given { image: path("image.tar"), archive: path("note.tar.gz"), _dir: dir }
    }

    fn app(&self, id: &str, cmd: &str, instances: u32) -> Value {
        let mut app = json!({
            "id": format!("/{id}"), "cmd": cmd, "cpus": 0.01, "mem": 32, "instances": instances,
            "backoffSeconds": 0, "maxLaunchDelaySeconds": 1,
            "container": {"type": "MESOS", "docker": {"image": self.image}},
        });
        if id.ends_with("bridge") {
            app["networks"] = json!([{"mode": "container/bridge"}]);
            app["container"]["portMappings"] = json!([{"containerPort": 80, "hostPort": 0}]);
        }
        if id.starts_with("short") || id == LASTING[1] {
            app["fetch"] = json!([{"uri": format!("file://{}", self.archive)}]);
        }
        app
    }
}

/// The processes of tasks that last, by the task.
fn lasting_processes(traces: &Traces) -> BTreeMap<String, Vec<Process>> {
    let mut found: BTreeMap<String, Vec<Process>> = BTreeMap::new();
    for process in running("sleep 3600").into_iter().filter(|process| process.command == "sleep 3600") {
        if !traces.is_ours(process.pid) {
            continue;
        }
        let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let task = environment.split('\0').find_map(|variable| variable.strip_prefix("MESOS_TASK_ID="));
        // A parent that dies changes the parent, not the process.
        let process = Process { parent: 0, ..process };
        found.entry(task.unwrap_or_default().to_owned()).or_default().push(process);
    }
    found
}

/// Whom the tasks that last belong to, from when they were first seen to run.
#[derive(Default)]
struct Known(BTreeMap<String, Process>);

impl Known {
    /// Every task that was known is still told to run and has its process; none has two.
    #[track_caller]
    fn check(&mut self, nodes: &Nodes, traces: &Traces, when: &str) {
        let told: BTreeSet<String> = LASTING.iter().flat_map(|id| nodes.running(id)).collect();
        let processes = lasting_processes(traces);
        for (task, found) in &processes {
            assert_eq!(found.len(), 1, "{when}: {task} runs more than once: {found:?}");
        }
        for (task, process) in &self.0 {
            assert_eq!(processes.get(task), Some(&vec![process.clone()]), "{when}: the process of {task}");
            assert!(told.contains(task), "{when}: {task} runs and is not told of: {told:?}");
        }
        let seen = told.into_iter().filter_map(|task| Some((task.clone(), processes.get(&task)?[0].clone())));
        self.0.extend(seen);
    }
}

#[track_caller]
fn wait_for(what: &str, mut problem: impl FnMut() -> Option<String>) {
    let mut last = String::new();
    let done = until(PATIENCE, || match problem() {
        None => Some(()),
        Some(found) => {
            last = found;
            None
        }
    });
    assert!(done.is_some(), "not within {PATIENCE:?}: {what}: {last}");
}

/// Rests for a random time.
fn rest(random: &mut Rng, longest: Duration) {
    let most = u64::try_from(longest.as_millis()).unwrap().max(1);
    until(Duration::from_millis(random.next_u64() % most), || None::<()>);
}

#[test]
fn nothing_is_left_of_image_tasks_whose_agent_is_killed_at_random() {
    if !is_root("images") {
        return;
    }
    let seed = std::env::var("DCOS_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        u64::from(std::process::id()) ^ u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos())
    });
    eprintln!("DCOS_TEST_SEED={seed}");
    in_own_network(|| scenario(&Extent::chosen(), &mut Rng::seeded(seed)));
}

/// Whoever ends a node whose agent is dead has no agent that clears away.
#[test]
fn nothing_is_left_of_image_tasks_whose_dead_agent_is_ended() {
    if !is_root("images") {
        return;
    }
    in_own_network(|| {
        let given = Given::make();
        let mut nodes = Nodes::start();
        let mut traces = Traces::of_agent(&nodes.agent_dir());
        for id in LASTING {
            create(&nodes, &given.app(id, "exec sleep 3600", 4));
        }
        wait_for("one of each app runs", || {
            let counts: Vec<usize> = LASTING.iter().map(|id| nodes.running(id).len()).collect();
            counts.contains(&0).then(|| format!("{counts:?}"))
        });
        // Some of the others are still being started.
        nodes.agent.kill();
        traces.look();
        assert_ne!(traces.networks(), 0);
        let Nodes { dirs, master, agent } = nodes;
        drop(agent);
        down(&dirs.path().join("agent"));
        master.end();
        assert_eq!(traces.left_after_down(), Vec::<String>::new());
    });
}

fn scenario(extent: &Extent, random: &mut Rng) {
    let began = Instant::now();
    let given = Given::make();
    let mut nodes = Nodes::start();
    let mut traces = Traces::of_agent(&nodes.agent_dir());
    for id in LASTING {
        create(&nodes, &given.app(id, "exec sleep 3600", extent.lasting));
    }
    for id in SHORT {
        create(&nodes, &given.app(id, "exec sleep $((1 + RANDOM % 8))", extent.short));
    }
    create(&nodes, &given.app(SCALED, "exec sleep 3600", extent.scaled));

    // Some kills are for the end.
    let (mut kills, while_they_run) = (0, extent.kills - extent.kills / 6);
    let mut known = Known::default();
    while kills < while_they_run || nodes.started() < extent.tasks {
        if kills < while_they_run {
            kills += 1;
            // Half of the agents die before they are back, or may.
            if random.next_u64().is_multiple_of(2) {
                nodes.agent.says("READY ");
                known.check(&nodes, &traces, &format!("kill {kills}"));
            }
            rest(random, extent.life);
            nodes.replace_agent();
        }
        nodes.scale(SCALED, random.next_u64() % u64::from(extent.scaled + 1));
        traces.look();
    }
    nodes.agent.says("READY ");
    known.check(&nodes, &traces, "after the kills");
    wait_for("the apps that last have their instances", || {
        let counts: Vec<usize> = LASTING.iter().map(|id| nodes.running(id).len()).collect();
        (counts != [extent.lasting as usize; 2]).then(|| format!("{counts:?}"))
    });
    known.check(&nodes, &traces, "with all instances");
    assert_eq!(known.0.len(), 2 * extent.lasting as usize, "no task that lasted was replaced");
    traces.look();
    // Whoever finds nothing in the end has to find what there is now.
    let found = traces.left(nodes.agent.pid());
    for kind in
        ["process ", "mount: ", "/sys/fs/cgroup/", "/roots/", "/networks/", "/holds/", "@", "elements = "]
    {
        assert!(found.iter().any(|trace| trace.contains(kind)), "{kind:?} is not among: {found:#?}");
    }
    assert!(traces.networks() >= extent.lasting as usize, "networks of containers are seen");

    for id in LASTING.iter().chain(&SHORT).chain([&SCALED]) {
        let (status, answer) = nodes.ask("DELETE", &format!("/marathon/v2/apps/{id}?force=true"), None);
        assert_eq!(status, 200, "{answer}");
    }
    while kills < extent.kills {
        kills += 1;
        rest(random, extent.life);
        nodes.replace_agent();
    }
    nodes.agent.says("READY ");
    wait_for("no container and nothing of one is left", || {
        let left = traces.left(nodes.agent.pid());
        (!left.is_empty()).then(|| format!("{} traces: {left:#?}", left.len()))
    });
    let images = request(SocketAddr::new(AGENT.parse().unwrap(), 5051), "GET", "/images", &[], None);
    for image in images.unwrap().json()["images"].as_array().unwrap() {
        assert_eq!(image["holders"], json!([]), "{image}");
    }
    wait_for("Marathon and the master know of no task", || {
        let tasks = nodes.ask("GET", "/marathon/v2/tasks", None).1["tasks"].clone();
        let state = nodes.ask("GET", "/mesos/state", None).1;
        let frameworks = state["frameworks"].as_array().cloned().unwrap_or_default();
        let of_master: Vec<&Value> =
            frameworks.iter().flat_map(|one| one["tasks"].as_array().into_iter().flatten()).collect();
        let none = tasks.as_array().is_some_and(Vec::is_empty) && of_master.is_empty();
        (!none).then(|| format!("Marathon: {tasks}; master: {of_master:?}"))
    });
    let started = nodes.started();
    let Nodes { dirs: _dirs, master, agent } = nodes;
    agent.end();
    master.end();
    assert_eq!(traces.left_after_down(), Vec::<String>::new());
    let seconds = began.elapsed().as_secs();
    eprintln!("{started} image tasks started and ended, {kills} kills of the agent, {seconds} s");
}

#[track_caller]
fn create(nodes: &Nodes, app: &Value) {
    let (status, answer) = nodes.ask("POST", "/marathon/v2/apps", Some(app));
    assert_eq!(status, 201, "{answer}");
}
