//! The one place that owns the core: takes inputs in, makes durable what they change, and performs what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use api_marathon::ApiError;
use base::Now;
use http_kit::Body;
use marathon_core::{Answer, Command, Effect, HealthResult, Input, Marathon, Refusal, ReqId, Seq, Write};
use mesos_proto::v1::{FrameworkId, scheduler::Call};
use runtime::{Clock, Shutdown};
use store::Store;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use crate::events::{Hub, KEEP_ALIVE};
use crate::probes::Prober;
use crate::records::{Records, RecordsError};
use crate::scheduler::{CallSender, FromMaster};

/// Inputs that are handled before their writes are committed together.
const BATCH: usize = 256;
/// How long the last writes may take after shutdown was requested.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What the API asks of the loop.
pub(crate) enum Job {
    /// Look at the state.
    Read(Box<dyn FnOnce(&View<'_>) + Send>),
    /// Decide on a change by the state, and make it.
    Change(Decide, oneshot::Sender<Result<Answer, ApiError>>),
    /// Listen to events of these types.
    Attach(String, BTreeSet<String>, oneshot::Sender<Result<Body, ApiError>>),
}

/// Makes a command of the state, or refuses.
pub(crate) type Decide = Box<dyn FnOnce(&View<'_>) -> Result<Command, ApiError> + Send>;

/// The state that a job sees.
pub(crate) struct View<'a> {
    /// The core.
    pub(crate) core: &'a Marathon,
    /// The time.
    pub(crate) now: Now,
    /// Numbers of this service.
    pub(crate) gauges: Gauges,
}

/// Numbers for `/metrics`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    /// Open event streams.
    pub(crate) event_streams: usize,
    /// Tasks whose health is checked from here.
    pub(crate) probed_tasks: usize,
    /// Whether the scheduler is subscribed with a master.
    pub(crate) is_subscribed: bool,
    /// Commits to the store so far.
    pub(crate) commits: u64,
}

type Commit<S> = Pin<Box<dyn Future<Output = (Records<S>, Seq, Result<(), RecordsError>)> + Send>>;

/// See the module.
pub(crate) struct EventLoop<S> {
    core: Marathon,
    /// `None` while a commit is under way.
    records: Option<Records<S>>,
    commit: Option<Commit<S>>,
    /// Writes that wait for the next commit.
    writes: Vec<(Seq, Vec<Write>)>,
    calls: CallSender,
    prober: Prober,
    hub: Hub,
    requests: u64,
    replies: BTreeMap<ReqId, oneshot::Sender<Result<Answer, ApiError>>>,
    out: Vec<Effect>,
    is_subscribed: bool,
    commits: u64,
}

/// Where inputs come from.
pub(crate) struct Inboxes {
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) master: mpsc::Receiver<FromMaster>,
}

enum Wake<S> {
    Job(Job),
    Master(FromMaster),
    Health(HealthResult),
    Committed(Box<(Records<S>, Seq, Result<(), RecordsError>)>),
    Deadline,
    KeepAlive,
    Shutdown,
}

impl<S: Store> EventLoop<S> {
    pub(crate) fn new(core: Marathon, records: Records<S>, calls: CallSender) -> Self {
        EventLoop {
            core,
            records: Some(records),
            commit: None,
            writes: Vec::new(),
            calls,
            prober: Prober::new(),
            hub: Hub::default(),
            requests: 0,
            replies: BTreeMap::new(),
            out: Vec::new(),
            is_subscribed: false,
            commits: 0,
        }
    }

    /// Runs until shutdown; then everything that was answered is durable.
    pub(crate) async fn run(&mut self, mut inboxes: Inboxes, shutdown: Shutdown) -> Result<(), RecordsError> {
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        // Not awaited while nobody listens: nothing is to be caught up with then.
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.input(Clock::now(), Input::Tick);
        loop {
            self.begin_commit();
            let wake = self.wake(&mut inboxes, &shutdown, &mut keep_alive).await;
            if matches!(wake, Wake::Shutdown) {
                return self.last_commits().await;
            }
            self.take(wake)?;
            for _ in 0..BATCH {
                let more = inboxes.master.try_recv().map(Wake::Master);
                let Ok(more) = more.or_else(|_| inboxes.jobs.try_recv().map(Wake::Job)) else { break };
                self.take(more)?;
            }
        }
    }

    async fn wake(
        &mut self,
        inboxes: &mut Inboxes,
        shutdown: &Shutdown,
        keep_alive: &mut tokio::time::Interval,
    ) -> Wake<S> {
        let deadline = self.core.next_deadline().map(|at| Instant::now() + at.since(Clock::now().mono));
        let deadline = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let has_readers = self.hub.len() > 0;
        let commit = &mut self.commit;
        let committed = async {
            match commit {
                Some(commit) => commit.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.requested() => Wake::Shutdown,
            done = committed => {
                *commit = None;
                Wake::Committed(Box::new(done))
            }
            Some(from_master) = inboxes.master.recv() => Wake::Master(from_master),
            Some(job) = inboxes.jobs.recv() => Wake::Job(job),
            result = self.prober.next() => Wake::Health(result),
            () = deadline => Wake::Deadline,
            _ = keep_alive.tick(), if has_readers => Wake::KeepAlive,
        }
    }

    fn take(&mut self, wake: Wake<S>) -> Result<(), RecordsError> {
        let now = Clock::now();
        match wake {
            Wake::Job(job) => self.job(now, job),
            Wake::Master(FromMaster::Connecting(answer)) => {
                // A scheduler that is gone needs no answer.
                let _ = answer.send(Box::new(self.core.subscribe_call()));
            }
            Wake::Master(FromMaster::Event(event)) => {
                self.is_subscribed = true;
                self.input(now, Input::Mesos(event));
            }
            Wake::Master(FromMaster::Disconnected) => {
                self.is_subscribed = false;
                self.input(now, Input::Disconnected);
            }
            Wake::Health(result) => self.input(now, Input::Health(result)),
            Wake::Committed(done) => {
                let (records, seq, outcome) = *done;
                self.records = Some(records);
                outcome?;
                self.commits += 1;
                self.input(now, Input::Persisted(seq));
            }
            Wake::Deadline => self.input(now, Input::Tick),
            Wake::KeepAlive => self.hub.keep_alive(now.wall),
            Wake::Shutdown => {}
        }
        Ok(())
    }

    fn job(&mut self, now: Now, job: Job) {
        let gauges = Gauges {
            event_streams: self.hub.len(),
            probed_tasks: self.prober.len(),
            is_subscribed: self.is_subscribed,
            commits: self.commits,
        };
        let view = View { core: &self.core, now, gauges };
        match job {
            Job::Read(read) => read(&view),
            Job::Change(decide, reply) => match decide(&view) {
                Ok(command) => {
                    self.requests += 1;
                    let request = ReqId(self.requests);
                    self.replies.insert(request, reply);
                    self.input(now, Input::Command(request, command));
                }
                // Who does not wait any more needs no answer, here and below.
                Err(error) => drop(reply.send(Err(error))),
            },
            Job::Attach(address, types, reply) => {
                let attached = self.hub.attach(address, types, now.wall);
                let attached = attached.map_err(|full| ApiError::message(503, full.to_string()));
                drop(reply.send(attached));
            }
        }
    }

    fn input(&mut self, now: Now, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        self.core.handle(now, input, &mut out);
        for effect in out.drain(..) {
            match effect {
                Effect::Persist(seq, writes) => self.writes.push((seq, writes)),
                Effect::Send(call) => self.send(call),
                Effect::StartHealthChecks(probe) => self.prober.start(probe),
                Effect::StopHealthChecks(instance) => self.prober.stop(&instance),
                Effect::Publish(event) => self.hub.publish(&event),
                Effect::Reply(request, answer) => {
                    if let Some(reply) = self.replies.remove(&request) {
                        drop(reply.send(answer.map_err(refusal)));
                    }
                }
            }
        }
        self.out = out;
    }

    /// Mesos wants every call but SUBSCRIBE to name the framework.
    fn send(&self, mut call: Box<Call>) {
        if call.framework_id.is_none() {
            call.framework_id = self.core.framework_id().map(|value| FrameworkId { value: value.to_owned() });
        }
        self.calls.send(call);
    }

    /// Commits everything that waits, as one group, unless a commit is under way.
    fn begin_commit(&mut self) {
        let Some((last, _)) = self.writes.last() else { return };
        let last = *last;
        let Some(mut records) = self.records.take() else { return };
        let writes = std::mem::take(&mut self.writes);
        self.commit = Some(Box::pin(async move {
            let outcome = records.write(writes).await;
            (records, last, outcome)
        }));
    }

    async fn last_commits(&mut self) -> Result<(), RecordsError> {
        let deadline = Instant::now() + LAST_WRITES;
        loop {
            self.begin_commit();
            let Some(commit) = self.commit.as_mut() else { return Ok(()) };
            let Ok(done) = tokio::time::timeout_at(deadline, commit).await else {
                tracing::error!("the last changes could not be written in time");
                return Ok(());
            };
            self.commit = None;
            self.take(Wake::Committed(Box::new(done)))?;
        }
    }
}

/// The answer that Marathon gives to a refusal.
fn refusal(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::AppExists(id) => ApiError::app_exists(id),
        Refusal::UnknownApp(id) => ApiError::unknown_app(id),
        Refusal::UnknownVersion(id, version) => ApiError::unknown_version(id, version),
        Refusal::UnknownDeployment(id) => ApiError::unknown_deployment(id),
        Refusal::NotQueued(id) => {
            ApiError::message(404, format!("Application {id} not found in tasks queue."))
        }
        Refusal::Locked { deployments, .. } => ApiError::app_locked(deployments.iter().map(String::as_str)),
        Refusal::TooManyDeployments(most) => ApiError::message(
            403,
            format!(
                "Max number ({most}) of running deployments is achieved. Wait for existing deployments to complete or \
                 cancel one using force=true parameter. You can increase max deployment number by using \
                 --max_running_deployments parameter but be advised that this can have negative effects on the \
                 performance."
            ),
        ),
        Refusal::NoServicePorts => ApiError::message(500, "All ports in the range are already in use"),
    }
}
