//! The messages of the Mesos v1 API, binary and in Mesos' own JSON.
