//! The algebra of Mesos resources: scalars in thousandths, ranges and sets, by role.
