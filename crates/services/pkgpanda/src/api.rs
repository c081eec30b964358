//! The HTTP API, on a unix socket.
