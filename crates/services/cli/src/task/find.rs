//! Which tasks are meant.

use serde::Deserialize;
use serde_json::Value;

use crate::marathon::encoded;
use crate::{Client, Error, glob};

/// How many of the tasks that may be meant are named.
const NAMED: usize = 5;

/// Which tasks a command looks at. dcos-core-cli: `taskFilters`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    /// Those that are not over.
    pub(crate) active: bool,
    /// Those that are over.
    pub(crate) completed: bool,
    /// A part of their ids, or a pattern for the whole of them; empty: all.
    pub(crate) id: String,
    /// The agent they are on.
    pub(crate) agent: Option<String>,
}

/// A task as the master's `/state` shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) framework_id: String,
    #[serde(default)]
    pub(crate) executor_id: String,
    pub(crate) slave_id: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) statuses: Vec<Status>,
}

/// One of its updates.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    #[serde(default)]
    pub(crate) container_status: Option<ContainerStatus>,
}

/// What an update says of the container.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ContainerStatus {
    #[serde(default)]
    pub(crate) container_id: Option<ContainerId>,
}

/// A container, and the one it is in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ContainerId {
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) parent: Option<Box<ContainerId>>,
}

impl Task {
    /// The task's container.
    ///
    /// # Errors
    /// It has none yet.
    pub(crate) fn container(&self) -> Result<&ContainerId, Error> {
        let known =
            self.statuses.iter().find_map(|status| status.container_status.as_ref()?.container_id.as_ref());
        known.ok_or_else(|| {
            Error::new(format!("task '{}' has no container yet: it is {}", self.id, self.state))
                .hint("`dcos task list` shows when it runs.")
        })
    }

    /// The sandbox as the agent calls it: the executor's, which a task shares.
    ///
    /// # Errors
    /// It has none yet.
    pub(crate) fn sandbox(&self) -> Result<String, Error> {
        let mut container = self.container()?;
        while let Some(parent) = &container.parent {
            container = parent;
        }
        let executor = if self.executor_id.is_empty() { &self.id } else { &self.executor_id };
        let framework = &self.framework_id;
        Ok(format!("/frameworks/{framework}/executors/{executor}/runs/{}", container.value))
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        const OVER: [&str; 8] = [
            "TASK_FINISHED",
            "TASK_FAILED",
            "TASK_KILLED",
            "TASK_ERROR",
            "TASK_LOST",
            "TASK_DROPPED",
            "TASK_GONE",
            "TASK_GONE_BY_OPERATOR",
        ];
        OVER.contains(&self.state.as_str())
    }
}

/// The master's state, as JSON.
pub(crate) async fn state(client: &Client) -> Result<Value, Error> {
    client.get("/mesos/state").await?.json()
}

/// The tasks that are meant, as the master shows them, active ones of each framework first.
pub(crate) fn select(state: &mut Value, filters: &Filters) -> Vec<Value> {
    let mut found = Vec::new();
    let Some(frameworks) = state["frameworks"].as_array_mut() else { return found };
    for framework in frameworks {
        for (list, wanted) in [("tasks", filters.active), ("completed_tasks", filters.completed)] {
            if let Some(tasks) = framework[list].as_array_mut().filter(|_| wanted) {
                found.extend(tasks.iter_mut().filter(|task| filters.take(task)).map(Value::take));
            }
        }
    }
    found
}

impl Filters {
    /// Tasks that are not over, with this in their ids.
    pub(crate) fn active(id: &str) -> Filters {
        Filters { active: true, id: id.to_owned(), ..Filters::default() }
    }

    fn take(&self, task: &Value) -> bool {
        if self.agent.as_ref().is_some_and(|agent| task["slave_id"] != **agent) {
            return false;
        }
        let id = task["id"].as_str().unwrap_or_default();
        id.contains(&self.id) || glob::matches(&self.id, id)
    }

    /// What is said when there is none. dcos-core-cli: findTasks.
    pub(crate) fn none(&self) -> Option<Error> {
        let text = match (&self.agent, self.id.as_str()) {
            (None, "") => return None,
            (Some(agent), "") => format!("no task found in agent '{agent}'"),
            (Some(agent), id) => format!("no task ID found containing '{id}' in agent '{agent}'"),
            (None, id) => format!("no task ID found containing '{id}'"),
        };
        let hint = match self.completed {
            true => "`dcos task list --all` shows all tasks.",
            false => "`dcos task list` shows the tasks that run; --completed looks among those that ended.",
        };
        Some(Error::new(text).hint(hint))
    }
}

/// The tasks that are meant.
///
/// # Errors
/// There is none, although one is asked for.
pub(crate) async fn all(client: &Client, filters: &Filters) -> Result<Vec<Task>, Error> {
    let mut state = state(client).await?;
    let found = select(&mut state, filters);
    if let (true, Some(error)) = (found.is_empty(), filters.none()) {
        return Err(error);
    }
    found.into_iter().map(|task| serde_json::from_value(task).map_err(unreadable)).collect()
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::new(format!("a task in the master's state is not what was expected: {error}"))
}

/// The one task that is meant. dcos-core-cli: findTask.
///
/// # Errors
/// There is none, or several of which none has exactly this id, nor is the only one that runs.
pub(crate) async fn one(client: &Client, filters: &Filters) -> Result<Task, Error> {
    let mut found = all(client, filters).await?;
    let exact = found.iter().position(|task| task.id == filters.id);
    if let Some(at) = exact.or((found.len() == 1).then_some(0)) {
        return Ok(found.swap_remove(at));
    }
    // Among those that ended, the one that runs.
    let mut running = (0..found.len()).filter(|at| !found[*at].is_over());
    if let (Some(at), None) = (running.next(), running.next()) {
        return Ok(found.swap_remove(at));
    }
    let mut names: Vec<&str> = found.iter().take(NAMED).map(|task| task.id.as_str()).collect();
    names.extend((found.len() > NAMED).then_some("..."));
    Err(Error::new(format!("found more than one task with the same name: [{}]", names.join(" ")))
        .hint("Give more of the id, or the whole of it."))
}

/// The task as it is now; none if the master has forgotten it.
pub(crate) async fn again(client: &Client, task: &Task) -> Result<Option<Task>, Error> {
    #[derive(Deserialize)]
    struct Tasks {
        #[serde(default)]
        tasks: Vec<Task>,
    }
    let (framework, id) = (encoded(&task.framework_id), encoded(&task.id));
    let path = format!("/mesos/tasks?framework_id={framework}&task_id={id}");
    let found: Tasks = client.get(&path).await?.json()?;
    Ok(found.tasks.into_iter().next())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_are_found_by_parts_of_their_ids_and_by_patterns() {
        let check = |filters: Filters, expect: &[&str]| {
            let mut state = json!({"frameworks": [
                {"tasks": [{"id": "web.1", "slave_id": "S0"}, {"id": "db.1", "slave_id": "S1"}],
                 "completed_tasks": [{"id": "web.0", "slave_id": "S0"}]},
                {"tasks": [{"id": "job", "slave_id": "S1"}]},
            ]});
            let found = select(&mut state, &filters);
            let ids: Vec<&str> = found.iter().filter_map(|task| task["id"].as_str()).collect();
            assert_eq!(ids, expect, "{filters:?}");
        };
        check(Filters::active(""), &["web.1", "db.1", "job"]);
        check(Filters::active("web"), &["web.1"]);
        check(Filters::active("*.1"), &["web.1", "db.1"]);
        check(Filters { completed: true, ..Filters::active("web") }, &["web.1", "web.0"]);
        check(Filters { completed: true, id: "web".into(), ..Filters::default() }, &["web.0"]);
        check(Filters { agent: Some("S1".into()), ..Filters::active("") }, &["db.1", "job"]);
        check(Filters::active("nope"), &[]);
    }

    #[test]
    fn that_there_is_none_is_said_in_the_words_of_the_official_cli() {
        let check = |id: &str, agent: Option<&str>, expect: Option<&str>| {
            let filters = Filters { agent: agent.map(str::to_owned), ..Filters::active(id) };
            let said = filters.none().map(|error| error.to_string().lines().next().unwrap().to_owned());
            assert_eq!(said.as_deref(), expect);
        };
        check("", None, None);
        check("x", None, Some("no task ID found containing 'x'"));
        check("", Some("S9"), Some("no task found in agent 'S9'"));
        check("x", Some("S9"), Some("no task ID found containing 'x' in agent 'S9'"));
    }

    #[test]
    fn a_sandbox_is_that_of_the_outermost_container() {
        let task: Task = serde_json::from_value(json!({
            "id": "t", "framework_id": "F", "slave_id": "S", "state": "TASK_RUNNING",
            "statuses": [{}, {"container_status": {"container_id": {"value": "c", "parent": {"value": "p"}}}}],
        }))
        .unwrap();
        assert_eq!(task.sandbox().unwrap(), "/frameworks/F/executors/t/runs/p");
    }
}
