//! Whether a call is whole: what Mesos checks of a call before it looks at any state. The errors are
//! Mesos' texts. Mesos: src/master/validation.cpp, scheduler::call and master::call.

use mesos_proto::v1::{master, scheduler};

/// The error of a call whose member `name` is missing.
fn expecting(name: &str) -> String {
    format!("Expecting '{name}' to be present")
}

fn present<T>(member: &Option<T>, name: &str) -> Result<(), String> {
    match member {
        Some(_) => Ok(()),
        None => Err(expecting(name)),
    }
}

/// Mesos takes 16 bytes whose version nibble is a known one, 1 to 5. Mesos: id::UUID::fromBytes.
fn uuid(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [_, _, _, _, _, _, version, ..] if bytes.len() == 16 && (1..=5).contains(&(version >> 4)) => Ok(()),
        _ => Err("Not a valid UUID".to_owned()),
    }
}

/// What is wrong with a scheduler's call.
///
/// # Errors
/// The text that follows `Failed to validate scheduler::Call: `.
pub(crate) fn scheduler_call(call: &scheduler::Call) -> Result<(), String> {
    use scheduler::call::Type;
    let Some(kind) = call.r#type.and_then(|kind| Type::try_from(kind).ok()) else {
        return Err(expecting("type"));
    };
    if kind == Type::Subscribe {
        let Some(subscribe) = &call.subscribe else { return Err(expecting("subscribe")) };
        return if subscribe.framework_info.id == call.framework_id {
            Ok(())
        } else {
            Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned())
        };
    }
    present(&call.framework_id, "framework_id")?;
    match kind {
        Type::Accept => present(&call.accept, "accept"),
        Type::Decline => present(&call.decline, "decline"),
        Type::AcceptInverseOffers => present(&call.accept_inverse_offers, "accept_inverse_offers"),
        Type::DeclineInverseOffers => present(&call.decline_inverse_offers, "decline_inverse_offers"),
        Type::Kill => present(&call.kill, "kill"),
        Type::Shutdown => present(&call.shutdown, "shutdown"),
        Type::Acknowledge => match &call.acknowledge {
            Some(acknowledge) => uuid(&acknowledge.uuid),
            None => Err(expecting("acknowledge")),
        },
        Type::AcknowledgeOperationStatus => match &call.acknowledge_operation_status {
            Some(acknowledge) => {
                uuid(&acknowledge.uuid).and_then(|()| present(&acknowledge.agent_id, "agent_id"))
            }
            None => Err(expecting("acknowledge_operation_status")),
        },
        Type::Reconcile => present(&call.reconcile, "reconcile"),
        Type::ReconcileOperations => present(&call.reconcile_operations, "reconcile_operations"),
        Type::Message => present(&call.message, "message"),
        Type::Request => present(&call.request, "request"),
        Type::UpdateFramework => match &call.update_framework {
            Some(update) if update.framework_info.id == call.framework_id => Ok(()),
            Some(_) => Err("'framework_id' differs from 'update_framework.framework_info.id'".to_owned()),
            None => Err(expecting("update_framework")),
        },
        Type::Subscribe | Type::Teardown | Type::Revive | Type::Suppress | Type::Unknown => Ok(()),
    }
}

/// What is wrong with an operator's call, and its type if nothing is.
///
/// # Errors
/// The text that follows `Failed to validate master::Call: `.
pub(crate) fn operator_call(call: &master::Call) -> Result<master::call::Type, String> {
    use master::call::Type;
    let Some(kind) = call.r#type.and_then(|kind| Type::try_from(kind).ok()) else {
        return Err(expecting("type"));
    };
    #[allow(deprecated, reason = "the deprecated quota calls still are calls")]
    let whole = match kind {
        Type::GetMetrics => present(&call.get_metrics, "get_metrics"),
        Type::SetLoggingLevel => present(&call.set_logging_level, "set_logging_level"),
        Type::ListFiles => present(&call.list_files, "list_files"),
        Type::ReadFile => present(&call.read_file, "read_file"),
        Type::UpdateWeights => present(&call.update_weights, "update_weights"),
        Type::ReserveResources => present(&call.reserve_resources, "reserve_resources"),
        Type::UnreserveResources => present(&call.unreserve_resources, "unreserve_resources"),
        Type::CreateVolumes => present(&call.create_volumes, "create_volumes"),
        Type::DestroyVolumes => present(&call.destroy_volumes, "destroy_volumes"),
        Type::GrowVolume => present(&call.grow_volume, "grow_volume"),
        Type::ShrinkVolume => present(&call.shrink_volume, "shrink_volume"),
        Type::UpdateMaintenanceSchedule => {
            present(&call.update_maintenance_schedule, "update_maintenance_schedule")
        }
        Type::StartMaintenance => present(&call.start_maintenance, "start_maintenance"),
        Type::StopMaintenance => present(&call.stop_maintenance, "stop_maintenance"),
        Type::DrainAgent => present(&call.drain_agent, "drain_agent"),
        Type::DeactivateAgent => present(&call.deactivate_agent, "deactivate_agent"),
        Type::ReactivateAgent => present(&call.reactivate_agent, "reactivate_agent"),
        Type::UpdateQuota => present(&call.update_quota, "update_quota"),
        Type::SetQuota => present(&call.set_quota, "set_quota"),
        Type::RemoveQuota => present(&call.remove_quota, "remove_quota"),
        Type::Teardown => present(&call.teardown, "teardown"),
        Type::MarkAgentGone => present(&call.mark_agent_gone, "mark_agent_gone"),
        Type::Unknown
        | Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetLoggingLevel
        | Type::GetState
        | Type::GetAgents
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetMaster
        | Type::Subscribe
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule
        | Type::GetQuota => Ok(()),
    };
    whole.map(|()| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_must_be_whole() {
        use scheduler::call::Type;
        let id = |value: &str| Some(mesos_proto::v1::FrameworkId { value: value.to_owned() });
        let check = |call: scheduler::Call, error: &str| {
            assert_eq!(scheduler_call(&call).err().unwrap_or_default(), error);
        };
        let call = |kind: Type| scheduler::Call { r#type: Some(kind as i32), ..Default::default() };
        check(scheduler::Call::default(), "Expecting 'type' to be present");
        check(
            scheduler::Call { r#type: Some(12345), ..Default::default() },
            "Expecting 'type' to be present",
        );
        check(call(Type::Subscribe), "Expecting 'subscribe' to be present");
        check(call(Type::Revive), "Expecting 'framework_id' to be present");
        check(scheduler::Call { framework_id: id("a"), ..call(Type::Revive) }, "");
        check(
            scheduler::Call { framework_id: id("a"), ..call(Type::Kill) },
            "Expecting 'kill' to be present",
        );
        let mut differs = scheduler::Call { framework_id: id("a"), ..call(Type::Subscribe) };
        differs.subscribe = Some(scheduler::call::Subscribe::default());
        check(differs, "'framework_id' differs from 'subscribe.framework_info.id'");
    }

    #[test]
    fn an_acknowledgement_carries_a_uuid() {
        let check = |uuid: Vec<u8>, whole: bool| {
            let call = scheduler::Call {
                r#type: Some(scheduler::call::Type::Acknowledge as i32),
                framework_id: Some(mesos_proto::v1::FrameworkId { value: "a".to_owned() }),
                acknowledge: Some(scheduler::call::Acknowledge { uuid, ..Default::default() }),
                ..Default::default()
            };
            let expect = if whole { Ok(()) } else { Err("Not a valid UUID".to_owned()) };
            assert_eq!(scheduler_call(&call), expect);
        };
        check(base::Rng::seeded(1).uuid_bytes().to_vec(), true);
        check(vec![0; 16], false);
        check(vec![1; 3], false);
    }
}
