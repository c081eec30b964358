//! A tree of links that changes from one whole state to another: steps, journal, recovery, lock.
//!
//! A [`Root`] holds generations, of which the link `current` names the active one. [`Locked::activate`] carries a
//! [`Plan`](api_pkgpanda::step::Plan) out: it looks for what is in the way, writes the journal, builds the new generation
//! unseen, adds what only the new set has, stops units, renames `current` (the flip), replaces and removes the rest,
//! starts units, removes the journal. Whatever kills it in between, [`Locked::recover`] takes back what was done before the
//! flip, or finishes what was begun with it; what fails before the flip is taken back at once. Nothing after the flip needs
//! space on the disk. [`fill`] does the same steps where nobody looks yet, without any of that.
//!
//! Deliberately absent: what a set consists of and which steps lead from one to another (`pkgpanda-core`), systemd and
//! accounts: they are the caller's [`Host`].

mod error;
mod execute;
mod fill;
mod host;
mod listing;
mod made;
mod ownership;
mod preflight;
mod recover;
mod repair;
mod root;
mod tree;
mod uninstall;

pub use error::Error;
pub use fill::{FIRST_GENERATION, fill};
pub use host::{Host, HostError, NoHost};
pub use listing::contents;
pub use recover::Recovery;
pub use root::{Generation, Locked, Root, RootLayout};
