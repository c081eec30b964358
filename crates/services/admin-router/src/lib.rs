//! Admin Router as a service.
