//! Whether a component answers, as checks of a host ask.

use std::time::Duration;

use http_kit::{Address, Body, Client, Request, StatusCode, Timeouts, Uri};
use tokio::time::{Instant, sleep};

use crate::Error;

/// One attempt: whoever answers at all does so far sooner.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(1), response_head: Some(Duration::from_secs(5)) };
/// How long the body of an answer may take.
const BODY: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are read.
const MOST: usize = 1024 * 1024;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks for `path` at `address` until it is answered, for `within` at most. An answer is also the demand for
/// a token.
///
/// # Errors
/// [`Error::Unanswered`] with what came last.
pub async fn probe(address: &Address, path: &str, within: Duration) -> Result<(), Error> {
    let unanswered =
        |problem| Error::Unanswered { address: address.to_string(), path: path.to_owned(), problem };
    let uri: Uri = path.parse().map_err(|error| unanswered(format!("it is no path ({error})")))?;
    let (client, deadline) = (Client::default(), Instant::now() + within);
    loop {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.clone();
        let problem = match client.fetch(address, request, TIMEOUTS, MOST, BODY).await {
            Ok(answer) if answer.status().is_success() || answer.status() == StatusCode::UNAUTHORIZED => {
                return Ok(());
            }
            Ok(answer) => format!("the answer is {}", answer.status()),
            Err(error) => base::with_causes(&error),
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(unanswered(problem));
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that gives these answers, one to each connection.
    fn server(answers: Vec<&'static str>) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        address
    }

    #[tokio::test]
    async fn who_answers_in_time_answers() {
        let within = Duration::from_secs(20);
        for answers in [vec!["200 OK"], vec!["401 Unauthorized"], vec!["503 Not Yet", "200 OK"]] {
            probe(&server(answers), "/health", within).await.unwrap();
        }
        let address = server(vec!["404 Not Found"]);
        let error = probe(&address, "/health", Duration::ZERO).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{address} does not answer /health as it should: the answer is 404 Not Found")
        );
        let nobody = Address::Unix("/nowhere/socket".into());
        assert!(matches!(probe(&nobody, "/", Duration::ZERO).await, Err(Error::Unanswered { .. })));
    }
}
