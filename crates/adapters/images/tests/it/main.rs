//! Images from a real registry, from registries that lie, and from tarballs.

mod docker_registry;
mod fake;
mod kit;
mod liars;
mod registry;
mod store;
mod tarballs;
