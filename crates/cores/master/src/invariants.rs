use resources::Resources;

use crate::master::Master;

impl Master {
    /// Panics if what is known contradicts itself. Simulation calls it after every input.
    pub fn check(&self) {
        self.allocator.check();
        self.check_agents();
        self.check_frameworks();
        self.check_offers();
        self.check_upkeep();
        self.check_removals();
        assert!(self.completed_frameworks.len() <= self.config.max_completed_frameworks);
        for id in self.recovered_agents.keys() {
            assert!(!self.agents.contains_key(id), "agent {id} is either registered or awaited");
            assert!(!self.unreachable_agents.contains_key(id), "agent {id} is either awaited or unreachable");
        }
        assert!(self.emptied.is_empty(), "empty agents are looked at in the same turn");
        for id in self.gone_agents.keys() {
            let is_known = self.unreachable_agents.contains_key(id) || self.recovered_agents.contains_key(id);
            assert!(!is_known && !self.deactivations.contains_key(id), "agent {id} is gone for good");
        }
        for id in self.unreachable_agents.keys() {
            assert!(!self.agents.contains_key(id), "agent {id} is either registered or unreachable");
        }
    }

    fn check_agents(&self) {
        for (id, agent) in &self.agents {
            let mut used = std::collections::BTreeMap::<_, Resources>::new();
            for (framework, task) in &agent.tasks {
                let task =
                    self.frameworks[framework].tasks.get(task).expect("an agent's task is its framework's");
                assert_eq!(task.agent_id(), *id);
                if task.holds_resources {
                    *used.entry(framework.clone()).or_default() += &task.resources;
                }
            }
            for (framework, executors) in &agent.executors {
                assert!(!executors.is_empty() && self.frameworks.contains_key(framework));
                for executor in executors.values().filter(|executor| !executor.resources.is_empty()) {
                    *used.entry(framework.clone()).or_default() += &executor.resources;
                }
            }
            assert_eq!(agent.used, used, "agent {id}: used is the sum of tasks and executors");
            let offered = agent.offers.iter().map(|offer| &self.offers[offer].resources);
            let offered = offered.fold(Resources::new(), |sum, resources| sum + resources);
            assert_eq!(agent.offered, offered, "agent {id}: offered is the sum of its offers");
            let taken = (agent.used_resources() + &offered).unallocated();
            let free = self.allocator.free(id).expect("the allocator knows every registered agent");
            if agent.total.contains(&taken) {
                assert_eq!(taken + free, agent.total, "agent {id}: used, offered and free are all it has");
            }
            assert_eq!(
                agent.active,
                agent.is_connected() && agent.deactivation.is_none(),
                "agent {id} is active while it is connected and in use"
            );
            assert_eq!(agent.deactivation.as_ref(), self.deactivations.get(id), "agent {id}");
            assert!(!self.gone_agents.contains_key(id), "agent {id} is gone");
            assert!(agent.active || agent.offers.is_empty(), "agent {id}: only active agents are offered");
            for (uuid, operation) in &agent.operations {
                assert_eq!(operation.uuid.value, *uuid, "agent {id}: operations are found by their uuids");
            }
            match agent.conn {
                Some(conn) => assert_eq!(self.agent_conns.get(&conn), Some(id)),
                None => assert!(!agent.active, "agent {id}: a disconnected agent is not active"),
            }
        }
    }

    fn check_frameworks(&self) {
        for (id, framework) in &self.frameworks {
            assert_eq!(framework.is_connected(), framework.active, "framework {id}");
            assert!(framework.is_connected() || framework.offers.is_empty(), "framework {id}");
            assert_eq!(
                framework.removed_at.is_none(),
                framework.is_connected(),
                "framework {id} has a limit"
            );
            if let Some(stream) = &framework.stream {
                assert_eq!(self.streams.get(&stream.conn), Some(id));
            }
            for (task_id, task) in &framework.tasks {
                let agent =
                    self.agents.get(&task.agent_id()).expect("a framework's task is on a registered agent");
                assert!(
                    agent.tasks.contains(&(id.clone(), task_id.clone())),
                    "task {task_id} is its agent's"
                );
                assert!(!task.is_terminal() || !task.holds_resources, "task {task_id} ended");
                assert!(!framework.unreachable_tasks.contains_key(task_id), "task {task_id} is in one place");
            }
            assert!(framework.completed_tasks.len() <= self.config.max_completed_tasks_per_framework);
            assert!(framework.unreachable_tasks.len() <= self.config.max_unreachable_tasks_per_framework);
            assert!(!self.is_completed(id), "framework {id} is either known or completed");
        }
        for (conn, id) in &self.streams {
            let stream = self.frameworks.get(id).and_then(|framework| framework.stream.as_ref());
            assert_eq!(stream.map(|stream| stream.conn), Some(*conn), "framework {id}");
        }
    }

    fn check_upkeep(&self) {
        for (id, agent) in &self.agents {
            let machine = self.upkeep.maintenance.machine_of(&agent.info).filter(|machine| !machine.down);
            let known = self.upkeep.agents.get(id).map(|visited| visited.unavailability);
            assert_eq!(known, machine.map(|machine| machine.unavailability), "agent {id} and the schedule");
        }
        assert!(self.upkeep.agents.keys().all(|id| self.agents.contains_key(id)));
        assert!(self.upkeep.agents.is_empty() || self.upkeep.next_offers.is_some());
        for (id, offer) in &self.upkeep.offers {
            assert!(
                self.agents[&offer.agent_id].active && self.frameworks[&offer.framework_id].is_connected()
            );
            assert_eq!(self.upkeep.agents[&offer.agent_id].offers.get(&offer.framework_id), Some(id));
        }
        let asked: usize = self.upkeep.agents.values().map(|visited| visited.offers.len()).sum();
        assert_eq!(asked, self.upkeep.offers.len());
    }

    fn check_offers(&self) {
        for (id, offer) in &self.offers {
            assert!(
                self.frameworks[&offer.framework_id].offers.contains(id),
                "offer {id} is its framework's"
            );
            assert!(self.agents[&offer.agent_id].offers.contains(id), "offer {id} is its agent's");
        }
        let by_framework: usize = self.frameworks.values().map(|framework| framework.offers.len()).sum();
        let by_agent: usize = self.agents.values().map(|agent| agent.offers.len()).sum();
        assert_eq!((by_framework, by_agent), (self.offers.len(), self.offers.len()));
    }
}
