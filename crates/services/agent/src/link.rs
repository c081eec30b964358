//! The connection to the master: asked for, upgraded, kept alive, made again when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agent_core::{Input, Knowledge};
use agent_link::{Body, Decoder, Frame, Hello, RunningExecutor, Welcome};
use base::{AgentId, ExecutorId, FrameworkId, Rng, TaskId};
use http_kit::upgrade::{self, Upgraded};
use http_kit::{Address, Client, ClientConfig, Request, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use crate::Config;
use crate::mailbox::{Command, Mailbox, Stopping};
use crate::state::CAPABILITIES;

/// Frames that may wait for the master before messages, which nobody promised to deliver, are dropped.
const BACKLOG: usize = 4096;
/// How long the master may take from the request to its Welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// After so many frames of the master it is told that they were received, if nothing else is sent.
const ACK_EVERY: u64 = agent_link::UNACKNOWLEDGED / 4;
/// What a master that names none is taken to mean.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
const DEFAULT_SILENCE: Duration = Duration::from_secs(75);

/// The way to the master. Dropping it closes the connection after what was sent.
///
/// What waits in it is bounded by what it says: at most one update of each task and one retry of it each
/// 10 s until the silence of a master that does not read ends the connection; and messages only while
/// there is room.
#[derive(Debug)]
pub(crate) struct LinkSender {
    frames: mpsc::UnboundedSender<Body>,
    waiting: Arc<AtomicUsize>,
}

/// The connection is over.
#[derive(Debug)]
pub(crate) struct LinkGone;

impl LinkSender {
    pub(crate) fn send(&self, body: Body) -> Result<(), LinkGone> {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        if waiting >= BACKLOG && matches!(body, Body::ExecutorMessage(_)) {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Ok(());
        }
        self.frames.send(body).map_err(|_| LinkGone)
    }
}

/// Why there is no link (any more).
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the master cannot be asked: {0}")]
    Ask(#[from] http_kit::ClientError),
    #[error("the master answered {0} and not with a connection")]
    Answer(http_kit::StatusCode),
    #[error("the master refused: {0}")]
    Refused(String),
    #[error("the master refused for good: {0}")]
    RefusedForGood(String),
    #[error("nothing was heard from the master for {0:?}")]
    Silent(Duration),
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Protocol(String),
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// Keeps a link to the master until the event loop ends.
pub(crate) async fn run(config: Arc<Config>, boot_id: String, mailbox: Mailbox, mut rng: Rng) {
    let client = Client::new(ClientConfig::showing(&config.auth));
    let (shortest, longest) = config.reconnect;
    let mut wait = shortest;
    loop {
        let mut welcomed = false;
        let link = serve(&config, &boot_id, &mailbox, &client, &mut welcomed);
        let lost = match Box::pin(link).await {
            Ok(()) => return,
            Err(Lost::Stopping(_)) => return,
            Err(lost) => lost,
        };
        if welcomed {
            wait = shortest;
            tracing::warn!(master = %config.master, error = %lost, "lost the master, tasks run on");
        } else {
            tracing::debug!(master = %config.master, error = %lost, "no master yet");
        }
        if matches!(lost, Lost::Refused(_) | Lost::RefusedForGood(_)) {
            tracing::error!(master = %config.master, error = %lost, "not registered");
            wait = longest;
        }
        if mailbox.tell(Input::Disconnected).await.is_err() {
            return;
        }
        // Between half and all of the wait, so that agents do not come all at once.
        let jitter = rng.below(wait.as_nanos().max(2) as u64 / 2);
        tokio::time::sleep(wait / 2 + Duration::from_nanos(jitter)).await;
        wait = (wait * 2).min(longest);
    }
}

/// One connection from its request to its loss.
async fn serve(
    config: &Config,
    boot_id: &str,
    mailbox: &Mailbox,
    client: &Client,
    welcomed: &mut bool,
) -> Result<(), Lost> {
    wait_for_recovery(mailbox).await?;
    let connection = connect(config, client).await?;
    let (read, mut write) = tokio::io::split(connection);
    // Asked for as late as possible: what the master is told must still be so when it is welcomed.
    let knowledge = mailbox.read(agent_core::Agent::knowledge).await?;
    let hello = Frame { seq: 1, ack: 0, body: Some(Body::Hello(hello(boot_id, knowledge))) };
    let bytes = agent_link::encode(&hello);
    timeout(WELCOME_TIMEOUT, write.write_all(&bytes)).await.map_err(|_| Lost::Silent(WELCOME_TIMEOUT))??;
    let piece = vec![0; 16 * 1024].into_boxed_slice();
    let mut incoming =
        Incoming { read, decoder: Decoder::default(), piece, seq: 0, received: Arc::default() };
    let welcome = match incoming.next(WELCOME_TIMEOUT).await? {
        Body::Welcome(welcome) => welcome,
        Body::Refused(refused) if refused.permanent => return Err(Lost::RefusedForGood(refused.reason)),
        Body::Refused(refused) => return Err(Lost::Refused(refused.reason)),
        Body::Shutdown(shutdown) => {
            mailbox.send(Command::Leave(shutdown.reason)).await?;
            return Ok(());
        }
        _ => return Err(Lost::Protocol("the first frame of a master is Welcome or Refused".into())),
    };
    *welcomed = true;
    tracing::info!(master = %config.master, agent_id = agent_id(&welcome), "registered");
    let pulse = Pulse::of(&welcome);
    let (frames, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = LinkSender { frames, waiting: Arc::clone(&waiting) };
    let registered = Input::Registered { agent_id: AgentId::new(agent_id(&welcome)) };
    mailbox.send(Command::Linked(sender, registered)).await?;
    let mut outgoing = Outgoing { write, queue, waiting, seq: 1, received: incoming.received.clone() };
    tokio::select! {
        lost = outgoing.run(pulse) => Err(lost),
        lost = listen(&mut incoming, pulse, mailbox) => lost,
    }
}

fn agent_id(welcome: &Welcome) -> &str {
    welcome.agent_id.as_ref().map_or("", |id| &id.value)
}

async fn listen(incoming: &mut Incoming, pulse: Pulse, mailbox: &Mailbox) -> Result<(), Lost> {
    loop {
        match incoming.next(pulse.silence).await? {
            // The link stays: the ends of the tasks go over it.
            Body::Shutdown(shutdown) => mailbox.send(Command::Leave(shutdown.reason)).await?,
            body => {
                if let Some(input) = input_of(body) {
                    mailbox.tell(input).await?;
                }
            }
        }
    }
}

/// Until then Hello would not name tasks that are about to come back.
async fn wait_for_recovery(mailbox: &Mailbox) -> Result<(), Lost> {
    while !mailbox.read(agent_core::Agent::is_recovered).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn connect(config: &Config, client: &Client) -> Result<Upgraded, Lost> {
    let mut request = Request::new(http_kit::Body::empty());
    *request.uri_mut() = http_kit::Uri::from_static(agent_link::PATH);
    upgrade::offer(request.headers_mut(), agent_link::UPGRADE);
    let timeouts = Timeouts { response_head: Some(WELCOME_TIMEOUT), ..Timeouts::default() };
    let mut response = client.send(&Address::Tcp(config.master), request, timeouts).await?;
    let Some(upgrade) = upgrade::take_response(&mut response) else {
        return Err(Lost::Answer(response.status()));
    };
    let connection = timeout(WELCOME_TIMEOUT, upgrade.connection()).await;
    match connection {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Lost::Protocol(error.to_string())),
        Err(_) => Err(Lost::Silent(WELCOME_TIMEOUT)),
    }
}

fn hello(boot_id: &str, knowledge: Knowledge) -> Hello {
    let executors = knowledge.executors.into_iter().map(|(framework_id, executor)| RunningExecutor {
        framework_id: Some(mesos_proto::v1::FrameworkId { value: framework_id.to_string() }),
        executor: Some(executor),
    });
    Hello {
        min_version: agent_link::MIN_VERSION,
        max_version: agent_link::MAX_VERSION,
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        credential: None,
        boot_id: boot_id.to_owned(),
        total: knowledge.info.resources.clone(),
        agent: Some(knowledge.info),
        version: api_mesos::version::MESOS_VERSION.to_owned(),
        frameworks: knowledge.frameworks,
        executors: executors.collect(),
        tasks: knowledge.tasks,
    }
}

/// What a frame of the master means. Frames that only an agent sends mean nothing.
fn input_of(body: Body) -> Option<Input> {
    let framework_id = |id: Option<mesos_proto::v1::FrameworkId>| Some(FrameworkId::new(id?.value));
    let executor_id = |id: Option<mesos_proto::v1::ExecutorId>| Some(ExecutorId::new(id?.value));
    let task_id = |id: Option<mesos_proto::v1::TaskId>| Some(TaskId::new(id?.value));
    Some(match body {
        Body::RunTask(run) => {
            Input::RunTask { framework: Box::new(run.framework?), task: Box::new(run.task?) }
        }
        Body::RunTaskGroup(run) => Input::RunTaskGroup {
            framework: Box::new(run.framework?),
            executor: Box::new(run.executor?),
            tasks: run.task_group?.tasks,
        },
        Body::KillTask(kill) => Input::KillTask {
            framework_id: framework_id(kill.framework_id)?,
            task_id: task_id(kill.task_id)?,
            kill_policy: kill.kill_policy,
        },
        Body::AcknowledgeUpdate(acknowledge) => Input::AcknowledgeUpdate {
            framework_id: framework_id(acknowledge.framework_id)?,
            task_id: task_id(acknowledge.task_id)?,
            uuid: acknowledge.uuid,
        },
        Body::FrameworkMessage(message) => Input::FrameworkMessage {
            framework_id: framework_id(message.framework_id)?,
            executor_id: executor_id(message.executor_id)?,
            data: message.data,
        },
        Body::ShutdownExecutor(shutdown) => Input::ShutdownExecutor {
            framework_id: framework_id(shutdown.framework_id)?,
            executor_id: executor_id(shutdown.executor_id)?,
        },
        Body::ShutdownFramework(shutdown) => {
            Input::ShutdownFramework { framework_id: framework_id(shutdown.framework_id)? }
        }
        Body::UpdateFramework(update) => Input::UpdateFramework { framework: Box::new(update.framework?) },
        _ => return None,
    })
}

#[derive(Clone, Copy, Debug)]
struct Pulse {
    heartbeat: Duration,
    silence: Duration,
}

impl Pulse {
    fn of(welcome: &Welcome) -> Pulse {
        let millis = |millis: u32, default| match millis {
            0 => default,
            millis => Duration::from_millis(millis.into()),
        };
        Pulse {
            heartbeat: millis(welcome.heartbeat_millis, DEFAULT_HEARTBEAT),
            silence: millis(welcome.silence_millis, DEFAULT_SILENCE),
        }
    }
}

/// What both directions know of what the master sent and received.
#[derive(Debug, Default)]
struct Received {
    seq: AtomicU64,
    ack: AtomicU64,
    changed: Notify,
}

struct Incoming {
    read: ReadHalf<Upgraded>,
    decoder: Decoder,
    piece: Box<[u8]>,
    seq: u64,
    received: Arc<Received>,
}

impl Incoming {
    /// The next frame with a body. Frames without one only prove life and acknowledge.
    async fn next(&mut self, silence: Duration) -> Result<Body, Lost> {
        loop {
            while let Some(frame) =
                self.decoder.next_frame().map_err(|error| Lost::Protocol(error.to_string()))?
            {
                if frame.ack > self.received.ack.fetch_max(frame.ack, Ordering::AcqRel) {
                    self.received.changed.notify_one();
                }
                let Some(body) = frame.body else { continue };
                if frame.seq != self.seq + 1 {
                    return Err(Lost::Protocol(format!("frame {} came after frame {}", frame.seq, self.seq)));
                }
                self.seq = frame.seq;
                self.received.seq.store(frame.seq, Ordering::Release);
                if frame.seq.is_multiple_of(ACK_EVERY) {
                    self.received.changed.notify_one();
                }
                return Ok(body);
            }
            match timeout(silence, self.read.read(&mut self.piece)).await {
                Err(_) => return Err(Lost::Silent(silence)),
                Ok(Ok(0)) => return Err(Lost::Closed),
                Ok(Ok(count)) => self.decoder.push(&self.piece[..count]),
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }
}

struct Outgoing {
    write: WriteHalf<Upgraded>,
    queue: mpsc::UnboundedReceiver<Body>,
    waiting: Arc<AtomicUsize>,
    seq: u64,
    received: Arc<Received>,
}

impl Outgoing {
    /// Sends what is queued and the heartbeats between, until the queue's sender is dropped or the
    /// master does not read.
    async fn run(&mut self, pulse: Pulse) -> Lost {
        let mut acknowledged = 0;
        let mut bytes = Vec::new();
        let mut beat = Instant::now() + pulse.heartbeat;
        loop {
            let window = self.received.ack.load(Ordering::Acquire) + agent_link::UNACKNOWLEDGED;
            let first = tokio::select! {
                body = self.queue.recv(), if self.seq < window => match body {
                    Some(body) => Some(body),
                    None => {
                        // The other side may be gone already.
                        let _ = timeout(pulse.silence, self.write.shutdown()).await;
                        return Lost::Closed;
                    }
                },
                () = tokio::time::sleep_until(beat) => None,
                () = self.received.changed.notified() => {
                    if self.received.seq.load(Ordering::Acquire) - acknowledged < ACK_EVERY {
                        continue;
                    }
                    None
                }
            };
            bytes.clear();
            acknowledged = self.received.seq.load(Ordering::Acquire);
            match first {
                None => bytes = agent_link::encode(&Frame { seq: 0, ack: acknowledged, body: None }),
                Some(first) => {
                    self.append(first, acknowledged, &mut bytes);
                    // What is waiting behind it goes with the same write.
                    while self.seq < window && bytes.len() < 256 * 1024 {
                        let Ok(body) = self.queue.try_recv() else { break };
                        self.append(body, acknowledged, &mut bytes);
                    }
                }
            }
            match timeout(pulse.silence, self.write.write_all(&bytes)).await {
                Ok(Ok(())) => beat = Instant::now() + pulse.heartbeat,
                Ok(Err(error)) => return error.into(),
                Err(_) => return Lost::Silent(pulse.silence),
            }
        }
    }

    fn append(&mut self, body: Body, ack: u64, bytes: &mut Vec<u8>) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.seq += 1;
        bytes.extend_from_slice(&agent_link::encode(&Frame { seq: self.seq, ack, body: Some(body) }));
    }
}
