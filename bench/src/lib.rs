//! Benchmarks that print one table.
