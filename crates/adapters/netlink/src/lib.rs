//! Container networks: bridges, interfaces, port mappings.
