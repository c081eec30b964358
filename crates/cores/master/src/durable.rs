//! What has to be durable before anybody may know of it.
//!
//! A change is asked for with [`Effect::Persist`] and made, and answered, in [`Master::persisted`]: memory
//! never runs ahead of the registry, and nobody is told of what a crash could undo.

use std::collections::BTreeMap;

use base::AgentId;

use crate::draining::Decision;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::maintenance::Maintenance;
use crate::master::Master;
use crate::registration::Departure;
use crate::registry::RegistryOp;
use crate::turn::Turn;

/// What goes on when a write is durable, by the write's number.
#[derive(Debug, Default)]
pub(crate) struct Waiting(BTreeMap<u64, Next>);

/// What goes on when a write is durable. A change that an operator asked for has the connection of the
/// call here, to be answered after the change is made.
#[derive(Debug)]
pub(crate) enum Next {
    /// The agent is admitted.
    Admit(AgentId),
    /// The agent has gone.
    Depart(AgentId, Departure),
    /// An operator's decision about the agent holds.
    Decide { conn: ConnId, id: AgentId, decision: Decision },
    /// The agent is emptied.
    Drained(AgentId),
    /// The maintenance schedule is this.
    Maintain { conn: ConnId, maintenance: Box<Maintenance> },
}

impl Waiting {
    /// The last decision about an agent that is not durable yet.
    pub(crate) fn decision(&self, of: &AgentId) -> Option<&Decision> {
        self.0.values().rev().find_map(|next| match next {
            Next::Decide { id, decision, .. } if id == of => Some(decision),
            _ => None,
        })
    }
}

impl Master {
    /// Asks for a write to the registry that nothing waits for.
    pub(crate) fn persist(&mut self, turn: &mut Turn<'_>, ops: Vec<RegistryOp>) {
        self.next_persist += 1;
        turn.out.push(Effect::Persist { seq: self.next_persist, ops });
    }

    /// Asks for a write to the registry and goes on with `next` when it is durable.
    pub(crate) fn persist_then(&mut self, turn: &mut Turn<'_>, ops: Vec<RegistryOp>, next: Next) {
        self.persist(turn, ops);
        self.waiting.0.insert(self.next_persist, next);
    }

    /// Everything up to `seq` is durable.
    pub(crate) fn persisted(&mut self, turn: &mut Turn<'_>, seq: u64) {
        while let Some(entry) = self.waiting.0.first_entry().filter(|entry| *entry.key() <= seq) {
            match entry.remove() {
                Next::Admit(id) => self.admitted(turn, &id),
                Next::Depart(id, departure) => self.departed(turn, &id, departure),
                Next::Decide { conn, id, decision } => self.decided(turn, conn, &id, decision),
                Next::Drained(id) => self.drained(turn, &id),
                Next::Maintain { conn, maintenance } => self.maintained(turn, conn, *maintenance),
            }
        }
    }
}
