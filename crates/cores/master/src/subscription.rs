//! How frameworks come, come back, and go. Mesos: `Master::_subscribe`, `Master::failoverFramework`,
//! `Master::removeFramework`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use agent_link::{Body, ShutdownFramework, UpdateFramework};
use base::{FrameworkId, Mono, Wall};
use mesos_proto::v1::scheduler::call::{self, Subscribe};
use mesos_proto::v1::scheduler::{Event, event::Type as EventType};
use mesos_proto::v1::{FrameworkInfo, TaskState, task_status};

use crate::effect::Reply;
use crate::framework::{Framework, Stream, roles};
use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event, published};
use crate::metrics::FrameworkMetrics;
use crate::offers::capabilities;
use crate::timer::Timer;
use crate::turn::Turn;
use crate::validation::framework as validation;

impl Master {
    /// Makes `conn` the stream of a framework, new or known, or refuses with an ERROR event.
    pub(crate) fn subscribe(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        stream_id: String,
        subscribe: Subscribe,
        principal: Option<String>,
    ) {
        let mut info = subscribe.framework_info;
        if let (Some(proved), Some(said)) = (&principal, &info.principal)
            && proved != said
        {
            let text = format!(
                "Failed to validate scheduler::Call: Authenticated principal '{proved}' does not match \
                 principal '{said}' set in `FrameworkInfo`"
            );
            return turn.reply(conn, Reply::BadRequest(text));
        }
        turn.reply(conn, Reply::Streaming);
        info.principal = info.principal.or(principal);
        let id =
            info.id.as_ref().map(|id| id.value.as_str()).filter(|id| !id.is_empty()).map(FrameworkId::from);
        self.counters.count(match id {
            Some(_) => "messages_reregister_framework",
            None => "messages_register_framework",
        });
        let suppressed: BTreeSet<String> = subscribe.suppressed_roles.into_iter().collect();
        match self.admit_framework(turn, id, info, &suppressed) {
            Ok((id, news)) => self.open_stream(turn, &id, news, conn, stream_id),
            Err(text) => {
                turn.send(conn, event::error(text));
                turn.close(conn);
            }
        }
    }

    /// The framework that subscribes, added or updated, but not connected to its new stream yet.
    fn admit_framework(
        &mut self,
        turn: &mut Turn<'_>,
        id: Option<FrameworkId>,
        mut info: FrameworkInfo,
        suppressed: &BTreeSet<String>,
    ) -> Result<(FrameworkId, News), String> {
        validation::validate(&info)?;
        if id.as_ref().is_some_and(|id| self.is_completed(id)) {
            return Err("Framework has been removed".to_owned());
        }
        validation::validate_suppressed(&roles(&info), suppressed)?;
        let Some(id) = id else {
            let id = self.new_framework_id();
            info.id = Some(message::framework_id(&id));
            self.add_framework(&id, info, suppressed, turn.now.wall);
            return Ok((id, News::New));
        };
        let Some(framework) = self.frameworks.get(&id) else {
            self.add_framework(&id, info, suppressed, turn.now.wall);
            return Ok((id, News::New));
        };
        // Mesos keeps what cannot change, with a warning in its log, where a call to update would be refused.
        info.user.clone_from(&framework.info.user);
        info.checkpoint = framework.info.checkpoint;
        validation::validate_update(&framework.info, &info)?;
        self.update_framework_info(&id, info, suppressed);
        Ok((id, News::Updated))
    }

    /// An id that no framework has, not even one that made it up.
    fn new_framework_id(&mut self) -> FrameworkId {
        loop {
            let id = FrameworkId::from(format!("{}-{:04}", self.config.info.id, self.next_framework));
            self.next_framework += 1;
            if !self.frameworks.contains_key(&id) && !self.is_completed(&id) {
                return id;
            }
        }
    }

    fn open_stream(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        news: News,
        conn: ConnId,
        stream_id: String,
    ) {
        let (now, interval) = (turn.now, self.config.heartbeat_interval);
        let framework = self.frameworks.get_mut(id).expect("it was admitted just now");
        if let Some(old) = framework.stream.take() {
            framework.metrics.events.count(EventType::Error);
            turn.send(old.conn, event::error("Framework failed over"));
            turn.close(old.conn);
            self.streams.remove(&old.conn);
        }
        self.remove_offers_of(id);
        let framework = self.frameworks.get_mut(id).expect("it was admitted just now");
        let heartbeat_at = now.mono + interval;
        framework.stream = Some(Stream { conn, id: stream_id, heartbeat_at });
        framework.removed_at = None;
        if framework.recovered {
            framework.recovered = false;
            framework.registered = now.wall;
        }
        framework.reregistered = now.wall;
        framework.metrics.calls.count(call_type_subscribe());
        self.streams.insert(conn, id.clone());
        self.timers.set(heartbeat_at, Timer::Heartbeat(id.clone()));
        let master = self.config.info.clone();
        self.send_event(turn, id, event::subscribed(id, interval.as_secs_f64(), master));
        self.send_event(turn, id, event::heartbeat());
        self.set_active(id, true);
        self.tell_agents_of(turn, id);
        let view = self.framework_view(&self.frameworks[id]);
        turn.publish(match news {
            News::New => published::framework_added(view),
            News::Updated => published::framework_updated(view),
        });
    }

    /// Adds a framework that is not connected and has nothing.
    fn add_framework(
        &mut self,
        id: &FrameworkId,
        info: FrameworkInfo,
        suppressed: &BTreeSet<String>,
        now: Wall,
    ) {
        self.allocator.add_framework(id, &roles(&info), suppressed, capabilities(&info), false);
        let framework = Framework {
            id: id.clone(),
            info: Arc::new(info),
            stream: None,
            active: false,
            recovered: false,
            registered: now,
            reregistered: now,
            unregistered: None,
            tasks: BTreeMap::new(),
            unreachable_tasks: BTreeMap::new(),
            completed_tasks: VecDeque::new(),
            offers: BTreeSet::new(),
            suppressed_roles: suppressed.clone(),
            metrics: FrameworkMetrics::default(),
            removed_at: None,
        };
        self.frameworks.insert(id.clone(), framework);
    }

    /// Adds a framework that an agent told of, after a failover of the master. It has at least the time that
    /// agents have to come back itself.
    pub(crate) fn recover_framework(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, info: &FrameworkInfo) {
        self.add_framework(id, info.clone(), &BTreeSet::new(), turn.now.wall);
        let timeout = failover_timeout(info).max(self.config.agent_reregister_timeout);
        self.remove_framework_at(id, turn.now.mono + timeout);
        let framework = self.frameworks.get_mut(id).expect("it was added just now");
        framework.recovered = true;
        let view = self.framework_view(&self.frameworks[id]);
        turn.publish(published::framework_added(view));
    }

    fn remove_framework_at(&mut self, id: &FrameworkId, at: Mono) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.removed_at = Some(at);
            self.timers.set(at, Timer::RemoveFramework(id.clone()));
        }
    }

    fn set_active(&mut self, id: &FrameworkId, active: bool) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.active = active;
            self.allocator.set_framework_active(id, active);
        }
    }

    fn update_framework_info(
        &mut self,
        id: &FrameworkId,
        info: FrameworkInfo,
        suppressed: &BTreeSet<String>,
    ) {
        self.allocator.update_framework(id, &roles(&info), suppressed, capabilities(&info));
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.suppressed_roles.clone_from(suppressed);
        framework.info = Arc::new(info);
    }

    /// Tells the agents on which a framework has something what it is now. They take it for a sign that it listens, and
    /// send again what it has not acknowledged.
    fn tell_agents_of(&self, turn: &mut Turn<'_>, id: &FrameworkId) {
        let info = &self.frameworks[id].info;
        for agent in self.agents.values().filter(|agent| agent.has_framework(id)) {
            if let Some(conn) = agent.conn {
                let framework = Some(FrameworkInfo::clone(info));
                turn.tell_agent(conn, Body::UpdateFramework(UpdateFramework { framework }));
            }
        }
    }

    /// The call UPDATE_FRAMEWORK. Mesos: `Master::updateFramework`.
    pub(crate) fn update_framework(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        call: call::UpdateFramework,
    ) -> Reply {
        let info = call.framework_info;
        let suppressed: BTreeSet<String> = call.suppressed_roles.into_iter().collect();
        let framework = &self.frameworks[id];
        if let Err(text) = validation::validate(&info) {
            return Reply::BadRequest(format!("Supplied FrameworkInfo is not valid: {text}"));
        }
        if let Err(text) = validation::validate_update(&framework.info, &info) {
            return Reply::BadRequest(format!("FrameworkInfo update is not valid: {text}"));
        }
        if let Err(text) = validation::validate_suppressed(&roles(&info), &suppressed) {
            return Reply::BadRequest(format!("'UpdateFramework' call is not valid: {text}"));
        }
        let has_changed = *framework.info != info;
        let left: Vec<_> = roles(&framework.info).difference(&roles(&info)).cloned().collect();
        let lost: Vec<_> =
            self.offers_of(framework).filter(|offer| left.contains(&offer.role.to_string())).collect();
        for offer in lost.into_iter().map(|offer| offer.id.clone()).collect::<Vec<_>>() {
            self.rescind_offer(turn, &offer);
        }
        self.update_framework_info(id, info, &suppressed);
        if has_changed {
            self.tell_agents_of(turn, id);
            let view = self.framework_view(&self.frameworks[id]);
            turn.publish(published::framework_updated(view));
        }
        Reply::Ok
    }

    /// The framework's stream is gone; it has its failover timeout to come back.
    pub(crate) fn disconnect_framework(&mut self, turn: &mut Turn<'_>, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.stream = None;
        let timeout = failover_timeout(&framework.info);
        self.set_active(id, false);
        self.remove_offers_of(id);
        self.remove_framework_at(id, turn.now.mono + timeout);
        let view = self.framework_view(&self.frameworks[id]);
        turn.publish(published::framework_updated(view));
    }

    fn remove_offers_of(&mut self, id: &FrameworkId) {
        let offers: Vec<_> = self.frameworks[id].offers.iter().cloned().collect();
        for offer in &offers {
            self.discard_offer(offer);
        }
        self.forget_inverse_offers_to(id);
    }

    pub(crate) fn is_completed(&self, id: &FrameworkId) -> bool {
        self.completed_frameworks.iter().any(|framework| framework.id == *id)
    }

    pub(crate) fn operator_teardown(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: &FrameworkId) {
        if self.frameworks.contains_key(id) {
            self.remove_framework(turn, id);
            turn.reply(conn, Reply::Ok);
        } else {
            turn.reply(conn, Reply::BadRequest("No framework found with specified ID".to_owned()));
        }
    }

    /// Ends a framework and all it runs. Mesos marks its tasks killed at once and so do we: nobody is left
    /// to hear what becomes of them.
    pub(crate) fn remove_framework(&mut self, turn: &mut Turn<'_>, id: &FrameworkId) {
        self.set_active(id, false);
        self.remove_offers_of(id);
        if let Some(stream) = self.frameworks.get_mut(id).and_then(|framework| framework.stream.take()) {
            self.streams.remove(&stream.conn);
            turn.close(stream.conn);
        }
        self.disown_operations(turn, id);
        let agents: Vec<_> = self
            .agents
            .values()
            .filter(|agent| agent.has_framework(id))
            .map(|agent| agent.id.clone())
            .collect();
        let tasks: Vec<_> = self.frameworks[id].tasks.keys().cloned().collect();
        for task in &tasks {
            let known = &self.frameworks[id].tasks[task];
            if !known.is_terminal() {
                let status = message::status(
                    turn.now.wall,
                    known.info.task_id.clone(),
                    Some(known.info.agent_id.clone()),
                    TaskState::TaskKilled,
                    task_status::Reason::FrameworkRemoved,
                    format!("Framework {id} removed"),
                );
                self.update_task(turn, id, task, status, None);
            }
            self.complete_task(id, task);
        }
        for agent in &agents {
            let executors: Vec<_> = self.agents[agent]
                .executors
                .get(id)
                .into_iter()
                .flat_map(|all| all.keys().cloned())
                .collect();
            for executor in &executors {
                self.remove_executor(agent, id, executor);
            }
            if let Some(conn) = self.agents[agent].conn {
                let framework_id = Some(message::framework_id(id));
                turn.tell_agent(conn, Body::ShutdownFramework(ShutdownFramework { framework_id }));
            }
        }
        self.forget_inverse_answers_of(id);
        self.allocator.remove_framework(id);
        let Some(mut framework) = self.frameworks.remove(id) else { return };
        framework.recovered = false;
        framework.unregistered = Some(turn.now.wall);
        framework.removed_at = None;
        for (_, task) in std::mem::take(&mut framework.unreachable_tasks) {
            framework.completed_tasks.push_back(Arc::new(task));
        }
        while framework.completed_tasks.len() > self.config.max_completed_tasks_per_framework {
            framework.completed_tasks.pop_front();
        }
        turn.publish(published::framework_removed((*framework.info).clone()));
        self.completed_frameworks.push_back(framework);
        while self.completed_frameworks.len() > self.config.max_completed_frameworks {
            self.completed_frameworks.pop_front();
        }
    }

    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, at: Mono) {
        let interval = self.config.heartbeat_interval;
        let stream = self.frameworks.get_mut(id).and_then(|framework| framework.stream.as_mut());
        let Some(stream) = stream.filter(|stream| stream.heartbeat_at == at) else { return };
        stream.heartbeat_at = turn.now.mono + interval;
        self.timers.set(turn.now.mono + interval, Timer::Heartbeat(id.clone()));
        self.send_event(turn, id, event::heartbeat());
    }

    /// Sends an event to a framework if it is connected, and says whether it is.
    pub(crate) fn send_event(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, event: Event) -> bool {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        let Some(stream) = &framework.stream else { return false };
        if let Some(kind) = event.r#type.and_then(|kind| EventType::try_from(kind).ok()) {
            framework.metrics.events.count(kind);
        }
        turn.send(stream.conn, event);
        true
    }
}

/// Whether operators have heard of a framework before.
enum News {
    New,
    Updated,
}

fn call_type_subscribe() -> mesos_proto::v1::scheduler::call::Type {
    mesos_proto::v1::scheduler::call::Type::Subscribe
}

/// How long a disconnected framework may stay away. It is validated; what is negative is no time.
pub(crate) fn failover_timeout(info: &FrameworkInfo) -> Duration {
    Duration::try_from_secs_f64(info.failover_timeout.unwrap_or(0.0)).unwrap_or(Duration::ZERO)
}
