use std::collections::BTreeSet;

use api_marathon::{AppDefinition, Funnel};
use base::{Rng, Wall};
use mesos_proto::v1;
use resources::Scalar;

use crate::constraint;
use crate::instance::Placement;
use crate::offer::Pool;
use crate::ports;

/// A reason of the funnel, as an index into [`Funnel::REASONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    UnfulfilledRole,
    UnfulfilledConstraint,
    /// 2, `NoCorrespondingReservationFound`, is about volumes, of which there are none yet.
    AgentMaintenance = 3,
    InsufficientCpus,
    InsufficientMemory,
    InsufficientDisk,
    InsufficientGpus,
    InsufficientPorts,
}

impl Reason {
    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        Funnel::REASONS[self as usize]
    }
}

/// What a task gets of an offer.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) resources: Vec<v1::Resource>,
    pub(crate) ports: Vec<u16>,
}

/// Takes what one instance of `app` needs out of the pool, or says every reason why it cannot. `others` are where
/// instances of the app's current configuration are.
///
/// Marathon: `ResourceMatcher.matchResources`.
pub(crate) fn take(
    app: &AppDefinition,
    roles: &BTreeSet<String>,
    offer: &v1::Offer,
    others: &[&Placement],
    pool: &mut Pool,
    now: Wall,
    rng: &mut Rng,
) -> Result<Match, Vec<Reason>> {
    let mut reasons = Vec::new();
    if !pool.has_any(roles) {
        reasons.push(Reason::UnfulfilledRole);
    }
    if !app.constraints.iter().all(|wanted| constraint::is_met(wanted, offer, others, app.instances)) {
        reasons.push(Reason::UnfulfilledConstraint);
    }
    if in_maintenance(offer, now) {
        reasons.push(Reason::AgentMaintenance);
    }
    let needs = [
        ("cpus", app.cpus, Reason::InsufficientCpus),
        ("mem", app.mem, Reason::InsufficientMemory),
        ("disk", app.disk, Reason::InsufficientDisk),
        ("gpus", f64::from(app.gpus), Reason::InsufficientGpus),
    ];
    // Taken from a copy, so that nothing is gone if something is missing.
    let mut left = pool.clone();
    let mut resources = Vec::new();
    for (name, amount, reason) in needs {
        match Scalar::from_f64(amount).and_then(|amount| left.take_scalar(name, amount, roles)) {
            Some(taken) => resources.extend(taken),
            None => reasons.push(reason),
        }
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let ports = ports::choose(app, &left, roles, rng).ok_or_else(|| vec![Reason::InsufficientPorts])?;
    resources.extend(left.take_ports(&ports));
    *pool = left;
    Ok(Match { resources, ports: ports.into_iter().map(|port| port.port).collect() })
}

/// Whether the agent is in a maintenance window.
///
/// Marathon: `Availability.offerAvailable`.
fn in_maintenance(offer: &v1::Offer, now: Wall) -> bool {
    let Some(unavailability) = &offer.unavailability else { return false };
    let start = u64::try_from(unavailability.start.nanoseconds).unwrap_or(0);
    let end = match &unavailability.duration {
        Some(duration) => start.saturating_add(u64::try_from(duration.nanoseconds).unwrap_or(0)),
        None => u64::MAX,
    };
    (start..end).contains(&now.0)
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
