use base::{AgentId, ContainerId, Wall};
use mesos_proto::v1::AgentInfo;
use std::collections::BTreeMap;

use super::*;
use crate::{Config, Input, Process};

const RESERVE: &str = r#"{"type":"RESERVE","id":{"value":"one"},"reserve":{"resources":[{"name":"cpus","type":"SCALAR",
    "scalar":{"value":1},"allocation_info":{"role":"a"},"reservations":[{"type":"DYNAMIC","role":"a"}]}]}}"#;
const RESERVED: &str = "cpus:3; cpus(reservations: [(DYNAMIC,a)]):1; mem:100";

fn config(resources: &str) -> Config {
    let resources = Resources::parse(resources).unwrap().to_wire(WireForm::Refined);
    Config::new(AgentInfo { hostname: "h".into(), resources, ..Default::default() }, "127.0.0.2", "boot")
}

/// An agent with what it wrote and what it said since the last look.
struct World {
    agent: Agent,
    now: Now,
    disk: Vec<Record>,
    told: Vec<(Vec<u8>, OperationStatus)>,
}

impl World {
    fn new(disk: Vec<Record>, resources: &str) -> World {
        let agent = Agent::recover(config(resources), 7, disk.clone());
        let now = Now { mono: Mono(0), wall: Wall(0) };
        let mut world = World { agent, now, disk, told: Vec::new() };
        world.tell(Input::ContainersFound { alive: BTreeMap::<ContainerId, Process>::new() });
        world.tell(Input::Registered { agent_id: AgentId::new("S0") });
        world
    }

    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.agent.handle(self.now, input, &mut out);
        self.agent.check();
        for effect in out {
            match effect {
                Effect::Persist(record) => self.disk.push(record),
                Effect::OperationUpdate { uuid, status, .. } => self.told.push((uuid, *status)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn apply(&mut self, uuid: u8, json: &str) {
        let operation = Box::new(mesos_proto::json::from_json(json.as_bytes()).unwrap());
        let framework_id = Some(FrameworkId::new("f"));
        self.tell(Input::ApplyOperation { framework_id, uuid: vec![uuid; 16], operation });
    }

    fn states(&mut self) -> Vec<OperationState> {
        self.told.drain(..).map(|(_, status)| status.state()).collect()
    }

    fn crash(self) -> World {
        World::new(self.disk, "cpus:4;mem:100")
    }
}

#[test]
fn mm25_mm41_a_reservation_and_its_end_survive_until_acknowledged() {
    let mut world = World::new(Vec::new(), "cpus:4;mem:100");
    world.apply(1, RESERVE);
    let (uuid, status) = world.told.remove(0);
    assert_eq!((uuid, status.state()), (vec![1; 16], OperationState::OperationFinished));
    let mut world = world.crash();
    assert_eq!(world.agent.total().to_string(), RESERVED);
    let knowledge = world.agent.knowledge();
    assert_eq!((knowledge.total.len(), knowledge.operations.len()), (3, 1));
    assert_eq!(world.told.remove(0), (vec![1; 16], status.clone()), "the same update, with the same uuid");
    // Not acknowledged, it is told again, ever less often.
    for _ in 0..3 {
        world.now.mono = world.agent.next_timer().unwrap();
        world.tell(Input::Tick);
        assert_eq!(world.states(), [OperationState::OperationFinished]);
    }
    let status_uuid = status.uuid.unwrap().value;
    world.tell(Input::AcknowledgeOperation { uuid: vec![1; 16], status_uuid: vec![0; 16] });
    assert_eq!(world.agent.operations().count(), 1, "another update is meant");
    world.tell(Input::AcknowledgeOperation { uuid: vec![1; 16], status_uuid });
    assert_eq!((world.agent.operations().count(), world.agent.next_timer()), (0, None));
    let world = world.crash();
    assert_eq!(world.agent.total().to_string(), RESERVED);
    assert_eq!(world.agent.operations().count(), 0);
}

#[test]
fn a_repetition_changes_nothing() {
    let mut world = World::new(Vec::new(), "cpus:4;mem:100");
    let by_operator = RESERVE.replace(r#""id":{"value":"one"},"#, "");
    for _ in 0..2 {
        world.apply(1, &by_operator);
        assert_eq!(world.agent.total().to_string(), RESERVED);
    }
    assert_eq!(world.states(), [OperationState::OperationFinished], "nobody acknowledges it");
    for _ in 0..2 {
        world.apply(2, RESERVE);
        assert_eq!(world.states(), [OperationState::OperationFinished]);
    }
    assert!(world.agent.total().to_string().contains("(DYNAMIC,a)]):2"));
}

#[test]
fn what_is_not_there_is_dropped() {
    let mut world = World::new(Vec::new(), "cpus:4;mem:100");
    let written = world.disk.len();
    world.apply(1, &RESERVE.replace(r#""value":1}"#, r#""value":5}"#));
    let (_, status) = world.told.remove(0);
    assert_eq!(status.state(), OperationState::OperationDropped);
    assert_eq!(status.message.as_deref(), Some("cpus:4; mem:100 does not contain cpus:5"));
    assert_eq!(status.uuid, None, "nobody acknowledges it");
    assert_eq!((world.disk.len(), world.agent.total().to_string()), (written, "cpus:4; mem:100".to_owned()));
}

#[test]
fn an_agent_that_has_become_smaller_keeps_what_it_still_has() {
    let mut world = World::new(Vec::new(), "cpus:4;mem:100");
    world.apply(1, RESERVE);
    world.apply(
        2,
        &RESERVE.replace(r#""value":1}"#, r#""value":2}"#).replace(r#""role":"a""#, r#""role":"b""#),
    );
    let smaller = World::new(world.disk.clone(), "cpus:2;mem:100");
    smaller.agent.check();
    let total = smaller.agent.total().to_string();
    assert!(total.contains("(DYNAMIC,a)]):1") && total.starts_with("cpus:1;"), "{total}");
    let bigger = World::new(world.disk, "cpus:8;mem:100");
    assert!(bigger.agent.total().to_string().starts_with("cpus:5;"));
}
