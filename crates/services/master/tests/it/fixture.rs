//! A real master for one test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use master::{Config, Error};
use runtime::{Ctx, Stop};
use tokio::task::JoinHandle;

use crate::raw::{PATIENCE, get};

/// A master that runs in this process, on an address of its own.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    config: Config,
    stop: Option<Stop>,
    task: JoinHandle<Result<(), Error>>,
    _dir: TempDir,
}

struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address of this process's own loopback subnet that no other test has.
fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(last < 250, "too many masters for one subnet");
    Ipv4Addr::new(127, 1 + (pid / 250 % 250) as u8, (pid % 250) as u8, last)
}

/// A master with Mesos' defaults.
pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

/// A master with some settings changed.
pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let ip = own_ip();
    let dir = std::env::temp_dir().join(format!("dcos-master-{ip}"));
    let _ = std::fs::remove_dir_all(&dir);
    let mut config = Config::new(ip, dir.clone());
    change(&mut config);
    let (stop, task) = spawn(config.clone()).await;
    let address = SocketAddr::from((ip, config.port));
    Running { address, config, stop: Some(stop), task, _dir: TempDir(dir) }
}

async fn spawn(config: Config) -> (Stop, JoinHandle<Result<(), Error>>) {
    let (ctx, stop, readiness) = Ctx::for_tests();
    let task = tokio::spawn(master::run(config, ctx));
    let ready = tokio::time::timeout(PATIENCE, readiness.reached()).await.expect("a start in time");
    if !ready {
        let ended = task.await.expect("no panic");
        panic!("the master does not start: {ended:?}");
    }
    (stop, task)
}

impl Running {
    pub(crate) fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Stops it as a supervisor does, and starts it on the same directory and port.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let (stop, task) = spawn(self.config.clone()).await;
        (self.stop, self.task) = (Some(stop), task);
    }

    /// Asks it to stop and waits for its end, which must come soon and be a good one.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        let ended = tokio::time::timeout(PATIENCE, &mut self.task).await.expect("an end in time");
        ended.expect("no panic").expect("no error");
    }

    /// Reads `path` until what it says satisfies `is`.
    pub(crate) async fn until(
        &self,
        path: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = get(self.address, path).await.json();
            if is(&found) {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stays {found:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
