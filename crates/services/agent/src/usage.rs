//! What containers use: `/containers`, `/monitor/statistics`, GET_CONTAINERS.

use agent_core::{Executor, Framework, Process};
use api_mesos::json::{Array, Object};
use base::ContainerId;
use containers::Usage;
use mesos_proto::json::write_json;
use mesos_proto::v1::{self, ContainerStatus, ResourceStatistics};
use runtime::Clock;

use crate::http::Api;
use crate::mailbox::Stopping;
use crate::state::resources_of;

/// One container with its executor and what it uses.
pub(crate) struct Measured {
    pub(crate) framework_id: String,
    pub(crate) executor_id: String,
    pub(crate) executor_name: String,
    pub(crate) source: String,
    pub(crate) status: ContainerStatus,
    /// None if it could not be measured: it ends just now.
    pub(crate) statistics: Option<ResourceStatistics>,
}

/// Every container, or the one asked for.
pub(crate) async fn measure(api: &Api, only: Option<&str>) -> Result<Vec<Measured>, Stopping> {
    let only = only.map(str::to_owned);
    let found = api
        .mailbox
        .read(move |agent| {
            agent
                .frameworks()
                .flat_map(Framework::executors)
                .filter(|executor| only.as_deref().is_none_or(|id| executor.container_id().as_str() == id))
                .filter(|executor| executor.process().is_some())
                .map(|executor| (executor.container_id().clone(), describe(executor)))
                .collect::<Vec<(ContainerId, Measured)>>()
        })
        .await?;
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
        all
    });
    measured.await.map_err(|_| Stopping)
}

fn describe(executor: &Executor) -> Measured {
    let info = executor.info();
    let all = resources_of(&executor.resources());
    let memory = (all.mem().to_f64() * f64::from(1 << 20)) as u64;
    Measured {
        framework_id: executor.framework_id().to_string(),
        executor_id: executor.id().to_string(),
        executor_name: info.name.clone().unwrap_or_default(),
        source: info.source.clone().unwrap_or_default(),
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

/// The document of both endpoints; only `/containers` names the container and its status.
pub(crate) async fn containers(
    api: &Api,
    with_status: bool,
    only: Option<&str>,
) -> Result<Vec<u8>, Stopping> {
    let all = measure(api, only).await?;
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
    o.field("executor_id", &*measured.executor_id)
        .field("executor_name", &*measured.executor_name)
        .field("framework_id", &*measured.framework_id)
        .field("source", &*measured.source);
    if let Some(statistics) = &measured.statistics {
        o.raw("statistics", |out| write_json(statistics, out));
    }
    if with_status {
        o.raw("status", |out| write_json(&measured.status, out));
    }
}
