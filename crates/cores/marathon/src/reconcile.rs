use std::collections::BTreeSet;
use std::time::Duration;

use api_marathon::EventKind;
use base::{Mono, Now};
use mesos_proto::v1::scheduler::{Event, event};

use crate::effect::Effect;
use crate::framework;
use crate::id::InstanceId;
use crate::machine::Marathon;
use crate::record::{Key, Record};
use crate::timer::Timer;

/// Tasks that the master did not answer for are asked for again after this time, then after twice this time, ...
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The same right after a subscription: a master that has just started says nothing of tasks whose agents are not back,
/// and most agents are back within a moment.
const FIRST_PAUSE_OF_SUBSCRIPTION: Duration = Duration::from_millis(500);

/// How long after a subscription the agents have to come back: then what is known is acted on, and the master is asked
/// for what else there is.
const TIME_TO_SETTLE: Duration = Duration::from_secs(10);

/// What the master answers when it has ended the framework.
const FRAMEWORK_REMOVED: &str = "Framework has been removed";

/// The connection to Mesos and what is known through it.
#[derive(Debug)]
pub(crate) struct Mesos {
    /// The framework's id.
    pub(crate) framework: Option<String>,
    /// Whether the scheduler stream is subscribed.
    pub(crate) connected: bool,
    /// The leading master, `host:port`.
    pub(crate) master: Option<String>,
    subscribed_before: bool,
    /// Whether the states of the tasks are known well enough to decide on them. Until then nothing is launched or
    /// killed: what was recorded may be long gone.
    pub(crate) settled: bool,
    /// Instances of which the master was asked and did not answer yet.
    pub(crate) unanswered: BTreeSet<InstanceId>,
    pause: Duration,
    /// When [`TIME_TO_SETTLE`] is over.
    settles: Mono,
    /// When the next step of a reconciliation is due; timers of earlier subscriptions mean nothing.
    due: Mono,
}

impl Mesos {
    pub(crate) fn new(framework: Option<String>) -> Mesos {
        Mesos {
            framework,
            connected: false,
            master: None,
            subscribed_before: false,
            settled: false,
            unanswered: BTreeSet::new(),
            pause: FIRST_PAUSE,
            settles: Mono(0),
            due: Mono(0),
        }
    }
}

impl Marathon {
    pub(crate) fn on_mesos(&mut self, now: Now, event: Event) {
        match event.r#type() {
            event::Type::Subscribed => {
                event.subscribed.into_iter().for_each(|it| self.on_subscribed(now, it))
            }
            event::Type::Offers => event.offers.into_iter().for_each(|it| self.on_offers(now, it.offers)),
            event::Type::Update => event.update.into_iter().for_each(|it| self.on_update(now, it.status)),
            event::Type::Error => event.error.into_iter().for_each(|it| self.on_error(&it.message)),
            // Offers are answered as they come, so that none is held that could be rescinded; lost agents and
            // executors show in the updates of their tasks; operations and messages are not used.
            _ => {}
        }
    }

    fn on_subscribed(&mut self, now: Now, subscribed: event::Subscribed) {
        let framework = subscribed.framework_id.value;
        if self.mesos.framework.as_ref() != Some(&framework) {
            self.gate.put(Record::Framework { id: framework.clone() });
            self.mesos.framework = Some(framework.clone());
        }
        let master = subscribed.master_info.map(|info| {
            let host =
                info.hostname.unwrap_or_else(|| std::net::Ipv4Addr::from(info.ip.to_ne_bytes()).to_string());
            format!("{host}:{}", info.port)
        });
        let shown = master.clone().unwrap_or_default();
        self.mesos.master = master;
        self.mesos.connected = true;
        let kind = if self.mesos.subscribed_before {
            EventKind::SchedulerReregistered { master: shown }
        } else {
            EventKind::SchedulerRegistered { framework_id: framework, master: shown }
        };
        self.mesos.subscribed_before = true;
        self.publish(now, kind);
        self.demand_anew();
        self.mesos.pause = FIRST_PAUSE_OF_SUBSCRIPTION;
        self.mesos.settles = now.mono + TIME_TO_SETTLE;
        self.reconcile_all(now);
        self.resend_kills(now);
    }

    pub(crate) fn on_disconnected(&mut self, now: Now) {
        if std::mem::take(&mut self.mesos.connected) {
            self.publish(now, EventKind::SchedulerDisconnected {});
        }
    }

    fn on_error(&mut self, message: &str) {
        self.mesos.connected = false;
        if message == FRAMEWORK_REMOVED {
            // Its tasks are gone; with its id no subscription will ever succeed again.
            self.mesos.framework = None;
            self.gate.delete(Key::Framework);
        }
    }

    /// Asks for every task by name.
    fn reconcile_all(&mut self, now: Now) {
        let placed =
            self.apps.values().flat_map(|app| app.instances.values()).filter(|it| it.placement.is_some());
        self.mesos.unanswered = placed.map(|instance| instance.id.clone()).collect();
        self.reconcile_unanswered(now);
    }

    fn reconcile_unanswered(&mut self, now: Now) {
        let tasks: Vec<_> = self
            .mesos
            .unanswered
            .iter()
            .filter_map(|id| self.instance(id))
            .filter_map(|instance| Some((instance.task_id(), &instance.placement.as_ref()?.agent_id)))
            .collect();
        if !tasks.is_empty() {
            let call = framework::reconcile(tasks.into_iter());
            self.gate.effect(Effect::Send(Box::new(call)));
        }
        self.reconcile_later(now);
    }

    fn reconcile_later(&mut self, now: Now) {
        self.mesos.due = now.mono + self.mesos.pause;
        if now.mono < self.mesos.settles {
            self.mesos.due = self.mesos.due.min(self.mesos.settles);
        }
        self.timers.set(self.mesos.due, Timer::Reconcile);
    }

    /// First everything that is known is asked for until it is answered, then the master is asked for what else there
    /// is; after a long time from the beginning.
    ///
    /// Marathon: `SchedulerActions.reconcileTasks`.
    pub(crate) fn on_reconcile_due(&mut self, now: Now) {
        if !self.mesos.connected || self.mesos.due > now.mono {
            return;
        }
        if now.mono < self.mesos.settles {
            self.mesos.pause *= 2;
            return self.reconcile_unanswered(now);
        }
        if !self.mesos.settled {
            self.settle();
        }
        let interval = self.config.reconcile_interval;
        if self.mesos.pause >= interval {
            self.mesos.pause = FIRST_PAUSE;
            return self.reconcile_all(now);
        }
        if self.mesos.unanswered.is_empty() {
            self.gate.effect(Effect::Send(Box::new(framework::reconcile(std::iter::empty()))));
            self.mesos.pause = interval;
            self.reconcile_later(now);
        } else {
            self.mesos.pause = (self.mesos.pause * 2).min(interval);
            self.reconcile_unanswered(now);
        }
    }

    /// From now on what is known is acted on.
    pub(crate) fn settle(&mut self) {
        self.mesos.settled = true;
        self.touched.extend(self.apps.keys().cloned());
    }
}
