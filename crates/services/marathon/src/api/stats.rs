//! `embed=apps.taskStats`.

use api_marathon::{AppDefinition, Stats, TaskCounts, TaskLifeTime, TaskStats, TaskStatsByVersion};
use base::Wall;
use marathon_core::{Condition, Instance};

/// Numbers of an app's tasks, by how their version compares with that of the app.
///
/// Marathon: `TaskStatsByVersion.apply`.
pub(super) fn of<'i>(
    app: &AppDefinition,
    instances: impl Iterator<Item = &'i Instance>,
    now: Wall,
) -> TaskStatsByVersion {
    let all: Vec<&Instance> = instances.filter(|instance| instance.placement.is_some()).collect();
    let config = app.config_version();
    let scaled = app.version_info.map(|info| info.last_scaling_at);
    let some = |wanted: &dyn Fn(&Instance) -> bool| {
        stats(&all.iter().copied().filter(|instance| wanted(instance)).collect::<Vec<_>>(), now)
    };
    TaskStatsByVersion {
        started_after_last_scaling: scaled.and_then(|scaled| some(&|instance| instance.version >= scaled)),
        with_latest_config: some(&|instance| instance.version >= config),
        with_outdated_config: some(&|instance| instance.version < config),
        total_summary: some(&|_| true),
    }
}

/// The numbers of some tasks; nothing if there are none.
fn stats(instances: &[&Instance], now: Wall) -> Option<Stats> {
    if instances.is_empty() {
        return None;
    }
    let count = |wanted: &dyn Fn(&Instance) -> bool| {
        u32::try_from(instances.iter().filter(|instance| wanted(instance)).count()).unwrap_or(u32::MAX)
    };
    let is_staged =
        |condition| matches!(condition, Condition::Provisioned | Condition::Staging | Condition::Starting);
    let counts = TaskCounts {
        staged: count(&|instance| is_staged(instance.condition)),
        running: count(&|instance| instance.condition == Condition::Running),
        healthy: count(&|instance| instance.healthy == Some(true)),
        unhealthy: count(&|instance| instance.healthy == Some(false)),
    };
    let started = instances.iter().filter_map(|instance| instance.placement.as_ref()?.started_at);
    let ages = started.map(|at| now.since(at).as_secs_f64()).collect();
    Some(Stats { stats: TaskStats { counts, life_time: life_time(ages) } })
}

fn life_time(mut ages: Vec<f64>) -> Option<TaskLifeTime> {
    ages.sort_by(f64::total_cmp);
    let middle = ages.len() / 2;
    let median = match ages.get(middle)? {
        upper if ages.len().is_multiple_of(2) => (ages[middle - 1] + upper) / 2.0,
        middle => *middle,
    };
    let average = ages.iter().sum::<f64>() / ages.len() as f64;
    Some(TaskLifeTime { average_seconds: average, median_seconds: median })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_median() {
        let check = |ages: &[f64], expected: Option<(f64, f64)>| {
            let found = life_time(ages.to_vec()).map(|time| (time.average_seconds, time.median_seconds));
            assert_eq!(found, expected);
        };
        check(&[], None);
        check(&[3.0], Some((3.0, 3.0)));
        check(&[9.0, 1.0], Some((5.0, 5.0)));
        check(&[10.0, 1.0, 4.0], Some((5.0, 4.0)));
    }
}
