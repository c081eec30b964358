//! `/v2/tasks` and `/v2/apps/{id}/tasks`.

use std::collections::BTreeSet;
use std::fmt::Write;

use api_marathon::{ApiError, AppDefinition, AppId, Task, TaskList, TaskSingle};
use base::TaskId;
use http_kit::{Request, StatusCode, header, respond, target::Query};
use marathon_core::{Answer, Command, InstanceId};
use serde::Deserialize;

use super::apps::{known, one_deployment};
use super::request::{flag, json_body};
use super::{Api, Outcome, deployed, deployment_of};
use crate::event_loop::View;

/// How tasks are ended.
#[derive(Clone, Copy)]
struct Kill {
    scale: bool,
    force: bool,
    wipe: bool,
}

impl Kill {
    fn of(query: &Query) -> Result<Kill, ApiError> {
        let kill = Kill {
            scale: flag(query, "scale", false)?,
            force: flag(query, "force", false)?,
            wipe: flag(query, "wipe", false)?,
        };
        if kill.scale && kill.wipe {
            return Err(ApiError::message(400, "You cannot use scale and wipe at the same time."));
        }
        Ok(kill)
    }

    fn command(self, tasks: BTreeSet<TaskId>) -> Command {
        match self {
            Kill { scale: true, force, .. } => Command::KillAndScale { tasks, force },
            Kill { wipe, .. } => Command::Kill { tasks, wipe },
        }
    }
}

#[derive(Deserialize)]
struct DeleteTasks {
    ids: BTreeSet<String>,
}

impl Api {
    /// All tasks; as text if that is what is asked for.
    pub(super) async fn tasks(&self, query: &Query, request: &Request) -> Outcome {
        let states: Vec<&str> = query.all("status").chain(query.all("status[]")).collect();
        // Marathon: TasksResource.toTaskState; what is unknown is ignored.
        let states: Vec<&'static str> = states
            .into_iter()
            .filter_map(|state| match state.to_lowercase().as_str() {
                "running" => Some("TASK_RUNNING"),
                "staging" => Some("TASK_STAGING"),
                _ => None,
            })
            .collect();
        if wants_text(request) {
            return self.endpoints(|_| true).await;
        }
        self.read_json(move |view| {
            let all = view.core.apps().flat_map(|app| view.core.tasks(&app.id));
            let tasks: Vec<Task> =
                all.filter(|task| states.is_empty() || states.contains(&task.state.as_str())).collect();
            Ok(TaskList { tasks })
        })
        .await
    }

    /// Tasks of one app, or of all apps below a group (`/v2/apps/{group}/*/tasks`).
    pub(super) async fn app_tasks(&self, id: &str, request: &Request) -> Outcome {
        let group =
            id.strip_suffix('*').filter(|rest| rest.is_empty() || rest.ends_with('/')).map(AppId::new);
        let id = AppId::new(id);
        if wants_text(request) {
            return match group {
                Some(group) => self.endpoints(move |app| app.id.is_within(&group)).await,
                None => {
                    let wanted = id.clone();
                    self.read(move |view| known(view, &wanted).map(|_| ())).await??;
                    self.endpoints(move |app| app.id == id).await
                }
            };
        }
        self.read_json(move |view| {
            let tasks: Vec<Task> = match group {
                Some(group) => {
                    let apps = view.core.apps().filter(|app| app.id.is_within(&group));
                    let ids: Vec<AppId> = apps.map(|app| app.id.clone()).collect();
                    if ids.is_empty() && !group.is_root() {
                        return Err(ApiError::unknown_group(group));
                    }
                    ids.iter().flat_map(|id| view.core.tasks(id)).collect()
                }
                None => {
                    known(view, &id)?;
                    view.core.tasks(&id)
                }
            };
            Ok(TaskList { tasks })
        })
        .await
    }

    /// One line for each service port: app, port, and where its running tasks listen. What HAProxy bridges read.
    ///
    /// Marathon: `EndpointsHelper.appsToEndpointString`.
    async fn endpoints(&self, wanted: impl Fn(&AppDefinition) -> bool + Send + 'static) -> Outcome {
        let text = self.read(move |view| {
            let mut text = String::new();
            for app in view.core.apps().filter(|app| wanted(app)) {
                endpoint_lines(&mut text, &app, &view.core.tasks(&app.id));
            }
            text
        });
        Ok(respond::text(StatusCode::OK, text.await?))
    }

    /// `POST /v2/tasks/delete`.
    pub(super) async fn delete_tasks(&self, query: &Query, request: Request) -> Outcome {
        let kill = Kill::of(query)?;
        let body = json_body(request).await?;
        let wanted: DeleteTasks = serde_json::from_slice(&body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                ApiError::invalid_json(vec![api_marathon::Detail::new("/ids", error.to_string())])
            }
            _ => ApiError::no_json(&body, error.to_string()),
        })?;
        if let Some(bad) = wanted.ids.iter().find(|id| InstanceId::parse(id).is_none()) {
            return Err(ApiError::message(400, format!("Invalid task id '{bad}'.")));
        }
        let decide = move |view: &View<'_>| {
            let known = |id: &InstanceId| view.core.instance(id).map(|instance| instance.task_id());
            let instances: Vec<InstanceId> =
                wanted.ids.iter().filter_map(|id| InstanceId::parse(id)).collect();
            if kill.scale {
                let apps: BTreeSet<AppId> = instances.iter().map(InstanceId::app).collect();
                one_deployment(apps.iter())?;
            }
            Ok(kill.command(instances.iter().filter_map(known).collect()))
        };
        match self.change(Box::new(decide)).await? {
            Answer::Killed(tasks) => Ok(respond::json(StatusCode::OK, &TaskList { tasks })),
            answer => Ok(deployed(StatusCode::OK, &deployment_of(answer)?)),
        }
    }

    /// `DELETE /v2/apps/{id}/tasks`, of one host if that is asked for.
    pub(super) async fn delete_app_tasks(&self, id: &str, query: &Query) -> Outcome {
        let kill = Kill::of(query)?;
        let (id, host) = (AppId::new(id), query.get("host").map(str::to_owned));
        let decide = move |view: &View<'_>| {
            known(view, &id)?;
            let there = |task: &Task| host.as_ref().is_none_or(|host| host == "*" || task.host == *host);
            let tasks = view.core.tasks(&id).into_iter().filter(there);
            Ok(kill.command(tasks.map(|task| TaskId::new(task.id)).collect()))
        };
        match self.change(Box::new(decide)).await? {
            Answer::Killed(tasks) => Ok(respond::json(StatusCode::OK, &TaskList { tasks })),
            answer => Ok(deployed(StatusCode::OK, &deployment_of(answer)?)),
        }
    }

    /// `DELETE /v2/apps/{id}/tasks/{task}`.
    pub(super) async fn delete_app_task(&self, id: &str, task: &str, query: &Query) -> Outcome {
        let kill = Kill::of(query)?;
        let (id, named, task) = (AppId::new(id), task, task.to_owned());
        let decide = move |view: &View<'_>| {
            known(view, &id)?;
            let instance = InstanceId::parse(&task).filter(|instance| instance.app() == id);
            let found = instance.and_then(|instance| view.core.instance(&instance));
            let found = found.filter(|instance| instance.placement.is_some());
            let found = found.ok_or_else(|| ApiError::unknown_task(&task))?;
            Ok(kill.command(BTreeSet::from([found.task_id()])))
        };
        match self.change(Box::new(decide)).await? {
            Answer::Killed(tasks) => match tasks.into_iter().next() {
                Some(task) => Ok(respond::json(StatusCode::OK, &TaskSingle { task })),
                None => Err(ApiError::unknown_task(named)),
            },
            answer => Ok(deployed(StatusCode::OK, &deployment_of(answer)?)),
        }
    }
}

/// Whether a client prefers text to JSON, by the order in its `Accept`.
fn wants_text(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let first = accept.split(',').map(|media| media.split(';').next().unwrap_or("").trim());
    first.into_iter().find(|media| matches!(*media, "text/plain" | "application/json" | "*/*"))
        == Some("text/plain")
}

fn endpoint_lines(text: &mut String, app: &AppDefinition, tasks: &[Task]) {
    let name = app.id.safe_path();
    let running = || tasks.iter().filter(|task| task.state == "TASK_RUNNING");
    if app.ports().next().is_none() {
        let _ = write!(text, "{name}\t \t");
        running().for_each(|task| text.push_str(&format!("{}\t", task.host)));
        text.push('\n');
    }
    for (index, service_port) in app.service_ports().enumerate() {
        let _ = write!(text, "{name}\t{service_port}\t");
        for task in running() {
            if let Some(port) = task.ports.get(index) {
                let _ = write!(text, "{}:{port}\t", task.host);
            }
        }
        text.push('\n');
    }
}
