//! Questions to the person in front of the terminal, on stderr.

use std::io::{BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::Error;

/// The longest answer that is read, in bytes.
const LIMIT: u64 = 64 << 10;

/// Asks for a line; without a terminal it is read from standard input.
pub(crate) fn input(question: &str) -> Result<String, Error> {
    let mut stderr = std::io::stderr().lock();
    // Who cannot be asked answers all the same.
    let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    let mut line = String::new();
    std::io::stdin().lock().take(LIMIT).read_line(&mut line)?;
    match line.trim() {
        "" => Err(Error::new("nothing was entered")),
        text => Ok(text.to_owned()),
    }
}

/// [`input`] of what a terminal does not show.
pub(crate) fn secret(question: &str) -> Result<String, Error> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return input(question);
    }
    let failed = |error| Error::new(format!("the terminal cannot be told to show nothing: {error}"));
    let before = tcgetattr(&stdin).map_err(failed)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(failed)?;
    let answer = input(question);
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before).map_err(failed);
    crate::output::say("");
    restored.and(answer)
}
