//! Words every crate shares: time as data ([`Now`], [`Timers`]), typed ids, randomness from a
//! seed, the cluster's token ([`Auth`]), and who somebody has proved to be ([`Principal`]).
//!
//! Deliberately absent: any clock, any source of entropy, any IO. Who needs the time is handed a
//! [`Now`]; who needs randomness is handed an [`Rng`] that a service seeded.

mod auth;
mod causes;
mod duration;
mod fnv;
mod id;
mod principal;
mod rng;
mod suggest;
mod time;
mod timers;

pub use auth::{Auth, COOKIES, same_secret};
pub use causes::with_causes;
pub use duration::{duration_text, parse_duration};
pub use fnv::fnv1a;
pub use id::{AgentId, ContainerId, ExecutorId, FrameworkId, OfferId, TaskId};
pub use principal::Principal;
pub use rng::Rng;
pub use suggest::nearest;
pub use time::{Mono, Now, Wall};
pub use timers::Timers;
