//! The documents of the v0 API: `/state` and its parts. Mesos: src/master/readonly_handler.cpp.

mod maintenance;
mod messages;
mod state;
mod summary;

pub(crate) use maintenance::{maintenance_schedule, maintenance_status};
pub(crate) use state::{frameworks, roles, slaves, state, tasks, write_flags};
pub(crate) use summary::state_summary;
