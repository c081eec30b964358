//! The master as its clients see it: the real service on a loopback address.

mod raw;
