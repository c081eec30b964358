//! The allocator by itself, on clusters larger than any test machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use allocator::{Allocation, Allocator, Capabilities, Options, Quota};
use base::{AgentId, FrameworkId, Mono};
use resources::{Limits, Quantities, Resources};

use crate::table::{Table, millis};

const AGENTS: usize = 10_000;
const INTERVAL: Duration = Duration::from_secs(1);

struct Cluster {
    allocator: Allocator,
    now: Mono,
    out: Vec<Allocation>,
}

impl Cluster {
    fn new(roles: usize, frameworks: usize, quotas: usize) -> Self {
        let mut allocator = Allocator::new(Options::new(7, INTERVAL));
        for n in 0..frameworks {
            let role = format!("role{}", n % roles);
            allocator.add_framework(
                &FrameworkId::new(format!("framework{n}")),
                &BTreeSet::from([role]),
                &BTreeSet::new(),
                Capabilities::default(),
                true,
            );
        }
        for n in 0..quotas {
            let amounts = |text: &str| Quantities::parse(text).expect("amounts are written here");
            let quota = Quota {
                guarantees: amounts("cpus:100;mem:100000"),
                limits: Limits::from(&amounts("cpus:2000")),
            };
            allocator.set_quota(&format!("role{n}"), Some(quota));
        }
        let total = Resources::parse("cpus:16;mem:65536;disk:500000;ports:[31000-32000]")
            .expect("resources are written here");
        for n in 0..AGENTS {
            allocator.add_agent(&AgentId::new(format!("agent{n}")), total.clone(), &BTreeMap::new(), true);
        }
        Self { allocator, now: Mono(0), out: Vec::new() }
    }

    fn run(&mut self) -> Duration {
        let begin = Instant::now();
        self.allocator.allocate(self.now, &mut self.out);
        begin.elapsed()
    }

    fn give_back(&mut self, allocation: &Allocation) {
        self.allocator.recover(&allocation.framework, &allocation.agent, &allocation.resources);
    }
}

pub(crate) fn allocator_figures(table: &mut Table) {
    for (roles, frameworks, quotas, goal) in [(1, 1, 0, "<= 50"), (100, 200, 20, "<= 500")] {
        let mut cluster = Cluster::new(roles, frameworks, quotas);
        let what =
            format!("allocator: {AGENTS} agents, {roles} roles, {frameworks} frameworks, {quotas} quotas");
        let mut runs = Vec::new();
        for _ in 0..5 {
            for allocation in std::mem::take(&mut cluster.out) {
                cluster.give_back(&allocation);
            }
            cluster.now = cluster.now + INTERVAL;
            runs.push(millis(cluster.run()));
        }
        table.samples(&format!("{what}: all free"), "ms", runs, goal);
        let mut runs = Vec::new();
        for _ in 0..200 {
            let allocation = cluster.out.swap_remove(cluster.out.len() / 2);
            cluster.give_back(&allocation);
            runs.push(millis(cluster.run()) * 1000.0);
        }
        table.samples(&format!("{what}: one agent freed"), "us", runs, "<= 100");
    }
}
