//! An agent as an executor sees it: a Unix socket with the v1 executor API.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mesos_proto::recordio;
use mesos_proto::v1::executor::{Call, Event, call, event};
use mesos_proto::v1::framework_info::{Capability, capability};
use mesos_proto::v1::{ExecutorId, FrameworkInfo, TaskState, TaskStatus};
use prost::Message;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Agent {
    path: PathBuf,
    shared: Arc<Shared>,
    calls: Receiver<Call>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    stopped: AtomicBool,
    acknowledge: AtomicBool,
    /// Answered to SUBSCRIBE instead of a stream.
    refusal: Option<&'static str>,
    stream: Mutex<Option<UnixStream>>,
    connections: Mutex<Vec<UnixStream>>,
    calls: Sender<Call>,
}

impl Agent {
    pub(crate) fn start(path: &Path) -> Agent {
        Self::start_with(path, true, None)
    }

    pub(crate) fn start_with(path: &Path, acknowledge: bool, refusal: Option<&'static str>) -> Agent {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let (sender, calls) = channel();
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            acknowledge: AtomicBool::new(acknowledge),
            refusal,
            stream: Mutex::new(None),
            connections: Mutex::new(Vec::new()),
            calls: sender,
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Agent { path: path.to_owned(), shared, calls, accepting: Some(accepting) }
    }

    /// The next SUBSCRIBE.
    pub(crate) fn expect_subscribe(&self) -> call::Subscribe {
        loop {
            if let Some(subscribe) = self.next_call().subscribe {
                return subscribe;
            }
        }
    }

    /// The next status update that was not sent before; it must have this state.
    pub(crate) fn expect(&self, state: TaskState) -> TaskStatus {
        loop {
            if let Some(update) = self.next_call().update {
                assert_eq!(update.status.state(), state, "{:?}", update.status);
                return update.status;
            }
        }
    }

    fn next_call(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a call from the executor")
    }

    /// No call comes for this long.
    pub(crate) fn expect_silence(&self, time: Duration) {
        if let Ok(call) = self.calls.recv_timeout(time) {
            panic!("unexpected: {call:?}");
        }
    }

    pub(crate) fn send(&self, event: Event) {
        self.shared.send(&event).unwrap();
    }

    /// Goes away as a killed process does: all its sockets close.
    pub(crate) fn stop(mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = UnixStream::connect(&self.path);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        *self.shared.stream.lock().unwrap() = None;
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.close();
        }
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let connection = connection.unwrap();
        shared.connections.lock().unwrap().push(connection.try_clone().unwrap());
        let shared = Arc::clone(shared);
        // Ends with its connection, which `close` shuts.
        std::thread::spawn(move || {
            let _ = shared.serve(connection);
        });
    }
}

impl Shared {
    fn serve(&self, mut connection: UnixStream) -> io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        while let Some(body) = read_request(&mut reader)? {
            let call = Call::decode(&*body).unwrap();
            if call.r#type() == call::Type::Subscribe {
                if let Some(refusal) = self.refusal {
                    connection.write_all(refusal.as_bytes())?;
                    self.calls.send(call).unwrap();
                    continue;
                }
                connection.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n",
                )?;
                *self.stream.lock().unwrap() = Some(connection.try_clone()?);
                let waiting = call.subscribe.clone().unwrap().unacknowledged_updates;
                self.send(&subscribed())?;
                self.calls.send(call).unwrap();
                self.acknowledge_all(waiting.into_iter().map(|update| update.status))?;
            } else {
                connection.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")?;
                let status = call.update.clone().map(|update| update.status);
                self.calls.send(call).unwrap();
                self.acknowledge_all(status.into_iter())?;
            }
        }
        Ok(())
    }

    fn acknowledge_all(&self, statuses: impl Iterator<Item = TaskStatus>) -> io::Result<()> {
        if self.acknowledge.load(Ordering::SeqCst) {
            for status in statuses {
                self.send(&acknowledged(&status))?;
            }
        }
        Ok(())
    }

    fn send(&self, event: &Event) -> io::Result<()> {
        let record = recordio::frame(&event.encode_to_vec());
        let mut stream = self.stream.lock().unwrap();
        let stream = stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        write!(stream, "{:x}\r\n", record.len())?;
        stream.write_all(&record)?;
        stream.write_all(b"\r\n")
    }
}

fn read_request(reader: &mut BufReader<UnixStream>) -> io::Result<Option<Vec<u8>>> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

pub(crate) fn acknowledged(status: &TaskStatus) -> Event {
    let acknowledged = event::Acknowledged { task_id: status.task_id.clone(), uuid: status.uuid().to_vec() };
    Event {
        r#type: Some(event::Type::Acknowledged as i32),
        acknowledged: Some(acknowledged),
        ..Default::default()
    }
}

fn subscribed() -> Event {
    let killing = Capability { r#type: Some(capability::Type::TaskKillingState as i32) };
    let framework_info = FrameworkInfo { capabilities: vec![killing], ..Default::default() };
    let mut subscribed = event::Subscribed { framework_info, ..Default::default() };
    subscribed.executor_info.executor_id = ExecutorId { value: "task".into() };
    Event { r#type: Some(event::Type::Subscribed as i32), subscribed: Some(subscribed), ..Default::default() }
}

pub(crate) fn kill(grace: Option<Duration>) -> Event {
    let grace = grace.map(|grace| mesos_proto::v1::DurationInfo { nanoseconds: grace.as_nanos() as i64 });
    let kill_policy = Some(mesos_proto::v1::KillPolicy { grace_period: grace });
    let kill = event::Kill { kill_policy, ..Default::default() };
    Event { r#type: Some(event::Type::Kill as i32), kill: Some(kill), ..Default::default() }
}

pub(crate) fn shutdown() -> Event {
    Event { r#type: Some(event::Type::Shutdown as i32), ..Default::default() }
}
