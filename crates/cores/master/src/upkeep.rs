//! Maintenance as it is carried out: calls of operators, and what becomes of the agents on the machines.

use std::collections::{BTreeMap, VecDeque};

use base::{AgentId, FrameworkId, Mono, OfferId};
use mesos_proto::v1::allocator::InverseOfferStatus;
use mesos_proto::v1::maintenance::cluster_status::DrainingMachine;
use mesos_proto::v1::maintenance::{ClusterStatus, Schedule};
use mesos_proto::v1::master::Call;
use mesos_proto::v1::master::call::Type;
use mesos_proto::v1::{AgentInfo, Unavailability};

use crate::durable::Next;
use crate::effect::Reply;
use crate::input::ConnId;
use crate::inverse_offers::InverseOffer;
use crate::maintenance::{Maintenance, Name};
use crate::master::Master;
use crate::pieces::{self, Pieces};
use crate::registration::Departure;
use crate::turn::Turn;

/// How many calls wait for the one before them to be durable.
const LONGEST_QUEUE: usize = 100;
/// What agents and frameworks are told when maintenance starts.
pub(crate) const MACHINE_DOWN: &str = "Operator initiated 'Machine DOWN'";
/// What an agent is told that registers from a machine under maintenance.
const IS_DOWN: &str = "Machine is `DOWN`";

/// What maintenance the master knows of.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    pub(crate) maintenance: Maintenance,
    pieces: Pieces,
    /// Whether a change is being written. Others wait for it, because they build on it.
    busy: bool,
    queue: VecDeque<(ConnId, Call)>,
    /// Registered agents that will not be available.
    pub(crate) agents: BTreeMap<AgentId, Visited>,
    /// Inverse offers that are not answered.
    pub(crate) offers: BTreeMap<OfferId, InverseOffer>,
    /// When inverse offers are made again; none while there is nobody to make them for.
    pub(crate) next_offers: Option<Mono>,
}

/// A registered agent whose machine is scheduled for maintenance.
#[derive(Debug)]
pub(crate) struct Visited {
    pub(crate) unavailability: Unavailability,
    /// The inverse offers for it that are not answered.
    pub(crate) offers: BTreeMap<FrameworkId, OfferId>,
    /// What frameworks answered last.
    pub(crate) statuses: BTreeMap<FrameworkId, InverseOfferStatus>,
    /// Until when frameworks do not want to be asked again.
    pub(crate) refused_until: BTreeMap<FrameworkId, Mono>,
}

impl Upkeep {
    pub(crate) fn recover(pieces: Pieces, maintenance: Maintenance) -> Upkeep {
        Upkeep { maintenance, pieces, ..Upkeep::default() }
    }
}

impl Master {
    /// The calls UPDATE_MAINTENANCE_SCHEDULE, START_MAINTENANCE and STOP_MAINTENANCE.
    pub(crate) fn maintenance_call(&mut self, turn: &mut Turn<'_>, conn: ConnId, call: Call) {
        if !self.upkeep.busy {
            return self.change_maintenance(turn, conn, call);
        }
        if self.upkeep.queue.len() >= LONGEST_QUEUE {
            let text = format!("{LONGEST_QUEUE} changes of the maintenance schedule wait already");
            return turn.reply(conn, Reply::Unavailable(text));
        }
        self.upkeep.queue.push_back((conn, call));
    }

    fn change_maintenance(&mut self, turn: &mut Turn<'_>, conn: ConnId, call: Call) {
        let known = &self.upkeep.maintenance;
        let next = match call.r#type() {
            Type::UpdateMaintenanceSchedule => {
                let schedule = call.update_maintenance_schedule.map(|update| update.schedule);
                known.rescheduled(schedule.unwrap_or_default())
            }
            Type::StartMaintenance => known.started(&call.start_maintenance.unwrap_or_default().machines),
            _ => known.stopped(&call.stop_maintenance.unwrap_or_default().machines),
        };
        let next = next.and_then(|next| {
            let bytes = next.encode();
            if bytes.len() > pieces::LONGEST {
                let (length, longest) = (bytes.len(), pieces::LONGEST);
                return Err(format!(
                    "A maintenance schedule may have {longest} bytes, this one has {length}"
                ));
            }
            Ok((next, bytes))
        });
        let (next, bytes) = match next {
            Ok(next) => next,
            Err(text) => return turn.reply(conn, Reply::BadRequest(text)),
        };
        self.upkeep.busy = true;
        let mut writes = self.upkeep.pieces.replace(&bytes);
        let last = writes.pop().unwrap_or_default();
        for write in writes {
            self.persist(turn, write);
        }
        self.persist_then(turn, last, Next::Maintain { conn, maintenance: Box::new(next) });
    }

    /// The schedule is what was asked for.
    pub(crate) fn maintained(&mut self, turn: &mut Turn<'_>, conn: ConnId, maintenance: Maintenance) {
        self.upkeep.maintenance = maintenance;
        self.upkeep.busy = false;
        let agents: Vec<_> =
            self.agents.values().map(|agent| (agent.id.clone(), agent.info.clone())).collect();
        for (id, info) in agents {
            self.look_up_unavailability(turn, &id);
            if self.is_down(&info) {
                if let Some(conn) = self.agents[&id].conn {
                    Self::tell_to_shut_down(turn, conn, MACHINE_DOWN);
                }
                self.depart(turn, &id, Departure::Removed(MACHINE_DOWN.to_owned()));
            }
        }
        turn.reply(conn, Reply::Ok);
        while !self.upkeep.busy
            && let Some((conn, call)) = self.upkeep.queue.pop_front()
        {
            self.change_maintenance(turn, conn, call);
        }
    }

    /// Whether an agent is on a machine under maintenance.
    pub(crate) fn is_down(&self, agent: &AgentInfo) -> bool {
        self.upkeep.maintenance.machine_of(agent).is_some_and(|machine| machine.down)
    }

    /// Refuses an agent if it is on a machine under maintenance.
    pub(crate) fn refuse_if_down(&self, turn: &mut Turn<'_>, conn: ConnId, agent: &AgentInfo) -> bool {
        let is_down = self.is_down(agent);
        if is_down {
            Self::shut_down(turn, conn, IS_DOWN);
        }
        is_down
    }

    /// Takes over what the schedule says of a registered agent. Frameworks learn of a change by new offers
    /// in place of those they have. Mesos: `Master::updateUnavailability`.
    pub(crate) fn look_up_unavailability(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else { return };
        let machine = self.upkeep.maintenance.machine_of(&agent.info).filter(|machine| !machine.down);
        let unavailability = machine.map(|machine| machine.unavailability);
        if self.upkeep.agents.get(id).map(|visited| visited.unavailability) == unavailability {
            return;
        }
        self.rescind_offers_of_agent(turn, id);
        self.rescind_inverse_offers_of_agent(turn, id);
        self.upkeep.agents.remove(id);
        if let Some(unavailability) = unavailability {
            let visited = Visited {
                unavailability,
                offers: BTreeMap::new(),
                statuses: BTreeMap::new(),
                refused_until: BTreeMap::new(),
            };
            self.upkeep.agents.insert(id.clone(), visited);
            self.upkeep.next_offers = Some(turn.now.mono);
        }
    }

    /// When an agent will not be available.
    pub(crate) fn unavailability(&self, id: &AgentId) -> Option<Unavailability> {
        self.upkeep.agents.get(id).map(|visited| visited.unavailability)
    }

    /// The schedule, as in GET_MAINTENANCE_SCHEDULE.
    pub fn maintenance_schedule(&self) -> &Schedule {
        self.upkeep.maintenance.schedule()
    }

    /// The machines of the schedule, and what frameworks say to it, as in GET_MAINTENANCE_STATUS.
    pub fn maintenance_status(&self) -> ClusterStatus {
        let mut answers = BTreeMap::<&Name, Vec<InverseOfferStatus>>::new();
        for (id, visited) in &self.upkeep.agents {
            let info = self.agents.get(id).map(|agent| &agent.info);
            if let Some((name, _)) = info.and_then(|info| self.upkeep.maintenance.named_machine_of(info)) {
                answers.entry(name).or_default().extend(visited.statuses.values().cloned());
            }
        }
        let mut status = ClusterStatus::default();
        for (name, machine) in self.upkeep.maintenance.machines() {
            if machine.down {
                status.down_machines.push(machine.id.clone());
            } else {
                let statuses = answers.remove(name).unwrap_or_default();
                status.draining_machines.push(DrainingMachine { id: machine.id.clone(), statuses });
            }
        }
        status
    }
}
