//! Debian's packages by apt: found, fetched, checked, put together to a root.
