//! The machine: its resources, processes, boot id, port owners and port leases.
