use api_marathon::AppDefinition;

use crate::id::InstanceId;

/// How many instances there must and may be while an app is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Instances wanted in the end.
    pub wanted: usize,
    /// Serving instances that are not gone below by killing.
    pub min_serving: usize,
    /// Instances, of all versions and states, that are not exceeded by launching.
    pub max: usize,
}

impl Capacity {
    /// What the app's upgrade strategy says. If it allows neither more nor fewer than the wanted number, nothing could
    /// ever be exchanged; then one more is allowed, except for single-instance apps, where one less is.
    ///
    /// Marathon: `TaskReplaceActor.computeRestartStrategy`.
    pub fn of(app: &AppDefinition) -> Capacity {
        /// Keeps products such as 10 * 1.1 from being off by a rounding error.
        const SLACK: f64 = 1e-9;
        let wanted = app.instances as usize;
        let strategy = app.upgrade_strategy;
        let min_serving = (wanted as f64 * strategy.minimum_health_capacity - SLACK).ceil().max(0.0) as usize;
        let max = (wanted as f64 * (1.0 + strategy.maximum_over_capacity) + SLACK).floor() as usize;
        match (min_serving >= max, app.is_single_instance()) {
            (true, true) => Capacity { wanted, min_serving: wanted.saturating_sub(1), max: wanted },
            (true, false) => Capacity { wanted, min_serving, max: min_serving + 1 },
            (false, _) => Capacity { wanted, min_serving, max },
        }
    }
}

/// How far an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It waits for an offer.
    Scheduled,
    /// Its task does not run yet.
    OnTheWay,
    /// Its agent is away.
    Away,
    /// Its task runs, but does not serve: some health check is not good yet, or no longer.
    Idle,
    /// It does its work.
    Serving,
    /// It is being killed, to be forgotten (decommissioned) or replaced.
    Dying,
}

/// An instance as a rollout sees it.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) id: &'a InstanceId,
    /// Whether it is of another configuration than the wanted one.
    pub(crate) old: bool,
    pub(crate) phase: Phase,
    /// Whether it will be forgotten when its task ends.
    pub(crate) leaving: bool,
}

/// What to do next, and whether nothing is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) decommission: Vec<InstanceId>,
    pub(crate) launch: usize,
    pub(crate) done: bool,
}

/// The next step in exchanging old instances for new ones. Level-triggered: called again after every change until done.
///
/// Old instances that serve go only as long as enough others serve; those that do not run yet go at once; those that
/// run without serving go when room is needed or when they have been replaced. New ones come as long as there is room.
///
/// Marathon: `TaskReplaceActor`, which counts along instead, and hangs when unhealthy old instances take all the room.
pub(crate) fn step(capacity: Capacity, members: &[Member<'_>]) -> Step {
    let count = |of: &dyn Fn(&Member<'_>) -> bool| members.iter().filter(|m| of(m)).count();
    let mut serving = count(&|m| m.phase == Phase::Serving);
    let mut serving_new = count(&|m| m.phase == Phase::Serving && !m.old);
    // Everything that may hold resources, now or as soon as an offer comes. Scheduled old ones are dropped at once.
    let taken = count(&|m| m.phase != Phase::Away && !(m.phase == Phase::Scheduled && m.old));
    let new = count(&|m| !m.old && !m.leaving);
    let missing = capacity.wanted.saturating_sub(new);
    let room = capacity.max.saturating_sub(taken);

    let mut step = Step { launch: missing.min(room), ..Step::default() };
    let mut staying_old =
        count(&|m| m.old && !m.leaving && m.phase != Phase::Scheduled && m.phase != Phase::OnTheWay);
    let needs_room = missing > room;
    let mut candidates: Vec<&Member<'_>> = members.iter().filter(|m| m.old && !m.leaving).collect();
    candidates.sort_by_key(|m| m.phase);
    for member in candidates {
        let goes = match member.phase {
            Phase::Scheduled | Phase::OnTheWay => true,
            Phase::Away | Phase::Idle | Phase::Dying => {
                needs_room || serving_new + staying_old > capacity.wanted
            }
            Phase::Serving => serving > capacity.min_serving,
        };
        if !goes {
            continue;
        }
        serving -= usize::from(member.phase == Phase::Serving);
        staying_old -= usize::from(!matches!(member.phase, Phase::Scheduled | Phase::OnTheWay));
        step.decommission.push(member.id.clone());
    }
    // More new ones than wanted: somebody thought lost came back.
    let mut spare: Vec<&Member<'_>> = members.iter().filter(|m| !m.old && !m.leaving).collect();
    spare.sort_by_key(|m| m.phase);
    for member in spare.into_iter().take(new.saturating_sub(capacity.wanted)) {
        if member.phase == Phase::Serving {
            if serving <= capacity.min_serving {
                continue;
            }
            serving -= 1;
            serving_new -= 1;
        }
        step.decommission.push(member.id.clone());
    }
    // Somebody thought lost came back, and takes the place that was meant for one that is only scheduled.
    let over = taken.saturating_sub(capacity.max);
    let scheduled = members.iter().filter(|m| !m.old && !m.leaving && m.phase == Phase::Scheduled);
    let unwanted = scheduled.filter(|m| !step.decommission.contains(m.id)).take(over).map(|m| m.id.clone());
    step.decommission.extend(unwanted.collect::<Vec<_>>());

    // Those whose agents are away block nothing: they are forgotten, or killed when they come back.
    let left = count(&|m| m.leaving && m.phase != Phase::Away) + count(&|m| m.old && !m.leaving);
    step.done =
        step.launch == 0 && left == 0 && serving_new >= capacity.wanted && step.decommission.is_empty();
    step
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
