//! The Mesos master as a service.
