use std::collections::{BTreeMap, BTreeSet};

use master_core::{Master, Task};
use mesos_proto::v1::TaskState;

use super::state::{Shares, all_tasks, write_agent, write_framework_summary};
use crate::identity::Identity;
use api_mesos::json::{Object, document};

/// How many tasks are in each of the states that the summary counts.
#[derive(Clone, Copy, Default)]
struct States([u32; COUNTED.len()]);

const COUNTED: [TaskState; 10] = [
    TaskState::TaskStaging,
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskKilled,
    TaskState::TaskFailed,
    TaskState::TaskLost,
    TaskState::TaskError,
    TaskState::TaskUnreachable,
];

impl States {
    fn count(&mut self, task: &Task) {
        let state = task.state();
        if let Some(at) = COUNTED.iter().position(|counted| *counted == state) {
            self.0[at] += 1;
        }
    }

    fn write(self, o: &mut Object<'_>) {
        for (state, count) in COUNTED.iter().zip(self.0) {
            o.field(state.as_str_name(), count);
        }
    }
}

/// What one side has to do with the other: counts of tasks, and whom they connect it to.
#[derive(Default)]
struct Share<'m> {
    states: States,
    others: BTreeSet<&'m str>,
}

/// `/state-summary`: every agent and framework with counts instead of tasks. One pass over all tasks.
pub(crate) fn state_summary(master: &Master, identity: &Identity) -> Vec<u8> {
    let mut of_agents = BTreeMap::<&str, Share<'_>>::new();
    let mut of_frameworks = BTreeMap::<&str, Share<'_>>::new();
    for framework in master.frameworks() {
        let of_framework = of_frameworks.entry(framework.id.as_str()).or_default();
        for task in all_tasks(framework) {
            let agent = task.info.agent_id.value.as_str();
            of_framework.states.count(task);
            of_framework.others.insert(agent);
            let of_agent = of_agents.entry(agent).or_default();
            of_agent.states.count(task);
            of_agent.others.insert(framework.id.as_str());
        }
    }
    let (none, shares) = (Share::default(), Shares::of(master));
    document(|o| {
        o.field("hostname", &*identity.hostname);
        if let Some(cluster) = &identity.cluster {
            o.field("cluster", &**cluster);
        }
        o.array("slaves", |list| {
            for agent in master.agents() {
                list.object(|o| {
                    write_agent(o, agent);
                    let share = of_agents.get(agent.id.as_str()).unwrap_or(&none);
                    share.states.write(o);
                    o.array("framework_ids", |ids| share.others.iter().for_each(|id| ids.element(*id)));
                });
            }
        });
        o.array("frameworks", |list| {
            for framework in master.frameworks() {
                list.object(|o| {
                    write_framework_summary(o, master, framework, &shares);
                    let share = of_frameworks.get(framework.id.as_str()).unwrap_or(&none);
                    share.states.write(o);
                    o.array("slave_ids", |ids| share.others.iter().for_each(|id| ids.element(*id)));
                });
            }
        });
    })
}
