//! Names of containers in containers.

use std::fmt;

use base::ContainerId;
use mesos_proto::v1;
use mesos_proto::v1::agent::{Call, call};
use resources::Resources;

/// A session's name: the container it runs in and its own name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId {
    pub(crate) parent: ContainerId,
    pub(crate) value: String,
}

impl SessionId {
    /// None for a container that is in no other one. Of deeper nesting the whole path above is the parent,
    /// which no container is called, so that it is never found.
    pub(crate) fn of(id: &v1::ContainerId) -> Option<SessionId> {
        let parent = text(id.parent.as_deref()?);
        Some(SessionId { parent: ContainerId::from(parent), value: id.value.clone() })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.parent, self.value)
    }
}

/// `<root>.<child>`, as Mesos writes ids in its messages.
pub(crate) fn text(id: &v1::ContainerId) -> String {
    match &id.parent {
        Some(parent) => format!("{}.{}", text(parent), id.value),
        None => id.value.clone(),
    }
}

/// The longest id of a container (Mesos: `MAX_CONTAINER_ID_LENGTH`), and of anything (`NAME_MAX`).
const LONGEST_CONTAINER_ID: usize = 242;
const LONGEST_ID: usize = 255;
/// More containers in each other than anybody nests; Mesos has its limit in the parser.
const DEEPEST: usize = 32;

/// What is wrong with an id (Mesos: `validateContainerId`).
fn invalid_id(id: &v1::ContainerId, depth: usize) -> Option<String> {
    let value = &id.value;
    let found = if value.is_empty() {
        Some("ID must not be empty".to_owned())
    } else if value.len() > LONGEST_ID {
        Some(format!("ID must not be greater than {LONGEST_ID} characters"))
    } else if value == "." || value == ".." {
        Some(format!("'{value}' is disallowed"))
    } else if value.bytes().any(|byte| byte.is_ascii_control() || byte == b'/' || byte == b'\\') {
        Some(format!("'{value}' contains invalid characters"))
    } else if value.len() > LONGEST_CONTAINER_ID {
        let limit = LONGEST_CONTAINER_ID;
        Some(format!("'ContainerID.value' '{value}' exceeds the maximum length ({limit})"))
    } else if value.contains(['.', ' ']) {
        Some(format!("'ContainerID.value' '{value}' contains invalid characters"))
    } else if depth >= DEEPEST {
        Some(format!("more than {DEEPEST} containers in each other"))
    } else {
        None
    };
    found.or_else(|| {
        let wrong = invalid_id(id.parent.as_deref()?, depth + 1)?;
        Some(format!("'ContainerID.parent' is invalid: {wrong}"))
    })
}

/// What is wrong with a call about containers (Mesos: `validation::agent::call::validate`); None also for
/// all other calls.
pub(crate) fn invalid(call: &Call) -> Option<String> {
    use call::Type;
    let (name, id, is_nested) = match call.r#type() {
        Type::LaunchNestedContainerSession => (
            "launch_nested_container_session",
            call.launch_nested_container_session.as_ref().map(|launch| &launch.container_id),
            true,
        ),
        Type::LaunchNestedContainer => (
            "launch_nested_container",
            call.launch_nested_container.as_ref().map(|launch| &launch.container_id),
            true,
        ),
        Type::LaunchContainer => {
            ("launch_container", call.launch_container.as_ref().map(|launch| &launch.container_id), false)
        }
        Type::WaitNestedContainer => (
            "wait_nested_container",
            call.wait_nested_container.as_ref().map(|wait| &wait.container_id),
            true,
        ),
        Type::KillNestedContainer => (
            "kill_nested_container",
            call.kill_nested_container.as_ref().map(|kill| &kill.container_id),
            true,
        ),
        Type::RemoveNestedContainer => (
            "remove_nested_container",
            call.remove_nested_container.as_ref().map(|remove| &remove.container_id),
            true,
        ),
        Type::WaitContainer => {
            ("wait_container", call.wait_container.as_ref().map(|wait| &wait.container_id), false)
        }
        Type::KillContainer => {
            ("kill_container", call.kill_container.as_ref().map(|kill| &kill.container_id), false)
        }
        Type::RemoveContainer => {
            ("remove_container", call.remove_container.as_ref().map(|remove| &remove.container_id), false)
        }
        Type::AttachContainerOutput => (
            "attach_container_output",
            call.attach_container_output.as_ref().map(|attach| &attach.container_id),
            false,
        ),
        Type::AttachContainerInput => return invalid_input(call),
        _ => return None,
    };
    let Some(id) = id else { return Some(format!("Expecting '{name}' to be present")) };
    if let Some(wrong) = invalid_id(id, 0) {
        return Some(format!("'{name}.container_id' is invalid: {wrong}"));
    }
    if is_nested && id.parent.is_none() {
        return Some(format!("Expecting '{name}.container_id.parent' to be present"));
    }
    match call.r#type() {
        Type::LaunchNestedContainer => {
            let launch = call.launch_nested_container.as_ref()?;
            return invalid_launch(name, id, launch.container.as_ref(), &[], false);
        }
        Type::LaunchContainer => {
            let launch = call.launch_container.as_ref()?;
            let has_limits = !launch.limits.is_empty();
            return invalid_launch(name, id, launch.container.as_ref(), &launch.resources, has_limits);
        }
        _ => {}
    }
    let launch = call.launch_nested_container_session.as_ref().filter(|_| is_nested);
    let linux = launch.and_then(|launch| launch.container.as_ref()?.linux_info.as_ref());
    (linux.is_some_and(|linux| !linux.share_cgroups())).then(|| {
        format!(
            "'{name}.container.linux_info' is invalid: 'share_cgroups' cannot be set to 'false' for nested \
             container sessions"
        )
    })
}

/// Mesos: the rest of `validation::agent::call::validate` for the calls that launch.
fn invalid_launch(
    name: &str,
    id: &v1::ContainerId,
    container: Option<&v1::ContainerInfo>,
    resources: &[v1::Resource],
    has_limits: bool,
) -> Option<String> {
    let share_cgroups =
        container.and_then(|container| container.linux_info.as_ref()).and_then(|linux| linux.share_cgroups);
    let twice_nested = id.parent.as_ref().is_some_and(|parent| parent.parent.is_some());
    let wrong = |what: &str| Some(format!("'{name}' is invalid: {what}"));
    let deep = "containers nested at the second level or greater cannot";
    if let Err(error) = Resources::from_wire(resources) {
        return Some(format!("Invalid resources: {error}"));
    }
    if twice_nested && !resources.is_empty() {
        return wrong(&format!("{deep} specify resources"));
    }
    if twice_nested && has_limits {
        return wrong(&format!("{deep} specify resource limits"));
    }
    if twice_nested && share_cgroups == Some(false) {
        return wrong(&format!("{deep} set 'share_cgroups' to 'false'"));
    }
    if id.parent.is_none() && share_cgroups == Some(true) {
        return wrong("containers without a parent cannot set 'share_cgroups' to 'true'");
    }
    None
}

fn invalid_input(call: &Call) -> Option<String> {
    use call::attach_container_input::Type;
    let Some(input) = &call.attach_container_input else {
        return Some("Expecting 'attach_container_input' to be present".to_owned());
    };
    if input.r#type.is_none() {
        return Some("Expecting 'attach_container_input.type' to be present".to_owned());
    }
    match input.r#type() {
        Type::Unknown => Some("'attach_container_input.type' is unknown".to_owned()),
        Type::ContainerId => {
            let wrong = invalid_id(&input.container_id.clone().unwrap_or_default(), 0)?;
            Some(format!("'attach_container_input.container_id' is invalid: {wrong}"))
        }
        Type::ProcessIo => None,
    }
}

#[cfg(test)]
mod tests {
    use mesos_proto::json;

    use super::*;

    fn check(call: &str, expect: Option<&str>) {
        let call = json::from_json::<Call>(call.as_bytes()).unwrap();
        assert_eq!(invalid(&call).as_deref(), expect);
    }

    fn wait(id: &str) -> String {
        format!(r#"{{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{{"container_id":{id}}}}}"#)
    }

    #[test]
    fn ids_are_checked_in_the_words_of_mesos() {
        let at = "'wait_nested_container.container_id' is invalid";
        check(&wait(r#"{"value":"a","parent":{"value":"b"}}"#), None);
        check(
            &wait(r#"{"value":"a"}"#),
            Some("Expecting 'wait_nested_container.container_id.parent' to be present"),
        );
        check(&wait(r#"{"value":""}"#), Some(&format!("{at}: ID must not be empty")));
        check(&wait(r#"{"value":".."}"#), Some(&format!("{at}: '..' is disallowed")));
        check(&wait(r#"{"value":"a/b"}"#), Some(&format!("{at}: 'a/b' contains invalid characters")));
        let dotted = "'ContainerID.value' 'a.b' contains invalid characters";
        check(&wait(r#"{"value":"a.b"}"#), Some(&format!("{at}: {dotted}")));
        let parent = format!("{at}: 'ContainerID.parent' is invalid: {dotted}");
        check(&wait(r#"{"value":"a","parent":{"value":"a.b"}}"#), Some(&parent));
        check(
            r#"{"type":"ATTACH_CONTAINER_OUTPUT"}"#,
            Some("Expecting 'attach_container_output' to be present"),
        );
        check(
            r#"{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{}}"#,
            Some("Expecting 'attach_container_input.type' to be present"),
        );
        check(
            r#"{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"CONTAINER_ID"}}"#,
            Some("'attach_container_input.container_id' is invalid: ID must not be empty"),
        );
        check(r#"{"type":"GET_HEALTH"}"#, None);
        let deep = r#"{"value":"a","parent":{"value":"b","parent":{"value":"c"}}}"#;
        let launch = |rest: &str| {
            format!(r#"{{"type":"LAUNCH_CONTAINER","launch_container":{{"container_id":{deep}{rest}}}}}"#)
        };
        let at = "'launch_container' is invalid: containers nested at the second level or greater cannot";
        check(&launch(""), None);
        check(
            &launch(r#","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]"#),
            Some(&format!("{at} specify resources")),
        );
        check(&launch(r#","limits":{"cpus":{"value":1}}"#), Some(&format!("{at} specify resource limits")));
        check(
            &launch(r#","container":{"type":"MESOS","linux_info":{"share_cgroups":false}}"#),
            Some(&format!("{at} set 'share_cgroups' to 'false'")),
        );
        check(
            r#"{"type":"LAUNCH_NESTED_CONTAINER","launch_nested_container":{"container_id":{"value":"a"}}}"#,
            Some("Expecting 'launch_nested_container.container_id.parent' to be present"),
        );
        check(
            r#"{"type":"LAUNCH_NESTED_CONTAINER_SESSION","launch_nested_container_session":{
                "container_id":{"value":"a","parent":{"value":"b"}},
                "container":{"type":"MESOS","linux_info":{"share_cgroups":false}}}}"#,
            Some(
                "'launch_nested_container_session.container.linux_info' is invalid: 'share_cgroups' cannot be \
                 set to 'false' for nested container sessions",
            ),
        );
    }

    #[test]
    fn names_are_written_from_the_outside_in() {
        let id = |value: &str, parent: Option<v1::ContainerId>| v1::ContainerId {
            value: value.into(),
            parent: parent.map(Box::new),
        };
        let deep = id("c", Some(id("b", Some(id("a", None)))));
        assert_eq!(text(&deep), "a.b.c");
        let session = SessionId::of(&deep).unwrap();
        assert_eq!((session.parent.as_str(), session.value.as_str()), ("a.b", "c"));
        assert_eq!(session.to_string(), "a.b.c");
        assert_eq!(SessionId::of(&id("a", None)), None);
    }
}
