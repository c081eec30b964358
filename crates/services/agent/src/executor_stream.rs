//! The event stream of one executor.

use std::sync::Arc;

use agent_core::{ConnectionId, Input};
use api_mesos::Encoding;
use http_kit::{Body, BodySender};
use mesos_proto::v1::executor::Event;
use mesos_proto::{binary, json, recordio};
use tokio::sync::oneshot;

use crate::mailbox::Mailbox;

/// Events that may wait for an executor. One that is further behind is cut off and comes back.
const BACKLOG: usize = 1024;

/// The agent's end of the stream. Dropping it ends the stream after what was sent.
pub(crate) struct ExecutorStream {
    sender: Arc<BodySender>,
    encoding: Encoding,
    /// Ends the task that watches for the executor's end of the stream.
    _watched: oneshot::Sender<()>,
}

/// The executor is gone or does not read.
#[derive(Debug)]
pub(crate) struct Lost;

impl ExecutorStream {
    /// A stream and the body that carries it. When the executor goes away `mailbox` is told.
    pub(crate) fn open(
        connection: ConnectionId,
        encoding: Encoding,
        mailbox: Mailbox,
    ) -> (ExecutorStream, Body) {
        let (sender, body) = Body::channel(BACKLOG);
        let sender = Arc::new(sender);
        let (watched, dropped) = oneshot::channel::<()>();
        let watcher = Arc::clone(&sender);
        tokio::spawn(async move {
            tokio::select! {
                () = watcher.closed() => {
                    // An error means that the agent is stopping, and then nobody needs to know.
                    let _ = mailbox.tell(Input::Unsubscribed { connection }).await;
                }
                _ = dropped => {}
            }
        });
        (ExecutorStream { sender, encoding, _watched: watched }, body)
    }

    pub(crate) fn send(&self, event: &Event) -> Result<(), Lost> {
        let record = match self.encoding {
            Encoding::Json => json::to_json(event).into_bytes(),
            Encoding::Protobuf => binary::encode(event),
        };
        self.sender.try_send(recordio::frame(&record)).map_err(|_| Lost)
    }
}
