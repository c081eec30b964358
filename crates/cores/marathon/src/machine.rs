use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_marathon::{AppDefinition, AppId, Event, EventKind};
use base::{Mono, Now, Rng, Timers, Wall};

use crate::app::App;
use crate::config::Config;
use crate::demand::Demand;
use crate::deploy::Deployment;
use crate::effect::Effect;
use crate::gate::Gate;
use crate::id::InstanceId;
use crate::input::Input;
use crate::instance::Instance;
use crate::reconcile::Mesos;
use crate::timer::Timer;

/// Marathon without IO. See the crate's documentation.
#[derive(Debug)]
pub struct Marathon {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) deployments: BTreeMap<String, Deployment>,
    pub(crate) mesos: Mesos,
    pub(crate) demand: Demand,
    pub(crate) gate: Gate,
    pub(crate) timers: Timers<Timer>,
    /// Instances whose tasks are probed.
    pub(crate) probed: BTreeSet<InstanceId>,
    /// Apps for which wanted and found have to be compared.
    pub(crate) touched: BTreeSet<AppId>,
    /// Apps that have something scheduled.
    pub(crate) queued: BTreeSet<AppId>,
    /// The newest version given to anything: versions are unique and increase, whatever the clock does.
    pub(crate) last_version: Wall,
}

impl Marathon {
    /// Takes in one input and says what to do.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Persisted(seq) => return self.gate.persisted(seq, out),
            Input::Command(req, command) => self.on_command(now, req, command),
            Input::Mesos(event) => self.on_mesos(now, *event),
            Input::Disconnected => self.on_disconnected(now),
            Input::Health(result) => self.on_health_result(now, result),
            Input::Tick => {}
        }
        while let Some((_, timer)) = self.timers.pop_due(now.mono) {
            self.on_timer(now, timer);
        }
        self.drive(now);
        self.ask_for_offers(now);
        self.gate.flush(out);
    }

    /// When [`Input::Tick`] is due; `None` if nothing is waited for. It may change with every input.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    fn on_timer(&mut self, now: Now, timer: Timer) {
        match timer {
            // Whether the delay is over is looked at when offers are asked for, after every input.
            Timer::Backoff(_) => {}
            Timer::Kill(id) => self.on_kill_due(now, &id),
            Timer::Launch(id) => self.on_launch_overdue(now, &id),
            Timer::Unreachable(id) => self.on_unreachable_for_long(now, &id),
            Timer::Reconcile => self.on_reconcile_due(now),
        }
    }

    /// A version newer than all others.
    pub(crate) fn next_version(&mut self, now: Wall) -> Wall {
        let next = Wall::from_millis(now.as_millis().max(self.last_version.as_millis() + 1));
        self.last_version = next;
        next
    }

    pub(crate) fn publish(&mut self, now: Now, kind: EventKind) {
        self.gate.effect(Effect::Publish(Box::new(Event::new(kind, now.wall))));
    }

    /// Has wanted and found compared for the app before the input is done with.
    pub(crate) fn touch(&mut self, app: &AppId) {
        self.touched.insert(app.clone());
    }

    /// The instance of this id.
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.apps.get(&id.app())?.instances.get(id)
    }

    pub(crate) fn instance_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        self.apps.get_mut(&id.app())?.instances.get_mut(id)
    }

    /// The definition that an instance runs.
    pub(crate) fn definition_of(&self, id: &InstanceId) -> Option<Arc<AppDefinition>> {
        let app = self.apps.get(&id.app())?;
        app.versions.get(&app.instances.get(id)?.version).cloned()
    }
}
