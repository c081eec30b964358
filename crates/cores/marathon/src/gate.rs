use std::collections::VecDeque;

use crate::effect::{Effect, Seq};
use crate::record::{Record, Write};

/// Keeps effects back, in order, until everything written before them is durable.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    writes: Vec<Write>,
    effects: Vec<Effect>,
    /// Goes out at once.
    urgent: Vec<Effect>,
    issued: Seq,
    durable: Seq,
    waiting: VecDeque<(Seq, Effect)>,
}

impl Gate {
    pub(crate) fn put(&mut self, record: Record) {
        self.writes.push(Write::Put(Box::new(record)));
    }

    pub(crate) fn delete(&mut self, key: crate::record::Key) {
        self.writes.push(Write::Delete(key));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// A call that needs nothing to be durable and may overtake everything but other calls: the master has to hear those
    /// in the order in which they were made.
    pub(crate) fn call_at_once(&mut self, effect: Effect) {
        let is_call = |effect: &Effect| matches!(effect, Effect::Send(_));
        if self.effects.iter().chain(self.waiting.iter().map(|(_, effect)| effect)).any(is_call) {
            self.effects.push(effect);
        } else {
            self.urgent.push(effect);
        }
    }

    /// Lets out what one input brought about: its writes at once, its effects as soon as may be.
    pub(crate) fn flush(&mut self, out: &mut Vec<Effect>) {
        out.append(&mut self.urgent);
        if !self.writes.is_empty() {
            self.issued.0 += 1;
            out.push(Effect::Persist(self.issued, last_of_each_key(std::mem::take(&mut self.writes))));
        }
        if self.issued == self.durable {
            out.append(&mut self.effects);
        } else {
            self.waiting.extend(self.effects.drain(..).map(|effect| (self.issued, effect)));
        }
    }

    pub(crate) fn persisted(&mut self, seq: Seq, out: &mut Vec<Effect>) {
        self.durable = self.durable.max(seq.min(self.issued));
        while self.waiting.front().is_some_and(|(at, _)| *at <= self.durable) {
            out.extend(self.waiting.pop_front().map(|(_, effect)| effect));
        }
    }
}

/// Drops writes that a later one of the same batch replaces. The order of those that stay is that of the last writes.
fn last_of_each_key(writes: Vec<Write>) -> Vec<Write> {
    if writes.len() == 1 {
        return writes;
    }
    let key = |write: &Write| match write {
        Write::Put(record) => record.key(),
        Write::Delete(key) => key.clone(),
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<Write> = writes.into_iter().rev().filter(|write| seen.insert(key(write))).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InstanceId;
    use crate::record::Key;

    fn stop(n: usize) -> Effect {
        let text = format!("a.instance-{:0>36}", n);
        Effect::StopHealthChecks(InstanceId::parse(&text).expect("an id"))
    }

    #[test]
    fn effects_wait_for_what_was_written_before_them_and_keep_their_order() {
        let mut gate = Gate::default();
        let mut out = Vec::new();
        gate.effect(stop(0));
        gate.flush(&mut out);
        assert_eq!(out.len(), 1, "nothing written, nothing to wait for");
        out.clear();

        gate.put(Record::Framework { id: "f".to_owned() });
        gate.effect(stop(1));
        gate.flush(&mut out);
        assert!(matches!(out[..], [Effect::Persist(Seq(1), _)]));
        gate.effect(stop(2));
        gate.flush(&mut out);
        gate.delete(Key::Framework);
        gate.effect(stop(3));
        gate.flush(&mut out);
        assert!(matches!(out[..], [Effect::Persist(Seq(1), _), Effect::Persist(Seq(2), _)]));
        out.clear();
        gate.persisted(Seq(1), &mut out);
        assert_eq!(format!("{out:?}"), format!("{:?}", [stop(1), stop(2)]));
        out.clear();
        gate.persisted(Seq(2), &mut out);
        assert_eq!(format!("{out:?}"), format!("{:?}", [stop(3)]));
    }

    #[test]
    fn urgent_calls_overtake_everything_but_calls() {
        let call = || Effect::Send(Box::default());
        let mut gate = Gate::default();
        let mut out = Vec::new();
        gate.put(Record::Framework { id: "f".to_owned() });
        gate.effect(stop(1));
        gate.call_at_once(call());
        gate.flush(&mut out);
        assert!(matches!(out[..], [Effect::Send(_), Effect::Persist(Seq(1), _)]));
        out.clear();
        gate.effect(call());
        gate.flush(&mut out);
        gate.call_at_once(call());
        gate.flush(&mut out);
        assert!(out.is_empty(), "behind the call that waits");
        gate.persisted(Seq(1), &mut out);
        assert!(matches!(out[..], [Effect::StopHealthChecks(_), Effect::Send(_), Effect::Send(_)]));
    }

    #[test]
    fn one_write_for_each_key() {
        let put = |id: &str| Write::Put(Box::new(Record::Framework { id: id.to_owned() }));
        let delete = Write::Delete(Key::Deployment("d".to_owned()));
        assert_eq!(last_of_each_key(vec![put("1"), delete.clone(), put("2")]), [delete, put("2")]);
    }
}
