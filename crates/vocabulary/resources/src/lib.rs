//! The algebra of Mesos resources: scalars in thousandths, ranges and sets, by role.
//!
//! [`Resources`] is a bag of [`Resource`]s, each an [`Identity`] (name, reservations, disk, role it is
//! allocated to, ...) and a [`Value`]. Sums, differences and comparisons are exact: amounts are whole
//! thousandths, so a thousand launches and recoveries end where they began.
//!
//! Deliberately absent: who gets what (that is the allocator), how often a shared volume is in use (a
//! shared resource is only compared whole), and who may convert what.
//!
//! ```
//! use resources::Resources;
//! let mut agent = Resources::parse("cpus:4;mem:1024;ports:[31000-31999];cpus(slave_public):1")?;
//! agent.subtract(&Resources::parse("cpus:0.1;mem:32;ports:[31000-31000]")?)?;
//! assert_eq!(agent.unreserved().to_string(), "ports:[31001-31999]; cpus:3.9; mem:992");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod identity;
mod operation;
mod quantities;
mod ranges;
mod resources;
pub mod role;
mod text;
mod value;
mod wire;

pub use identity::{Disk, Identity, Name, Reservation, ReservationKind};
pub use operation::{Conversion, conversions};
pub use quantities::{InvalidQuantities, Limits, Quantities};
pub use ranges::Ranges;
pub use resources::{NotContained, Resource, Resources};
pub use text::ParseResourcesError;
pub use value::{Kind, Scalar, Value};
pub use wire::{InvalidResource, ResourcesJsonError, WireForm};
