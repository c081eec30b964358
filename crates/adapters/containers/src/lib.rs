//! Isolated processes: libcontainer in a helper process, cgroups, and plain processes without root.
