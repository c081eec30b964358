use std::io::{self, Write};
use std::time::{Duration, Instant};

use api_pkgpanda::PackageId;

use super::FetchError;
use crate::repository::Added;

/// How often bytes are counted on a terminal.
const PERIOD: Duration = Duration::from_millis(100);

/// A line about a package that is being fetched.
pub(crate) struct Shown<'a> {
    id: &'a PackageId,
    is_terminal: bool,
    out: &'a mut dyn Write,
    last: Option<Instant>,
}

impl<'a> Shown<'a> {
    pub(crate) fn begin(
        id: &'a PackageId,
        is_terminal: bool,
        out: &'a mut dyn Write,
    ) -> io::Result<Shown<'a>> {
        write!(out, "\rFetching: {id}")?;
        out.flush()?;
        Ok(Shown { id, is_terminal, out, last: None })
    }

    pub(crate) fn progress(&mut self, bytes: u64, whole: Option<u64>) {
        if !self.is_terminal || self.last.is_some_and(|last| last.elapsed() < PERIOD) {
            return;
        }
        self.last = Some(Instant::now());
        let of = match whole {
            Some(whole) if whole > 0 => {
                format!(" of {} ({} %)", megabytes(whole), u128::from(bytes) * 100 / u128::from(whole))
            }
            _ => String::new(),
        };
        // A terminal that is gone is no reason to stop the download.
        let _ = write!(self.out, "\rFetching: {}  {}{of}\x1b[K", self.id, megabytes(bytes));
        let _ = self.out.flush();
    }

    pub(crate) fn end(self, fetched: &Result<Added, FetchError>) -> io::Result<()> {
        let id = self.id;
        let clean = if self.last.is_some() { "\r\x1b[K" } else { "" };
        match fetched {
            Ok(Added::New | Added::Replaced) => writeln!(self.out, "{clean}\rFetched: {id}")?,
            Ok(Added::Already) => writeln!(self.out, "{clean}Package already added.\n\rFetched: {id}")?,
            Err(_) => writeln!(self.out)?,
        }
        self.out.flush()
    }
}

#[allow(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_on_terminals_only() {
        let id: PackageId = "a--1".parse().unwrap();
        for (is_terminal, expected) in [
            (false, "\rFetching: a--1\rFetched: a--1\n"),
            (
                true,
                "\rFetching: a--1\rFetching: a--1  0.5 MB of 2.0 MB (25 %)\x1b[K\r\x1b[K\rFetched: a--1\n",
            ),
        ] {
            let mut out = Vec::new();
            let mut shown = Shown::begin(&id, is_terminal, &mut out).unwrap();
            shown.progress(500_000, Some(2_000_000));
            // Too soon after the first.
            shown.progress(500_001, Some(2_000_000));
            shown.end(&Ok(Added::New)).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
