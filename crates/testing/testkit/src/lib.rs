//! Starts the real program for tests and tears it down.
