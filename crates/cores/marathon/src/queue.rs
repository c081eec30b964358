use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use api_marathon::{Funnel, ProcessedOffers, UnusedOffer};
use base::{AgentId, Wall};
use mesos_proto::v1::{self, value};
use serde_json::{Value, json};

use crate::matcher::Reason;

/// What became of the offers since an app began to wait.
///
/// Marathon: `OfferMatchStatistics`.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// Since when the app waits.
    pub(crate) since: Wall,
    processed: u64,
    unused: u64,
    last_unused_at: Option<Wall>,
    last_used_at: Option<Wall>,
    declined: BTreeMap<Reason, u64>,
    /// The first reason for the last offer of each agent: bounded by the number of agents.
    last_of_agent: BTreeMap<AgentId, Reason>,
    last_unused: VecDeque<Unused>,
}

#[derive(Clone, Debug)]
struct Unused {
    offer: Arc<v1::Offer>,
    reasons: Vec<Reason>,
    at: Wall,
}

impl Waiting {
    pub(crate) fn begun(now: Wall) -> Waiting {
        Waiting {
            since: now,
            processed: 0,
            unused: 0,
            last_unused_at: None,
            last_used_at: None,
            declined: BTreeMap::new(),
            last_of_agent: BTreeMap::new(),
            last_unused: VecDeque::new(),
        }
    }

    pub(crate) fn used(&mut self, now: Wall) {
        self.processed += 1;
        self.last_used_at = Some(now);
    }

    /// Remembers an offer that did not fit; of the offers themselves the last one of each agent, `keep` at most.
    pub(crate) fn unused(&mut self, offer: &Arc<v1::Offer>, reasons: Vec<Reason>, now: Wall, keep: usize) {
        self.processed += 1;
        self.unused += 1;
        self.last_unused_at = Some(now);
        if let Some(first) = reasons.iter().min() {
            *self.declined.entry(*first).or_default() += 1;
            self.last_of_agent.insert(AgentId::new(&offer.agent_id.value), *first);
        }
        self.last_unused.retain(|unused| unused.offer.agent_id != offer.agent_id);
        self.last_unused.push_back(Unused { offer: Arc::clone(offer), reasons, at: now });
        if self.last_unused.len() > keep {
            self.last_unused.pop_front();
        }
    }

    pub(crate) fn summary(&self) -> ProcessedOffers {
        let by_name = |name: &str| {
            self.declined.iter().find(|(reason, _)| reason.as_str() == name).map_or(0, |(_, n)| *n)
        };
        let last =
            |name: &str| self.last_of_agent.values().filter(|reason| reason.as_str() == name).count() as u64;
        ProcessedOffers {
            processed_offers_count: self.processed,
            unused_offers_count: self.unused,
            last_unused_offer_at: self.last_unused_at,
            last_used_offer_at: self.last_used_at,
            reject_summary_last_offers: Funnel::all(self.last_of_agent.len() as u64, last),
            reject_summary_launch_attempt: Funnel::all(self.processed, by_name),
        }
    }

    pub(crate) fn last_unused_offers(&self) -> Vec<UnusedOffer> {
        let view = |unused: &Unused| UnusedOffer {
            offer: offer_json(&unused.offer),
            reason: unused.reasons.iter().map(|reason| reason.as_str()).collect(),
            timestamp: unused.at,
        };
        self.last_unused.iter().map(view).collect()
    }
}

/// Marathon: RAML type `Offer`.
fn offer_json(offer: &v1::Offer) -> Value {
    let resource = |resource: &v1::Resource| {
        let mut json = json!({"name": resource.name, "role": crate::offer::role_of(resource)});
        add_value(&mut json, resource.scalar.as_ref(), resource.ranges.as_ref(), resource.set.as_ref());
        json
    };
    let attribute = |attribute: &v1::Attribute| {
        let mut json = json!({"name": attribute.name});
        if let Some(text) = &attribute.text {
            json["text"] = json!(text.value);
        }
        add_value(&mut json, attribute.scalar.as_ref(), attribute.ranges.as_ref(), attribute.set.as_ref());
        json
    };
    json!({
        "id": offer.id.value,
        "hostname": offer.hostname,
        "agentId": offer.agent_id.value,
        "resources": offer.resources.iter().map(resource).collect::<Vec<_>>(),
        "attributes": offer.attributes.iter().map(attribute).collect::<Vec<_>>(),
    })
}

fn add_value(
    json: &mut Value,
    scalar: Option<&value::Scalar>,
    ranges: Option<&value::Ranges>,
    set: Option<&value::Set>,
) {
    if let Some(scalar) = scalar {
        json["scalar"] = json!(scalar.value);
    }
    if let Some(ranges) = ranges {
        let range = |range: &value::Range| json!({"begin": range.begin, "end": range.end});
        json["ranges"] = ranges.range.iter().map(range).collect();
    }
    if let Some(set) = set {
        json["set"] = json!(set.item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_funnel_counts_only_the_first_reason_and_the_last_offer_of_each_agent() {
        let offer = |agent: &str| {
            let agent_id = v1::AgentId { value: agent.to_owned() };
            Arc::new(v1::Offer { agent_id, hostname: format!("{agent}.host"), ..v1::Offer::default() })
        };
        let mut waiting = Waiting::begun(Wall(0));
        waiting.unused(&offer("a"), vec![Reason::InsufficientMemory, Reason::InsufficientCpus], Wall(1), 2);
        waiting.unused(&offer("a"), vec![Reason::UnfulfilledRole], Wall(2), 2);
        waiting.unused(&offer("b"), vec![Reason::InsufficientPorts], Wall(3), 2);
        waiting.unused(&offer("c"), vec![Reason::InsufficientPorts], Wall(4), 2);
        waiting.used(Wall(5));
        let summary = waiting.summary();
        assert_eq!((summary.processed_offers_count, summary.unused_offers_count), (5, 4));
        assert_eq!(
            (summary.last_unused_offer_at, summary.last_used_offer_at),
            (Some(Wall(4)), Some(Wall(5)))
        );
        let declined = |funnel: &[Funnel]| {
            let steps = funnel.iter().filter(|step| step.declined > 0);
            steps.map(|step| (step.reason, step.declined, step.processed)).collect::<Vec<_>>()
        };
        let attempt = [("UnfulfilledRole", 1, 5), ("InsufficientCpus", 1, 4), ("InsufficientPorts", 2, 3)];
        assert_eq!(declined(&summary.reject_summary_launch_attempt), attempt);
        let last = [("UnfulfilledRole", 1, 3), ("InsufficientPorts", 2, 2)];
        assert_eq!(declined(&summary.reject_summary_last_offers), last);
        let unused = waiting.last_unused_offers();
        assert_eq!(unused.len(), 2, "bounded");
        assert_eq!(unused[1].offer["hostname"], "c.host");
        assert_eq!(unused[1].reason, ["InsufficientPorts"]);
    }
}
