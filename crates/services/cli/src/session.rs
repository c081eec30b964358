//! Standard streams of something that runs in a container, over the agent's API (Mesos: its operator API's
//! `LAUNCH_NESTED_CONTAINER_SESSION`, `ATTACH_CONTAINER_INPUT` and `ATTACH_CONTAINER_OUTPUT`).

use std::io::Read;
use std::time::Duration;

use http_kit::{Body, BodySender, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use mesos_proto::binary;
use mesos_proto::recordio::{self, Decoder};
use mesos_proto::v1::agent::{Call, ProcessIo, call, process_io};
use mesos_proto::v1::{self, DurationInfo, TtyInfo, tty_info};
use rustix::termios::Winsize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::sandbox::{api, protobuf};
use crate::terminal::{self, Typed, Watch};
use crate::{Client, Error, output};

/// How often the agent hears that we are there. dcos-core-cli: `defaultHeartbeatInterval`.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long the output may go on after the input failed.
const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// The longest record that an agent sends.
const LONGEST_RECORD: usize = 16 << 20;
/// What is read of stdin at once, and how many such pieces wait to be sent.
const PIECE: usize = 8 << 10;
const BACKLOG: usize = 4;
/// The largest answer of a call that is no stream.
const ANSWER: usize = 1 << 20;

/// What of the user's terminal goes to the other side.
#[derive(Debug)]
pub(crate) struct Local {
    /// Whether what is typed goes there.
    pub(crate) interactive: bool,
    /// Whether the other side has a terminal.
    pub(crate) tty: bool,
    /// What is typed to leave.
    pub(crate) escape: Vec<u8>,
}

/// How it ended, seen from here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The other side's output ended.
    Output,
    /// The user left by the escape sequence.
    Left,
    /// We were told to end, by this signal.
    Signal(i32),
}

/// A call whose answer is a stream of output.
pub(crate) async fn open(client: &Client, agent: &str, call: &Call) -> Result<Body, Error> {
    let mut request = protobuf(&api(agent), Body::full(binary::encode(call)))?;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/recordio"));
    let name = HeaderName::from_static("message-accept");
    headers.insert(name, HeaderValue::from_static("application/x-protobuf"));
    let response = client.send(request).await?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        _ => Err(client.refusal(&format!("POST {}", api(agent)), response).await),
    }
}

/// Carries output here and input there until one side ends.
pub(crate) async fn carry(
    client: &Client,
    agent: &str,
    container_id: &v1::ContainerId,
    output: Body,
    local: &Local,
) -> Result<Ended, Error> {
    let raw = (local.interactive && local.tty).then(terminal::Raw::enter).transpose()?;
    let mut ends = raw.as_ref().map(|_| Ends::new()).transpose()?;
    let mut showing = std::pin::pin!(show(output));
    let mut typing = std::pin::pin!(type_in(client, agent, container_id, local));
    let (mut is_typed, mut failed) = (false, None);
    loop {
        tokio::select! {
            shown = &mut showing => return shown.map(|()| Ended::Output),
            typed = &mut typing, if !is_typed => match typed {
                Ok(true) => return Ok(Ended::Left),
                Ok(false) => is_typed = true,
                Err(error) => {
                    is_typed = true;
                    failed = Some((error, Instant::now() + LAST_OUTPUT));
                }
            },
            // A session that was just over takes no input any more, and its output says the rest.
            error = long_failed(&mut failed) => return Err(error),
            number = told_to_end(&mut ends) => return Ok(Ended::Signal(number)),
        }
    }
}

async fn long_failed(failed: &mut Option<(Error, Instant)>) -> Error {
    match failed {
        Some((_, until)) => tokio::time::sleep_until(*until).await,
        None => std::future::pending().await,
    }
    failed.take().map_or_else(|| Error::new("the input failed"), |(error, _)| error)
}

/// Signals that would end us with the terminal as it is.
struct Ends([(Signal, i32); 4]);

impl Ends {
    fn new() -> Result<Ends, Error> {
        let of = |kind: SignalKind| Ok::<_, Error>((signal(kind)?, kind.as_raw_value()));
        Ok(Ends([
            of(SignalKind::interrupt())?,
            of(SignalKind::terminate())?,
            of(SignalKind::hangup())?,
            of(SignalKind::quit())?,
        ]))
    }
}

async fn told_to_end(ends: &mut Option<Ends>) -> i32 {
    let Some(Ends([interrupt, terminate, hangup, quit])) = ends else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.0.recv() => interrupt.1,
        _ = terminate.0.recv() => terminate.1,
        _ = hangup.0.recv() => hangup.1,
        _ = quit.0.recv() => quit.1,
    }
}

/// Writes the output to stdout and stderr until it ends.
async fn show(mut body: Body) -> Result<(), Error> {
    let mut records = Decoder::new(LONGEST_RECORD);
    while let Some(piece) = body.next().await {
        let piece =
            piece.map_err(|error| Error::new(format!("the connection to the session broke: {error}")))?;
        records.push(&piece);
        while let Some(record) = records.next_record().map_err(|error| Error::new(error.to_string()))? {
            let message = binary::decode_checked::<ProcessIo>(&record)
                .map_err(|error| Error::new(format!("the agent sent something else than output: {error}")))?;
            let Some(data) = message.data else { continue };
            // Whoever reads it may be slow, and what is typed meanwhile must go on.
            let written = tokio::task::spawn_blocking(move || write(&data));
            written.await.map_err(|error| Error::new(error.to_string()))??;
        }
    }
    Ok(())
}

fn write(data: &process_io::Data) -> Result<(), Error> {
    use process_io::data::Type;
    let bytes = data.data();
    match data.r#type() {
        Type::Stdout => output::write(bytes),
        Type::Stderr => output::write_error(bytes),
        Type::Unknown | Type::Stdin => Ok(()),
    }
}

/// Sends what is typed, the terminal's size, and heartbeats. True if the user left.
async fn type_in(
    client: &Client,
    agent: &str,
    container_id: &v1::ContainerId,
    local: &Local,
) -> Result<bool, Error> {
    let (sender, body) = Body::channel(BACKLOG);
    let mut request = protobuf(&api(agent), body)?;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/recordio"));
    let name = HeaderName::from_static("message-content-type");
    headers.insert(name, HeaderValue::from_static("application/x-protobuf"));
    let mut answering = std::pin::pin!(answer(client, request));
    let mut sending = std::pin::pin!(send(sender, container_id, local));
    let mut is_sent = false;
    loop {
        tokio::select! {
            answered = &mut answering => return answered.map(|()| false),
            sent = &mut sending, if !is_sent => match sent? {
                true => return Ok(true),
                false => is_sent = true,
            },
        }
    }
}

/// Waits for the answer to the input, which comes when the session is over or the input is.
async fn answer(client: &Client, request: Request) -> Result<(), Error> {
    let response: Response = client.send(request).await?;
    match response.status() {
        // The process has ended already; its output says the rest. dcos-core-cli: attachContainerInput.
        StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => Ok(()),
        _ => Err(client.refusal("ATTACH_CONTAINER_INPUT", response).await),
    }
}

async fn send(sender: BodySender, container_id: &v1::ContainerId, local: &Local) -> Result<bool, Error> {
    use call::attach_container_input::Type;
    let first = call::AttachContainerInput {
        r#type: Some(Type::ContainerId as i32),
        container_id: Some(container_id.clone()),
        process_io: None,
    };
    let mut open = sender.send(record(first)).await.is_ok();
    let mut resized = local.tty.then(|| signal(SignalKind::window_change())).transpose()?;
    if let (true, Some(size)) = (local.tty, terminal::size()) {
        open &= sender.send(resize(size)).await.is_ok();
    }
    if !local.interactive && !local.tty {
        // Nothing will be typed.
        open &= sender.send(stdin(Vec::new())).await.is_ok();
    }
    let mut typed = local.interactive.then(read_stdin);
    let mut watch = Watch::new(if local.tty { local.escape.clone() } else { Vec::new() });
    let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while open {
        let next = tokio::select! {
            piece = next_of(&mut typed) => match piece {
                Some(piece) => match watch.take(&piece) {
                    Typed::Text(text) if text.is_empty() => continue,
                    Typed::Text(text) => stdin(text),
                    Typed::Escape(text) => {
                        if !text.is_empty() {
                            // Whether it arrives does not matter to who leaves.
                            let _ = sender.send(stdin(text)).await;
                        }
                        return Ok(true);
                    }
                },
                None => {
                    typed = None;
                    stdin(Vec::new())
                }
            },
            () = next_resize(&mut resized) => match terminal::size() {
                Some(size) => resize(size),
                None => continue,
            },
            _ = beat.tick() => heartbeat(),
        };
        open = sender.send(next).await.is_ok();
    }
    Ok(false)
}

async fn next_of(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_resize(resized: &mut Option<Signal>) {
    match resized {
        Some(resized) => drop(resized.recv().await),
        None => std::future::pending().await,
    }
}

/// Pieces of stdin. On a thread of its own, which a read that never ends keeps nobody from leaving.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (say, typed) = mpsc::channel(BACKLOG);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut piece) {
            if say.blocking_send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    typed
}

fn stdin(data: Vec<u8>) -> Vec<u8> {
    let data = process_io::Data { r#type: Some(process_io::data::Type::Stdin as i32), data: Some(data) };
    io(ProcessIo { r#type: Some(process_io::Type::Data as i32), data: Some(data), control: None })
}

fn resize(size: Winsize) -> Vec<u8> {
    let window = tty_info::WindowSize { rows: size.ws_row.into(), columns: size.ws_col.into() };
    control(process_io::Control {
        r#type: Some(process_io::control::Type::TtyInfo as i32),
        tty_info: Some(TtyInfo { window_size: Some(window) }),
        heartbeat: None,
    })
}

fn heartbeat() -> Vec<u8> {
    let interval = DurationInfo { nanoseconds: i64::try_from(HEARTBEAT.as_nanos()).unwrap_or(i64::MAX) };
    control(process_io::Control {
        r#type: Some(process_io::control::Type::Heartbeat as i32),
        tty_info: None,
        heartbeat: Some(process_io::control::Heartbeat { interval: Some(interval) }),
    })
}

fn control(control: process_io::Control) -> Vec<u8> {
    io(ProcessIo { r#type: Some(process_io::Type::Control as i32), data: None, control: Some(control) })
}

fn io(message: ProcessIo) -> Vec<u8> {
    record(call::AttachContainerInput {
        r#type: Some(call::attach_container_input::Type::ProcessIo as i32),
        container_id: None,
        process_io: Some(message),
    })
}

fn record(input: call::AttachContainerInput) -> Vec<u8> {
    let call = Call {
        r#type: Some(call::Type::AttachContainerInput as i32),
        attach_container_input: Some(input),
        ..Call::default()
    };
    recordio::frame(&binary::encode(&call))
}

/// Waits for a session's end and gives back its status as wait(2) does.
pub(crate) async fn wait(client: &Client, agent: &str, container_id: v1::ContainerId) -> Result<i32, Error> {
    let call = Call {
        r#type: Some(call::Type::WaitContainer as i32),
        wait_container: Some(call::WaitContainer { container_id }),
        ..Call::default()
    };
    let request = protobuf(&api(agent), Body::full(binary::encode(&call)))?;
    let answer = client.exchange(request, ANSWER).await?.ok()?;
    let answer: v1::agent::Response = binary::decode_checked(&answer.body)
        .map_err(|error| Error::new(format!("the agent does not say how the command ended: {error}")))?;
    Ok(answer.wait_container.and_then(|wait| wait.exit_status).unwrap_or_default())
}

/// A process' exit code, as a shell shows it.
pub(crate) fn exit_code(status: i32) -> u8 {
    let code = match status & 0x7f {
        0 => status >> 8,
        signal => 128 + signal,
    };
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_a_shell() {
        let check = |status, code| assert_eq!(exit_code(status), code);
        check(0, 0);
        check(768, 3);
        check(255 << 8, 255);
        check(9, 137);
        check(2, 130);
    }
}
