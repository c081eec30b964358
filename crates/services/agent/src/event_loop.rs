//! The one place where the agent's state changes: inputs in, effects carried out in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::{Agent, ConnectionId, Effect, Input};
use agent_link::{Body, ExecutorExited, ExecutorMessage, OperationUpdate, Update};
use containers::Containers;
use mesos_proto::v1;
use mesos_proto::v1::executor::{Event, event};
use resources::Resources;
use runtime::{Clock, Shutdown};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::collector::Collector;
use crate::executor_stream::ExecutorStream;
use crate::lifecycle::Lifecycles;
use crate::mailbox::Command;
use crate::meta::Meta;
use crate::{Config, Error, limits, registration};
use base::with_causes;

/// Commands taken before timers get their turn.
const BATCH: usize = 256;
/// How long launches that are on the way may take when the service is asked to stop: a container must
/// not come up unrecorded.
const LAUNCHES_DRAIN: Duration = Duration::from_secs(11);
/// Beyond the executors' grace periods, how long ending everything may take.
const END_SLACK: Duration = Duration::from_secs(30);

/// How long the master may take to acknowledge the ends of all tasks before the agent goes anyhow.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often executors hear that the agent is there (Mesos: `DEFAULT_EXECUTOR_HEARTBEAT_INTERVAL`).
const HEARTBEAT: Duration = Duration::from_secs(30 * 60);

/// Why the loop goes on although it was asked to stop.
enum Phase {
    Running,
    /// Launches are on the way.
    Stopping(Instant),
    /// Everything is being ended.
    Ending(Instant),
    /// Everything has ended, and the master is still to hear of it.
    Telling(Instant),
}

pub(crate) struct EventLoop {
    pub(crate) config: Arc<Config>,
    pub(crate) agent: Agent,
    pub(crate) meta: Meta,
    pub(crate) containers: Containers,
    pub(crate) lifecycles: Lifecycles,
    pub(crate) collector: Collector,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) streams: BTreeMap<ConnectionId, ExecutorStream>,
    pub(crate) link: Option<link::Sender>,
    /// The master wants this agent to be gone for good.
    pub(crate) leaving: bool,
}

impl EventLoop {
    /// Runs until asked to stop; tasks run on unless the configuration says else.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> Result<(), Error> {
        let mut phase = Phase::Running;
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            let timer = self.agent.next_timer();
            let tick = async {
                match timer {
                    Some(at) => tokio::time::sleep(at.since(Clock::mono())).await,
                    None => std::future::pending().await,
                }
            };
            let deadline = match phase {
                Phase::Running => None,
                Phase::Stopping(deadline) | Phase::Ending(deadline) | Phase::Telling(deadline) => {
                    Some(deadline)
                }
            };
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command)?,
                    None => return Ok(()),
                },
                () = tick => self.handle(Input::Tick)?,
                () = self.collector.due() => self.collector.collect(),
                () = shutdown.requested(), if matches!(phase, Phase::Running) => phase = self.begin_to_stop()?,
                () = until(deadline) => return self.give_up(&phase),
                _ = heartbeat.tick() => self.beat(),
            }
            for _ in 1..BATCH {
                let Ok(command) = self.commands.try_recv() else { break };
                self.take(command)?;
            }
            match phase {
                Phase::Running if self.leaving => phase = self.begin_to_end()?,
                Phase::Stopping(_) if !self.lifecycles.is_starting() => return Ok(()),
                Phase::Ending(_) if self.lifecycles.count() == 0 => {
                    phase = Phase::Telling(Instant::now() + LAST_WORDS);
                }
                Phase::Telling(_) if self.agent.frameworks().next().is_none() => return self.ended(),
                _ => {}
            }
        }
    }

    fn begin_to_stop(&mut self) -> Result<Phase, Error> {
        if self.config.end_tasks_at_shutdown {
            return self.begin_to_end();
        }
        self.lifecycles.close();
        Ok(Phase::Stopping(Instant::now() + LAUNCHES_DRAIN))
    }

    fn begin_to_end(&mut self) -> Result<Phase, Error> {
        let longest = self
            .agent
            .frameworks()
            .flat_map(|framework| framework.executors())
            .filter_map(|executor| executor.info().shutdown_grace_period.as_ref())
            .map(|period| Duration::from_nanos(u64::try_from(period.nanoseconds).unwrap_or(0)))
            .fold(self.config.executor_shutdown_grace_period, Duration::max);
        self.handle(Input::ShutdownAll)?;
        Ok(Phase::Ending(Instant::now() + longest + END_SLACK))
    }

    /// Time is up.
    fn give_up(&mut self, phase: &Phase) -> Result<(), Error> {
        if matches!(phase, Phase::Telling(_)) {
            // What was not acknowledged is recorded, and told by the next run.
            return self.ended();
        }
        let left = self.lifecycles.count();
        tracing::error!(left, "containers are left that did not start or end in time");
        Ok(())
    }

    fn beat(&self) {
        let heartbeat = Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() };
        // One that is lost is told by its connection.
        self.streams.values().for_each(|stream| drop(stream.send(&heartbeat)));
    }

    fn ended(&mut self) -> Result<(), Error> {
        if self.leaving {
            self.meta.forget_agent()?;
        }
        Ok(())
    }

    fn take(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Input(input) => self.handle(input),
            Command::Read(look) => {
                look(&self.agent);
                Ok(())
            }
            Command::Subscribe(input, stream) => {
                if let Input::Subscribe { connection, .. } = &input {
                    self.streams.insert(*connection, stream);
                }
                self.handle(input)
            }
            Command::Linked(link, registered) => self.register(link, registered),
            Command::Leave(reason) => {
                tracing::error!(reason, "the master ends this agent for good");
                self.leaving = true;
                Ok(())
            }
        }
    }

    fn register(&mut self, link: link::Sender, registered: Input) -> Result<(), Error> {
        if let (Input::Registered { agent_id }, Some(known)) = (&registered, self.agent.id())
            && known != agent_id
        {
            let (known, found) = (known.clone(), agent_id.clone());
            return Err(Error::OtherId { known, found });
        }
        self.link = Some(link);
        self.handle(registered)
    }

    fn handle(&mut self, input: Input) -> Result<(), Error> {
        self.lifecycles.observe(&input);
        if matches!(input, Input::Disconnected) {
            self.link = None;
        }
        if let Input::Unsubscribed { connection } = &input {
            self.streams.remove(connection);
        }
        let mut effects = Vec::new();
        self.agent.handle(Clock::now(), input, &mut effects);
        for effect in effects {
            self.perform(effect)?;
        }
        #[cfg(debug_assertions)]
        self.agent.check();
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Persist(record) => self.meta.write(&record)?,
            Effect::Launch(launch) => self.lifecycles.launch(*launch),
            Effect::Destroy { container_id } => self.lifecycles.destroy(container_id),
            Effect::Resize { container_id, resources } => self.resize(&container_id, &resources),
            Effect::Send { connection, event } => {
                if let Some(stream) = self.streams.get(&connection)
                    && stream.send(&event).is_err()
                {
                    // Cut off. It subscribes again, and then it gets what it missed.
                    self.streams.remove(&connection);
                }
            }
            Effect::Close { connection } => drop(self.streams.remove(&connection)),
            Effect::Forward { framework_id, status, latest_state } => {
                self.send(Body::Update(Update {
                    framework_id: Some(v1::FrameworkId { value: framework_id.to_string() }),
                    executor_id: status.executor_id.clone(),
                    status: Some(*status),
                    latest_state: latest_state as i32,
                }));
            }
            Effect::OperationUpdate { uuid, framework_id, status } => {
                self.send(Body::OperationUpdate(OperationUpdate {
                    operation_uuid: uuid,
                    framework_id: framework_id.map(|id| v1::FrameworkId { value: id.to_string() }),
                    latest: Some((*status).clone()),
                    status: Some(*status),
                }));
            }
            Effect::ExecutorExited { framework_id, executor_id, status } => {
                self.send(Body::ExecutorExited(ExecutorExited {
                    framework_id: Some(v1::FrameworkId { value: framework_id.to_string() }),
                    executor_id: Some(v1::ExecutorId { value: executor_id.to_string() }),
                    status,
                }));
            }
            Effect::ExecutorMessage { framework_id, executor_id, data } => {
                self.send(Body::ExecutorMessage(ExecutorMessage {
                    framework_id: Some(v1::FrameworkId { value: framework_id.to_string() }),
                    executor_id: Some(v1::ExecutorId { value: executor_id.to_string() }),
                    data,
                }));
            }
            Effect::CollectLater { run, after } => self.collector.schedule(self.agent.id(), run, after),
        }
        Ok(())
    }

    /// What cannot be sent now is sent again: updates until they are acknowledged, the rest never.
    fn send(&mut self, body: Body) {
        if let Some(link) = &self.link
            && registration::send(link, body).is_err()
        {
            self.link = None;
        }
    }

    fn resize(&self, container_id: &base::ContainerId, resources: &[v1::Resource]) {
        let Ok(all) = Resources::from_wire(resources) else { return };
        let limits = limits::limits_of(&all, &self.config);
        if let Err(error) = self.containers.update(container_id, &limits) {
            tracing::warn!(%container_id, error = with_causes(&error), "a container keeps its old limits");
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
