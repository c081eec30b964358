//! What is printed: each difference, then the same ones together, then one line.

use std::collections::BTreeMap;
use std::path::Path;

use crate::deliberate::Deliberate;
use crate::run::Outcome;

/// How many exchanges of a group are named.
const NAMED: usize = 4;

/// The counts of the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    equal: usize,
    deliberate: usize,
    /// Those with a difference that nobody meant.
    pub(crate) failed: usize,
}

/// Prints all of it.
pub(crate) fn report(outcomes: &[Outcome], deliberate: &Deliberate) -> Totals {
    let mut totals = Totals::default();
    let mut groups: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for outcome in outcomes {
        let meant = |difference: &_| deliberate.covers(&outcome.exchange, difference);
        let failed = outcome.differences.iter().any(|difference| !meant(difference));
        match (outcome.differences.is_empty(), failed) {
            (true, _) => totals.equal += 1,
            (false, false) => totals.deliberate += 1,
            (false, true) => totals.failed += 1,
        }
        if outcome.differences.is_empty() {
            continue;
        }
        println!("{} {} ({})", if failed { "FAILED" } else { "DELIBERATE" }, outcome.name, outcome.exchange);
        for difference in &outcome.differences {
            let mark = if meant(difference) { " (deliberate)" } else { "" };
            println!(
                "    {}{mark}\n        Mesos: {}\n        ours:  {}",
                difference.place, difference.mesos, difference.ours
            );
            if !meant(difference) {
                groups
                    .entry(group(&difference.place, &difference.mesos, &difference.ours))
                    .or_default()
                    .push(&outcome.name);
            }
        }
    }
    print_groups(groups);
    let Totals { equal, deliberate, failed } = totals;
    println!(
        "conformance: {equal} equal, {deliberate} deliberate, {failed} failed, {} total",
        outcomes.len()
    );
    totals
}

/// Writes what we answered, each answer to a file with the name of its recording.
pub(crate) fn write(outcomes: &[Outcome], folder: &Path) -> std::io::Result<()> {
    for outcome in outcomes {
        let path = folder.join(format!("{}.json", outcome.name));
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, format!("{:#}\n", outcome.ours))?;
    }
    Ok(())
}

/// Differences with the same end of their place and the same sides are one to whoever mends them.
fn group(place: &str, mesos: &str, ours: &str) -> (String, String) {
    let parts: Vec<&str> = place.rsplit('.').take(2).collect();
    let place = parts.into_iter().rev().collect::<Vec<_>>().join(".");
    let side =
        |text: &str| if text == "absent" { "absent".to_owned() } else { text.chars().take(60).collect() };
    (place, format!("{} -> {}", side(mesos), side(ours)))
}

fn print_groups(groups: BTreeMap<(String, String), Vec<&str>>) {
    // Names that are missing side by side in the same exchanges are one group.
    let mut together: BTreeMap<(String, String, Vec<&str>), Vec<String>> = BTreeMap::new();
    for ((place, sides), mut names) in groups {
        names.dedup();
        let (parent, last) = place.split_once('.').unwrap_or(("", &place));
        let absent = sides.ends_with("-> absent") && !parent.is_empty();
        let (parent, sides) =
            if absent { (parent.to_owned(), "absent".to_owned()) } else { (place.clone(), sides) };
        together.entry((parent, sides, names)).or_default().push(last.to_owned());
    }
    let mut together: Vec<_> = together.into_iter().collect();
    together.sort_by_key(|((_, _, names), _)| std::cmp::Reverse(names.len()));
    if !together.is_empty() {
        println!("\nThe same differences together (Mesos -> ours):");
    }
    for ((place, sides, names), keys) in together {
        let more = if names.len() > NAMED { ", ..." } else { "" };
        let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let place = if sides == "absent" { format!("{place}.{{{}}}", keys.join(" ")) } else { place };
        println!("{:5}  {place}: {sides}    [{named}{more}]", names.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Difference;

    #[test]
    fn exchanges_are_counted_once() {
        let outcome = |name: &str, differences: Vec<Difference>| Outcome {
            name: name.to_owned(),
            exchange: "master GET /state".to_owned(),
            differences,
            ours: serde_json::Value::Null,
        };
        let outcomes = [
            outcome("a", Vec::new()),
            outcome("b", vec![Difference::new("status", "1", "2"), Difference::new("body", "1", "2")]),
        ];
        let totals = report(&outcomes, &Deliberate::default());
        assert_eq!(totals, Totals { equal: 1, deliberate: 0, failed: 1 });
    }
}
