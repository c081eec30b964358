//! The command executor: one small process per task.
