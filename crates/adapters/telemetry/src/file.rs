use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A log file that keeps its newest bytes: when it is full it becomes `<name>.1`, over the one that
/// was there, and a new one begins.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    most: u64,
    file: File,
    written: u64,
}

impl LogFile {
    /// Appends to the file `path`, which together with its predecessor stays below twice `most`
    /// bytes. It is readable by its owner alone: lines may tell what environments hold.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(path: &Path, most: u64) -> io::Result<LogFile> {
        let file = append(path)?;
        let written = file.metadata()?.len();
        Ok(LogFile { path: path.to_owned(), most, file, written })
    }

    /// Writes one line, which is cut if it alone is longer than the file may be.
    ///
    /// # Errors
    /// When the disk refuses; the line is lost.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let line = &line[..line.len().min(usize::try_from(self.most).unwrap_or(usize::MAX))];
        let bytes = line.len() as u64;
        if self.written > 0 && self.written + bytes > self.most {
            let mut older = self.path.as_os_str().to_owned();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            self.file = append(&self.path)?;
            self.written = 0;
        }
        self.file.write_all(line)?;
        self.written += bytes;
        Ok(())
    }
}

/// Opens a file to be written at its end, made readable by its owner alone.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_in_bounded_space() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let mut log = LogFile::open(&path, 10).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            log.write_line(line.as_bytes()).unwrap();
        }
        assert_eq!((read("a.log.1").as_str(), read("a.log").as_str()), ("one\ntwo\n", "three\n"));
        drop(log);
        let mut log = LogFile::open(&path, 10).unwrap();
        log.write_line(b"fourfourfourfour\n").unwrap();
        assert_eq!((read("a.log.1").as_str(), read("a.log").as_str()), ("three\n", "fourfourfo"));
    }
}
