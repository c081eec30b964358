//! One process that somebody started in a running container, and its standard streams.
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api_mesos::Encoding;
use containers::{Ending, Entered, Exit, ProcessIdentity, Streams, Terminal};
use http_kit::mesos::{bad_request, refusal};
use http_kit::{Body, Response, StatusCode};
use mesos_proto::v1::agent::{ProcessIo, process_io};
use mesos_proto::v1::tty_info::WindowSize;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::id::SessionId;
use super::output::{HEARTBEAT, Readers};

/// What is read at once.
const PIECE: usize = 16 << 10;
/// How long a process may go on that has closed its output; Mesos ends it at once.
const AFTER_OUTPUT: Duration = Duration::from_secs(5);
/// How long a session that is over waits for its readers to take what was written.
const LAST_OUTPUT: Duration = Duration::from_secs(60);
/// How long a process without a terminal may wait for a client that attaches to its input; then its input
/// ends.
const FIRST_INPUT: Duration = Duration::from_secs(60);

/// A session, running or over.
pub(super) struct Session {
    pub(super) id: SessionId,
    process: ProcessIdentity,
    readers: Readers,
    input: Arc<Mutex<Option<In>>>,
    terminal: Option<Arc<Terminal>>,
    had_input: AtomicBool,
    asked_to_end: watch::Sender<bool>,
    exit: watch::Sender<Option<Exit>>,
}

impl Session {
    /// Takes the streams over; [`Session::run`] moves what they carry.
    pub(super) fn new(id: SessionId, entered: Entered) -> (Arc<Session>, Outputs, Ending) {
        let process = entered.process.clone();
        let (streams, ending) = entered.split();
        let (input, outputs, terminal) = match streams {
            Streams::Terminal(terminal) => {
                let terminal = Arc::new(terminal);
                let output = Out::Terminal(Arc::clone(&terminal));
                let outputs = Outputs { stdout: output, stderr: None };
                (In::Terminal(Arc::clone(&terminal)), outputs, Some(terminal))
            }
            Streams::Pipes { stdin, stdout, stderr } => {
                let outputs = Outputs { stdout: Out::Pipe(stdout), stderr: Some(Out::Pipe(stderr)) };
                (In::Pipe(stdin), outputs, None)
            }
        };
        let session = Session {
            id,
            process,
            readers: Readers::default(),
            input: Arc::new(Mutex::new(Some(input))),
            terminal,
            had_input: AtomicBool::new(false),
            asked_to_end: watch::Sender::new(false),
            exit: watch::Sender::new(None),
        };
        (Arc::new(session), outputs, ending)
    }

    /// Carries the output to the readers until the session is over: its process ended, or it was asked to
    /// end, or its output ended a while ago. `end` ends everything that was started in it.
    pub(super) async fn run(
        &self,
        mut outputs: Outputs,
        mut ending: Ending,
        end: impl Future<Output = ()>,
    ) -> Exit {
        let mut reading = std::pin::pin!(self.read(&mut outputs));
        let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_read, mut deadline) = (false, None);
        let mut input_by = self.terminal.is_none().then(|| Instant::now() + FIRST_INPUT);
        let mut exit = loop {
            tokio::select! {
                exit = ending.wait() => break Some(exit),
                () = &mut reading, if !is_read => {
                    is_read = true;
                    deadline = Some(Instant::now() + AFTER_OUTPUT);
                }
                () = self.asked() => break None,
                () = until(deadline) => break None,
                () = until(input_by) => {
                    input_by = None;
                    self.end_unused_input();
                }
                _ = beat.tick() => self.readers.beat(),
            }
        };
        end.await;
        if exit.is_none() {
            exit = Some(ending.wait().await);
        }
        // Whoever is attached holds it until the end is told.
        if let Ok(mut input) = self.input.try_lock() {
            input.take();
        }
        // Nobody writes any more, so this ends when the readers have everything, or are gone.
        if !is_read {
            let _ = tokio::time::timeout(LAST_OUTPUT, reading).await;
        }
        exit.unwrap_or(Exit::Unknown)
    }

    /// Tells everybody that the session is over. To be called once it can be asked how it ended.
    pub(super) fn finish(&self, exit: Exit) {
        self.exit.send_replace(Some(exit));
        self.readers.close();
    }

    async fn read(&self, outputs: &mut Outputs) {
        use process_io::data::Type;
        let Outputs { stdout, stderr } = outputs;
        let second = async {
            if let Some(stderr) = stderr {
                self.pump(stderr, Type::Stderr).await;
            }
        };
        tokio::join!(self.pump(stdout, Type::Stdout), second);
    }

    async fn pump(&self, from: &mut Out, name: process_io::data::Type) {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            self.readers.write(name, &piece[..count]).await;
        }
    }

    /// Whoever waits for the end of an input that nobody provides is to get it.
    fn end_unused_input(&self) {
        if !self.had_input.load(Ordering::Relaxed)
            && let Ok(mut input) = self.input.try_lock()
        {
            tracing::debug!(session = %self.id, "nobody attached to a session's input, which ends");
            input.take();
        }
    }

    /// Another reader of the output. The session of one that `owns` it ends when that reader goes away.
    /// None when there are too many readers.
    pub(super) fn attach(self: &Arc<Self>, encoding: Encoding, owns: bool) -> Option<Body> {
        let (body, sender) = self.readers.attach(encoding, owns)?;
        if self.exit.borrow().is_some() {
            self.readers.close();
        }
        if owns {
            let session = Arc::clone(self);
            tokio::spawn(async move {
                tokio::select! {
                    () = sender.closed() => session.end(),
                    () = session.over() => {}
                }
            });
        }
        Some(body)
    }

    /// The way into the session, for one at a time.
    pub(super) fn take_input(&self) -> Option<Input<'_>> {
        let input = Arc::clone(&self.input).try_lock_owned().ok()?;
        self.had_input.store(true, Ordering::Relaxed);
        Some(Input { session: self, input })
    }

    /// Asks for the end. [`Session::over`] waits for it.
    pub(super) fn end(&self) {
        self.asked_to_end.send_replace(true);
    }

    /// Sends a signal to the session's process.
    ///
    /// # Errors
    /// When there is no such signal; when the process has ended, that was all it could do.
    pub(super) fn signal(&self, signal: i32) -> Result<(), String> {
        let signal = Signal::from_named_raw(signal).ok_or_else(|| format!("{signal} is no signal"))?;
        let Some(pid) = i32::try_from(self.process.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        // Compared after opening: from then on the pid cannot be another process' unnoticed.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) if self.process.is_alive() => match pidfd_send_signal(pidfd, signal) {
                Ok(()) | Err(Errno::SRCH) => Ok(()),
                Err(errno) => Err(errno.to_string()),
            },
            _ => Ok(()),
        }
    }

    async fn asked(&self) {
        // The sender is this very session's.
        let _ = self.asked_to_end.subscribe().wait_for(|asked| *asked).await;
    }

    /// Waits until the session is over.
    pub(super) async fn over(&self) {
        self.exit().await;
    }

    /// Waits until the session is over, and says how its process ended.
    pub(super) async fn exit(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let known = exit.wait_for(Option::is_some).await;
        known.ok().and_then(|known| *known).unwrap_or(Exit::Unknown)
    }

    /// Whether the session is over.
    pub(super) fn is_over(&self) -> bool {
        self.exit.borrow().is_some()
    }
}

/// The reading ends of a session's streams.
pub(super) struct Outputs {
    stdout: Out,
    /// None with a terminal, where both come out of one end.
    stderr: Option<Out>,
}

enum Out {
    Terminal(Arc<Terminal>),
    Pipe(pipe::Receiver),
}

impl Out {
    async fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Out::Terminal(terminal) => terminal.read(piece).await,
            Out::Pipe(pipe) => pipe.read(piece).await,
        }
    }
}

enum In {
    Terminal(Arc<Terminal>),
    Pipe(pipe::Sender),
}

impl In {
    async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            In::Terminal(terminal) => terminal.write_all(data).await,
            In::Pipe(pipe) => pipe.write_all(data).await,
        }
    }
}

/// Who holds it is the only one to write.
pub(super) struct Input<'a> {
    session: &'a Session,
    input: OwnedMutexGuard<Option<In>>,
}

impl Input<'_> {
    /// Does what a checked record says.
    ///
    /// # Errors
    /// The answer that says what failed.
    pub(super) async fn take(&mut self, message: ProcessIo) -> Result<(), Response> {
        if let Some(data) = message.data {
            return self.write(&data.data.unwrap_or_default()).await;
        }
        let size = message.control.and_then(|control| control.tty_info?.window_size);
        size.map_or(Ok(()), |size| self.resize(size))
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Response> {
        if data.is_empty() {
            // At a terminal whoever types ends the input by a character.
            if self.session.terminal.is_none() {
                self.input.take();
            }
            return Ok(());
        }
        let failed = |error: io::Error| {
            let text = format!("Failed writing to stdin: {error}");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, text)
        };
        match self.input.as_mut() {
            Some(input) => input.write_all(data).await.map_err(failed),
            None => Err(failed(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn resize(&self, size: WindowSize) -> Result<(), Response> {
        let failed = |why: String| bad_request(format!("Unable to set the window size: {why}"));
        let Some(terminal) = &self.session.terminal else {
            return Err(failed("the session has no terminal".to_owned()));
        };
        let size = window(size);
        terminal.resize(size).map_err(|error| failed(error.to_string()))
    }
}

/// More characters than a terminal can count are as many as it can.
pub(super) fn window(size: WindowSize) -> containers::WindowSize {
    let characters = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    containers::WindowSize { rows: characters(size.rows), columns: characters(size.columns) }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
