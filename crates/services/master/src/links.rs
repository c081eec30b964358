//! The agents' connections, from Hello to their loss.
//!
//! A link knows nothing of what its frames mean. It hands the first one, the Hello, to the event loop
//! together with the way back, then every further one in order, and at last that it is lost.

use std::time::Duration;

use agent_link::{Body, Hello, Refused};
use http_kit::upgrade::{Upgrade, Upgraded};
use link::{Lost, Outgoing, Pulse, Sender};
use prost::Message as _;
use tokio::time::timeout;

use crate::event_loop::{Inbox, Message};

/// How long a new connection may take to say Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What an agent may say of itself, in bytes: it becomes a record of the registry.
const LONGEST_DESCRIPTION: usize = store::limit::VALUE / 2;

/// What a link tells the event loop.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The agent is there. Nothing was answered yet.
    Hello(Box<Hello>, Sender),
    /// The agent says something; after the Hello, in its order.
    Frame(Box<Body>),
    /// The connection is over. Comes once after a Hello, and nothing after it.
    Lost(Lost),
}

/// Serves one upgraded connection to its end. The loop is told of the events, in order.
pub(crate) async fn serve(upgrade: Upgrade, pulse: Pulse, inbox: Inbox) {
    let conn = inbox.conn();
    let tell = async |event| inbox.tell(Message::Link { conn, event }).await;
    let connection = match timeout(HELLO_TIMEOUT, upgrade.connection()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "an agent's connection was not upgraded"),
        Err(_) => return,
    };
    let (mut incoming, mut outgoing) = link::split(connection);
    let hello = match timeout(HELLO_TIMEOUT, incoming.next(pulse.silence)).await {
        Ok(Ok(Body::Hello(hello))) => hello,
        Ok(Ok(_)) => return refuse(&mut outgoing, "the first frame of an agent is Hello").await,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before its Hello"),
        Err(_) => return,
    };
    if agent_link::negotiate(&hello).is_none() {
        let reason = format!(
            "the agent speaks versions {} to {}, this master {} to {}",
            hello.min_version,
            hello.max_version,
            agent_link::MIN_VERSION,
            agent_link::MAX_VERSION
        );
        return refuse(&mut outgoing, &reason).await;
    }
    if hello.agent.as_ref().is_some_and(|agent| agent.encoded_len() > LONGEST_DESCRIPTION) {
        let reason = format!("an agent's description may have {LONGEST_DESCRIPTION} bytes");
        return refuse(&mut outgoing, &reason).await;
    }
    let (sender, mut queued) = link::queue();
    tell(LinkEvent::Hello(Box::new(hello), sender)).await;
    let lost = tokio::select! {
        lost = outgoing.run(&mut queued, pulse) => lost,
        lost = async {
            loop {
                match incoming.next(pulse.silence).await {
                    Ok(body) => tell(LinkEvent::Frame(Box::new(body))).await,
                    Err(lost) => break lost,
                }
            }
        } => lost,
    };
    tell(LinkEvent::Lost(lost)).await;
}

async fn refuse(outgoing: &mut Outgoing<Upgraded>, reason: &str) {
    let refused = Refused { reason: reason.to_owned(), permanent: true };
    // The agent may be gone by now, and then it needs no reason.
    let _ = outgoing.send(Body::Refused(refused), HELLO_TIMEOUT).await;
    outgoing.close(HELLO_TIMEOUT).await;
}
