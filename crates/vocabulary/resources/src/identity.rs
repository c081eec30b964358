use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::{Kind, role};

/// What kind of resource something is. Only resources of the same identity add up, or contain each
/// other (Mesos: `addable` and `subtractable` in src/common/resources.cpp).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `cpus`, `mem`, `disk`, `ports`, `gpus`, or any other name.
    pub name: Name,
    /// Scalar, ranges or set.
    pub kind: Kind,
    /// The role it is offered or allocated to.
    pub allocation: Option<Arc<str>>,
    /// The stack of reservations; empty means unreserved, each one refines the one before it.
    pub reservations: Vec<Reservation>,
    /// What is special about a disk.
    pub disk: Option<Disk>,
    /// Whether it may be taken back at any time.
    pub revocable: bool,
    /// Whether several tasks may use it at once.
    pub shared: bool,
    /// The resource provider; `None` is the agent itself.
    pub provider: Option<Arc<str>>,
}

impl Identity {
    /// Unreserved, unallocated, not special in any way.
    pub fn plain(name: &str, kind: Kind) -> Self {
        Self {
            name: Name::new(name),
            kind,
            allocation: None,
            reservations: Vec::new(),
            disk: None,
            revocable: false,
            shared: false,
            provider: None,
        }
    }

    /// The role it is reserved to, or `*`.
    pub fn reservation_role(&self) -> &str {
        self.reservations.last().map_or("*", |reservation| &reservation.role)
    }

    /// Whether frameworks of `role` may get it: unreserved, or reserved to the role or an ancestor of it.
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        match self.reservations.last() {
            None => true,
            Some(reservation) => {
                *reservation.role == *role || role::is_strict_subrole(role, &reservation.role)
            }
        }
    }
}

/// As Mesos prints it: `cpus(allocated: dev)(reservations: [(STATIC,dev)])`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        if let Some(role) = &self.allocation {
            write!(f, "(allocated: {role})")?;
        }
        if !self.reservations.is_empty() {
            f.write_str("(reservations: [")?;
            for (i, reservation) in self.reservations.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                write!(f, "{comma}({reservation})")?;
            }
            f.write_str("])")?;
        }
        if let Some(disk) = &self.disk {
            write!(f, "[{}]", disk.text)?;
        }
        if self.revocable {
            f.write_str("{REV}")?;
        }
        if self.shared {
            f.write_str("<SHARED>")?;
        }
        Ok(())
    }
}

/// A resource's name. Ordered as the real master lists an offer (ports, cpus, mem, disk), then by letters,
/// so that messages that print resources equal its messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Wraps the name as it was received.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as it is written on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn rank(&self) -> u8 {
        match &*self.0 {
            "ports" => 0,
            "cpus" => 1,
            "mem" => 2,
            "disk" => 3,
            _ => 4,
        }
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Who made a reservation: the agent's operator by its flags, or a call at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// By the agent's `--resources`; never changes while the agent lives.
    Static,
    /// By a framework or an operator; can be taken back.
    Dynamic,
}

/// One layer of reservation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// Static or dynamic.
    pub kind: ReservationKind,
    /// The role it is reserved to; never `*`.
    pub role: Arc<str>,
    /// Who reserved it.
    pub principal: Option<Arc<str>>,
    /// Labels given with the reservation; `None` and an empty list differ, as in Mesos.
    pub labels: Option<Vec<(String, Option<String>)>>,
}

/// As Mesos prints it: `DYNAMIC,role,principal,{key: value}`.
impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReservationKind::Static => "STATIC",
            ReservationKind::Dynamic => "DYNAMIC",
        };
        write!(f, "{kind},{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(f, ",{principal}")?;
        }
        let Some(labels) = &self.labels else { return Ok(()) };
        f.write_str(",{")?;
        for (i, (key, value)) in labels.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            f.write_str(key)?;
            if let Some(value) = value {
                write!(f, ": {value}")?;
            }
        }
        f.write_str("}")
    }
}

/// What is special about a disk, kept as the encoded `DiskInfo`: two disks are the same disk if
/// their messages are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Disk {
    /// The encoded `mesos.v1.Resource.DiskInfo`.
    pub(crate) encoded: Arc<[u8]>,
    /// As Mesos prints it.
    pub(crate) text: Arc<str>,
    /// Whether it can only be taken whole: a persistent volume, or a MOUNT or BLOCK disk.
    pub(crate) is_indivisible: bool,
    /// The id of the persistent volume.
    pub(crate) persistence_id: Option<Arc<str>>,
}

impl Disk {
    /// Whether it can only be taken whole: a persistent volume, or an exclusive device.
    pub fn is_indivisible(&self) -> bool {
        self.is_indivisible
    }

    /// The id of the persistent volume, if it is one.
    pub fn persistence_id(&self) -> Option<&str> {
        self.persistence_id.as_deref()
    }
}
