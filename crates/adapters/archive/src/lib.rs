//! Archives from strangers, unpacked within bounds and never outside their directory.
