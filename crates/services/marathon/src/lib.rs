//! Marathon as a service.
