//! The terminal in front of the user, when something remote takes it over.

use std::io::{self, IsTerminal};

use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

use crate::Error;

/// The terminal passes everything on as it is typed. Dropping it brings the old ways back, in a panic, too.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// # Errors
    /// stdin is no terminal.
    pub(crate) fn enter() -> Result<Raw, Error> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(Error::new("stdin is not a terminal")
                .hint("Leave -t out to send a file or the output of a program."));
        }
        let failed = |errno: rustix::io::Errno| Error::new(format!("cannot take the terminal over: {errno}"));
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone has no ways to bring back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal's size; none if there is no terminal.
pub(crate) fn size() -> Option<Winsize> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    tcgetwinsize(&stdin).or_else(|_| tcgetwinsize(&stdout)).ok()
}

/// What is typed to leave without ending what is left. dcos-core-cli: ctrl-p, ctrl-q.
pub(crate) const ESCAPE: [u8; 2] = [0x10, 0x11];

/// Bytes from words like `ctrl-p,ctrl-q,x`, as `DCOS_TASK_ESCAPE_SEQUENCE` has them.
pub(crate) fn escape(text: &str) -> Result<Vec<u8>, Error> {
    text.split(',').map(key).collect::<Option<Vec<u8>>>().ok_or_else(|| {
        Error::new(format!("DCOS_TASK_ESCAPE_SEQUENCE: found '{text}'"))
            .hint("Allowed are letters, and ctrl-@ to ctrl-_, with commas between them, as in ctrl-p,ctrl-q.")
    })
}

fn key(word: &str) -> Option<u8> {
    if let [single] = word.as_bytes() {
        return Some(*single);
    }
    match word.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
        _ => None,
    }
}

/// Looks for the escape sequence in what is typed, however it comes in pieces.
#[derive(Debug)]
pub(crate) struct Watch {
    sequence: Vec<u8>,
    /// How much of it the last bytes are. They are held back: they may be meant for us.
    seen: usize,
}

/// What is to be done with what was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Pass this on.
    Text(Vec<u8>),
    /// Pass this on, and leave.
    Escape(Vec<u8>),
}

impl Watch {
    pub(crate) fn new(sequence: Vec<u8>) -> Watch {
        Watch { sequence, seen: 0 }
    }

    pub(crate) fn take(&mut self, typed: &[u8]) -> Typed {
        let mut text = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.sequence.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == self.sequence.len() {
                    return Typed::Escape(text);
                }
                continue;
            }
            text.extend_from_slice(&self.sequence[..self.seen]);
            self.seen = usize::from(self.sequence.first() == Some(byte));
            if self.seen == 0 {
                text.push(*byte);
            } else if self.sequence.len() == 1 {
                return Typed::Escape(text);
            }
        }
        Typed::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_sequence_is_found_across_pieces() {
        let check = |pieces: &[&[u8]], expect: &[u8], leaves: bool| {
            let mut watch = Watch::new(ESCAPE.to_vec());
            let (mut found, mut has_left) = (Vec::new(), false);
            for piece in pieces {
                match watch.take(piece) {
                    Typed::Text(text) => found.extend(text),
                    Typed::Escape(text) => {
                        found.extend(text);
                        has_left = true;
                    }
                }
            }
            assert_eq!((found.as_slice(), has_left), (expect, leaves), "{pieces:?}");
        };
        check(&[b"ab"], b"ab", false);
        check(&[b"a\x10\x11b"], b"a", true);
        check(&[b"a\x10", b"\x11"], b"a", true);
        check(&[b"\x10", b"b"], b"\x10b", false);
        check(&[b"\x10\x10", b"\x11"], b"\x10", true);
        check(&[b"\x11\x10"], b"\x11", false);
    }

    #[test]
    fn another_sequence_can_be_named() {
        assert_eq!(escape("ctrl-p,ctrl-q").unwrap(), ESCAPE);
        assert_eq!(escape("ctrl-@,ctrl-[,ctrl-_,x").unwrap(), [0, 27, 31, b'x']);
        for wrong in ["", "ctrl-", "ctrl-pp", "a,,b"] {
            assert!(escape(wrong).unwrap_err().to_string().contains("DCOS_TASK_ESCAPE_SEQUENCE"), "{wrong}");
        }
    }
}
