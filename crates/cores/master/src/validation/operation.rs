//! Operations on resources. Mesos: `namespace operation` and `namespace resource` of src/master/validation.cpp.

use std::collections::BTreeSet;

use mesos_proto::v1::offer::operation::{Reserve, Unreserve};
use mesos_proto::v1::offer::{Operation, operation};
use mesos_proto::v1::{Resource, resource};
use resources::{Identity, Resources, WireForm};

use crate::framework::Framework;

/// Makes an operation's resources be of one form, allocated to `role` where they do not say to whom.
/// Mesos: `validateAndUpgradeResources` and `injectAllocationInfo`.
pub(crate) fn normalise(operation: &mut Operation, role: Option<&str>) -> Result<(), String> {
    let lists: [&mut Vec<Resource>; 2] = match operation.r#type() {
        operation::Type::Reserve => match &mut operation.reserve {
            Some(reserve) => [&mut reserve.resources, &mut reserve.source],
            None => return Err(missing("A RESERVE", "reserve")),
        },
        operation::Type::Unreserve => match &mut operation.unreserve {
            Some(unreserve) => [&mut unreserve.resources, &mut Vec::new()],
            None => return Err(missing("An UNRESERVE", "unreserve")),
        },
        kind => return Err(format!("{} is not supported by this master", kind.as_str_name())),
    };
    for list in lists {
        let mut normal = Vec::with_capacity(list.len());
        for mut resource in list.drain(..) {
            if let (Some(role), None) = (role, &resource.allocation_info) {
                resource.allocation_info = Some(resource::AllocationInfo { role: Some(role.to_owned()) });
            }
            let read = Resources::from_wire(&[resource]).map_err(|error| error.to_string())?;
            normal.extend(read.to_wire(WireForm::Refined));
        }
        *list = normal;
    }
    Ok(())
}

fn missing(what: &str, member: &str) -> String {
    format!("{what} offer operation must have the Offer.Operation.{member} field set.")
}

/// Whether a normalised operation may be asked for by a framework, or by an operator if there is none, who
/// is `principal`.
pub(crate) fn validate(
    operation: &Operation,
    principal: Option<&str>,
    framework: Option<&Framework>,
) -> Result<(), String> {
    match (&operation.reserve, &operation.unreserve) {
        (Some(reserve), _) => validate_reserve(reserve, principal, framework),
        (None, Some(unreserve)) => validate_unreserve(unreserve),
        (None, None) => Err("Operation not supported".to_owned()),
    }
}

fn validate_reserve(
    reserve: &Reserve,
    principal: Option<&str>,
    framework: Option<&Framework>,
) -> Result<(), String> {
    let target =
        validate_resources(&reserve.resources).map_err(|error| format!("Invalid resources: {error}"))?;
    let source = validate_resources(&reserve.source).map_err(|error| format!("Invalid source: {error}"))?;
    if !reserve.source.is_empty() {
        validate_change(&source, &target)?;
    }
    validate_single_provider(&reserve.resources).map_err(|error| format!("Invalid resources: {error}"))?;
    for resource in &target {
        let identity = resource.identity();
        if !identity.is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        if let Some(principal) = principal {
            validate_principal(identity, principal)?;
        }
        match framework {
            Some(framework) => validate_role(&resource.to_string(), identity, framework)?,
            None if identity.allocation.is_some() => {
                return Err(
                    "A reserve operation was attempted with an allocated resource, but the operator API \
                            only allows reservations to be made to unallocated resources"
                        .to_owned(),
                );
            }
            None => {}
        }
    }
    match framework {
        Some(_) => super::task::validate_role(&target)
            .map_err(|error| format!("Invalid reservation resources: {error}")),
        None => Ok(()),
    }
}

fn validate_unreserve(unreserve: &Unreserve) -> Result<(), String> {
    let list = &unreserve.resources;
    let resources = validate_resources(list).map_err(|error| format!("Invalid resources: {error}"))?;
    validate_single_provider(list).map_err(|error| format!("Invalid resources: {error}"))?;
    for resource in &resources {
        if !resource.identity().is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        if is_persistent_volume(resource.identity()) {
            return Err(format!(
                "A dynamically reserved persistent volume {resource} cannot be unreserved directly. Please \
                 destroy the persistent volume first then unreserve the resource"
            ));
        }
    }
    Ok(())
}

fn is_persistent_volume(identity: &Identity) -> bool {
    identity.disk.as_ref().is_some_and(|disk| disk.persistence_id().is_some())
}

/// Mesos: validation::resource::validate.
fn validate_resources(list: &[Resource]) -> Result<Resources, String> {
    let resources = Resources::from_wire(list).map_err(|error| format!("Invalid resources: {error}"))?;
    if resources.gpus().thousandths() % 1000 != 0 {
        return Err("Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer".to_owned());
    }
    for resource in list.iter().filter(|resource| resource.disk.is_some()) {
        validate_disk(resource).map_err(|error| format!("Invalid DiskInfo: {error}"))?;
    }
    for resource in &resources {
        if resource.identity().is_dynamically_reserved() && resource.identity().revocable {
            return Err(format!(
                "Invalid ReservationInfo: Dynamically reserved resource {resource} cannot be created from \
                 revocable resources"
            ));
        }
    }
    Ok(resources)
}

/// Mesos: validateDiskInfo.
fn validate_disk(resource: &Resource) -> Result<(), String> {
    let Some(disk) = &resource.disk else { return Ok(()) };
    let Some(persistence) = &disk.persistence else {
        return match (&disk.volume, &disk.source) {
            (Some(_), _) => Err("Non-persistent volume not supported".to_owned()),
            (None, None) => Err("DiskInfo is set but empty".to_owned()),
            (None, Some(_)) => Ok(()),
        };
    };
    if resource.revocable.is_some() {
        return Err("Persistent volumes cannot be created from revocable resources".to_owned());
    }
    if resource.reservations.is_empty() {
        return Err("Persistent volumes cannot be created from unreserved resources".to_owned());
    }
    let volume = disk.volume.as_ref().ok_or("Expecting 'volume' to be set for persistent volume")?;
    if volume.host_path.is_some() {
        return Err("Expecting 'host_path' to be unset for persistent volume".to_owned());
    }
    super::validate_id(&persistence.id)
        .map_err(|error| format!("Invalid persistence ID for persistent volume: {error}"))
}

/// Whether a reservation may be changed in place: all of it, and nothing but the reservation.
fn validate_change(source: &Resources, target: &Resources) -> Result<(), String> {
    for (what, resources) in [("source", source), ("resources", target)] {
        let mut stacks = resources.iter().map(|resource| &resource.identity().reservations);
        let Some(first) = stacks.next() else {
            return Err(format!("Invalid {what}: Resource cannot be empty"));
        };
        if stacks.any(|stack| stack != first) {
            return Err(format!("Invalid {what}: Mixed reservations are not supported{resources}"));
        }
    }
    let (from, to) = (source.to_unreserved(), target.to_unreserved());
    if from != to {
        return Err(format!(
            "Source and target resources should refer to identical resource quantities: {from} vs. {to}"
        ));
    }
    Ok(())
}

fn validate_single_provider(list: &[Resource]) -> Result<(), String> {
    let providers: BTreeSet<_> =
        list.iter().map(|resource| resource.provider_id.as_ref().map(|id| id.value.as_str())).collect();
    if providers.len() == 1 {
        return Ok(());
    }
    if providers.contains(&None) {
        return Err("Some resources have a resource provider and some do not".to_owned());
    }
    let ids: Vec<_> = providers.into_iter().flatten().collect();
    Err(format!("The resources have multiple resource providers: {}", ids.join(", ")))
}

fn validate_principal(identity: &Identity, principal: &str) -> Result<(), String> {
    match identity.reservations.last().and_then(|reservation| reservation.principal.as_deref()) {
        None => Err(format!(
            "A reserve operation was attempted by principal '{principal}', but there is a reserved resource in \
             the request with no principal set"
        )),
        Some(said) if said != principal => Err(format!(
            "A reserve operation was attempted by authenticated principal '{principal}', which does not match a \
             reserved resource in the request with principal '{said}'"
        )),
        Some(_) => Ok(()),
    }
}

fn validate_role(resource: &str, identity: &Identity, framework: &Framework) -> Result<(), String> {
    let Some(allocation) = identity.allocation.as_deref() else {
        return Err(format!(
            "A reserve operation was attempted on unallocated resource {resource}, but frameworks can only \
             perform reservations on allocated resources"
        ));
    };
    let reserved = identity.reservation_role();
    if allocation != reserved {
        return Err(format!(
            "A reserve operation was attempted for a resource with role '{reserved}', but the resource was \
             allocated to role '{allocation}'"
        ));
    }
    let roles = framework.roles();
    if !roles.contains(allocation) {
        return Err(format!(
            "A reserve operation was attempted for a resource allocated to role '{allocation}', but the framework \
             only has roles '{}'",
            super::framework::braces(roles.iter().collect())
        ));
    }
    Ok(())
}
