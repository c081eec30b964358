//! What a container may use.

use agent_core::Launch;
use containers::Limits;
use mesos_proto::v1::TaskInfo;
use resources::{InvalidResource, Resources};

use crate::Config;

/// What all resources together allow; a command task may have limits above what it is guaranteed.
pub(crate) fn limits(config: &Config, launch: &Launch) -> Result<Limits, InvalidResource> {
    let all = Resources::from_wire(&launch.resources)?;
    let mut limits = limits_of(&all, config);
    if let Some(task) = &launch.task {
        let own = Resources::from_wire(&launch.executor.resources)?;
        apply_limits(&mut limits, task, &own);
    }
    if let Some(pids) = launch.plan.docker.pids_limit {
        limits.pids = Some(pids.min(config.max_processes));
    }
    Ok(limits)
}

/// The bounds that resources alone set.
pub(crate) fn limits_of(all: &Resources, config: &Config) -> Limits {
    let cpu_milli = (all.cpus().to_f64() * 1000.0).round() as u64;
    let memory = all.mem().to_f64();
    Limits {
        cpu_milli,
        cpu_quota_milli: config.enforce_cpu_quota.then_some(cpu_milli),
        memory_bytes: (memory > 0.0).then_some(mib(memory)),
        pids: Some(config.max_processes),
    }
}

fn apply_limits(limits: &mut Limits, task: &TaskInfo, own: &Resources) {
    if let Some(cpus) = task.limits.get("cpus") {
        let sum = cpus.value + own.cpus().to_f64();
        limits.cpu_quota_milli = sum.is_finite().then_some((sum * 1000.0).round() as u64);
    }
    if let Some(memory) = task.limits.get("mem") {
        let sum = memory.value + own.mem().to_f64();
        limits.memory_bytes = sum.is_finite().then_some(mib(sum));
    }
}

fn mib(amount: f64) -> u64 {
    (amount * f64::from(1 << 20)) as u64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use agent_core::{ContainerPlan, Run};
    use mesos_proto::v1::value::Scalar;
    use mesos_proto::v1::{ExecutorInfo, FrameworkInfo};
    use resources::WireForm;

    use super::*;

    fn config() -> Config {
        Config::new(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 5050).into(), "/d".into())
    }

    fn launch(task: TaskInfo) -> Launch {
        let wire = |text: &str| Resources::parse(text).expect("it is right").to_wire(WireForm::Refined);
        Launch {
            agent_id: "S0".into(),
            run: Run { framework_id: "f".into(), executor_id: "e".into(), container_id: "c".into() },
            framework: FrameworkInfo { user: "root".into(), ..Default::default() },
            executor: ExecutorInfo { resources: wire("cpus:0.1;mem:32"), ..Default::default() },
            task: Some(Box::new(task)),
            plan: ContainerPlan::default(),
            resources: wire("cpus:0.6;mem:96"),
        }
    }

    #[test]
    fn limits_follow_resources_unless_the_task_has_its_own() {
        let check = |own: &[(&str, f64)], quota: Option<u64>, mib: Option<u64>| {
            let limits =
                own.iter().map(|(name, value)| ((*name).to_owned(), Scalar { value: *value })).collect();
            let found = limits_for(TaskInfo { limits, ..Default::default() });
            assert_eq!((found.cpu_milli, found.cpu_quota_milli), (600, quota));
            assert_eq!(found.memory_bytes, mib.map(|mib| mib << 20));
        };
        check(&[], Some(600), Some(96));
        check(&[("cpus", 2.0)], Some(2100), Some(96));
        check(&[("cpus", f64::INFINITY), ("mem", 128.0)], None, Some(160));
        check(&[("mem", f64::INFINITY)], Some(600), None);
    }

    fn limits_for(task: TaskInfo) -> Limits {
        limits(&config(), &launch(task)).expect("its resources are right")
    }
}
