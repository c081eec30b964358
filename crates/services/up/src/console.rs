//! What the user sees: facts on standard output, notes on standard error. A terminal that is gone
//! must not stop a cluster, so that failures to write are ignored.

use std::io::Write;

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
