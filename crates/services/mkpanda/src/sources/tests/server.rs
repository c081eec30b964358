use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a request is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// All of it, or what was asked for.
    File(Vec<u8>),
    /// All of it, whatever was asked for.
    Whole(Vec<u8>),
    /// So many bytes of it, and then the connection breaks.
    Cut(Vec<u8>, usize),
    /// A status.
    Status(u16),
    /// A redirect to this path.
    Moved(&'static str),
}

/// A server on a port of its own, which gives the prepared answers one after the other, the last one for ever.
pub(super) struct Server {
    pub(super) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn new(answers: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        // It ends with the test.
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let answer = answers[number.min(answers.len() - 1)].clone();
                // A client may go away.
                let _ = serve(&stream.unwrap(), &answer, &seen);
            }
        });
        Server { port, requests }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The first lines and the ranges of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, answer: &Answer, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut request, mut first) = (String::new(), 0);
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if request.is_empty() {
            request.push_str(line.trim_end_matches(" HTTP/1.1"));
        }
        if let Some((_, range)) = line.split_once("bytes=") {
            first = range.trim_end_matches('-').parse().unwrap_or(0);
            request.push_str(&format!(" from {first}"));
        }
        if line.is_empty() {
            break;
        }
    }
    seen.lock().unwrap().push(request);
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")
    };
    match answer {
        Answer::File(bytes) if first > 0 && first < bytes.len() => {
            let range = format!("Content-Range: bytes {first}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            stream.write_all(head("206 Partial Content", bytes.len() - first, &range).as_bytes())?;
            stream.write_all(&bytes[first..])
        }
        Answer::File(bytes) if first > 0 => {
            let range = format!("Content-Range: bytes */{}\r\n", bytes.len());
            stream.write_all(head("416 Range Not Satisfiable", 0, &range).as_bytes())
        }
        Answer::File(bytes) | Answer::Whole(bytes) => {
            stream.write_all(head("200 OK", bytes.len(), "").as_bytes())?;
            stream.write_all(bytes)
        }
        Answer::Cut(bytes, most) => {
            stream.write_all(head("200 OK", bytes.len(), "").as_bytes())?;
            stream.write_all(&bytes[..*most])
        }
        Answer::Status(status) => stream.write_all(head(&format!("{status} X"), 0, "").as_bytes()),
        Answer::Moved(to) => {
            stream.write_all(head("302 Found", 0, &format!("Location: {to}\r\n")).as_bytes())
        }
    }
}
