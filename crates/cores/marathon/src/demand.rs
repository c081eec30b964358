use std::sync::Arc;

use api_marathon::{AppDefinition, AppId};
use base::{AgentId, Now};
use mesos_proto::v1::{self, scheduler::call};

use crate::app::App;
use crate::condition::Condition;
use crate::constraint;
use crate::effect::Effect;
use crate::framework;
use crate::id::InstanceId;
use crate::instance::Placement;
use crate::machine::Marathon;
use crate::matcher::{self, Match};
use crate::offer::Pool;
use crate::task;
use crate::timer::Timer;

/// What the master thinks we want.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// It sends no offers at all.
    suppressed: bool,
    /// It keeps back resources that were declined.
    declined: bool,
}

impl Marathon {
    /// A new subscription: nothing is suppressed, nothing declined.
    pub(crate) fn demand_anew(&mut self) {
        self.demand = Demand::default();
    }

    /// Uses offers for what waits, those apps first that wait longest, and declines the rest.
    ///
    /// Marathon: `OfferProcessorImpl`, `OfferMatcherManagerActor`.
    pub(crate) fn on_offers(&mut self, now: Now, offers: Vec<v1::Offer>) {
        // Before it is known what runs, wanted and found were not compared, and what waits may be outdated.
        let queued = self.queued.iter().filter(|_| self.mesos.settled);
        let mut order: Vec<AppId> = queued.cloned().collect();
        order.sort_by_key(|id| {
            self.apps.get(id).and_then(|app| app.waiting.as_ref()).map(|waiting| waiting.since)
        });
        let refuse = self.config.decline_offer_duration.as_secs_f64();
        let mut declined = Vec::new();
        for offer in offers {
            let offer = Arc::new(offer);
            let tasks = self.fill(now, &offer, &order);
            if tasks.is_empty() {
                declined.push(offer.id.clone());
                continue;
            }
            // Whoever waits and was not looked at, because the offer has got all it may, gets the rest right away.
            let full = tasks.len() >= self.config.max_instances_per_offer;
            let rest = if full { 0.0 } else { refuse };
            self.demand.declined |= !full;
            self.gate.effect(Effect::Send(Box::new(framework::accept(offer.id.clone(), tasks, rest))));
        }
        if !declined.is_empty() {
            self.demand.declined = true;
            self.gate.effect(Effect::Send(Box::new(framework::decline(declined, refuse))));
        }
    }

    /// Launches as much as fits into one offer.
    fn fill(&mut self, now: Now, offer: &Arc<v1::Offer>, order: &[AppId]) -> Vec<v1::TaskInfo> {
        let mut pool = Pool::of(offer);
        let mut tasks = Vec::new();
        for id in order {
            let Some(wanted) = self.effective(id) else { continue };
            while tasks.len() < self.config.max_instances_per_offer {
                let Some(app) = self.apps.get_mut(id) else { break };
                let waits = app.backoff.and_then(|backoff| backoff.waits_until(&wanted, now.mono));
                let Some(instance) = app.scheduled.first().cloned().filter(|_| waits.is_none()) else {
                    break;
                };
                let others = if wanted.constraints.is_empty() { Vec::new() } else { app.placements(&wanted) };
                let roles = wanted.accepted_resource_roles.as_ref().filter(|roles| !roles.is_empty());
                let roles = roles.unwrap_or(&self.config.default_accepted_resource_roles);
                match matcher::take(&wanted, roles, offer, &others, &mut pool, now.wall, &mut self.rng) {
                    Ok(found) => tasks.push(self.launch(now, &instance, &wanted, offer, found)),
                    Err(reasons) => {
                        if let Some(waiting) = &mut app.waiting {
                            waiting.unused(offer, reasons, now.wall, self.config.max_unused_offers);
                        }
                        break;
                    }
                }
            }
        }
        tasks
    }

    fn launch(
        &mut self,
        now: Now,
        id: &InstanceId,
        wanted: &AppDefinition,
        offer: &v1::Offer,
        found: Match,
    ) -> v1::TaskInfo {
        let app = self.apps.get_mut(&id.app()).expect("the instance was found in it");
        let instance = app.instances.get_mut(id).expect("what is scheduled is an instance");
        instance.version = wanted.version;
        instance.condition = Condition::Provisioned;
        instance.since = now.wall;
        instance.placement = Some(Placement {
            agent_id: AgentId::new(&offer.agent_id.value),
            host: offer.hostname.clone(),
            attributes: offer.attributes.iter().map(|it| (it.name.clone(), constraint::text(it))).collect(),
            region: constraint::region(offer),
            zone: constraint::zone(offer),
            ports: found.ports.clone(),
            staged_at: now.wall,
            started_at: None,
            ip_addresses: Vec::new(),
            progress: None,
        });
        let info = task::info(wanted, &instance.task_id(), offer, found);
        app.scheduled.remove(id);
        if let Some(waiting) = &mut app.waiting {
            waiting.used(now.wall);
        }
        self.settle_queue(&id.app());
        self.persist_instance(id);
        self.instance_changed(now, id);
        self.timers.set(now.mono + self.config.launch_confirm_timeout, Timer::Launch(id.clone()));
        self.touch(&id.app());
        info
    }

    /// Keeps the queue in step with what is scheduled for an app.
    pub(crate) fn settle_queue(&mut self, id: &AppId) {
        let empty = self.apps.get(id).is_none_or(|app| app.scheduled.is_empty());
        if empty {
            self.queued.remove(id);
            if let Some(app) = self.apps.get_mut(id) {
                app.waiting = None;
            }
        } else {
            self.queued.insert(id.clone());
        }
    }

    /// Asks for offers as soon as something new can be launched, and wants none while nothing waits.
    ///
    /// Marathon: `ReviveOffersActor`; there at most every 5 s.
    pub(crate) fn ask_for_offers(&mut self, now: Now) {
        if !self.mesos.connected || !self.mesos.settled {
            return;
        }
        let mut launchable = false;
        let mut new = false;
        for id in &self.queued {
            let Some(wanted) = self.effective(id) else { continue };
            let Some(app) = self.apps.get(id) else { continue };
            if !is_delayed(app, &wanted, now) {
                launchable = true;
                new |= !app.announced;
            }
        }
        if new {
            let ids: Vec<AppId> = self.queued.iter().cloned().collect();
            for id in ids {
                let Some(wanted) = self.effective(&id) else { continue };
                let Some(app) = self.apps.get_mut(&id) else { continue };
                app.announced |= !is_delayed(app, &wanted, now);
            }
        }
        if self.queued.is_empty() {
            if !self.demand.suppressed {
                self.demand.suppressed = true;
                let mut call = framework::typed(call::Type::Suppress);
                call.suppress = Some(call::Suppress::default());
                self.gate.effect(Effect::Send(Box::new(call)));
            }
        } else if launchable && (self.demand.suppressed || (new && self.demand.declined)) {
            self.demand = Demand::default();
            let mut call = framework::typed(call::Type::Revive);
            call.revive = Some(call::Revive::default());
            // The offers come while what they are for is still being written; the launch then waits for that.
            self.gate.call_at_once(Effect::Send(Box::new(call)));
        }
    }
}

fn is_delayed(app: &App, wanted: &AppDefinition, now: Now) -> bool {
    app.backoff.is_some_and(|backoff| backoff.waits_until(wanted, now.mono).is_some())
}
