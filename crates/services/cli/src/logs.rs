//! Logs, which are files in sandboxes: their last lines, and what is added to them.

use std::time::{Duration, Instant};

use crate::sandbox::{self, PIECE, Piece};
use crate::{Client, Error};

/// How often a file is looked at that grows, and one that does not.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long an agent may be away.
const PATIENCE: Duration = Duration::from_secs(30);
/// A line that is longer is given on in parts.
const LONGEST_LINE: usize = 1 << 20;

/// A file that is read on as it grows.
#[derive(Debug)]
pub(crate) struct Follower {
    agent: String,
    path: String,
    offset: u64,
    pause: Duration,
    /// The beginning of a line whose end has yet to come.
    partial: Vec<u8>,
    failing_since: Option<Instant>,
}

/// The last `lines` lines of a file, and where it ended. None if there is no such file.
pub(crate) async fn tail(
    client: &Client,
    agent: &str,
    path: &str,
    lines: usize,
) -> Result<Option<(Vec<u8>, u64)>, Error> {
    // Nothing can be read beyond the end; the size comes along.
    let Some(Piece { size, .. }) = sandbox::read(client, agent, path, u64::MAX >> 1, 1).await? else {
        return Ok(None);
    };
    let mut found: Vec<u8> = Vec::new();
    let mut start = size;
    while start > 0 && beginning(&found, lines).is_none() {
        let length = start.min(PIECE);
        let Some(mut piece) = sandbox::read(client, agent, path, start - length, length).await? else {
            return Ok(None);
        };
        if (piece.data.len() as u64) < length {
            // It was truncated meanwhile: what is left of it is all there is.
            found = piece.data;
            return Ok(Some((found, piece.size)));
        }
        start -= length;
        piece.data.append(&mut found);
        found = piece.data;
    }
    let begin = beginning(&found, lines).unwrap_or(0);
    Ok(Some((found.split_off(begin), size)))
}

/// Where the last `lines` lines begin; None if there may be more of them before. A last line without its
/// end counts.
fn beginning(text: &[u8], lines: usize) -> Option<usize> {
    if lines == 0 {
        return Some(text.len());
    }
    let inner = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = inner.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(lines - 1)
}

impl Follower {
    /// Reads on from `offset`; 0 also for a file that has yet to come.
    pub(crate) fn new(agent: &str, path: &str, offset: u64) -> Follower {
        Follower {
            agent: agent.to_owned(),
            path: path.to_owned(),
            offset,
            pause: SHORTEST_PAUSE,
            partial: Vec::new(),
            failing_since: None,
        }
    }

    /// Takes the end of what was read already as the beginning of a line, if it is one.
    pub(crate) fn begin_with(&mut self, text: Vec<u8>) -> Vec<u8> {
        self.partial = text;
        self.whole_lines()
    }

    /// What was added since; nothing if that is nothing, or if the agent cannot say, which it may be for
    /// half a minute: agents are restarted. A file that became shorter is read from its beginning, after
    /// the rest of the one that it replaced if that has the name of a rotated log.
    pub(crate) async fn read(&mut self, client: &Client) -> Result<Vec<u8>, Error> {
        match self.added(client).await {
            Ok(data) => {
                self.failing_since = None;
                Ok(data)
            }
            Err(error) if self.failing_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE => {
                Err(error)
            }
            Err(_) => {
                self.pause = LONGEST_PAUSE / 2;
                Ok(Vec::new())
            }
        }
    }

    async fn added(&mut self, client: &Client) -> Result<Vec<u8>, Error> {
        let piece = sandbox::read(client, &self.agent, &self.path, self.offset, PIECE).await?;
        let data = match piece {
            Some(piece) if piece.size < self.offset => {
                let rotated = format!("{}.1", self.path);
                let rest = sandbox::read(client, &self.agent, &rotated, self.offset, PIECE).await?;
                self.offset = 0;
                rest.map(|rest| rest.data).unwrap_or_default()
            }
            Some(piece) => {
                self.offset += piece.data.len() as u64;
                piece.data
            }
            None => Vec::new(),
        };
        self.pause = match data.is_empty() {
            true => (self.pause * 3 / 2).min(LONGEST_PAUSE),
            false => SHORTEST_PAUSE,
        };
        Ok(data)
    }

    /// [`Follower::read`], but whole lines only.
    pub(crate) async fn read_lines(&mut self, client: &Client) -> Result<Vec<u8>, Error> {
        let mut data = self.read(client).await?;
        self.partial.append(&mut data);
        Ok(self.whole_lines())
    }

    fn whole_lines(&mut self) -> Vec<u8> {
        let end = match self.partial.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.partial.len() > LONGEST_LINE => self.partial.len(),
            None => 0,
        };
        let rest = self.partial.split_off(end);
        std::mem::replace(&mut self.partial, rest)
    }

    /// The last line, if it has no end and none will come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Waits until it is worth to read again.
    pub(crate) async fn wait(&self) {
        tokio::time::sleep(self.pause).await;
    }

    /// Whether nothing was added for a while.
    pub(crate) fn is_idle(&self) -> bool {
        self.pause >= LONGEST_PAUSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let check = |text: &str, lines, expect: Option<&str>| {
            assert_eq!(beginning(text.as_bytes(), lines).map(|at| &text[at..]), expect, "{text:?} {lines}");
        };
        check("a\nb\nc\n", 2, Some("b\nc\n"));
        check("a\nb\nc", 2, Some("b\nc"));
        check("a\nb\nc\n", 3, None);
        check("a\nb\nc\n", 0, Some(""));
        check("", 1, None);
        check("\n\n\n", 1, Some("\n"));
    }

    #[test]
    fn lines_are_given_on_when_they_are_whole() {
        let mut follower = Follower::new("S", "/x", 0);
        assert_eq!(follower.begin_with(b"a\nb".to_vec()), b"a\n");
        assert_eq!(follower.rest(), b"b");
        assert_eq!(follower.rest(), b"");
        assert_eq!(follower.begin_with(vec![b'x'; LONGEST_LINE + 1]).len(), LONGEST_LINE + 1);
    }
}
