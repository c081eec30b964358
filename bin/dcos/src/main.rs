//! The one program. Argument parsing and dispatch only.

fn main() {}
