//! The decisions of the Mesos agent: executors, tasks, status updates, recovery.
