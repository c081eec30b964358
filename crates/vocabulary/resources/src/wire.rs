#![allow(deprecated, reason = "the fields role and reservation are deprecated in Mesos, and in use")]

use std::fmt::Write;
use std::sync::Arc;

use mesos_proto::v1;
use mesos_proto::v1::resource::disk_info::source;
use mesos_proto::v1::resource::reservation_info::Type as ReservationType;
use mesos_proto::v1::resource::{AllocationInfo, DiskInfo, ReservationInfo, RevocableInfo, SharedInfo};
use mesos_proto::v1::value::{self, Type};
use prost::Message;

use crate::role;
use crate::{
    Disk, Identity, Kind, Name, Ranges, Reservation, ReservationKind, Resource, Resources, Scalar, Value,
};

/// Why messages are no resources. The texts are those of Mesos (`Resources::validate`) where it refuses
/// the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Resource '{resource}' is invalid: {why}")]
pub struct InvalidResource {
    /// The resource as Mesos prints it.
    pub resource: String,
    /// What is wrong with it.
    pub why: String,
}

/// Why a JSON text is no list of resources.
#[derive(Debug, thiserror::Error)]
pub enum ResourcesJsonError {
    /// Not a JSON array of `mesos.v1.Resource`.
    #[error("resources are not a JSON list of resource objects")]
    Decode(#[source] mesos_proto::DecodeError),
    /// One of them is no resource.
    #[error(transparent)]
    Invalid(#[from] InvalidResource),
}

/// How reservations are written. Mesos: `ResourceFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireForm {
    /// `reservations` only: to frameworks with RESERVATION_REFINEMENT, and between master and agent.
    Refined,
    /// `role` and `reservation` only: to frameworks without RESERVATION_REFINEMENT. What has more than
    /// one reservation cannot be said this way and is written as in [`WireForm::Refined`].
    Roles,
    /// Both, where both can say it: to operators.
    Endpoint,
}

impl Resources {
    /// Reads messages of either form of reservation (Mesos: `upgradeResources` and `Resources::validate`).
    ///
    /// # Errors
    /// Says which resource is wrong.
    pub fn from_wire(list: &[v1::Resource]) -> Result<Resources, InvalidResource> {
        list.iter().map(from_message).collect()
    }

    /// Reads a JSON list of resources, as in `--resources='[{"name": ...}]'`.
    ///
    /// # Errors
    /// Says what is wrong with the text, or with which resource.
    pub fn from_json(text: &str) -> Result<Resources, ResourcesJsonError> {
        // Any message that is nothing but a list of resources will do to read one.
        let wrapped = format!("{{\"resources\":{text}}}");
        let list: v1::offer::operation::Unreserve =
            mesos_proto::json::from_json(wrapped.as_bytes()).map_err(ResourcesJsonError::Decode)?;
        Ok(Self::from_wire(&list.resources)?)
    }

    /// As messages.
    pub fn to_wire(&self, form: WireForm) -> Vec<v1::Resource> {
        self.iter().map(|resource| to_message(resource, form)).collect()
    }
}

fn from_message(message: &v1::Resource) -> Result<Resource, InvalidResource> {
    read(message).map_err(|why| InvalidResource { resource: print(message), why })
}

fn read(message: &v1::Resource) -> Result<Resource, String> {
    if message.name.is_empty() {
        return Err("Empty resource name".to_owned());
    }
    let value = read_value(message)?;
    if message.shared.is_some() {
        if message.name != "disk" {
            return Err(format!("Resource {} cannot be shared", message.name));
        }
        if message.disk.as_ref().is_none_or(|disk| disk.persistence.is_none()) {
            return Err("Only persistent volumes can be shared".to_owned());
        }
    }
    let identity = Identity {
        name: Name::new(&message.name),
        kind: value.kind(),
        allocation: read_allocation(message),
        reservations: read_reservations(message)?,
        disk: message.disk.as_ref().map(|disk| read_disk(&message.name, disk)).transpose()?,
        revocable: message.revocable.is_some(),
        shared: message.shared.is_some(),
        provider: message.provider_id.as_ref().map(|id| Arc::from(id.value.as_str())),
    };
    Ok(Resource::new(identity, value))
}

fn read_allocation(message: &v1::Resource) -> Option<Arc<str>> {
    message.allocation_info.as_ref().and_then(|info| info.role.as_deref()).map(Arc::from)
}

fn read_value(message: &v1::Resource) -> Result<Value, String> {
    let only = |scalar: bool, ranges: bool, set: bool| {
        (message.scalar.is_some(), message.ranges.is_some(), message.set.is_some()) == (scalar, ranges, set)
    };
    match Type::try_from(message.r#type) {
        Ok(Type::Scalar) => match &message.scalar {
            Some(scalar) if only(true, false, false) => read_scalar(scalar.value),
            _ => Err("Invalid scalar resource".to_owned()),
        },
        Ok(Type::Ranges) => match &message.ranges {
            Some(ranges) if only(false, true, false) => read_ranges(ranges),
            _ => Err("Invalid ranges resource".to_owned()),
        },
        Ok(Type::Set) => match &message.set {
            Some(set) if only(false, false, true) => {
                let items: std::collections::BTreeSet<Arc<str>> =
                    set.item.iter().map(|item| Arc::from(item.as_str())).collect();
                if items.len() < set.item.len() {
                    return Err("Invalid set resource: duplicated elements".to_owned());
                }
                Ok(Value::Set(items))
            }
            _ => Err("Invalid set resource".to_owned()),
        },
        Ok(Type::Text) => Err("Unsupported resource type".to_owned()),
        Err(_) => Err("Invalid resource type".to_owned()),
    }
}

fn read_scalar(value: f64) -> Result<Value, String> {
    let scalar = Scalar::from_f64(value);
    if value != 0.0 && (value.is_nan() || scalar.map_or(value < 0.0, |scalar| scalar <= Scalar::ZERO)) {
        return Err("Invalid scalar resource: value <= 0".to_owned());
    }
    scalar.map(Value::Scalar).ok_or_else(|| format!("Invalid scalar resource: value > {}", Scalar::MAX))
}

fn read_ranges(ranges: &value::Ranges) -> Result<Value, String> {
    let mut intervals: Vec<_> = ranges.range.iter().map(|range| (range.begin, range.end)).collect();
    if intervals.iter().any(|(begin, end)| begin > end) {
        return Err("Invalid ranges resource: begin > end".to_owned());
    }
    intervals.sort_unstable();
    if intervals.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        return Err("Invalid ranges resource: overlapping ranges".to_owned());
    }
    Ok(Value::Ranges(Ranges::from_intervals(intervals)))
}

fn read_reservations(message: &v1::Resource) -> Result<Vec<Reservation>, String> {
    if message.reservations.is_empty() {
        return read_role_and_reservation(message);
    }
    let mut stack: Vec<Reservation> = Vec::with_capacity(message.reservations.len());
    for info in &message.reservations {
        let kind = match info.r#type.map(ReservationType::try_from) {
            Some(Ok(ReservationType::Static)) => ReservationKind::Static,
            Some(Ok(ReservationType::Dynamic)) => ReservationKind::Dynamic,
            Some(_) => return Err("Unsupported 'Resource.ReservationInfo.Type'".to_owned()),
            None => {
                return Err(
                    "Invalid reservation: 'Resource.ReservationInfo.type' field must be set.".to_owned()
                );
            }
        };
        let Some(role) = info.role.as_deref() else {
            return Err("Invalid reservation: 'Resource.ReservationInfo.role' field must be set.".to_owned());
        };
        role::validate(role).map_err(|error| error.to_string())?;
        if role == "*" {
            return Err("Invalid reservation: role \"*\" cannot be reserved".to_owned());
        }
        if let Some(refined) = stack.last() {
            if kind == ReservationKind::Static {
                return Err("Invalid refined reservation: A refined reservation cannot be STATIC".to_owned());
            }
            if !role::is_strict_subrole(role, &refined.role) {
                return Err(format!(
                    "Invalid refined reservation: role '{role}' is not a refinement of '{}'",
                    refined.role
                ));
            }
        }
        stack.push(read_reservation(kind, role, info));
    }
    check_both_forms_agree(message, &stack)?;
    Ok(stack)
}

/// The form from before reservations could be refined: a role other than `*` is a reservation.
fn read_role_and_reservation(message: &v1::Resource) -> Result<Vec<Reservation>, String> {
    let role = message.role.as_deref().unwrap_or("*");
    role::validate(role).map_err(|error| error.to_string())?;
    let Some(info) = &message.reservation else {
        let fixed = ReservationInfo::default();
        return Ok((role != "*")
            .then(|| read_reservation(ReservationKind::Static, role, &fixed))
            .into_iter()
            .collect());
    };
    let must_not = |field: &str| {
        format!("'Resource.ReservationInfo.{field}' must not be set for the 'Resource.reservation' field")
    };
    if info.r#type.is_some() {
        return Err(must_not("type"));
    }
    if info.role.is_some() {
        return Err(must_not("role"));
    }
    if role == "*" {
        return Err("Invalid reservation: role \"*\" cannot be dynamically reserved".to_owned());
    }
    Ok(vec![read_reservation(ReservationKind::Dynamic, role, info)])
}

/// Who sets both forms must say the same in both.
fn check_both_forms_agree(message: &v1::Resource, stack: &[Reservation]) -> Result<(), String> {
    let [only] = stack else {
        let must_not = |field: &str| {
            Err(format!(
                "Invalid resource format: 'Resource.{field}' must not be set if there is more than one \
                 reservation in 'Resource.reservations'"
            ))
        };
        return match (&message.role, &message.reservation) {
            (Some(_), _) => must_not("role"),
            (None, Some(_)) => must_not("reservation"),
            (None, None) => Ok(()),
        };
    };
    if let Some(role) = message.role.as_deref().filter(|role| *role != &*only.role) {
        return Err(format!(
            "Invalid resource format: 'Resource.role' field with '{role}' does not match the role '{}' in \
             'Resource.reservations'",
            only.role
        ));
    }
    if only.kind == ReservationKind::Static {
        return match &message.reservation {
            None => Ok(()),
            Some(_) => Err("Invalid resource format: 'Resource.reservation' must not be set if the single \
                            reservation in 'Resource.reservations' is STATIC"
                .to_owned()),
        };
    }
    if message.role.is_some() != message.reservation.is_some() {
        return Err(
            "Invalid resource format: 'Resource.role' and 'Resource.reservation' must either be both \
                    set or both not set if the single reservation in 'Resource.reservations' is DYNAMIC"
                .to_owned(),
        );
    }
    let Some(info) = &message.reservation else { return Ok(()) };
    let said = read_reservation(ReservationKind::Dynamic, &only.role, info);
    let shown = |principal: &Option<Arc<str>>| principal.as_deref().unwrap_or_default().to_owned();
    if shown(&said.principal) != shown(&only.principal) {
        return Err(format!(
            "Invalid resource format: 'Resource.reservation.principal' field with '{}' does not match the \
             principal '{}' in 'Resource.reservations'",
            shown(&said.principal),
            shown(&only.principal)
        ));
    }
    if said.labels.unwrap_or_default() != only.labels.clone().unwrap_or_default() {
        return Err(
            "Invalid resource format: 'Resource.reservation.labels' field does not match the labels \
                    in 'Resource.reservations'"
                .to_owned(),
        );
    }
    Ok(())
}

fn read_reservation(kind: ReservationKind, role: &str, info: &ReservationInfo) -> Reservation {
    Reservation {
        kind,
        role: Arc::from(role),
        principal: info.principal.as_deref().map(Arc::from),
        labels: info.labels.as_ref().map(|labels| {
            labels.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect()
        }),
    }
}

fn read_disk(name: &str, disk: &DiskInfo) -> Result<Disk, String> {
    if name != "disk" {
        return Err(format!("DiskInfo should not be set for {name} resource"));
    }
    let kind = disk.source.as_ref().map(|source| source::Type::try_from(source.r#type));
    if let (Some(source), Some(Ok(kind @ (source::Type::Block | source::Type::Raw)))) = (&disk.source, kind) {
        if source.mount.is_some() {
            return Err(format!("Mount should not be set for {} disk source", kind.as_str_name()));
        }
        if source.path.is_some() {
            return Err(format!("Path should not be set for {} disk source", kind.as_str_name()));
        }
    }
    if matches!(kind, Some(Err(_) | Ok(source::Type::Unknown))) {
        return Err("Unsupported 'DiskInfo.Source.Type' in 'UNKNOWN'".to_owned());
    }
    let has_id = disk.source.as_ref().is_some_and(|source| source.id.is_some());
    let is_exclusive = match kind {
        Some(Ok(source::Type::Mount | source::Type::Block)) => true,
        Some(Ok(source::Type::Raw)) => has_id,
        _ => false,
    };
    Ok(Disk {
        encoded: disk.encode_to_vec().into(),
        text: print_disk(disk).into(),
        is_indivisible: is_exclusive || disk.persistence.is_some(),
        persistence_id: disk.persistence.as_ref().map(|persistence| persistence.id.as_str().into()),
    })
}

fn to_message(resource: &Resource, form: WireForm) -> v1::Resource {
    let identity = resource.identity();
    let (mut scalar, mut ranges, mut set) = (None, None, None);
    let kind = match resource.value() {
        Value::Scalar(amount) => {
            scalar = Some(value::Scalar { value: amount.to_f64() });
            Type::Scalar
        }
        Value::Ranges(numbers) => {
            let range = |&(begin, end): &(u64, u64)| value::Range { begin, end };
            ranges = Some(value::Ranges { range: numbers.intervals().iter().map(range).collect() });
            Type::Ranges
        }
        Value::Set(items) => {
            set = Some(value::Set { item: items.iter().map(|item| item.to_string()).collect() });
            Type::Set
        }
    };
    let (role, reservation, reservations) = write_reservations(&identity.reservations, form);
    v1::Resource {
        provider_id: identity.provider.as_ref().map(|id| v1::ResourceProviderId { value: id.to_string() }),
        name: resource.name().to_owned(),
        r#type: kind.into(),
        scalar,
        ranges,
        set,
        role,
        allocation_info: identity
            .allocation
            .as_ref()
            .map(|role| AllocationInfo { role: Some(role.to_string()) }),
        reservation,
        reservations,
        disk: identity
            .disk
            .as_ref()
            .map(|disk| DiskInfo::decode(&*disk.encoded).expect("it was encoded from a DiskInfo")),
        revocable: identity.revocable.then_some(RevocableInfo {}),
        shared: identity.shared.then_some(SharedInfo {}),
    }
}

fn write_reservations(
    stack: &[Reservation],
    form: WireForm,
) -> (Option<String>, Option<ReservationInfo>, Vec<ReservationInfo>) {
    let labels = |reservation: &Reservation| {
        reservation.labels.as_ref().map(|labels| v1::Labels {
            labels: labels
                .iter()
                .map(|(key, value)| v1::Label { key: key.clone(), value: value.clone() })
                .collect(),
        })
    };
    let principal = |reservation: &Reservation| reservation.principal.as_deref().map(str::to_owned);
    let refined = || {
        let write = |reservation: &Reservation| ReservationInfo {
            r#type: Some(match reservation.kind {
                ReservationKind::Static => ReservationType::Static.into(),
                ReservationKind::Dynamic => ReservationType::Dynamic.into(),
            }),
            role: Some(reservation.role.to_string()),
            principal: principal(reservation),
            labels: labels(reservation),
        };
        stack.iter().map(write).collect::<Vec<_>>()
    };
    match (form, stack) {
        (WireForm::Refined, _) | (_, [_, _, ..]) => (None, None, refined()),
        (WireForm::Roles | WireForm::Endpoint, []) => (Some("*".to_owned()), None, Vec::new()),
        (form, [only]) => {
            let dynamic = (only.kind == ReservationKind::Dynamic).then(|| ReservationInfo {
                r#type: None,
                role: None,
                principal: principal(only),
                labels: labels(only),
            });
            let reservations = if form == WireForm::Endpoint { refined() } else { Vec::new() };
            (Some(only.role.to_string()), dynamic, reservations)
        }
    }
}

/// Prints what may be invalid, for the error that says so.
fn print(message: &v1::Resource) -> String {
    let identity = Identity {
        name: Name::new(&message.name),
        kind: Kind::Scalar,
        allocation: read_allocation(message),
        reservations: read_reservations(message).unwrap_or_default(),
        disk: None,
        revocable: message.revocable.is_some(),
        shared: message.shared.is_some(),
        provider: None,
    };
    let mut text = format!("{identity}:");
    if let Some(scalar) = &message.scalar {
        let _ = write!(text, "{}", scalar.value);
    }
    if let Some(ranges) = &message.ranges {
        let list: Vec<_> =
            ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
        let _ = write!(text, "[{}]", list.join(", "));
    }
    if let Some(set) = &message.set {
        let _ = write!(text, "{{{}}}", set.item.join(", "));
    }
    text
}

fn print_disk(disk: &DiskInfo) -> String {
    let mut text = String::new();
    if let Some(source) = &disk.source {
        let kind = source::Type::try_from(source.r#type).unwrap_or(source::Type::Unknown);
        text.push_str(kind.as_str_name());
        let root = match kind {
            source::Type::Mount => source.mount.as_ref().and_then(|mount| mount.root.as_deref()),
            source::Type::Path => source.path.as_ref().and_then(|path| path.root.as_deref()),
            _ => None,
        };
        if source.id.is_some() || source.profile.is_some() {
            let show = |part: &Option<String>| part.clone().unwrap_or_default();
            let (vendor, id, profile) = (show(&source.vendor), show(&source.id), show(&source.profile));
            let _ = write!(text, "({vendor},{id},{profile})");
        } else if let Some(root) = root {
            let _ = write!(text, ":{root}");
        }
    }
    if let Some(persistence) = &disk.persistence {
        let comma = if disk.source.is_some() { "," } else { "" };
        let _ = write!(text, "{comma}{}", persistence.id);
    }
    if let Some(volume) = &disk.volume {
        text.push(':');
        if let Some(host) = &volume.host_path {
            let _ = write!(text, "{host}:");
        }
        text.push_str(&volume.container_path);
        if volume.host_path.is_some() {
            text.push_str(match v1::volume::Mode::try_from(volume.mode) {
                Ok(v1::volume::Mode::Ro) => ":ro",
                _ => ":rw",
            });
        }
    }
    text
}

#[cfg(test)]
mod tests;
