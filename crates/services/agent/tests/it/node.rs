//! An agent in this process, with a directory of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent::Config;
use http_kit::{Address, Client, Fetched, Method, Timeouts};
use runtime::{Ctx, Readiness, Stop};
use tokio::task::JoinHandle;

use crate::master::Master;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is removed at the end, with all tasks that are left.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dcos-agent-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let dir = self.0.clone();
        // On a thread of its own: the test's runtime may be gone or busy panicking.
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(agent::end_all_tasks(&dir)).is_ok() && std::fs::remove_dir_all(&dir).is_ok()
        });
        let clean = ended.join().unwrap_or(false);
        assert!(clean || std::thread::panicking(), "the directory is left clean");
    }
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    stop: Stop,
    running: JoinHandle<Result<(), agent::Error>>,
}

/// The program of examples/node.rs, which cargo builds with the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/node");
    assert!(
        program.exists(),
        "build {} first: cargo test -p agent does, with --test it it is left out",
        program.display()
    );
    program
}

pub(crate) fn config(dir: &Dir, master: &Master) -> Config {
    let program = program();
    let mut config = Config::new(own_address(), master.address, dir.0.clone());
    config.resources = Some("cpus:8;mem:4096;disk:1000;ports:[31000-31099]".into());
    config.cgroup_root = Some(Path::new("dcos-test").join(dir.0.file_name().unwrap()));
    config.helper = vec![program.clone().into(), "container-init".into()];
    config.executor = vec![program.display().to_string(), "executor".into()];
    config.executor_shutdown_grace_period = Duration::from_secs(2);
    config
}

/// An address that no other agent of any test has, so that it can be taken again after a restart.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, 100 + high % 100, low, u8::try_from(last).expect("there are few tests"))
}

impl Node {
    pub(crate) async fn start(config: Config) -> Node {
        let (ctx, stop, readiness): (Ctx, Stop, Readiness) = Ctx::for_tests();
        let (address, dir) = ((config.ip, config.port).into(), config.dir.clone());
        let running = tokio::spawn(agent::run(config, ctx));
        let ready = tokio::time::timeout(PATIENCE, readiness.reached()).await.expect("the agent starts");
        if !ready {
            panic!("the agent failed: {:?}", running.await);
        }
        Node { address, dir, stop, running }
    }

    /// Stops it as its supervisor does.
    pub(crate) async fn stop(self) {
        self.stop.request();
        self.ended().await;
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.running).await.expect("the agent stops").unwrap().unwrap();
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn abort(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Fetched {
        let mut request = http_kit::Request::new(http_kit::Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        if let Some((content_type, body)) = body {
            let content_type = http_kit::HeaderValue::from_str(content_type).unwrap();
            request.headers_mut().insert(http_kit::header::CONTENT_TYPE, content_type);
            *request.body_mut() = http_kit::Body::full(body);
        }
        let address = Address::Tcp(self.address);
        Client::default().fetch(&address, request, Timeouts::default(), 16 << 20, PATIENCE).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Fetched {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// Containers that the machine still has of this agent.
    pub(crate) fn containers_left(&self) -> usize {
        std::fs::read_dir(self.dir.join("containers")).map_or(0, Iterator::count)
    }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Full isolation, and with it limits and counters, needs root.
pub(crate) fn skip_without_root(test: &str) -> bool {
    let skip = !host::is_root();
    if skip {
        eprintln!("SKIP {test}: needs root");
    }
    skip
}
