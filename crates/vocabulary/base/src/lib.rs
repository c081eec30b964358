//! Words every crate shares: time as data ([`Now`]), typed ids, and randomness from a seed.
//!
//! Deliberately absent: any clock, any source of entropy, any IO. Who needs the time is handed a
//! [`Now`]; who needs randomness is handed an [`Rng`] that a service seeded.

mod id;
mod rng;
mod time;

pub use id::{AgentId, ContainerId, ExecutorId, FrameworkId, OfferId, TaskId};
pub use rng::Rng;
pub use time::{Mono, Now, Wall};
