//! The v1 operator API (Mesos: `Http::api`).
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]

use std::sync::Arc;
use std::time::Duration;

use agent_core::{Agent, Executor, Framework, TaskRun};
use api_mesos::Encoding;
use api_mesos::json::{Array, Object, document};
use api_mesos::version::version_info;
use http_kit::mesos::{bad_request, only_post, refusal};
use http_kit::{Method, Request, Response, StatusCode, respond};
use mesos_proto::json::write_json;
use mesos_proto::v1::agent::{Call, Response as Answer, call, response};
use mesos_proto::v1::{self, ExecutorInfo, Flag, FrameworkInfo, Metric, Task};
use mesos_proto::{binary, json};

use crate::http::{Api, not_recovered, read_body};
use crate::media::{Media, MediaTypes};
use crate::{executor_api, files, images_api, metrics, nested, sessions, usage};

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// Somebody who may do everything.
    Operator,
    /// A process on this machine that runs as this user. It may do what executors do: call for containers
    /// that are in their own.
    Local { uid: u32 },
}

/// Answers one call.
pub(crate) async fn answer(api: &Arc<Api>, request: Request, caller: Caller) -> Response {
    match carry_out(api, request, caller).await {
        Ok(response) | Err(response) => response,
    }
}

/// # Errors
/// The answer to a call that is not for this caller.
pub(crate) async fn permit(api: &Api, call: &Call, caller: Caller) -> Result<(), Response> {
    let Caller::Local { uid } = caller else { return Ok(()) };
    let Some(id) = nested::named(call) else {
        let text = "On this socket only calls about containers in executors' own are answered";
        return Err(refusal(StatusCode::FORBIDDEN, text));
    };
    let root = base::ContainerId::from(id);
    let of_executor = root.clone();
    executor_api::check_user_of(api, uid, move |agent| agent.executor_in(&of_executor)).await?;
    match nested::user_named(call) {
        Some(user) if !executor_api::is_trusted(uid) => {
            let may = api.mailbox.read(move |agent| nested::may_be(agent, &root, &user)).await;
            match may.map_err(|_| not_recovered())? {
                true => Ok(()),
                false => Err(refusal(
                    StatusCode::FORBIDDEN,
                    "An executor may start containers as its own user and those of its tasks only",
                )),
            }
        }
        _ => Ok(()),
    }
}

async fn carry_out(api: &Arc<Api>, request: Request, caller: Caller) -> Result<Response, Response> {
    if request.method() != Method::POST {
        return Err(only_post(request.method()));
    }
    let media = MediaTypes::of(&request)?;
    let encoding = match media.content {
        Media::Whole(encoding) => encoding,
        Media::Records(encoding) => {
            let body = request.into_body();
            return sessions::answer_stream(api, body, encoding, media.accept, caller).await;
        }
    };
    let body = read_body(request).await?;
    let call: Call = encoding.decode_call(&body).map_err(bad_request)?;
    validate(&call)?;
    permit(api, &call, caller).await?;
    if call.r#type() == call::Type::AttachContainerInput {
        let text = "Expecting 'Content-Type' to be application/recordio for ATTACH_CONTAINER_INPUT call";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    takes_answer(call.r#type(), media.accept)?;
    if sessions::is_about_sessions(&call) {
        return Box::pin(sessions::answer(api, call, media.accept)).await;
    }
    if call.r#type() == call::Type::SetLoggingLevel {
        let set = call.set_logging_level.unwrap_or_default();
        // A level that is asked for a negative time is over at once.
        let nanoseconds = u64::try_from(set.duration.nanoseconds).unwrap_or(0);
        api.config.logging.set(set.level, Duration::from_nanos(nanoseconds));
        return Ok(respond::status(StatusCode::OK));
    }
    if call.r#type() == call::Type::PruneImages {
        return images_api::prune_call(api, call.prune_images).await;
    }
    let (Media::Whole(accept) | Media::Records(accept)) = media.accept;
    match of_lists(api, call.r#type(), accept).await? {
        Some(response) => Ok(response),
        None => Ok(encode(&of_message(api, call).await?, accept)),
    }
}

/// # Errors
/// The answer that says what is wrong with the call.
pub(crate) fn validate(call: &Call) -> Result<(), Response> {
    let missing = invalid(call).map(|what| format!("Expecting '{what}' to be present"));
    match missing.or_else(|| sessions::invalid(call)) {
        Some(wrong) => Err(bad_request(format!("Failed to validate agent::Call: {wrong}"))),
        None => Ok(()),
    }
}

/// # Errors
/// The answer to a client that wants a stream where there is none.
pub(crate) fn takes_answer(kind: call::Type, accept: Media) -> Result<(), Response> {
    let is_stream =
        matches!(kind, call::Type::AttachContainerOutput | call::Type::LaunchNestedContainerSession);
    if is_stream || matches!(accept, Media::Whole(_)) {
        return Ok(());
    }
    let text = format!("Streaming response is not supported for {} call", kind.as_str_name());
    Err(refusal(StatusCode::NOT_ACCEPTABLE, text))
}

/// Which field is missing (Mesos: `validation::agent::call::validate`).
fn invalid(call: &Call) -> Option<&'static str> {
    let absent = match call.r#type() {
        call::Type::Unknown => return Some("type"),
        call::Type::GetMetrics => (call.get_metrics.is_none(), "get_metrics"),
        call::Type::SetLoggingLevel => (call.set_logging_level.is_none(), "set_logging_level"),
        call::Type::ListFiles => (call.list_files.is_none(), "list_files"),
        call::Type::ReadFile => (call.read_file.is_none(), "read_file"),
        _ => return None,
    };
    absent.0.then_some(absent.1)
}

pub(crate) fn encode(answer: &Answer, encoding: Encoding) -> Response {
    match encoding {
        Encoding::Json => respond::json_bytes(StatusCode::OK, json::to_json(answer)),
        Encoding::Protobuf => {
            respond::bytes(StatusCode::OK, Encoding::Protobuf.media_type(), binary::encode(answer))
        }
    }
}

/// The calls whose answer is one message.
async fn of_message(api: &Arc<Api>, call: Call) -> Result<Answer, Response> {
    let mut answer = Answer::default();
    let kind = match call.r#type() {
        call::Type::GetHealth => {
            answer.get_health = Some(response::GetHealth { healthy: true });
            response::Type::GetHealth
        }
        call::Type::GetFlags => {
            let flags = api.config.flags(&api.address);
            let flags =
                flags.into_iter().map(|(name, value)| Flag { name: name.to_owned(), value: Some(value) });
            answer.get_flags = Some(response::GetFlags { flags: flags.collect() });
            response::Type::GetFlags
        }
        call::Type::GetVersion => {
            answer.get_version = Some(response::GetVersion { version_info: version_info() });
            response::Type::GetVersion
        }
        call::Type::GetMetrics => {
            let all = metrics::collect(api).await.map_err(|_| not_recovered())?;
            let metrics =
                all.into_iter().map(|(name, value)| Metric { name: name.to_owned(), value: Some(value) });
            answer.get_metrics = Some(response::GetMetrics { metrics: metrics.collect() });
            response::Type::GetMetrics
        }
        call::Type::GetLoggingLevel => {
            answer.get_logging_level = Some(response::GetLoggingLevel { level: api.config.logging.level() });
            response::Type::GetLoggingLevel
        }
        call::Type::GetAgent => {
            let read = api.mailbox.read(|agent| response::GetAgent {
                agent_info: Some(agent.info_with_id()),
                drain_config: agent.draining(),
                // As in Mesos, without the fraction of the second.
                estimated_drain_start_time: agent.drain_started().map(|started| v1::TimeInfo {
                    nanoseconds: (started.0 - started.0 % 1_000_000_000) as i64,
                }),
            });
            answer.get_agent = Some(read.await.map_err(|_| not_recovered())?);
            response::Type::GetAgent
        }
        call::Type::GetOperations => {
            let operations = |agent: &Agent| agent.operations().cloned().collect();
            let operations = api.mailbox.read(operations).await.map_err(|_| not_recovered())?;
            answer.get_operations = Some(response::GetOperations { operations });
            response::Type::GetOperations
        }
        call::Type::GetResourceProviders => {
            answer.get_resource_providers = Some(response::GetResourceProviders::default());
            response::Type::GetResourceProviders
        }
        call::Type::GetContainers => {
            answer.get_containers = containers(api, call.get_containers.unwrap_or_default()).await?;
            response::Type::GetContainers
        }
        call::Type::ListFiles => {
            let path = call.list_files.map(|list| list.path).unwrap_or_default();
            let file_infos = files::list(api, path).await.map_err(files::FilesError::response)?;
            answer.list_files = Some(response::ListFiles { file_infos });
            response::Type::ListFiles
        }
        call::Type::ReadFile => {
            let read = call.read_file.unwrap_or_default();
            let (size, data) = files::part(api, read.path, read.offset, read.length)
                .await
                .map_err(files::FilesError::response)?;
            answer.read_file = Some(response::ReadFile { size, data });
            response::Type::ReadFile
        }
        other => {
            let text = format!("This agent does not support the call {}", other.as_str_name());
            return Err(refusal(StatusCode::NOT_IMPLEMENTED, text));
        }
    };
    answer.r#type = Some(kind as i32);
    Ok(answer)
}

async fn containers(
    api: &Api,
    wanted: call::GetContainers,
) -> Result<Option<response::GetContainers>, Response> {
    let all = usage::measure(api, usage::Selection::default(), wanted.show_nested())
        .await
        .map_err(|_| not_recovered())?;
    let container = |measured: usage::Measured| {
        let (framework_id, executor_id, executor_name) = match measured.executor {
            Some(executor) => (
                Some(v1::FrameworkId { value: executor.framework_id }),
                Some(v1::ExecutorId { value: executor.executor_id }),
                Some(executor.name),
            ),
            None => (None, None, None),
        };
        // As Mesos has it: what it is in is only said in its status.
        let id = measured.status.container_id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        response::get_containers::Container {
            framework_id,
            executor_id,
            executor_name,
            container_id: v1::ContainerId { value: id, parent: None },
            container_status: Some(measured.status),
            resource_statistics: measured.statistics,
        }
    };
    let containers: Vec<_> = all.into_iter().map(container).collect();
    Ok((!containers.is_empty()).then_some(response::GetContainers { containers }))
}

/// The calls whose answer is lists, which Mesos' JSON names also when they are empty, other than those
/// of messages. None for all other calls.
async fn of_lists(
    api: &Arc<Api>,
    kind: call::Type,
    encoding: Encoding,
) -> Result<Option<Response>, Response> {
    let wanted = match kind {
        call::Type::GetTasks => response::Type::GetTasks,
        call::Type::GetExecutors => response::Type::GetExecutors,
        call::Type::GetFrameworks => response::Type::GetFrameworks,
        call::Type::GetState => response::Type::GetState,
        _ => return Ok(None),
    };
    let lists = api.mailbox.read(Lists::of).await.map_err(|_| not_recovered())?;
    Ok(Some(match encoding {
        Encoding::Protobuf => encode(&lists.into_answer(wanted), encoding),
        Encoding::Json => respond::json_bytes(
            StatusCode::OK,
            document(|o| {
                o.field("type", wanted.as_str_name());
                match wanted {
                    response::Type::GetTasks => {
                        o.object("get_tasks", |o| lists.tasks.write(o));
                    }
                    response::Type::GetExecutors => {
                        {
                            o.object("get_executors", |o| lists.write_executors(o));
                        };
                    }
                    response::Type::GetFrameworks => {
                        {
                            o.object("get_frameworks", |o| lists.write_frameworks(o));
                        };
                    }
                    _ => {
                        o.object("get_state", |o| lists.write_all(o));
                    }
                }
            }),
        ),
    }))
}

/// Everything that the agent runs and ran.
struct Lists {
    tasks: Tasks,
    executors: Vec<ExecutorInfo>,
    completed_executors: Vec<ExecutorInfo>,
    frameworks: Vec<FrameworkInfo>,
    completed_frameworks: Vec<FrameworkInfo>,
}

#[derive(Default)]
struct Tasks {
    queued: Vec<Task>,
    launched: Vec<Task>,
    terminated: Vec<Task>,
    completed: Vec<Task>,
}

impl Lists {
    fn of(agent: &Agent) -> Lists {
        let living = || agent.frameworks().flat_map(Framework::executors);
        let over = || {
            agent.frameworks().chain(agent.completed_frameworks()).flat_map(Framework::completed_executors)
        };
        let tasks = |runs: &mut dyn Iterator<Item = &TaskRun>| runs.map(|run| run.task.clone()).collect();
        Lists {
            tasks: Tasks {
                queued: tasks(&mut living().flat_map(Executor::queued)),
                launched: tasks(&mut living().flat_map(Executor::launched)),
                terminated: tasks(&mut living().flat_map(Executor::terminated)),
                completed: tasks(&mut living().chain(over()).flat_map(Executor::completed)),
            },
            executors: living().map(|executor| executor.info().clone()).collect(),
            completed_executors: over().map(|executor| executor.info().clone()).collect(),
            frameworks: agent.frameworks().map(|framework| framework.info().clone()).collect(),
            completed_frameworks: agent
                .completed_frameworks()
                .map(|framework| framework.info().clone())
                .collect(),
        }
    }

    fn into_answer(self, wanted: response::Type) -> Answer {
        let executor = |executor_info| response::get_executors::Executor { executor_info };
        let framework = |framework_info| response::get_frameworks::Framework { framework_info };
        let tasks = response::GetTasks {
            pending_tasks: Vec::new(),
            queued_tasks: self.tasks.queued,
            launched_tasks: self.tasks.launched,
            terminated_tasks: self.tasks.terminated,
            completed_tasks: self.tasks.completed,
        };
        let executors = response::GetExecutors {
            executors: self.executors.into_iter().map(executor).collect(),
            completed_executors: self.completed_executors.into_iter().map(executor).collect(),
        };
        let frameworks = response::GetFrameworks {
            frameworks: self.frameworks.into_iter().map(framework).collect(),
            completed_frameworks: self.completed_frameworks.into_iter().map(framework).collect(),
        };
        let mut answer = Answer { r#type: Some(wanted as i32), ..Default::default() };
        match wanted {
            response::Type::GetTasks => answer.get_tasks = Some(tasks),
            response::Type::GetExecutors => answer.get_executors = Some(executors),
            response::Type::GetFrameworks => answer.get_frameworks = Some(frameworks),
            _ => {
                answer.get_state = Some(response::GetState {
                    get_tasks: Some(tasks),
                    get_executors: Some(executors),
                    get_frameworks: Some(frameworks),
                });
            }
        }
        answer
    }

    fn write_executors(&self, o: &mut Object<'_>) {
        let list = |list: &mut Array<'_>, all: &[ExecutorInfo]| {
            for info in all {
                list.object(|o| {
                    o.raw("executor_info", |out| write_json(info, out));
                });
            }
        };
        o.array("executors", |l| list(l, &self.executors));
        o.array("completed_executors", |l| list(l, &self.completed_executors));
    }

    fn write_frameworks(&self, o: &mut Object<'_>) {
        let list = |list: &mut Array<'_>, all: &[FrameworkInfo]| {
            for info in all {
                list.object(|o| {
                    o.raw("framework_info", |out| write_json(info, out));
                });
            }
        };
        o.array("frameworks", |l| list(l, &self.frameworks));
        o.array("completed_frameworks", |l| list(l, &self.completed_frameworks));
    }

    fn write_all(&self, o: &mut Object<'_>) {
        o.object("get_tasks", |o| self.tasks.write(o));
        o.object("get_executors", |o| self.write_executors(o));
        o.object("get_frameworks", |o| self.write_frameworks(o));
    }
}

impl Tasks {
    fn write(&self, o: &mut Object<'_>) {
        // What Mesos calls pending waits for an authorizer, and there is none here.
        o.array("pending_tasks", |_| {});
        for (name, tasks) in [
            ("queued_tasks", &self.queued),
            ("launched_tasks", &self.launched),
            ("terminated_tasks", &self.terminated),
            ("completed_tasks", &self.completed),
        ] {
            o.array(name, |list| tasks.iter().for_each(|task| list.raw(|out| write_json(task, out))));
        }
    }
}
