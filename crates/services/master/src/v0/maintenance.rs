use api_mesos::json::{Object, document};
use master_core::Master;
use mesos_proto::v1::MachineId;

/// `/maintenance/schedule`. Members are in the order of their names, as Mesos writes messages here.
pub(crate) fn maintenance_schedule(master: &Master) -> Vec<u8> {
    let windows = &master.maintenance_schedule().windows;
    document(|o| {
        if windows.is_empty() {
            return;
        }
        o.array("windows", |list| {
            for window in windows {
                list.object(|o| {
                    o.array("machine_ids", |list| {
                        window.machine_ids.iter().for_each(|id| list.object(|o| write_machine(o, id)));
                    });
                    o.object("unavailability", |o| {
                        if let Some(duration) = window.unavailability.duration {
                            write_nanoseconds(o, "duration", duration.nanoseconds);
                        }
                        write_nanoseconds(o, "start", window.unavailability.start.nanoseconds);
                    });
                });
            }
        });
    })
}

/// `/maintenance/status`
pub(crate) fn maintenance_status(master: &Master) -> Vec<u8> {
    let status = master.maintenance_status();
    document(|o| {
        if !status.down_machines.is_empty() {
            o.array("down_machines", |list| {
                status.down_machines.iter().for_each(|id| list.object(|o| write_machine(o, id)));
            });
        }
        if status.draining_machines.is_empty() {
            return;
        }
        o.array("draining_machines", |list| {
            for machine in &status.draining_machines {
                list.object(|o| {
                    o.object("id", |o| write_machine(o, &machine.id));
                    if machine.statuses.is_empty() {
                        return;
                    }
                    o.array("statuses", |list| {
                        for answer in &machine.statuses {
                            list.object(|o| {
                                let framework = &*answer.framework_id.value;
                                o.object("framework_id", |o| {
                                    o.field("value", framework);
                                })
                                .field("status", answer.status().as_str_name());
                                write_nanoseconds(o, "timestamp", answer.timestamp.nanoseconds);
                            });
                        }
                    });
                });
            }
        });
    })
}

fn write_machine(o: &mut Object<'_>, id: &MachineId) {
    if let Some(hostname) = &id.hostname {
        o.field("hostname", &**hostname);
    }
    if let Some(ip) = &id.ip {
        o.field("ip", &**ip);
    }
}

fn write_nanoseconds(o: &mut Object<'_>, name: &str, nanoseconds: i64) {
    o.object(name, |o| {
        o.field("nanoseconds", nanoseconds);
    });
}
