//! URIs into sandboxes, through a cache.

mod uri;

pub use uri::{Progress, Step, Uri};
