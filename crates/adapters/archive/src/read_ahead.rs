//! Reading and decompressing on one processor while another writes files.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes handed over at once.
const BUFFER: usize = 256 << 10;
/// Buffers on their way: the most memory is this many times [`BUFFER`].
const BUFFERS: usize = 4;

/// A reader whose source is read by a thread of its own, a bounded way ahead.
///
/// Dropping it makes the thread end at its next buffer and waits for it, so that nothing reads the
/// source afterwards: a source that can wait for long needs a way of its own to be stopped.
#[derive(Debug)]
pub struct ReadAhead {
    full: Option<Receiver<io::Result<Vec<u8>>>>,
    empty: Option<SyncSender<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Starts to read.
    ///
    /// # Errors
    /// When no thread is to be had.
    pub fn new(source: impl Read + Send + 'static) -> io::Result<ReadAhead> {
        let (filled, full) = sync_channel(BUFFERS);
        let (empty, emptied) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            let _ = empty.try_send(Vec::new());
        }
        let work = move || read(source, &filled, &emptied);
        let thread = std::thread::Builder::new().name("read-ahead".to_owned()).spawn(work)?;
        Ok(ReadAhead {
            full: Some(full),
            empty: Some(empty),
            current: Vec::new(),
            at: 0,
            thread: Some(thread),
        })
    }
}

/// The thread: fills buffers until the source ends or nobody wants them any more.
fn read(mut source: impl Read, filled: &SyncSender<io::Result<Vec<u8>>>, emptied: &Receiver<Vec<u8>>) {
    while let Ok(mut buffer) = emptied.recv() {
        buffer.resize(BUFFER, 0);
        let mut length = 0;
        let mut end = None;
        while length < BUFFER && end.is_none() {
            match source.read(&mut buffer[length..]) {
                Ok(0) => end = Some(None),
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => end = Some(Some(error)),
            }
        }
        buffer.truncate(length);
        if (length > 0 && filled.send(Ok(buffer)).is_err()) || end.is_some() {
            if let Some(Some(error)) = end {
                let _ = filled.send(Err(error));
            }
            return;
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            let Some(full) = &self.full else { return Ok(0) };
            match full.recv() {
                Ok(Ok(buffer)) => {
                    let used = std::mem::replace(&mut self.current, buffer);
                    self.at = 0;
                    if let Some(empty) = &self.empty {
                        let _ = empty.try_send(used);
                    }
                }
                Ok(Err(error)) => {
                    self.full = None;
                    return Err(error);
                }
                Err(_) => {
                    self.full = None;
                    return match self.thread.take().map(JoinHandle::join) {
                        Some(Err(_)) => Err(io::Error::other("the reading thread panicked")),
                        _ => Ok(0),
                    };
                }
            }
        }
        let count = into.len().min(self.current.len() - self.at);
        into[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.full = None;
        self.empty = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_in_order_and_the_error_after_it() {
        /// Counts up, then fails.
        struct Source(u32);
        impl Read for Source {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                if self.0 == 300_000 {
                    return Err(io::Error::other("broken"));
                }
                into[..4].copy_from_slice(&self.0.to_le_bytes());
                self.0 += 1;
                Ok(4)
            }
        }
        let mut reader = ReadAhead::new(Source(0)).unwrap();
        let mut all = Vec::new();
        assert_eq!(reader.read_to_end(&mut all).unwrap_err().to_string(), "broken");
        assert_eq!(all.len(), 1_200_000);
        assert!(all.chunks_exact(4).zip(0u32..).all(|(bytes, number)| bytes == number.to_le_bytes()));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn dropping_it_ends_the_thread_though_the_source_does_not() {
        let mut reader = ReadAhead::new(io::repeat(1)).unwrap();
        reader.read_exact(&mut [0; 10]).unwrap();
        drop(reader);
    }

    #[test]
    fn an_empty_source_ends_at_once() {
        assert_eq!(ReadAhead::new(io::empty()).unwrap().read(&mut [0; 10]).unwrap(), 0);
    }
}
