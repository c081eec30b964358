//! Logs of all components.
