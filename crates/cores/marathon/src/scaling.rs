use std::cmp::Ordering;

use api_marathon::KillSelection;
use base::Wall;

use crate::condition::Condition;
use crate::id::InstanceId;

/// An instance as scaling sees it: one whose goal is to run.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: InstanceId,
    pub(crate) condition: Condition,
    pub(crate) healthy: Option<bool>,
    /// Since when it runs, or else since when it was launched.
    pub(crate) since: Wall,
}

/// The instances to decommission so that `wanted` are left: those that do least first, among equals by the app's kill
/// selection.
///
/// Marathon: `ScalingProposition`; that unhealthy ones go before healthy ones is ours.
pub(crate) fn surplus(mut found: Vec<Candidate>, wanted: usize, selection: KillSelection) -> Vec<InstanceId> {
    let count = found.len().saturating_sub(wanted);
    if count == 0 {
        return Vec::new();
    }
    found.sort_by(|a, b| by_worth(a, b, selection));
    found.truncate(count);
    found.into_iter().map(|candidate| candidate.id).collect()
}

fn by_worth(a: &Candidate, b: &Candidate, selection: KillSelection) -> Ordering {
    let worth = |candidate: &Candidate| match candidate.condition {
        Condition::Scheduled => 0,
        Condition::Unreachable => 1,
        Condition::Provisioned | Condition::Staging => 2,
        Condition::Starting => 3,
        _ if candidate.healthy == Some(false) => 4,
        _ => 5,
    };
    let by_age = match selection {
        KillSelection::YoungestFirst => b.since.cmp(&a.since),
        KillSelection::OldestFirst => a.since.cmp(&b.since),
    };
    worth(a).cmp(&worth(b)).then(by_age).then_with(|| a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use api_marathon::AppId;
    use base::Rng;

    use super::*;

    #[test]
    fn the_least_useful_go_first() {
        let mut rng = Rng::seeded(1);
        let mut candidate = |condition, healthy, since| Candidate {
            id: InstanceId::fresh(&AppId::new("/a"), &mut rng),
            condition,
            healthy,
            since: Wall(since),
        };
        let found = vec![
            candidate(Condition::Running, Some(true), 10),
            candidate(Condition::Running, Some(true), 30),
            candidate(Condition::Running, Some(false), 20),
            candidate(Condition::Staging, None, 40),
            candidate(Condition::Scheduled, None, 50),
            candidate(Condition::Running, None, 20),
        ];
        let check = |wanted: usize, selection, expect: &[usize]| {
            let ids: Vec<_> = expect.iter().map(|i| found[*i].id.clone()).collect();
            assert_eq!(surplus(found.clone(), wanted, selection), ids);
        };
        check(6, KillSelection::YoungestFirst, &[]);
        check(7, KillSelection::YoungestFirst, &[]);
        check(1, KillSelection::YoungestFirst, &[4, 3, 2, 1, 5]);
        check(1, KillSelection::OldestFirst, &[4, 3, 2, 0, 5]);
    }
}
