//! The decisions of Marathon: apps, deployments, instances, launch queue, health.
