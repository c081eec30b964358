//! How a history ends: everything arrives, and everybody says the same.

use super::*;

impl World {
    /// Everybody is connected, everything arrives, time passes.
    pub(super) fn calm_down(&mut self) {
        for round in 0..40 {
            for n in 0..self.agents.len() {
                self.connect_agent(n);
            }
            for n in 0..self.frameworks.len() {
                if self.frameworks[n].conn.is_none() {
                    self.connect_framework(n);
                }
            }
            for _ in 0..60 {
                self.cluster.persist();
                for n in 0..self.agents.len() {
                    self.deliver_to_agent(n);
                    self.send_update(n);
                }
                for n in 0..self.frameworks.len() {
                    self.deliver_to_framework(n);
                }
                self.notice_closed();
            }
            // Whatever operators did, all agents are put back to use.
            self.cluster.ask(NO_SCHEDULE);
            for n in 0..self.agents.len() {
                self.cluster.ask(&stop(n));
                if let Some(id) = &self.agents[n].id {
                    let call = format!(
                        r#"{{"type":"REACTIVATE_AGENT","reactivate_agent":{{"agent_id":{{"value":"{id}"}}}}}}"#
                    );
                    self.cluster.ask(&call);
                    self.cluster.persist();
                }
            }
            // Frameworks and agents of the past go after at most ten minutes.
            self.cluster.wait(Duration::from_secs(if round < 20 { 60 } else { 2 }));
            if round == 30 {
                self.reconcile();
            }
        }
    }

    pub(super) fn reconcile(&mut self) {
        for n in 0..self.frameworks.len() {
            let Some(framework) = self.caller(n) else { continue };
            let tasks: Vec<_> = self.frameworks[n]
                .tasks
                .iter()
                .filter(|(_, state)| !is_terminal(**state))
                .map(|(name, _)| format!(r#"{{"task_id":{{"value":"{name}"}}}}"#))
                .collect();
            let operations: Vec<_> = self.frameworks[n]
                .operations
                .iter()
                .filter(|(_, state)| **state != Some(OperationState::OperationFinished))
                .map(|(name, _)| format!(r#"{{"operation_id":{{"value":"{name}"}}}}"#))
                .collect();
            let rest = format!(
                r#""type":"RECONCILE_OPERATIONS","reconcile_operations":{{"operations":[{}]}}"#,
                operations.join(",")
            );
            self.cluster.framework_call(&framework, &rest);
            if !tasks.is_empty() {
                let rest = format!(r#""type":"RECONCILE","reconcile":{{"tasks":[{}]}}"#, tasks.join(","));
                self.cluster.framework_call(&framework, &rest);
            }
        }
    }

    pub(super) fn check_agreement(&self) {
        let master = &self.cluster.master;
        assert_eq!(master.agents().count(), self.agents.len());
        let mut on_agents = BTreeMap::<String, BTreeSet<String>>::new();
        for agent in &self.agents {
            for ((framework, task), known) in &agent.tasks {
                assert!(known.updates.is_empty(), "{task} of {framework}: every update is acknowledged");
                on_agents.entry(framework.clone()).or_default().insert(task.clone());
            }
        }
        for framework in &self.frameworks {
            let Some(id) = &framework.id else { continue };
            let of_agents = on_agents.remove(id).unwrap_or_default();
            if framework.removed {
                assert!(of_agents.is_empty(), "{id} is over: {of_agents:?}");
                continue;
            }
            let known = master.framework(&id.as_str().into()).unwrap();
            let of_master: BTreeSet<_> = known.tasks.keys().map(|task| task.to_string()).collect();
            assert_eq!(of_master, of_agents, "{id}: master and agents");
            let alive = framework
                .tasks
                .iter()
                .filter(|(_, state)| !is_terminal(**state) && **state != TaskState::TaskUnknown);
            let own: BTreeSet<_> = alive.map(|(task, _)| task.clone()).collect();
            assert_eq!(own, of_agents, "{id}: framework and agents");
        }
        assert!(on_agents.is_empty(), "nobody's tasks: {on_agents:?}");
        for agent in &self.agents {
            let id = agent.id.clone().unwrap();
            assert_eq!(master.agent(&id.as_str().into()).unwrap().total, agent.total, "{id}: all there is");
            assert!(agent.operations.is_empty(), "{id}: every operation's end is acknowledged");
        }
        let under_way: Vec<_> = master.operations().collect();
        assert!(under_way.is_empty(), "{under_way:?}");
        for framework in
            self.frameworks.iter().filter(|framework| !framework.removed && framework.id.is_some())
        {
            for (name, state) in &framework.operations {
                let is_over = state.is_some_and(|state| state != OperationState::OperationPending);
                assert!(is_over, "{name} is {state:?}");
            }
        }
        for agent in master.agents() {
            let used = agent.used_resources().unallocated() + &agent.offered.unallocated();
            let mut free = agent.total.clone();
            free.subtract(&used).unwrap();
            let roles = ["golden"];
            let takers =
                self.frameworks.iter().filter(|framework| !framework.removed && !framework.suppressed);
            if takers.count() > 0 {
                let wanted = free.allocatable_to(roles[0]);
                assert!(
                    wanted.cpus().thousandths() < 10 && wanted.mem().thousandths() < 32_000,
                    "not offered: {wanted}"
                );
            }
        }
    }
}
