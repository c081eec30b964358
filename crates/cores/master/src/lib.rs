//! The decisions of the Mesos master: agents, frameworks, offers, tasks.
