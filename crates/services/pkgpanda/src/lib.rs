//! The host package manager: repository, activation, setup, HTTP API, command line.
