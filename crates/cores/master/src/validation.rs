//! What is refused, and in which words: those of Mesos (src/master/validation.cpp and
//! src/common/validation.cpp), because users and frameworks know them.

pub(crate) mod agent;
pub(crate) mod container;
pub(crate) mod executor;
pub(crate) mod framework;
pub(crate) mod group;
pub(crate) mod operation;
pub(crate) mod task;

/// File names are at most this long, and ids become names of directories.
const LONGEST_ID: usize = 255;

/// Whether `id` can name a task, an executor or a framework.
pub(crate) fn validate_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("ID must not be empty".to_owned());
    }
    if id.len() > LONGEST_ID {
        return Err(format!("ID must not be greater than {LONGEST_ID} characters"));
    }
    if matches!(id, "." | "..") {
        return Err(format!("'{id}' is disallowed"));
    }
    if id.bytes().any(|byte| byte.is_ascii_control() || matches!(byte, b'/' | b'\\')) {
        return Err(format!("'{id}' contains invalid characters"));
    }
    Ok(())
}
