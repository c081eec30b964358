//! Data to stdout, messages to stderr.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::Error;

/// Writes data to stdout, at once.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    write(text.as_bytes())
}

/// Writes bytes to stdout, at once.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Writes bytes to stderr, at once: what a remote program wrote there.
pub(crate) fn write_error(bytes: &[u8]) -> Result<(), Error> {
    Ok(std::io::stderr().lock().write_all(bytes)?)
}

/// Writes a line of data to stdout.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    print(&format!("{text}\n"))
}

/// Writes JSON to stdout, indented by four as the official CLI does.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    line(&pretty(value))
}

/// JSON with an indentation of four.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("values of an API have string keys and cannot fail");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Says something to the person in front of the terminal. A message that cannot be said is lost.
pub(crate) fn say(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}

/// How many columns the terminal has that stdout is; none if it is no terminal.
pub(crate) fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
