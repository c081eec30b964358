use std::sync::Arc;

use agent_link::frame::Body;
use base::Now;
use mesos_proto::v1::{master, scheduler};

use crate::effect::{Effect, Reply};
use crate::input::ConnId;

/// The handling of one input: its time, and what has to be done about it so far.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn reply(&mut self, conn: ConnId, reply: Reply) {
        self.out.push(Effect::Reply { conn, reply });
    }

    pub(crate) fn send(&mut self, conn: ConnId, event: scheduler::Event) {
        self.out.push(Effect::Send { conn, event: Box::new(event) });
    }

    pub(crate) fn tell_agent(&mut self, conn: ConnId, body: Body) {
        self.out.push(Effect::ToAgent { conn, body: Box::new(body) });
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        self.out.push(Effect::Close { conn });
    }

    pub(crate) fn publish(&mut self, event: master::Event) {
        self.out.push(Effect::Publish { event: Arc::new(event) });
    }
}
