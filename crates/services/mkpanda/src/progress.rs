//! What a person sees of the builds: lines that change on a terminal, plain ones elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The most lines that change: more would push out what was printed before.
const LINES_LIMIT: usize = 16;

/// The width of a terminal that does not tell its own.
const USUAL_WIDTH: usize = 80;

/// What the builds of a run look like.
pub(crate) struct Progress<W> {
    out: W,
    /// The width of the terminal in columns; `None`: it is none.
    width: Option<usize>,
    running: Vec<Running>,
    total: usize,
    done: usize,
    /// Lines on the terminal that will be drawn again.
    drawn: usize,
}

struct Running {
    number: usize,
    name: String,
    phase: String,
    since: Instant,
}

impl Progress<std::io::Stderr> {
    /// On standard error, for that many builds.
    pub(crate) fn of_process(total: usize) -> Self {
        let out = std::io::stderr();
        let width = out.is_terminal().then(|| match rustix::termios::tcgetwinsize(&out) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => USUAL_WIDTH,
        });
        Progress::new(out, width, total)
    }
}

impl<W: Write> Progress<W> {
    pub(crate) fn new(out: W, width: Option<usize>, total: usize) -> Self {
        Progress { out, width, running: Vec::new(), total, done: 0, drawn: 0 }
    }

    /// Whether it is to be told of time that passes.
    pub(crate) fn is_alive(&self) -> bool {
        self.width.is_some()
    }

    /// Build `number`, of `name`, does this now.
    pub(crate) fn phase(&mut self, number: usize, name: &str, phase: &str, now: Instant) {
        match self.running.iter_mut().find(|running| running.number == number) {
            Some(running) if running.phase == phase => return,
            Some(running) => phase.clone_into(&mut running.phase),
            None => self.running.push(Running {
                number,
                name: name.to_owned(),
                phase: phase.to_owned(),
                since: now,
            }),
        }
        match self.width {
            None => self.print(&format!("{name}: {phase}\n")),
            Some(_) => self.draw(now),
        }
    }

    /// Build `number` has ended like this.
    pub(crate) fn done(&mut self, number: usize, name: &str, how: &str, now: Instant) {
        let since = self.running.iter().find(|running| running.number == number).map(|running| running.since);
        self.running.retain(|running| running.number != number);
        self.done += 1;
        let took = since.map(|since| seconds(now.saturating_duration_since(since))).unwrap_or_default();
        self.line(&format!("{name}: {how}{took}"), now);
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str, now: Instant) {
        let mut all = self.erased();
        all.push_str(text);
        all.push('\n');
        self.print(&all);
        if self.width.is_some() {
            self.draw(now);
        }
    }

    /// Draws the lines that change, with the time that has passed.
    pub(crate) fn draw(&mut self, now: Instant) {
        let Some(width) = self.width else { return };
        let mut text = self.erased();
        let mut lines = 0;
        for running in self.running.iter().take(LINES_LIMIT) {
            let took = seconds(now.saturating_duration_since(running.since));
            let line = format!("  {}: {}{took}", running.name, running.phase);
            push_line(&mut text, &line, width);
            lines += 1;
        }
        if self.running.len() > LINES_LIMIT {
            push_line(&mut text, &format!("  and {} more", self.running.len() - LINES_LIMIT), width);
            lines += 1;
        }
        if self.done < self.total {
            push_line(&mut text, &format!("{} of {} done", self.done, self.total), width);
            lines += 1;
        }
        self.print(&text);
        self.drawn = lines;
    }

    /// What takes the lines away that change.
    fn erased(&mut self) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            write!(text, "\x1b[{}A\x1b[J", self.drawn).expect("a String takes everything");
        }
        self.drawn = 0;
        text
    }

    fn print(&mut self, text: &str) {
        // A display that is gone is no reason to stop building.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn push_line(text: &mut String, line: &str, width: usize) {
    // A line that wraps would be two, and only one of them be erased.
    text.extend(line.chars().take(width.saturating_sub(1)));
    text.push('\n');
}

fn seconds(time: Duration) -> String {
    format!(" ({:.1} s)", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(width: Option<usize>) -> String {
        let (mut out, start) = (Vec::new(), Instant::now());
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut progress = Progress::new(&mut out, width, 2);
        progress.phase(0, "a", "building", at(0));
        progress.phase(1, "b", "building", at(1));
        progress.phase(0, "a", "packing", at(2));
        progress.done(0, "a", "a--1 is built", at(3));
        progress.done(1, "b", "failed", at(11));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_a_terminal_there_are_plain_lines() {
        let expect = "a: building\nb: building\na: packing\na: a--1 is built (0.3 s)\nb: failed (1.0 s)\n";
        assert_eq!(told(None), expect);
    }

    #[test]
    fn on_a_terminal_lines_change_and_stay_within_it() {
        let text = told(Some(17));
        assert!(text.starts_with("  a: building (0\n0 of 2 done"), "{text:?}");
        assert!(text.contains("\x1b[3A\x1b[Ja: a--1 is built (0.3 s)\n  b: building (0\n1 of 2 done"));
        assert!(text.ends_with("\x1b[2A\x1b[Jb: failed (1.0 s)\n"), "{text:?}");
    }
}
