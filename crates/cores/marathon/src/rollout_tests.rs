use api_marathon::{AppId, UpgradeStrategy};
use base::Rng;
use proptest::prelude::*;

use super::*;

fn app(instances: u32, min: f64, over: f64) -> AppDefinition {
    let mut app = AppDefinition::empty(AppId::new("/a"), "*");
    app.instances = instances;
    app.upgrade_strategy = UpgradeStrategy { maximum_over_capacity: over, minimum_health_capacity: min };
    app
}

#[test]
fn capacities() {
    let check = |instances, min, over, min_serving, max| {
        let capacity = Capacity::of(&app(instances, min, over));
        assert_eq!((capacity.min_serving, capacity.max), (min_serving, max), "{instances} {min} {over}");
    };
    check(10, 1.0, 1.0, 10, 20);
    check(10, 0.5, 0.1, 5, 11);
    check(20, 0.9, 0.15, 18, 23);
    check(3, 0.5, 0.5, 2, 4);
    check(10, 0.0, 0.0, 0, 10);
    check(10, 1.0, 0.0, 10, 11);
    check(1, 1.0, 0.0, 1, 2);
    check(10, 0.7, 0.1, 7, 11);
    let mut single = app(1, 1.0, 0.0);
    single.labels.insert("MARATHON_SINGLE_INSTANCE_APP".to_owned(), "true".to_owned());
    assert_eq!(Capacity::of(&single), Capacity { wanted: 1, min_serving: 0, max: 1 });
}

fn ids(count: usize) -> Vec<InstanceId> {
    let mut rng = Rng::seeded(9);
    (0..count).map(|_| InstanceId::fresh(&AppId::new("/a"), &mut rng)).collect()
}

fn members<'a>(text: &str, ids: &'a [InstanceId]) -> Vec<Member<'a>> {
    text.split_whitespace()
        .zip(ids)
        .map(|(word, id)| {
            let phase = match &word[1..2] {
                "q" => Phase::Scheduled,
                "w" => Phase::OnTheWay,
                "a" => Phase::Away,
                "i" => Phase::Idle,
                "s" => Phase::Serving,
                _ => Phase::Dying,
            };
            Member { id, old: &word[..1] == "o", phase, leaving: word.ends_with('-') }
        })
        .collect()
}

/// Members are written as `o`ld or `n`ew, then the phase (`q`ueued, on the `w`ay, `a`way, `i`dle, `s`erving,
/// `d`ying), then `-` if they are leaving.
fn check(instances: u32, min: f64, over: f64, text: &str, killed: &[usize], launch: usize, done: bool) {
    let ids = ids(text.split_whitespace().count());
    let members = members(text, &ids);
    let step = step(Capacity::of(&app(instances, min, over)), &members);
    let place = |id: &InstanceId| members.iter().position(|m| *m.id == *id).expect("a member");
    let found: Vec<usize> = step.decommission.iter().map(place).collect();
    assert_eq!((&found[..], step.launch, step.done), (killed, launch, done), "{text}");
}

#[test]
fn steps() {
    // All new ones first, then one old goes for each new that serves.
    check(2, 1.0, 1.0, "os os", &[], 2, false);
    check(2, 1.0, 1.0, "os os ni nw", &[], 0, false);
    check(2, 1.0, 1.0, "os os ns nw", &[0], 0, false);
    check(2, 1.0, 1.0, "od- os ns ns", &[1], 0, false);
    check(2, 1.0, 1.0, "od- ns ns", &[], 0, false);
    check(2, 1.0, 1.0, "ns ns", &[], 0, true);
    // As many as may go, go at once.
    check(4, 0.5, 0.0, "os os os os", &[0, 1], 0, false);
    check(4, 0.5, 0.0, "od- od- os os", &[], 0, false);
    check(4, 0.5, 0.0, "os os", &[], 2, false);
    // No room and no leave to go below: one more is allowed.
    check(1, 1.0, 0.0, "os", &[], 1, false);
    // Old ones that do not serve make room.
    check(2, 1.0, 0.0, "oi oi", &[0, 1], 1, false);
    check(2, 1.0, 1.0, "oi oi", &[], 2, false);
    check(2, 1.0, 1.0, "oi oi ns ni", &[0], 0, false);
    check(2, 1.0, 1.0, "oq ow os", &[0, 1], 2, false);
    // A lost old one holds up nothing.
    check(1, 1.0, 1.0, "oa- ns", &[], 0, true);
    check(1, 1.0, 1.0, "oa ns", &[0], 0, false);
    // A new one too many.
    check(1, 1.0, 1.0, "ns nw", &[1], 0, false);
    check(0, 1.0, 1.0, "ns", &[0], 0, false);
}

proptest! {
    /// Plays rollouts against an adversary that lets tasks become healthy, fall ill, fail and die as it likes; then it
    /// relents, and the rollout must end.
    #[test]
    fn bounds_hold_and_rollouts_end(
        instances in 0_u32..8, old in 0_usize..10, min in 0_u32..=10, over in 0_u32..=10,
        seed: u64, hostile in 0_usize..120,
    ) {
        let capacity = Capacity::of(&app(instances, f64::from(min) / 10.0, f64::from(over) / 10.0));
        let mut rng = Rng::seeded(seed);
        let pool = ids(old + 8 * (hostile + 400));
        let mut fresh = pool.iter();
        let mut members: Vec<Member<'_>> = (0..old)
            .map(|_| Member { id: fresh.next().expect("an id"), old: true, phase: Phase::Serving, leaving: false })
            .collect();
        for round in 0..hostile + 400 {
            let serving = members.iter().filter(|m| m.phase == Phase::Serving).count();
            let step = step(capacity, &members);
            if step.done {
                prop_assert_eq!(members.iter().filter(|m| !m.leaving).count(), instances as usize);
                if round > hostile { return Ok(()); }
            }
            let mut killed_serving = 0;
            for id in &step.decommission {
                let member = members.iter_mut().find(|m| m.id == id).expect("a member");
                prop_assert!(!member.leaving);
                killed_serving += usize::from(member.phase == Phase::Serving);
                member.leaving = true;
                if !matches!(member.phase, Phase::Away | Phase::Scheduled) { member.phase = Phase::Dying; }
            }
            members.retain(|m| !(m.leaving && m.phase == Phase::Scheduled));
            prop_assert!(killed_serving == 0 || serving - killed_serving >= capacity.min_serving);
            for _ in 0..step.launch {
                members.push(Member { id: fresh.next().expect("an id"), old: false, phase: Phase::OnTheWay, leaving: false });
            }
            let taken = members.iter().filter(|m| m.phase != Phase::Away).count();
            prop_assert!(step.launch == 0 || taken <= capacity.max, "{} of {}", taken, capacity.max);
            // the world moves
            members.retain(|m| !(m.leaving && (round >= hostile || rng.below(3) == 0)));
            for member in members.iter_mut().filter(|m| !m.leaving) {
                member.phase = match rng.below(if round < hostile { 6 } else { 1 }) {
                    0 => Phase::Serving,
                    1 => Phase::Idle,
                    2 => Phase::Scheduled,
                    3 => Phase::OnTheWay,
                    _ => member.phase,
                };
            }
        }
        prop_assert!(false, "the rollout did not end");
    }
}
