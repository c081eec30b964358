//! What containers use: `/containers`, `/monitor/statistics`, GET_CONTAINERS.

use agent_core::{Executor, Framework, Process};
use api_mesos::Query;
use api_mesos::json::{Array, Object};
use base::ContainerId;
use containers::Usage;
use mesos_proto::json::write_json;
use mesos_proto::v1::{self, ContainerStatus, ResourceStatistics};
use runtime::Clock;

use crate::http::Api;
use crate::mailbox::Stopping;
use crate::nested::Container;
use crate::state::resources_of;

/// One container with its executor and what it uses.
pub(crate) struct Measured {
    /// None of a container in another one.
    pub(crate) executor: Option<Described>,
    pub(crate) status: ContainerStatus,
    /// None if it could not be measured: it ends just now.
    pub(crate) statistics: Option<ResourceStatistics>,
}

/// Whose container it is.
pub(crate) struct Described {
    pub(crate) framework_id: String,
    pub(crate) executor_id: String,
    pub(crate) name: String,
    source: String,
}

/// Every container, or the one asked for; those that are in others only if they are wanted.
pub(crate) async fn measure(
    api: &Api,
    only: Selection,
    with_nested: bool,
) -> Result<Vec<Measured>, Stopping> {
    let found = api
        .mailbox
        .read(move |agent| {
            agent
                .frameworks()
                .flat_map(Framework::executors)
                .filter(|executor| only.takes(executor))
                .filter(|executor| executor.process().is_some())
                .map(|executor| (executor.container_id().clone(), describe(executor)))
                .collect::<Vec<(ContainerId, Measured)>>()
        })
        .await?;
    let nested = match with_nested {
        true => api.nested.running(),
        false => Vec::new(),
    };
    let nested: Vec<Measured> = nested.iter().map(|container| describe_nested(container)).collect();
    let containers = api.containers.clone();
    let measured = tokio::task::spawn_blocking(move || {
        let mut all = Vec::with_capacity(found.len());
        for (container_id, mut measured) in found {
            if let (Ok(usage), Some(statistics)) = (containers.usage(&container_id), &mut measured.statistics)
            {
                fill(statistics, &usage);
            } else {
                measured.statistics = None;
            }
            all.push(measured);
        }
        all.extend(nested);
        all
    });
    measured.await.map_err(|_| Stopping)
}

fn describe(executor: &Executor) -> Measured {
    let info = executor.info();
    let all = resources_of(&executor.resources());
    let memory = (all.mem().to_f64() * f64::from(1 << 20)) as u64;
    Measured {
        executor: Some(Described {
            framework_id: executor.framework_id().to_string(),
            executor_id: executor.id().to_string(),
            name: info.name.clone().unwrap_or_default(),
            source: info.source.clone().unwrap_or_default(),
        }),
        status: ContainerStatus {
            container_id: Some(v1::ContainerId {
                value: executor.container_id().to_string(),
                ..Default::default()
            }),
            executor_pid: executor.process().map(|Process { pid, .. }| pid),
            network_infos: executor.networks().to_vec(),
            ..Default::default()
        },
        statistics: Some(ResourceStatistics {
            timestamp: Clock::wall().as_secs_f64(),
            cpus_soft_limit: Some(all.cpus().to_f64()),
            mem_limit_bytes: Some(memory),
            mem_soft_limit_bytes: Some(memory),
            ..Default::default()
        }),
    }
}

/// What it uses is counted for the container whose resources it shares.
fn describe_nested(container: &Container) -> Measured {
    let (cpus, memory) = container.resources();
    Measured {
        executor: None,
        status: ContainerStatus {
            container_id: Some(container.message()),
            executor_pid: container.pid(),
            ..Default::default()
        },
        statistics: Some(ResourceStatistics {
            timestamp: Clock::wall().as_secs_f64(),
            cpus_soft_limit: cpus,
            mem_limit_bytes: memory,
            mem_soft_limit_bytes: memory,
            ..Default::default()
        }),
    }
}

fn fill(statistics: &mut ResourceStatistics, usage: &Usage) {
    statistics.processes = u32::try_from(usage.processes).ok();
    if let Some(cpu) = usage.cpu {
        statistics.cpus_user_time_secs = Some(cpu.user.as_secs_f64());
        statistics.cpus_system_time_secs = Some(cpu.system.as_secs_f64());
    }
    if let Some(throttling) = usage.throttling {
        statistics.cpus_nr_periods = u32::try_from(throttling.periods).ok();
        statistics.cpus_nr_throttled = u32::try_from(throttling.throttled_periods).ok();
        statistics.cpus_throttled_time_secs = Some(throttling.throttled_time.as_secs_f64());
    }
    if let Some(memory) = usage.memory {
        statistics.mem_total_bytes = Some(memory.total_bytes);
        statistics.mem_rss_bytes = Some(memory.rss_bytes);
        statistics.mem_cache_bytes = Some(memory.cache_bytes);
        statistics.mem_limit_bytes = memory.limit_bytes.or(statistics.mem_limit_bytes);
    }
}

/// Which executors' containers are wanted; those are that have all that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    container: Option<String>,
    framework: Option<String>,
    executor: Option<String>,
}

impl Selection {
    /// What a query asks for.
    ///
    /// # Errors
    /// The text for a query that makes no sense.
    pub(crate) fn of(query: &Query) -> Result<Selection, &'static str> {
        let get = |name| query.get(name).map(str::to_owned);
        let only = Selection {
            container: get("container_id"),
            framework: get("framework_id"),
            executor: get("executor_id"),
        };
        match (&only.container, &only.framework, &only.executor) {
            (Some(_), None, None) | (None, Some(_), _) | (None, None, None) => Ok(only),
            _ => Err(
                "Supported query parameters are container_id only, framework_id only, or executor_id and \
                      framework_id only",
            ),
        }
    }

    fn takes(&self, executor: &Executor) -> bool {
        let takes =
            |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        takes(&self.container, executor.container_id().as_str())
            && takes(&self.framework, executor.framework_id().as_str())
            && takes(&self.executor, executor.id().as_str())
    }
}

/// The document of both endpoints; only `/containers` names the container and its status.
pub(crate) async fn containers(api: &Api, with_status: bool, only: Selection) -> Result<Vec<u8>, Stopping> {
    let all = measure(api, only, false).await?;
    let mut out = Vec::with_capacity(512 * all.len() + 2);
    write_all(&mut Array::open(&mut out), &all, with_status);
    Ok(out)
}

fn write_all(list: &mut Array<'_>, all: &[Measured], with_status: bool) {
    for measured in all {
        list.object(|o| write(o, measured, with_status));
    }
}

fn write(o: &mut Object<'_>, measured: &Measured, with_status: bool) {
    if let Some(id) = measured.status.container_id.as_ref().filter(|_| with_status) {
        o.field("container_id", &*id.value);
    }
    if let Some(executor) = &measured.executor {
        o.field("executor_id", &*executor.executor_id)
            .field("executor_name", &*executor.name)
            .field("framework_id", &*executor.framework_id)
            .field("source", &*executor.source);
    }
    if let Some(statistics) = &measured.statistics {
        o.raw("statistics", |out| write_json(statistics, out));
    }
    if with_status {
        o.raw("status", |out| write_json(&measured.status, out));
    }
}
