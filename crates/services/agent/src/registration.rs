//! The connection to the master: asked for, upgraded, kept alive, made again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use agent_core::{Input, Knowledge};
use agent_link::{Body, Hello, RunningExecutor, Welcome};
use api_mesos::Credential;
use base::{AgentId, ExecutorId, FrameworkId, Rng, TaskId};
use http_kit::upgrade::{self, Upgraded};
use http_kit::{Address, Client, ClientConfig, Request, Timeouts, outbox};
use link::{Incoming, Pulse, Sender};
use tokio::time::timeout;

use crate::Config;
use crate::mailbox::{Command, Mailbox, Stopping};
use crate::state::CAPABILITIES;

/// Bytes that may wait for the master before messages, which nobody promised to deliver, are dropped.
const BACKLOG: usize = 8 << 20;
/// How long the master may take from the request to its Welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// What a master that names none is taken to mean.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
const DEFAULT_SILENCE: Duration = Duration::from_secs(75);

/// Sends to the master: messages only while there is room.
///
/// # Errors
/// The link is over, or its other side is too far behind.
pub(crate) fn send(link: &Sender, body: Body) -> Result<(), outbox::Lost> {
    if matches!(body, Body::ExecutorMessage(_)) && link.waiting() >= BACKLOG {
        return Ok(());
    }
    link.send(body)
}

/// Why there is no link (any more).
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the master cannot be asked: {0}")]
    Ask(#[from] http_kit::ClientError),
    #[error("the master answered {0} and not with a connection")]
    Answer(http_kit::StatusCode),
    #[error("the master refused: {0}")]
    Refused(String),
    #[error("the master refused for good: {0}")]
    RefusedForGood(String),
    #[error("the master did not switch protocols within {WELCOME_TIMEOUT:?}")]
    NotUpgraded,
    #[error(transparent)]
    Upgrade(#[from] upgrade::UpgradeError),
    #[error("the first frame of a master is Welcome or Refused")]
    FirstFrame,
    #[error(transparent)]
    Link(#[from] link::Lost),
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// Keeps a link to the master until the event loop ends.
pub(crate) async fn run(
    config: Arc<Config>,
    credential: Option<Credential>,
    boot_id: String,
    mailbox: Mailbox,
    mut rng: Rng,
) {
    let client = Client::new(match &credential {
        Some(credential) if !config.auth.is_on() => ClientConfig::saying(&credential.authorization()),
        _ => ClientConfig::showing(&config.auth),
    });
    let (shortest, longest) = config.reconnect;
    let mut wait = shortest;
    loop {
        let mut welcomed = false;
        let link = serve(&config, &boot_id, &mailbox, &client, &mut welcomed);
        let lost = match Box::pin(link).await {
            Ok(()) => return,
            Err(Lost::Stopping(_)) => return,
            Err(lost) => lost,
        };
        if welcomed {
            wait = shortest;
            tracing::warn!(master = %config.master, error = %lost, "lost the master, tasks run on");
        } else {
            tracing::debug!(master = %config.master, error = %lost, "no master yet");
        }
        if matches!(lost, Lost::Refused(_) | Lost::RefusedForGood(_)) {
            tracing::error!(master = %config.master, error = %lost, "not registered");
            wait = longest;
        }
        if mailbox.tell(Input::Disconnected).await.is_err() {
            return;
        }
        // Between half and all of the wait, so that agents do not come all at once.
        let jitter = rng.below(wait.as_nanos().max(2) as u64 / 2);
        tokio::time::sleep(wait / 2 + Duration::from_nanos(jitter)).await;
        wait = (wait * 2).min(longest);
    }
}

/// One connection from its request to its loss.
async fn serve(
    config: &Config,
    boot_id: &str,
    mailbox: &Mailbox,
    client: &Client,
    welcomed: &mut bool,
) -> Result<(), Lost> {
    wait_for_recovery(mailbox).await?;
    let connection = connect(config, client).await?;
    let (mut incoming, mut outgoing) = link::split(connection);
    // Asked for as late as possible: what the master is told must still be so when it is welcomed.
    let knowledge = mailbox.read(agent_core::Agent::knowledge).await?;
    outgoing.send(Body::Hello(hello(boot_id, knowledge)), WELCOME_TIMEOUT).await?;
    let welcome = match incoming.next(WELCOME_TIMEOUT).await? {
        Body::Welcome(welcome) => welcome,
        Body::Refused(refused) if refused.permanent => return Err(Lost::RefusedForGood(refused.reason)),
        Body::Refused(refused) => return Err(Lost::Refused(refused.reason)),
        Body::Shutdown(shutdown) => {
            mailbox.send(Command::Leave(shutdown.reason)).await?;
            return Ok(());
        }
        _ => return Err(Lost::FirstFrame),
    };
    *welcomed = true;
    tracing::info!(master = %config.master, agent_id = agent_id(&welcome), "registered");
    let pulse = pulse_of(&welcome);
    let (sender, mut queued) = link::queue();
    let registered = Input::Registered { agent_id: AgentId::new(agent_id(&welcome)) };
    mailbox.send(Command::Linked(sender, registered)).await?;
    tokio::select! {
        lost = outgoing.run(&mut queued, pulse) => Err(lost.into()),
        lost = listen(&mut incoming, pulse, mailbox) => lost,
    }
}

fn agent_id(welcome: &Welcome) -> &str {
    welcome.agent_id.as_ref().map_or("", |id| &id.value)
}

async fn listen(incoming: &mut Incoming<Upgraded>, pulse: Pulse, mailbox: &Mailbox) -> Result<(), Lost> {
    loop {
        match incoming.next(pulse.silence).await? {
            // The link stays: the ends of the tasks go over it.
            Body::Shutdown(shutdown) => mailbox.send(Command::Leave(shutdown.reason)).await?,
            body => {
                if let Some(input) = input_of(body) {
                    mailbox.tell(input).await?;
                }
            }
        }
    }
}

/// Until then Hello would not name tasks that are about to come back.
async fn wait_for_recovery(mailbox: &Mailbox) -> Result<(), Lost> {
    while !mailbox.read(agent_core::Agent::is_recovered).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn connect(config: &Config, client: &Client) -> Result<Upgraded, Lost> {
    let mut request = Request::new(http_kit::Body::empty());
    *request.uri_mut() = http_kit::Uri::from_static(agent_link::PATH);
    upgrade::offer(request.headers_mut(), agent_link::UPGRADE);
    let timeouts = Timeouts { response_head: Some(WELCOME_TIMEOUT), ..Timeouts::default() };
    let mut response = client.send(&Address::Tcp(config.master), request, timeouts).await?;
    let Some(upgrade) = upgrade::take_response(&mut response) else {
        return Err(Lost::Answer(response.status()));
    };
    let connection = timeout(WELCOME_TIMEOUT, upgrade.connection()).await;
    Ok(connection.map_err(|_| Lost::NotUpgraded)??)
}

fn hello(boot_id: &str, knowledge: Knowledge) -> Hello {
    let executors = knowledge.executors.into_iter().map(|(framework_id, executor)| RunningExecutor {
        framework_id: Some(mesos_proto::v1::FrameworkId { value: framework_id.to_string() }),
        executor: Some(executor),
    });
    Hello {
        min_version: agent_link::MIN_VERSION,
        max_version: agent_link::MAX_VERSION,
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        credential: None,
        boot_id: boot_id.to_owned(),
        total: knowledge.total,
        agent: Some(knowledge.info),
        version: api_mesos::version::MESOS_VERSION.to_owned(),
        frameworks: knowledge.frameworks,
        executors: executors.collect(),
        tasks: knowledge.tasks,
        operations: knowledge.operations,
        draining: knowledge.draining,
    }
}

/// What a frame of the master means. Frames that only an agent sends mean nothing.
fn input_of(body: Body) -> Option<Input> {
    let framework_id = |id: Option<mesos_proto::v1::FrameworkId>| Some(FrameworkId::new(id?.value));
    let executor_id = |id: Option<mesos_proto::v1::ExecutorId>| Some(ExecutorId::new(id?.value));
    let task_id = |id: Option<mesos_proto::v1::TaskId>| Some(TaskId::new(id?.value));
    Some(match body {
        Body::RunTask(run) => {
            Input::RunTask { framework: Box::new(run.framework?), task: Box::new(run.task?) }
        }
        Body::RunTaskGroup(run) => Input::RunTaskGroup {
            framework: Box::new(run.framework?),
            executor: Box::new(run.executor?),
            tasks: run.task_group?.tasks,
        },
        Body::KillTask(kill) => Input::KillTask {
            framework_id: framework_id(kill.framework_id)?,
            task_id: task_id(kill.task_id)?,
            kill_policy: kill.kill_policy,
        },
        Body::AcknowledgeUpdate(acknowledge) => Input::AcknowledgeUpdate {
            framework_id: framework_id(acknowledge.framework_id)?,
            task_id: task_id(acknowledge.task_id)?,
            uuid: acknowledge.uuid,
        },
        Body::FrameworkMessage(message) => Input::FrameworkMessage {
            framework_id: framework_id(message.framework_id)?,
            executor_id: executor_id(message.executor_id)?,
            data: message.data,
        },
        Body::ShutdownExecutor(shutdown) => Input::ShutdownExecutor {
            framework_id: framework_id(shutdown.framework_id)?,
            executor_id: executor_id(shutdown.executor_id)?,
        },
        Body::ShutdownFramework(shutdown) => {
            Input::ShutdownFramework { framework_id: framework_id(shutdown.framework_id)? }
        }
        Body::Drain(drain) => Input::Drain { config: drain.config? },
        Body::Undrain(_) => Input::Undrain,
        Body::ApplyOperation(apply) => Input::ApplyOperation {
            framework_id: framework_id(apply.framework_id),
            uuid: apply.operation_uuid,
            operation: apply.info?,
        },
        Body::AcknowledgeOperation(acknowledge) => Input::AcknowledgeOperation {
            uuid: acknowledge.operation_uuid,
            status_uuid: acknowledge.status_uuid,
        },
        Body::UpdateFramework(update) => Input::UpdateFramework { framework: Box::new(update.framework?) },
        _ => return None,
    })
}

/// What the master wants, as far as it says so.
fn pulse_of(welcome: &Welcome) -> Pulse {
    let millis = |millis: u32, default| match millis {
        0 => default,
        millis => Duration::from_millis(millis.into()),
    };
    Pulse {
        heartbeat: millis(welcome.heartbeat_millis, DEFAULT_HEARTBEAT),
        silence: millis(welcome.silence_millis, DEFAULT_SILENCE),
    }
}
