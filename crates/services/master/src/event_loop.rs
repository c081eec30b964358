//! The one task that owns the core: takes what happens, in order, and does what the core decides.
//!
//! Invariant: nothing here waits for a peer, the disk or a reader. Streams and links have bounded
//! queues and are cut off when full; the registry is written by a task of its own that reports what is
//! durable; documents are rendered here, after all that happened before they were asked for, once for
//! everybody who asks for the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_kit::Bytes;
use master_core::{ConnId, Effect, Input, Master, Reply};
use mesos_proto::recordio;
use mesos_proto::v1::{master, scheduler};
use runtime::{Clock, Shutdown};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Config;
use crate::documents::Documents;
use crate::event_stream::EventStream;
use crate::identity::Identity;
use crate::links::LinkEvent;
use crate::operator_views;
use crate::registry::Write;
use crate::view::{Scene, View};
use api_mesos::Encoding;

/// How many messages may wait for the loop. Who has more to say waits.
const INBOX: usize = 4096;
/// How many messages are handled before the documents among them are rendered.
const BATCH: usize = 512;
/// How many registry writes may be under way. The core makes one per agent that comes or goes.
const REGISTRY_QUEUE: usize = 64 * 1024;
/// How long a request waits for room in the inbox.
const PATIENCE: Duration = Duration::from_secs(30);

/// What reaches the loop.
pub(crate) enum Message {
    /// A call that changes something. The stream is that of a scheduler's SUBSCRIBE.
    Call {
        input: Input,
        conn: ConnId,
        stream: Option<(EventStream, Encoding)>,
        reply: oneshot::Sender<Reply>,
    },
    /// An operator follows the cluster.
    Follow { conn: ConnId, encoding: Encoding, stream: EventStream },
    /// The reader of a stream has gone.
    StreamClosed { conn: ConnId },
    /// An agent's connection has something to tell.
    Link { conn: ConnId, event: LinkEvent },
    /// Somebody wants to see something.
    Read { view: View, reply: oneshot::Sender<Bytes> },
}

/// The loop does not take messages: it has ended, or is too far behind.
#[derive(Debug)]
pub(crate) struct Unavailable;

/// The way into the loop. Clones lead to the same.
#[derive(Clone)]
pub(crate) struct Inbox {
    messages: mpsc::Sender<Message>,
    next_conn: Arc<AtomicU64>,
}

impl Inbox {
    /// A way into a loop that is yet to start, and what the loop reads.
    pub(crate) fn new() -> (Inbox, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(INBOX);
        (Inbox { messages, next_conn: Arc::new(AtomicU64::new(1)) }, receiver)
    }

    /// A name for an exchange or connection, never given twice.
    pub(crate) fn conn(&self) -> ConnId {
        ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands over a message, waiting for room.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Unavailable> {
        self.messages.send_timeout(message, PATIENCE).await.map_err(|_| Unavailable)
    }

    /// Hands over a message that must not be lost while the loop lives.
    pub(crate) async fn tell(&self, message: Message) {
        // An error means that the loop has ended, and then nobody needs to know any more.
        let _ = self.messages.send(message).await;
    }

    /// The document that `view` asks for, as of now or later.
    pub(crate) async fn read(&self, view: View) -> Result<Bytes, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Read { view, reply }).await?;
        answer.await.map_err(|_| Unavailable)
    }
}

/// A scheduler or operator with its stream.
struct Subscriber {
    stream: EventStream,
    encoding: Encoding,
}

/// The loop's state.
pub(crate) struct EventLoop {
    master: Master,
    identity: Arc<Identity>,
    effects: Vec<Effect>,
    replies: BTreeMap<ConnId, oneshot::Sender<Reply>>,
    schedulers: BTreeMap<ConnId, Subscriber>,
    operators: BTreeMap<ConnId, Subscriber>,
    max_operators: usize,
    links: BTreeMap<ConnId, link::Sender>,
    registry: mpsc::Sender<Write>,
    heartbeat_interval: Duration,
    documents: Documents,
    /// Streams and links that failed while effects were carried out, for the core to hear of.
    failed: Vec<Input>,
}

/// Why the loop ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The registry's writer ended or is hopelessly behind.
    #[error("the registry takes no more writes")]
    Registry,
    /// The master must not go on until somebody has looked.
    #[error("{0}")]
    Stop(String),
}

impl EventLoop {
    /// A loop around `master`, and the writes it will ask of the registry.
    pub(crate) fn new(
        master: Master,
        identity: Arc<Identity>,
        config: &Config,
    ) -> (EventLoop, mpsc::Receiver<Write>) {
        let (registry, writes) = mpsc::channel(REGISTRY_QUEUE);
        let event_loop = EventLoop {
            master,
            identity,
            effects: Vec::new(),
            replies: BTreeMap::new(),
            schedulers: BTreeMap::new(),
            operators: BTreeMap::new(),
            max_operators: config.max_operator_event_stream_subscribers.max(1),
            links: BTreeMap::new(),
            registry,
            heartbeat_interval: config.heartbeat_interval,
            documents: Documents::default(),
            failed: Vec::new(),
        };
        (event_loop, writes)
    }

    /// Runs until shutdown is requested. `persisted` shows up to which number writes are durable.
    ///
    /// # Errors
    /// When the registry cannot be written any more.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut persisted: watch::Receiver<u64>,
        shutdown: Shutdown,
    ) -> Result<(), LoopError> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut reads = Vec::new();
        loop {
            let now = Clock::mono();
            let deadline = self.master.next_deadline();
            let pause = deadline.map(|deadline| deadline.since(now));
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(pause.unwrap_or(PATIENCE)), if pause.is_some() => {
                    self.input(Input::Timer)?;
                }
                Ok(()) = persisted.changed() => {
                    let seq = *persisted.borrow_and_update();
                    self.input(Input::Persisted { seq })?;
                }
                count = inbox.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for message in batch.drain(..) {
                        match message {
                            Message::Read { view, reply } => reads.push((view, reply)),
                            other => self.message(other)?,
                        }
                    }
                    self.answer(&mut reads);
                }
            }
            if cfg!(debug_assertions) {
                self.master.check();
            }
        }
    }

    fn message(&mut self, message: Message) -> Result<(), LoopError> {
        match message {
            Message::Call { input, conn, stream, reply } => {
                self.replies.insert(conn, reply);
                if let Some((stream, encoding)) = stream {
                    self.schedulers.insert(conn, Subscriber { stream, encoding });
                }
                self.input(input)
            }
            Message::Follow { conn, encoding, stream } => {
                self.follow(conn, Subscriber { stream, encoding });
                Ok(())
            }
            Message::StreamClosed { conn } => {
                self.operators.remove(&conn);
                match self.schedulers.remove(&conn) {
                    Some(_) => self.input(Input::SchedulerClosed { conn }),
                    None => Ok(()),
                }
            }
            Message::Link { conn, event } => self.link(conn, event),
            Message::Read { .. } => unreachable!("reads are answered together"),
        }
    }

    fn link(&mut self, conn: ConnId, event: LinkEvent) -> Result<(), LoopError> {
        match event {
            LinkEvent::Hello(hello, sender) => {
                self.links.insert(conn, sender);
                let body = Box::new(agent_link::Body::Hello(*hello));
                self.input(Input::AgentFrame { conn, body })
            }
            LinkEvent::Frame(body) if self.links.contains_key(&conn) => {
                self.input(Input::AgentFrame { conn, body })
            }
            // The rest of what a link said that was closed from here.
            LinkEvent::Frame(_) => Ok(()),
            LinkEvent::Lost(lost) => {
                let Some(_) = self.links.remove(&conn) else { return Ok(()) };
                tracing::info!(conn = conn.0, reason = %lost, "an agent's connection is lost");
                let silent = matches!(lost, link::Lost::Silent(_) | link::Lost::Stuck(_));
                self.input(Input::AgentClosed { conn, silent })
            }
        }
    }

    /// Lets the core handle one input and does what it decides, and so on for what that breaks.
    fn input(&mut self, input: Input) -> Result<(), LoopError> {
        let mut next = Some(input);
        while let Some(input) = next {
            self.master.handle(Clock::now(), input, &mut self.effects);
            self.documents.revise(self.master.revision());
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.perform(effect)?;
            }
            self.effects = effects;
            next = self.failed.pop();
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), LoopError> {
        match effect {
            Effect::Reply { conn, reply } => {
                if reply != Reply::Streaming
                    && let Some(stream) = self.schedulers.remove(&conn)
                {
                    stream.stream.end();
                }
                if let Some(waiting) = self.replies.remove(&conn) {
                    // The client may have left; the call has been carried out nevertheless.
                    let _ = waiting.send(reply);
                }
            }
            Effect::Send { conn, event } => self.send(conn, &event),
            Effect::ToAgent { conn, body } => {
                let Some(link) = self.links.get(&conn) else { return Ok(()) };
                if link.send(*body).is_err() {
                    tracing::warn!(conn = conn.0, "an agent reads too slowly; its connection is closed");
                    self.links.remove(&conn);
                    self.failed.push(Input::AgentClosed { conn, silent: false });
                }
            }
            Effect::Close { conn } => {
                self.links.remove(&conn);
                if let Some(stream) = self.schedulers.remove(&conn) {
                    stream.stream.end();
                }
            }
            Effect::Persist { seq, ops } => {
                return self.registry.try_send(Write { seq, ops }).map_err(|_| LoopError::Registry);
            }
            Effect::Stop { reason } => return Err(LoopError::Stop(reason)),
            Effect::Publish { event } => self.publish(&event),
        }
        Ok(())
    }

    fn send(&mut self, conn: ConnId, event: &scheduler::Event) {
        let Some(scheduler) = self.schedulers.get(&conn) else { return };
        if scheduler.stream.send(record(event, scheduler.encoding)).is_err() {
            tracing::warn!(conn = conn.0, "a scheduler is gone or reads too slowly; its stream is cut off");
            if let Some(scheduler) = self.schedulers.remove(&conn) {
                scheduler.stream.cut("the scheduler reads too slowly");
            }
            self.failed.push(Input::SchedulerClosed { conn });
        }
    }

    fn publish(&mut self, event: &master::Event) {
        if self.operators.is_empty() {
            return;
        }
        let mut frames: [Option<Bytes>; 2] = [None, None];
        let lost = self.operators.extract_if(.., |_, operator| {
            let frame = &mut frames[operator.encoding as usize];
            let frame = frame.get_or_insert_with(|| record(event, operator.encoding));
            operator.stream.send(frame.clone()).is_err()
        });
        for (conn, operator) in lost {
            tracing::warn!(conn = conn.0, "an operator is gone or reads too slowly; its stream is cut off");
            operator.stream.cut("the operator reads too slowly");
        }
    }

    /// A new operator gets the whole state; what happens later comes as events. Where there are too
    /// many, the oldest has to go. Mesos: Master::Subscribers::subscribe.
    fn follow(&mut self, conn: ConnId, operator: Subscriber) {
        let subscribed = operator_views::subscribed(&self.master, self.heartbeat_interval, operator.encoding);
        let heartbeat = operator_heartbeat(operator.encoding);
        let sent = operator.stream.send(recordio::frame(&subscribed).into());
        if sent.and_then(|()| operator.stream.send(heartbeat)).is_err() {
            return;
        }
        while self.operators.len() >= self.max_operators {
            if let Some((_, oldest)) = self.operators.pop_first() {
                oldest.stream.end();
            }
        }
        self.operators.insert(conn, operator);
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            master: &self.master,
            identity: &self.identity,
            operators: self.operators.len(),
            reused_documents: self.documents.taken,
            queued_writes: self.registry.max_capacity() - self.registry.capacity(),
        }
    }

    /// Renders what was asked for, each document once.
    fn answer(&mut self, reads: &mut Vec<(View, oneshot::Sender<Bytes>)>) {
        for (view, reply) in reads.drain(..) {
            if reply.is_closed() {
                continue;
            }
            let document = self.documents.take(&view).unwrap_or_else(|| {
                let rendered = Bytes::from(self.scene().render(&view));
                self.documents.keep(view, &rendered);
                rendered
            });
            // The client may have left in between.
            let _ = reply.send(document);
        }
    }
}

/// The heartbeat on operators' streams.
pub(crate) fn operator_heartbeat(encoding: Encoding) -> Bytes {
    let event = master::Event { r#type: Some(master::event::Type::Heartbeat as i32), ..Default::default() };
    record(&event, encoding)
}

/// A message as it goes on a stream.
fn record<M: prost::Message + prost::Name>(message: &M, encoding: Encoding) -> Bytes {
    recordio::frame(&operator_views::encode_as(message, encoding)).into()
}
