use std::collections::BTreeSet;

use api_marathon::AppDefinition;
use base::Rng;

use crate::offer::{OfferedPort, Pool};

/// The host ports for one task: those that its app asks for, and for the others any. `None` if the offer has not got
/// them.
///
/// Marathon: `PortsMatcher`.
pub(crate) fn choose(
    app: &AppDefinition,
    pool: &Pool,
    roles: &BTreeSet<String>,
    rng: &mut Rng,
) -> Option<Vec<OfferedPort>> {
    let wanted: Vec<Option<u16>> = app.ports().map(|port| port.host_port).collect();
    if wanted.is_empty() {
        return Some(Vec::new());
    }
    let mut intervals = pool.ports(roles);
    let fixed: BTreeSet<u16> = wanted.iter().copied().flatten().collect();
    let lookup = |port: u16| {
        let (first, _) = intervals.iter().find(|(first, end)| (first.port..=*end).contains(&port))?;
        Some(first.plus(port - first.port))
    };
    let mut chosen: Vec<Option<OfferedPort>> = Vec::with_capacity(wanted.len());
    for port in wanted {
        chosen.push(match port {
            Some(port) => Some(lookup(port)?),
            None => None,
        });
    }
    let free = chosen.iter().filter(|port| port.is_none()).count();
    let mut dynamic = dynamic(&mut intervals, free, &fixed, rng)?.into_iter();
    Some(chosen.into_iter().filter_map(|port| port.or_else(|| dynamic.next())).collect())
}

/// `count` ports in a row (as far as there are), beginning anywhere: a port is rarely used again soon, so that load
/// balancers have time to notice, and the ranges stay whole.
fn dynamic(
    intervals: &mut [(OfferedPort, u16)],
    count: usize,
    taken: &BTreeSet<u16>,
    rng: &mut Rng,
) -> Option<Vec<OfferedPort>> {
    if count == 0 {
        return Some(Vec::new());
    }
    rng.shuffle(intervals);
    let size = |(first, end): &(OfferedPort, u16)| u64::from(end - first.port) + 1;
    let total: u64 = intervals.iter().map(size).sum();
    if total == 0 {
        return None;
    }
    let nth = |mut index: u64| {
        for interval in intervals.iter() {
            if index < size(interval) {
                return interval.0.plus(index as u16);
            }
            index -= size(interval);
        }
        unreachable!("the index is below the sum of the sizes")
    };
    let start = rng.below(total);
    let chosen: Vec<_> = (0..total)
        .map(|offset| nth((start + offset) % total))
        .filter(|port| !taken.contains(&port.port))
        .take(count)
        .collect();
    (chosen.len() == count).then_some(chosen)
}
