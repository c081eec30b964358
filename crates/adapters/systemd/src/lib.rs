//! systemd by its own programs: units, their states, reloads.
