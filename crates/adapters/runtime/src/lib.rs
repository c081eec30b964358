//! The process a service runs in: shutdown, readiness, supervised restarts.
