//! The Mesos agent as a service.
