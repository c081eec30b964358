//! When machines are not available: the schedule, and what operators do by it.
//! Mesos: src/master/maintenance.cpp, `Master::Http::updateMaintenanceSchedule`, `_startMaintenance`,
//! `_stopMaintenance`.
//!
//! A machine of the schedule is draining until maintenance starts on it, and down until it is stopped. A
//! machine is never down without being scheduled, so the schedule and the names of what is down are all
//! there is to remember.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use mesos_proto::json::to_json;
use mesos_proto::v1::maintenance::{Schedule, Window};
use mesos_proto::v1::{AgentInfo, MachineId, Unavailability};
use prost::Message;

/// A machine's name to look it up by: host names are the same in any case. Mesos: `operator==` of MachineID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    hostname: Option<String>,
    ip: Option<String>,
}

impl Name {
    fn of(id: &MachineId) -> Name {
        Name { hostname: id.hostname.as_ref().map(|name| name.to_lowercase()), ip: id.ip.clone() }
    }
}

/// A machine of the schedule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    pub(crate) id: MachineId,
    pub(crate) unavailability: Unavailability,
    /// Whether maintenance has started on it.
    pub(crate) down: bool,
}

/// All that is scheduled.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Maintenance {
    schedule: Schedule,
    machines: BTreeMap<Name, Machine>,
}

/// What is remembered of it. Fields are only ever added.
#[derive(Clone, PartialEq, Message)]
struct MaintenanceRecord {
    #[prost(message, repeated, tag = "1")]
    windows: Vec<Window>,
    #[prost(message, repeated, tag = "2")]
    down: Vec<MachineId>,
}

impl Maintenance {
    fn new(schedule: Schedule, down: &BTreeSet<Name>) -> Maintenance {
        let mut machines = BTreeMap::new();
        for window in &schedule.windows {
            for id in &window.machine_ids {
                let (name, unavailability) = (Name::of(id), window.unavailability);
                let machine = Machine { id: id.clone(), unavailability, down: down.contains(&name) };
                machines.insert(name, machine);
            }
        }
        Maintenance { schedule, machines }
    }

    fn down(&self) -> BTreeSet<Name> {
        self.machines.iter().filter(|(_, machine)| machine.down).map(|(name, _)| name.clone()).collect()
    }

    /// The schedule as it was set, without what was stopped.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The machines of the schedule, by name.
    pub(crate) fn machines(&self) -> impl Iterator<Item = (&Name, &Machine)> {
        self.machines.iter()
    }

    /// The machine of the schedule that an agent is on.
    pub(crate) fn machine_of(&self, agent: &AgentInfo) -> Option<&Machine> {
        self.named_machine_of(agent).map(|(_, machine)| machine)
    }

    /// The machine of the schedule that an agent is on, with its name. It is known by its host name, and by its address
    /// where that is its host name.
    pub(crate) fn named_machine_of(&self, agent: &AgentInfo) -> Option<(&Name, &Machine)> {
        if self.machines.is_empty() {
            return None;
        }
        let hostname = Some(agent.hostname.to_lowercase());
        if agent.hostname.parse::<Ipv4Addr>().is_ok() {
            return self.machines.get_key_value(&Name { ip: hostname.clone(), hostname });
        }
        let first = Name { hostname: hostname.clone(), ip: Some(String::new()) };
        let (name, machine) = self.machines.range(first..).next()?;
        (name.hostname == hostname).then_some((name, machine))
    }

    /// What becomes of it with another schedule.
    ///
    /// # Errors
    /// If there can be no such schedule. Mesos: `maintenance::validation::schedule`.
    pub(crate) fn rescheduled(&self, schedule: Schedule) -> Result<Maintenance, String> {
        let mut seen = BTreeSet::new();
        for window in &schedule.windows {
            if window.machine_ids.is_empty() {
                return Err("List of machines in the maintenance window is empty".to_owned());
            }
            if window.unavailability.duration.is_some_and(|duration| duration.nanoseconds < 0) {
                return Err("Unavailability 'duration' is negative".to_owned());
            }
            for id in &window.machine_ids {
                validate_machine(id)?;
                if !seen.insert(Name::of(id)) {
                    return Err(format!("{} appears more than once in the schedule", text(id)));
                }
            }
        }
        if let Some(missing) = self.machines.iter().find(|(name, known)| known.down && !seen.contains(name)) {
            let text = text(&missing.1.id);
            return Err(format!("{text} is deactivated and cannot be removed from the schedule"));
        }
        Ok(Maintenance::new(schedule, &self.down()))
    }

    /// What becomes of it when maintenance starts on machines.
    ///
    /// # Errors
    /// If it cannot start on one of them.
    pub(crate) fn started(&self, ids: &[MachineId]) -> Result<Maintenance, String> {
        let mut next = self.clone();
        self.check_machines(ids, false, "is not in DRAINING mode and cannot be brought down")?;
        for id in ids {
            if let Some(machine) = next.machines.get_mut(&Name::of(id)) {
                machine.down = true;
            }
        }
        Ok(next)
    }

    /// What becomes of it when maintenance stops on machines: they leave the schedule.
    ///
    /// # Errors
    /// If it cannot stop on one of them.
    pub(crate) fn stopped(&self, ids: &[MachineId]) -> Result<Maintenance, String> {
        self.check_machines(ids, true, "is not in DOWN mode and cannot be brought up")?;
        let stopped: BTreeSet<Name> = ids.iter().map(Name::of).collect();
        let mut schedule = self.schedule.clone();
        for window in &mut schedule.windows {
            window.machine_ids.retain(|id| !stopped.contains(&Name::of(id)));
        }
        schedule.windows.retain(|window| !window.machine_ids.is_empty());
        Ok(Maintenance::new(schedule, &self.down()))
    }

    /// Mesos: `maintenance::validation::machines`.
    fn check_machines(&self, ids: &[MachineId], down: bool, otherwise: &str) -> Result<(), String> {
        if ids.is_empty() {
            return Err("List of machines is empty".to_owned());
        }
        let mut seen = BTreeSet::new();
        for id in ids {
            validate_machine(id)?;
            if !seen.insert(Name::of(id)) {
                return Err(format!("{} appears more than once in the schedule", text(id)));
            }
        }
        for id in ids {
            match self.machines.get(&Name::of(id)) {
                None => return Err(format!("{} is not part of a maintenance schedule", text(id))),
                Some(machine) if machine.down != down => return Err(format!("{} {otherwise}", text(id))),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// As it is remembered.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let down = self.machines.values().filter(|machine| machine.down);
        let down = down.map(|machine| machine.id.clone()).collect();
        MaintenanceRecord { windows: self.schedule.windows.clone(), down }.encode_to_vec()
    }

    /// From what is remembered.
    ///
    /// # Errors
    /// If these are no bytes of [`Maintenance::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Maintenance, prost::DecodeError> {
        let record = MaintenanceRecord::decode(bytes)?;
        let down = record.down.iter().map(Name::of).collect();
        Ok(Maintenance::new(Schedule { windows: record.windows }, &down))
    }
}

/// Mesos: `maintenance::validation::machine`.
fn validate_machine(id: &MachineId) -> Result<(), String> {
    let (hostname, ip) = (id.hostname.as_deref().unwrap_or(""), id.ip.as_deref().unwrap_or(""));
    if hostname.is_empty() && ip.is_empty() {
        return Err("Both 'hostname' and 'ip' for a machine are empty".to_owned());
    }
    if !ip.is_empty() && ip.parse::<Ipv4Addr>().is_err() {
        return Err(format!("Failed to parse IPv4: {ip}"));
    }
    Ok(())
}

fn text(id: &MachineId) -> String {
    format!("Machine '{}'", to_json(id))
}

/// A machine as one of Mesos' texts has it. Mesos: `operator<<` of MachineID.
pub(crate) fn described(id: &MachineId) -> String {
    match (&id.hostname, &id.ip) {
        (Some(hostname), Some(ip)) => format!("{hostname} ({ip})"),
        (Some(hostname), None) => hostname.clone(),
        (None, ip) => format!("({})", ip.as_deref().unwrap_or("")),
    }
}

#[cfg(test)]
mod tests {
    use mesos_proto::json::from_json;

    use super::*;

    const ONE: &str = r#"{"windows":[{"machine_ids":[{"hostname":"A","ip":"10.0.0.1"},{"hostname":"b","ip":"10.0.0.2"}],
        "unavailability":{"start":{"nanoseconds":5},"duration":{"nanoseconds":7}}}]}"#;

    fn schedule(json: &str) -> Schedule {
        from_json(json.as_bytes()).unwrap()
    }

    fn machine(hostname: &str, ip: &str) -> MachineId {
        MachineId { hostname: Some(hostname.to_owned()), ip: Some(ip.to_owned()) }
    }

    fn agent(hostname: &str) -> AgentInfo {
        AgentInfo { hostname: hostname.to_owned(), ..AgentInfo::default() }
    }

    #[test]
    fn mm37_schedules_that_cannot_be_are_refused() {
        let with = |machines: &str, unavailability: &str| {
            format!(
                r#"{{"windows":[{{"machine_ids":[{machines}],"unavailability":{{"start":{{"nanoseconds":1}}{unavailability}}}}}]}}"#
            )
        };
        let check = |json: String, error: &str| {
            assert_eq!(Maintenance::default().rescheduled(schedule(&json)).unwrap_err(), error);
        };
        check(with("", ""), "List of machines in the maintenance window is empty");
        check(with("{}", ""), "Both 'hostname' and 'ip' for a machine are empty");
        check(with(r#"{"ip":"nope"}"#, ""), "Failed to parse IPv4: nope");
        check(
            with(r#"{"hostname":"a"}"#, r#","duration":{"nanoseconds":-1}"#),
            "Unavailability 'duration' is negative",
        );
        check(
            with(r#"{"hostname":"a"},{"hostname":"A"}"#, ""),
            "Machine '{\"hostname\":\"A\"}' appears more than once in the schedule",
        );
        let down = Maintenance::default().rescheduled(schedule(ONE)).unwrap();
        let down = down.started(&[machine("a", "10.0.0.1")]).unwrap();
        assert_eq!(
            down.rescheduled(Schedule::default()).unwrap_err(),
            "Machine '{\"hostname\":\"A\",\"ip\":\"10.0.0.1\"}' is deactivated and cannot be removed from the schedule"
        );
    }

    #[test]
    fn mm37_machines_go_down_and_come_up_only_in_turn() {
        let draining = Maintenance::default().rescheduled(schedule(ONE)).unwrap();
        let error = |ids: &[MachineId], text: &str| {
            assert_eq!(draining.started(ids).unwrap_err(), text);
        };
        error(&[], "List of machines is empty");
        error(
            &[machine("x", "10.0.0.9")],
            "Machine '{\"hostname\":\"x\",\"ip\":\"10.0.0.9\"}' is not part of a maintenance schedule",
        );
        let a = machine("a", "10.0.0.1");
        assert_eq!(
            draining.stopped(std::slice::from_ref(&a)).unwrap_err(),
            "Machine '{\"hostname\":\"a\",\"ip\":\"10.0.0.1\"}' is not in DOWN mode and cannot be brought up"
        );
        let down = draining.started(std::slice::from_ref(&a)).unwrap();
        assert_eq!(
            down.started(std::slice::from_ref(&a)).unwrap_err(),
            "Machine '{\"hostname\":\"a\",\"ip\":\"10.0.0.1\"}' is not in DRAINING mode and cannot be brought down"
        );
        let rest = down.rescheduled(down.schedule().clone()).unwrap();
        assert_eq!(rest, down, "what is down stays down");
        let up = down.stopped(&[a]).unwrap();
        assert_eq!(up.machines().map(|(_, machine)| machine.id.hostname()).collect::<Vec<_>>(), ["b"]);
        let none = up.started(&[machine("b", "10.0.0.2")]).unwrap().stopped(&[machine("B", "10.0.0.2")]);
        assert_eq!(none.unwrap(), Maintenance::default());
    }

    #[test]
    fn mm37_what_is_remembered_is_what_was() {
        let draining = Maintenance::default().rescheduled(schedule(ONE)).unwrap();
        let down = draining.started(&[machine("b", "10.0.0.2")]).unwrap();
        for known in [Maintenance::default(), draining, down] {
            assert_eq!(Maintenance::decode(&known.encode()).unwrap(), known);
        }
    }

    #[test]
    fn mm37_agents_are_on_the_machines_of_their_names() {
        let json = r#"{"windows":[{"machine_ids":[{"hostname":"Node","ip":"10.0.0.1"},{"hostname":"10.0.0.2","ip":"10.0.0.2"},
            {"hostname":"10.0.0.3","ip":"10.0.0.4"},{"hostname":"alone"},{"ip":"10.0.0.5"}],
            "unavailability":{"start":{"nanoseconds":5}}}]}"#;
        let known = Maintenance::default().rescheduled(schedule(json)).unwrap();
        let check = |hostname: &str, is_on: bool| {
            assert_eq!(known.machine_of(&agent(hostname)).is_some(), is_on, "{hostname}");
        };
        check("node", true);
        check("NODE", true);
        check("nod", false);
        check("node2", false);
        check("10.0.0.2", true);
        check("10.0.0.3", false);
        // As in Mesos, a name says all of a machine or is none of an agent's.
        check("alone", false);
        check("10.0.0.5", false);
    }
}
