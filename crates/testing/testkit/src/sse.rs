use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{HttpError, read_chunk, read_head, send};

/// A stream of server-sent events, read in the background.
#[derive(Debug)]
pub struct Events {
    arrived: Receiver<(String, Value)>,
}

impl Events {
    /// Subscribes at `path` and waits until the server answers.
    ///
    /// # Errors
    /// The server did not answer, or not with 200.
    pub fn open(to: SocketAddr, path: &str) -> Result<Events, HttpError> {
        let stream = send(to, "GET", path, &[("Accept", "text/event-stream")], None)?;
        stream.set_read_timeout(None)?;
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader)?;
        if status != 200 {
            return Err(HttpError::Malformed(format!("{status} {headers:?}")));
        }
        let (found, arrived) = channel();
        std::thread::spawn(move || read_events(&mut reader, |event| found.send(event).is_ok()));
        Ok(Events { arrived })
    }

    /// The next event of which `wanted` says so, within `timeout`; others are passed over.
    pub fn next(&self, timeout: Duration, wanted: impl Fn(&str, &Value) -> bool) -> Option<Value> {
        let end = Instant::now() + timeout;
        loop {
            let (name, data) =
                self.arrived.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            if wanted(&name, &data) {
                return Some(data);
            }
        }
    }
}

fn read_events(reader: &mut BufReader<TcpStream>, mut deliver: impl FnMut((String, Value)) -> bool) {
    let mut pending = Vec::new();
    let (mut name, mut data) = (String::new(), String::new());
    while let Ok(Some(chunk)) = read_chunk(reader) {
        pending.extend(chunk);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(text) = line.strip_prefix("event:") {
                name = text.trim().to_owned();
            } else if let Some(text) = line.strip_prefix("data:") {
                data.push_str(text.trim_start());
            } else if line.is_empty() && !data.is_empty() {
                let value = serde_json::from_str(&data).unwrap_or(Value::String(data.clone()));
                if !deliver((std::mem::take(&mut name), value)) {
                    return;
                }
                data.clear();
            }
        }
    }
}
