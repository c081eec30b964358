//! How `/state` and its kin show the protobuf messages they contain: not as protobuf's JSON, but in
//! shapes of their own. Mesos: src/common/http.cpp.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesos_proto::json::write_json;
use mesos_proto::v1;
use resources::{Ranges, Resource, Resources, Scalar, Value, WireForm};

use crate::json::{Array, Object};

/// `{"disk":..,"mem":..,"gpus":..,"cpus":..,"ports":"[..]"}`: sums by name whatever the role, with
/// `_revocable` after the names of what may be taken away. The four scalars are always there.
pub fn write_resources(o: &mut Object<'_>, resources: &Resources) {
    write_sums(o, resources.iter());
}

/// [`write_resources`] of some of them.
pub fn write_sums<'r>(o: &mut Object<'_>, resources: impl IntoIterator<Item = &'r Resource>) {
    let mut sums = Sums::default();
    for resource in resources {
        sums.add(resource);
    }
    sums.write(o);
}

/// What of them is reserved: [`write_resources`] by role.
pub fn write_reserved(o: &mut Object<'_>, resources: &Resources) {
    for (role, reserved) in reserved_by_role(resources) {
        o.object(role, |o| write_sums(o, reserved));
    }
}

/// What of them is reserved: [`write_full`] by role.
pub fn write_reserved_full(o: &mut Object<'_>, resources: &Resources) {
    for (role, reserved) in reserved_by_role(resources) {
        let reserved: Resources = reserved.into_iter().cloned().collect();
        o.array(role, |list| write_full(list, &reserved));
    }
}

/// Resources as messages, so that operators can copy them into calls.
pub fn write_full(list: &mut Array<'_>, resources: &Resources) {
    for message in resources.to_wire(WireForm::Endpoint) {
        list.raw(|out| write_json(&message, out));
    }
}

fn reserved_by_role(resources: &Resources) -> BTreeMap<&str, Vec<&Resource>> {
    let mut by_role = BTreeMap::<&str, Vec<_>>::new();
    for resource in resources.iter().filter(|resource| !resource.identity().reservations.is_empty()) {
        by_role.entry(resource.identity().reservation_role()).or_default().push(resource);
    }
    by_role
}

/// Resources summed by name.
#[derive(Default)]
struct Sums {
    standard: [Scalar; 4],
    scalars: Vec<(String, Scalar)>,
    ranges: Vec<(String, Ranges)>,
    sets: Vec<(String, BTreeSet<Arc<str>>)>,
}

/// The order in which the real master prints them.
const STANDARD: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

impl Sums {
    fn add(&mut self, resource: &Resource) {
        let revocable = resource.identity().revocable;
        let standard = STANDARD.iter().position(|name| *name == resource.name() && !revocable);
        let name = || format!("{}{}", resource.name(), if revocable { "_revocable" } else { "" });
        match (resource.value(), standard) {
            (Value::Scalar(amount), Some(at)) => self.standard[at] = self.standard[at].plus(*amount),
            (Value::Scalar(amount), None) => {
                let sum = slot(&mut self.scalars, name());
                *sum = sum.plus(*amount);
            }
            (Value::Ranges(more), _) => {
                let all = slot(&mut self.ranges, name());
                *all = all.union(more);
            }
            (Value::Set(items), _) => slot(&mut self.sets, name()).extend(items.iter().cloned()),
        }
    }

    fn write(self, o: &mut Object<'_>) {
        for (name, sum) in STANDARD.iter().zip(self.standard) {
            o.field(name, sum.to_f64());
        }
        for (name, sum) in self.scalars {
            o.field(&name, sum.to_f64());
        }
        for (name, ranges) in self.ranges {
            o.field(&name, ranges.to_string());
        }
        for (name, items) in self.sets {
            o.field(&name, set_text(items.iter()));
        }
    }
}

fn slot<T: Default>(slots: &mut Vec<(String, T)>, name: String) -> &mut T {
    let at = slots.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        slots.push((name, T::default()));
        slots.len() - 1
    });
    &mut slots[at].1
}

fn set_text(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::from("{");
    for (i, item) in items.enumerate() {
        text.push_str(if i > 0 { ", " } else { "" });
        text.push_str(item.as_ref());
    }
    text.push('}');
    text
}

/// Attributes by name: a number, or text as on the agent's command line.
pub fn write_attributes(o: &mut Object<'_>, attributes: &[v1::Attribute]) {
    for attribute in attributes {
        let name = &attribute.name;
        if let Some(scalar) = &attribute.scalar {
            o.field(name, scalar.value);
        } else if let Some(ranges) = &attribute.ranges {
            let ranges = Ranges::from_intervals(ranges.range.iter().map(|range| (range.begin, range.end)));
            o.field(name, ranges.to_string());
        } else if let Some(set) = &attribute.set {
            o.field(name, set_text(set.item.iter()));
        } else if let Some(text) = &attribute.text {
            o.field(name, &*text.value);
        }
    }
}

/// The members that an agent's description has wherever it is shown.
pub fn write_agent_info(o: &mut Object<'_>, info: &v1::AgentInfo) {
    o.field("id", info.id.as_ref().map_or("", |id| &id.value))
        .field("hostname", &*info.hostname)
        .field("port", info.port.unwrap_or(5051))
        .object("attributes", |o| write_attributes(o, &info.attributes));
    if let Some(domain) = &info.domain {
        o.raw("domain", |out| write_json(domain, out));
    }
}

/// A task as in a framework's `tasks`. `resources` are those of the task.
pub fn write_task(o: &mut Object<'_>, task: &v1::Task, resources: &Resources) {
    let role = resources.allocation_role();
    o.field("id", &*task.task_id.value)
        .field("name", &*task.name)
        .field("framework_id", &*task.framework_id.value)
        .field("executor_id", task.executor_id.as_ref().map_or("", |id| &id.value))
        .field("slave_id", &*task.agent_id.value)
        .field("state", task.state().as_str_name())
        .object("resources", |o| write_resources(o, resources));
    if !task.limits.is_empty() {
        o.object("limits", |o| {
            for (name, limit) in &task.limits {
                o.field(name, limit.value);
            }
        });
    }
    o.field("role", role.map_or("", |role| role)).array("statuses", |statuses| {
        for status in &task.statuses {
            statuses.object(|o| write_status(o, status));
        }
    });
    if let Some(user) = &task.user {
        o.field("user", &**user);
    }
    if let Some(labels) = &task.labels {
        o.array("labels", |list| write_labels(list, labels));
    }
    if let Some(discovery) = &task.discovery {
        o.raw("discovery", |out| write_json(discovery, out));
    }
    if let Some(container) = &task.container {
        o.raw("container", |out| write_json(container, out));
    }
    if let Some(health_check) = &task.health_check {
        o.raw("health_check", |out| write_json(health_check, out));
    }
}

fn write_status(o: &mut Object<'_>, status: &v1::TaskStatus) {
    o.field("state", status.state().as_str_name()).field("timestamp", status.timestamp.unwrap_or_default());
    if let Some(labels) = &status.labels {
        o.array("labels", |list| write_labels(list, labels));
    }
    if let Some(container) = &status.container_status {
        o.object("container_status", |o| write_container_status(o, container));
    }
    if let Some(healthy) = status.healthy {
        o.field("healthy", healthy);
    }
}

fn write_container_status(o: &mut Object<'_>, status: &v1::ContainerStatus) {
    if let Some(id) = &status.container_id {
        o.raw("container_id", |out| write_json(id, out));
    }
    if !status.network_infos.is_empty() {
        o.array("network_infos", |list| {
            for info in &status.network_infos {
                list.object(|o| write_network_info(o, info));
            }
        });
    }
    if let Some(cgroup) = &status.cgroup_info {
        o.raw("cgroup_info", |out| write_json(cgroup, out));
    }
}

fn write_network_info(o: &mut Object<'_>, info: &v1::NetworkInfo) {
    if !info.groups.is_empty() {
        o.array("groups", |list| info.groups.iter().for_each(|group| list.element(&**group)));
    }
    if let Some(labels) = &info.labels {
        o.array("labels", |list| write_labels(list, labels));
    }
    if !info.ip_addresses.is_empty() {
        o.array("ip_addresses", |list| {
            info.ip_addresses.iter().for_each(|address| list.raw(|out| write_json(address, out)));
        });
    }
    if let Some(name) = &info.name {
        o.field("name", &**name);
    }
    if !info.port_mappings.is_empty() {
        o.array("port_mappings", |list| {
            info.port_mappings.iter().for_each(|mapping| list.raw(|out| write_json(mapping, out)));
        });
    }
}

/// Labels as a plain list of `{"key":..,"value":..}`.
pub fn write_labels(list: &mut Array<'_>, labels: &v1::Labels) {
    labels.labels.iter().for_each(|label| list.raw(|out| write_json(label, out)));
}

/// A command as in an executor's `command`.
pub fn write_command(o: &mut Object<'_>, command: Option<&v1::CommandInfo>) {
    let unset = v1::CommandInfo::default();
    let command = command.unwrap_or(&unset);
    if let Some(shell) = command.shell {
        o.field("shell", shell);
    }
    if let Some(value) = &command.value {
        o.field("value", &**value);
    }
    o.array("argv", |list| command.arguments.iter().for_each(|argument| list.element(&**argument)));
    if let Some(environment) = &command.environment {
        o.raw("environment", |out| write_json(environment, out));
    }
    o.array("uris", |list| {
        for uri in &command.uris {
            list.object(|o| {
                o.field("value", &*uri.value).field("executable", uri.executable.unwrap_or(false));
            });
        }
    });
}
