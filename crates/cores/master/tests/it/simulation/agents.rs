//! The agents of the simulation: what they do on their side of the link.

use super::*;

impl World {
    pub(super) fn connect_agent(&mut self, n: usize) {
        if self.agents[n].conn.is_some() {
            return;
        }
        let conn = self.cluster.conn();
        let agent = &mut self.agents[n];
        agent.conn = Some(conn);
        agent.done.clear();
        let mut hello: Hello = Cluster::hello(&format!("host{}", agent.host), RESOURCES[agent.host]);
        hello.agent.as_mut().unwrap().id = agent.id.clone().map(|value| v1::AgentId { value });
        hello.frameworks = agent.frameworks.values().cloned().collect();
        let executors = agent.executors.iter().map(|((framework, _), executor)| RunningExecutor {
            framework_id: Some(v1::FrameworkId { value: framework.clone() }),
            executor: Some(executor.clone()),
        });
        hello.executors = executors.collect();
        hello.tasks = agent.tasks.values().map(|task| task.info.clone()).collect();
        hello.total = agent.total.to_wire(WireForm::Refined);
        hello.operations = agent.operations.values().cloned().collect();
        hello.capabilities = vec!["AGENT_OPERATION_FEEDBACK".to_owned()];
        self.cluster.say(conn, Body::Hello(hello));
    }

    pub(super) fn drop_agent(&mut self, n: usize) {
        let Some(conn) = self.agents[n].conn.take() else { return };
        self.cluster.frames.remove(&conn);
        let silent = self.chance(30);
        if !self.cluster.closed.contains(&conn) {
            self.cluster.input(Input::AgentClosed { conn, silent });
        }
    }

    pub(super) fn deliver_to_agent(&mut self, n: usize) {
        let Some(conn) = self.agents[n].conn else { return };
        let Some(frames) = self.cluster.frames.get_mut(&conn).filter(|frames| !frames.is_empty()) else {
            return;
        };
        let frame = frames.remove(0);
        self.uuid = self.uuid.wrapping_add(1);
        let uuid = self.uuid;
        let agent = &mut self.agents[n];
        match frame {
            Body::Welcome(welcome) => {
                let id = welcome.agent_id.unwrap().value;
                assert!(agent.id.is_none() || agent.id.as_ref() == Some(&id), "an agent keeps its id");
                agent.id = Some(id);
            }
            Body::RunTask(run) => agent.run(run.framework.unwrap(), vec![run.task.unwrap()], uuid),
            Body::RunTaskGroup(run) => {
                let (framework, executor) = (run.framework.unwrap(), run.executor.unwrap());
                let key = (framework.id.clone().unwrap().value, executor.executor_id.value.clone());
                let known = agent.executors.entry(key).or_insert_with(|| executor.clone());
                assert_eq!(*known, executor, "an executor does not change");
                agent.run(framework, run.task_group.unwrap().tasks, uuid);
            }
            Body::KillTask(kill) => {
                let key = (kill.framework_id.unwrap().value, kill.task_id.unwrap().value);
                agent.end(&key, uuid, TaskState::TaskKilled);
            }
            Body::AcknowledgeUpdate(ack) => {
                let key = (ack.framework_id.unwrap().value, ack.task_id.unwrap().value);
                let Some(task) = agent.tasks.get_mut(&key) else { return };
                if task.updates.front().is_some_and(|(uuid, _)| uuid_bytes(*uuid) == ack.uuid) {
                    let (_, state) = task.updates.pop_front().unwrap();
                    if is_terminal(state) {
                        agent.tasks.remove(&key);
                    }
                }
            }
            Body::ShutdownFramework(shutdown) => {
                let id = shutdown.framework_id.unwrap().value;
                agent.frameworks.remove(&id);
                agent.executors.retain(|(framework, _), _| *framework != id);
                agent.tasks.retain(|(framework, _), _| *framework != id);
            }
            Body::UpdateFramework(_) => {}
            Body::Drain(_) => {
                let keys: Vec<_> = agent.tasks.keys().cloned().collect();
                for (n, key) in keys.iter().enumerate() {
                    agent.end(key, uuid.wrapping_add(n as u8), TaskState::TaskKilled);
                }
                self.uuid = uuid.wrapping_add(keys.len() as u8);
            }
            Body::Undrain(_) => {}
            // As the real one: it ends all it has and comes back as a new agent.
            Body::Shutdown(_) => {
                let id = agent.id.take();
                let is_gone = id.is_none_or(|id| self.gone.contains(&id));
                assert!(is_gone || self.maintained, "only what is gone or under maintenance is shut down");
                agent.tasks.clear();
                agent.frameworks.clear();
                agent.total = Resources::parse(RESOURCES[agent.host]).unwrap();
                agent.operations.clear();
                agent.done.clear();
            }
            Body::ApplyOperation(apply) => agent.apply(&apply, uuid),
            Body::AcknowledgeOperation(ack) => {
                let known = agent.operations.get(&ack.operation_uuid);
                let told = known.and_then(|known| known.latest_status.uuid.as_ref());
                if told.is_some_and(|told| told.value == ack.status_uuid) {
                    agent.operations.remove(&ack.operation_uuid);
                }
            }
            other => panic!("agents get no {other:?}"),
        }
    }

    pub(super) fn send_update(&mut self, n: usize) {
        let agent = &self.agents[n];
        let (Some(conn), Some(_)) = (agent.conn, &agent.id) else { return };
        if self.cluster.closed.contains(&conn) {
            return;
        }
        if let Some(operation_uuid) = self.agents[n].done.pop() {
            let status =
                v1::OperationStatus { state: OperationState::OperationFinished.into(), ..Default::default() };
            let status = Some(status);
            let update = agent_link::OperationUpdate { operation_uuid, status, ..Default::default() };
            return self.cluster.say(conn, Body::OperationUpdate(update));
        }
        let agent = &self.agents[n];
        let id = agent.id.clone().unwrap_or_default();
        if let Some(known) = agent.operations.values().next().filter(|_| self.rng.below(2) == 0) {
            let update = agent_link::OperationUpdate {
                operation_uuid: known.uuid.value.clone(),
                framework_id: known.framework_id.clone(),
                latest: Some(known.latest_status.clone()),
                status: Some(known.latest_status.clone()),
            };
            return self.cluster.say(conn, Body::OperationUpdate(update));
        }
        let waiting: Vec<_> = agent.tasks.iter().filter(|(_, task)| !task.updates.is_empty()).collect();
        let Some(((framework, name), task)) =
            waiting.get(self.rng.below(waiting.len().max(1) as u64) as usize)
        else {
            return;
        };
        let (uuid, state) = task.updates[0];
        let sender = Agent { conn, id };
        let update = agent_link::Update {
            framework_id: Some(v1::FrameworkId { value: framework.clone() }),
            executor_id: None,
            status: Some(Cluster::status(&sender, name, state, uuid)),
            latest_state: task.info.state,
        };
        self.cluster.say(conn, Body::Update(update));
    }

    pub(super) fn finish_task(&mut self, n: usize) {
        let keys: Vec<_> = self.agents[n].tasks.keys().cloned().collect();
        if !keys.is_empty() {
            let key = keys[self.pick(keys.len())].clone();
            self.uuid = self.uuid.wrapping_add(1);
            self.agents[n].end(&key, self.uuid, TaskState::TaskFinished);
        }
    }

    /// An executor without tasks exits.
    pub(super) fn end_executor(&mut self, n: usize) {
        let agent = &mut self.agents[n];
        let Some(conn) = agent.conn.filter(|conn| !self.cluster.closed.contains(conn)) else { return };
        let welcomed = self.cluster.master.agents().any(|it| it.conn == Some(conn));
        let idle = agent.executors.keys().find(|(framework, id)| {
            let mut tasks = agent.tasks.iter().filter(|((of, _), _)| of == framework);
            tasks.all(|(_, task)| task.info.executor_id.as_ref().is_none_or(|it| it.value != *id))
        });
        let Some(key) = idle.filter(|_| welcomed).cloned() else { return };
        agent.executors.remove(&key);
        let exited = agent_link::ExecutorExited {
            framework_id: Some(v1::FrameworkId { value: key.0 }),
            executor_id: Some(v1::ExecutorId { value: key.1 }),
            status: 0,
        };
        self.cluster.say(conn, Body::ExecutorExited(exited));
    }
}

impl SimAgent {
    pub(super) fn apply(&mut self, apply: &agent_link::ApplyOperation, uuid: u8) {
        let info = apply.info.clone().unwrap();
        let made: Vec<_> = conversions(&info).unwrap().iter().map(Conversion::unallocated).collect();
        self.total.apply(&made).expect("the master counts on what there is");
        let Some(id) = info.id.clone() else { return self.done.push(apply.operation_uuid.clone()) };
        let status = v1::OperationStatus {
            operation_id: Some(id),
            state: OperationState::OperationFinished.into(),
            uuid: Some(v1::Uuid { value: uuid_bytes(uuid) }),
            agent_id: self.id.clone().map(|value| v1::AgentId { value }),
            ..Default::default()
        };
        let known = v1::Operation {
            framework_id: apply.framework_id.clone(),
            agent_id: status.agent_id.clone(),
            info: *info,
            latest_status: status.clone(),
            statuses: vec![status],
            uuid: v1::Uuid { value: apply.operation_uuid.clone() },
        };
        let twice = self.operations.insert(apply.operation_uuid.clone(), known);
        assert!(twice.is_none(), "no operation is done twice");
    }

    pub(super) fn run(&mut self, framework: v1::FrameworkInfo, tasks: Vec<v1::TaskInfo>, uuid: u8) {
        let framework_id = framework.id.clone().unwrap();
        self.frameworks.insert(framework_id.value.clone(), framework);
        let group: Vec<String> = tasks.iter().map(|task| task.task_id.value.clone()).collect();
        for task in tasks {
            let key = (framework_id.value.clone(), task.task_id.value.clone());
            let info = v1::Task {
                name: task.name,
                task_id: task.task_id,
                framework_id: framework_id.clone(),
                executor_id: task.executor.map(|executor| executor.executor_id),
                agent_id: task.agent_id,
                state: TaskState::TaskRunning.into(),
                resources: task.resources,
                ..v1::Task::default()
            };
            let updates = VecDeque::from([(uuid, TaskState::TaskRunning)]);
            let twice = self.tasks.insert(key, SimTask { info, group: group.clone(), updates });
            assert!(twice.is_none(), "no task is launched twice");
        }
    }

    /// A task ends, and with it its group.
    pub(super) fn end(&mut self, key: &(String, String), uuid: u8, state: TaskState) {
        let Some(task) = self.tasks.get(key) else { return };
        for name in task.group.clone() {
            let Some(task) = self.tasks.get_mut(&(key.0.clone(), name)) else { continue };
            if !is_terminal(TaskState::try_from(task.info.state).unwrap()) {
                task.info.state = state.into();
                task.updates.push_back((uuid, state));
            }
        }
    }
}
