//! What is typed into a session: one stream of records at a time (Mesos:
//! `IOSwitchboardServerProcess::attachContainerInput`).

use std::time::Duration;

use api_mesos::Encoding;
use http_kit::mesos::{bad_request, refusal};
use http_kit::{Body, Response, StatusCode, respond};
use mesos_proto::recordio::Decoder;
use mesos_proto::v1::agent::{Call, ProcessIo, call, process_io};

use super::session::Session;

/// The longest record. Clients send what they read at once, a few KiB.
const LONGEST_RECORD: usize = 1 << 20;
/// How long the first record may take.
const FIRST_RECORD: Duration = Duration::from_secs(60);
/// How long a client may take to end its records when nobody wants them any more.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Calls that follow each other in a request's body.
pub(super) struct Records {
    body: Body,
    decoder: Decoder,
    encoding: Encoding,
}

impl Records {
    pub(super) fn new(body: Body, encoding: Encoding) -> Records {
        Records { body, decoder: Decoder::new(LONGEST_RECORD), encoding }
    }

    /// The first call, which says what the others are for.
    ///
    /// # Errors
    /// The answer that says what is wrong.
    pub(super) async fn first(&mut self) -> Result<Call, Response> {
        let first = tokio::time::timeout(FIRST_RECORD, self.next()).await;
        let first = first.map_err(|_| {
            refusal(StatusCode::REQUEST_TIMEOUT, format!("no record came within {FIRST_RECORD:?}"))
        })?;
        first?.ok_or_else(|| bad_request("Received EOF while reading request body"))
    }

    /// Reads on for a moment what is of no use any more: a client that still writes when its answer comes
    /// loses it.
    pub(super) async fn discard(&mut self) {
        let rest = async { while let Some(Ok(_)) = self.body.next().await {} };
        // What is left after that goes nowhere either way.
        let _ = tokio::time::timeout(LAST_RECORDS, rest).await;
    }

    /// The next call; None at the end of the body.
    async fn next(&mut self) -> Result<Option<Call>, Response> {
        loop {
            if let Some(record) =
                self.decoder.next_record().map_err(|error| bad_request(error.to_string()))?
            {
                return self.encoding.decode_call(&record).map(Some).map_err(bad_request);
            }
            match self.body.next().await {
                Some(piece) => self.decoder.push(&piece.map_err(|error| bad_request(error.to_string()))?),
                None if self.decoder.is_at_boundary() => return Ok(None),
                None => return Err(bad_request("the body ends in the middle of a record")),
            }
        }
    }
}

/// Carries everything that comes into the session, until one of both ends.
pub(super) async fn attach(session: &Session, mut records: Records) -> Response {
    let Some(mut input) = session.take_input() else {
        records.discard().await;
        return refusal(StatusCode::CONFLICT, "Multiple input connections are not allowed");
    };
    let carrying = async {
        loop {
            match records.next().await {
                Ok(None) => return respond::status(StatusCode::OK),
                Ok(Some(call)) => {
                    let message = match process_io_of(call) {
                        Ok(message) => message,
                        Err(wrong) => return bad_request(wrong),
                    };
                    if let Err(refused) = input.take(message).await {
                        return refused;
                    }
                }
                Err(refused) => return refused,
            }
        }
    };
    let answer = tokio::select! {
        answer = carrying => answer,
        () = session.over() => respond::status(StatusCode::OK),
    };
    drop(input);
    records.discard().await;
    answer
}

/// The message of a record, checked (Mesos: `IOSwitchboardServerProcess::validate`).
fn process_io_of(call: Call) -> Result<ProcessIo, String> {
    use call::attach_container_input::Type;
    use process_io::{control, data};
    let input = call.attach_container_input.unwrap_or_default();
    if input.r#type() != Type::ProcessIo {
        let found = input.r#type().as_str_name();
        return Err(format!(
            "Expecting 'attach_container_input.type' to be 'PROCESS_IO' instead of: '{found}'"
        ));
    }
    let expecting = |what: &str| Err(format!("Expecting '{what}' to be present"));
    let Some(message) = input.process_io else { return expecting("attach_container_input.process_io") };
    if message.r#type.is_none() {
        return expecting("process_io.type");
    }
    match message.r#type() {
        process_io::Type::Unknown => Err("'process_io.type' is unknown".to_owned()),
        process_io::Type::Control => {
            let Some(control) = &message.control else { return expecting("process_io.control") };
            if control.r#type.is_none() {
                return expecting("process_io.control.type");
            }
            match control.r#type() {
                control::Type::Unknown => Err("'process_io.control.type' is unknown".to_owned()),
                control::Type::TtyInfo => match &control.tty_info {
                    None => expecting("process_io.control.tty_info"),
                    Some(info) if info.window_size.is_none() => expecting("tty_info.window_size"),
                    Some(_) => Ok(message),
                },
                control::Type::Heartbeat if control.heartbeat.is_none() => {
                    expecting("process_io.control.heartbeat")
                }
                control::Type::Heartbeat => Ok(message),
            }
        }
        process_io::Type::Data => {
            let Some(data) = &message.data else { return expecting("process_io.data") };
            if data.r#type.is_none() {
                return expecting("process_io.data.type");
            }
            if data.r#type() != data::Type::Stdin {
                return Err("Expecting 'process_io.data.type' to be 'STDIN'".to_owned());
            }
            match data.data {
                Some(_) => Ok(message),
                None => expecting("process_io.data.data"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mesos_proto::{json, recordio};

    use super::*;

    #[test]
    fn records_are_checked_in_the_words_of_mesos() {
        let check = |input: &str, expect: Result<(), &str>| {
            let call = format!(r#"{{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{input}}}"#);
            let found = process_io_of(json::from_json(call.as_bytes()).unwrap());
            assert_eq!(found.map(drop), expect.map_err(str::to_owned), "{input}");
        };
        let of = |io: &str| format!(r#"{{"type":"PROCESS_IO","process_io":{io}}}"#);
        check(&of(r#"{"type":"DATA","data":{"type":"STDIN","data":"YQ=="}}"#), Ok(()));
        check(&of(r#"{"type":"DATA","data":{"type":"STDIN","data":""}}"#), Ok(()));
        let size = r#"{"type":"CONTROL","control":{"type":"TTY_INFO","tty_info":{"window_size":{"rows":1,"columns":2}}}}"#;
        check(&of(size), Ok(()));
        let other = "Expecting 'attach_container_input.type' to be 'PROCESS_IO' instead of: 'CONTAINER_ID'";
        check(r#"{"type":"CONTAINER_ID"}"#, Err(other));
        let missing = |what: &str| format!("Expecting '{what}' to be present");
        check(r#"{"type":"PROCESS_IO"}"#, Err(&missing("attach_container_input.process_io")));
        check(&of("{}"), Err(&missing("process_io.type")));
        check(&of(r#"{"type":"DATA"}"#), Err(&missing("process_io.data")));
        check(&of(r#"{"type":"DATA","data":{"type":"STDIN"}}"#), Err(&missing("process_io.data.data")));
        let out = "Expecting 'process_io.data.type' to be 'STDIN'";
        check(&of(r#"{"type":"DATA","data":{"type":"STDOUT","data":""}}"#), Err(out));
        check(
            &of(r#"{"type":"CONTROL","control":{"type":"TTY_INFO","tty_info":{}}}"#),
            Err(&missing("tty_info.window_size")),
        );
        check(
            &of(r#"{"type":"CONTROL","control":{"type":"HEARTBEAT"}}"#),
            Err(&missing("process_io.control.heartbeat")),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_whole_record_is_refused() {
        let check = async |body: Body, status: u16, text: &str| {
            let refused = Records::new(body, Encoding::Json).first().await.unwrap_err();
            assert_eq!(refused.status(), status, "{text}");
            assert_eq!(refused.into_body().read(1 << 10).await.unwrap(), text);
        };
        check(Body::empty(), 400, "Received EOF while reading request body").await;
        check(Body::full("5\nabc"), 400, "the body ends in the middle of a record").await;
        check(Body::full("x\n"), 400, "failed to decode the length of a record: found 'x'").await;
        let nope = recordio::frame(b"{nope");
        let syntax = "Failed to parse body into JSON: syntax error at line 1 near: nope";
        check(Body::full(nope), 400, syntax).await;
        let (_silent, body) = Body::channel(1);
        check(body, 408, "no record came within 60s").await;
    }
}
