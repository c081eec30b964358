use agent_link::{Body, Decoder, Frame, FrameError, Refused, UNACKNOWLEDGED, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::*;

const PULSE: Pulse = Pulse { heartbeat: Duration::from_secs(15), silence: Duration::from_secs(75) };

fn body(text: &str) -> Body {
    Body::Refused(Refused { reason: text.to_owned(), permanent: false })
}

fn frame(seq: u64, ack: u64) -> Frame {
    Frame { seq, ack, body: (seq > 0).then(|| body("x")) }
}

/// The other side, byte by byte.
struct Peer(DuplexStream, Decoder);

impl Peer {
    /// A link and its other side, with so much room between them.
    fn beside(room: usize) -> (Incoming<DuplexStream>, Outgoing<DuplexStream>, Peer) {
        let (ours, theirs) = tokio::io::duplex(room);
        let (incoming, outgoing) = split(ours);
        (incoming, outgoing, Peer(theirs, Decoder::default()))
    }

    async fn say(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            self.0.write_all(&encode(&frame)).await.unwrap();
        }
    }

    /// The next frame; none when the connection was closed.
    async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.1.next_frame().unwrap() {
                return Some(frame);
            }
            let mut piece = [0; 4096];
            match self.0.read(&mut piece).await.unwrap() {
                0 => return None,
                count => self.1.push(&piece[..count]),
            }
        }
    }

    async fn hear_numbers(&mut self) -> Option<(u64, u64)> {
        self.hear().await.map(|frame| (frame.seq, frame.ack))
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_counted_and_acknowledged_on_both_sides() {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let ((mut incoming, mut outgoing), (mut their_incoming, mut their_outgoing)) =
        (split(ours), split(theirs));
    outgoing.send(body("hello"), PULSE.silence).await.unwrap();
    assert_eq!(their_incoming.next(PULSE.silence).await.unwrap(), body("hello"));
    their_outgoing.send(body("welcome"), PULSE.silence).await.unwrap();
    assert_eq!(incoming.next(PULSE.silence).await.unwrap(), body("welcome"));

    // Many times what may be unacknowledged goes over it, and nothing is said by the other side.
    let count = 5 * UNACKNOWLEDGED;
    let (sender, mut queued) = queue();
    let (_silent, mut nothing) = queue();
    (0..count).for_each(|number| sender.send(body(&number.to_string())).unwrap());
    assert!(sender.waiting() > 0);
    let hear = async {
        for number in 0..count {
            assert_eq!(their_incoming.next(PULSE.silence).await.unwrap(), body(&number.to_string()));
        }
    };
    let begun = Instant::now();
    tokio::select! {
        lost = outgoing.run(&mut queued, PULSE) => panic!("{lost}"),
        lost = their_outgoing.run(&mut nothing, PULSE) => panic!("{lost}"),
        heard = incoming.next(PULSE.silence) => panic!("{heard:?}"),
        () = hear => {}
    }
    assert_eq!(sender.waiting(), 0);
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited for a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_may_be_unacknowledged() {
    let (mut incoming, mut outgoing, mut peer) = Peer::beside(1 << 20);
    let (sender, mut queued) = queue();
    (0..=UNACKNOWLEDGED).for_each(|_| sender.send(body("x")).unwrap());
    tokio::spawn(async move { outgoing.run(&mut queued, PULSE).await });
    tokio::spawn(async move { incoming.next(PULSE.silence).await });
    for seq in 1..=UNACKNOWLEDGED {
        assert_eq!(peer.hear_numbers().await, Some((seq, 0)));
    }
    assert_eq!(peer.hear_numbers().await, Some((0, 0)), "a heartbeat");
    peer.say([frame(0, 1)]).await;
    assert_eq!(peer.hear_numbers().await, Some((UNACKNOWLEDGED + 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_heartbeats_and_ends_the_link_without() {
    let (mut incoming, mut outgoing, mut peer) = Peer::beside(1 << 20);
    let (_sender, mut queued) = queue();
    tokio::spawn(async move { outgoing.run(&mut queued, PULSE).await });
    let begun = Instant::now();
    let listening = tokio::spawn(async move { incoming.next(PULSE.silence).await });
    peer.say([frame(0, 0)]).await;
    for beat in 1..=4 {
        assert_eq!(peer.hear_numbers().await, Some((0, 0)));
        assert_eq!(begun.elapsed(), PULSE.heartbeat * beat);
    }
    peer.say([frame(0, 0)]).await;
    assert!(matches!(listening.await.unwrap(), Err(Lost::Silent(silence)) if silence == PULSE.silence));
    assert_eq!(begun.elapsed(), PULSE.heartbeat * 4 + PULSE.silence);
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_is_sent_before_the_connection_closes() {
    let (_incoming, mut outgoing, mut peer) = Peer::beside(1 << 20);
    let (sender, mut queued) = queue();
    sender.send(body("x")).unwrap();
    drop(sender);
    assert!(matches!(outgoing.run(&mut queued, PULSE).await, Lost::Closed));
    assert_eq!(peer.hear().await, Some(frame(1, 0)));
    assert_eq!(peer.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_read_loses_the_link() {
    let (_incoming, mut outgoing, _peer) = Peer::beside(16);
    let (sender, mut queued) = queue();
    sender.send(body("more than there is room for")).unwrap();
    let begun = Instant::now();
    assert!(matches!(outgoing.run(&mut queued, PULSE).await, Lost::Stuck(_)));
    assert_eq!(begun.elapsed(), PULSE.silence);
    drop(queued);
    assert!(sender.send(body("x")).is_err());
}

#[tokio::test]
async fn bytes_that_are_no_frames_in_their_order_end_the_link() {
    async fn check(bytes: &[u8], expected: &str) {
        let (mut incoming, _outgoing, mut peer) = Peer::beside(1 << 20);
        peer.0.write_all(bytes).await.unwrap();
        drop(peer);
        let lost = loop {
            if let Err(lost) = incoming.next(PULSE.silence).await {
                break lost;
            }
        };
        assert_eq!(lost.to_string(), expected);
    }
    let frames =
        |all: &[(u64, u64)]| all.iter().flat_map(|&(seq, ack)| encode(&frame(seq, ack))).collect::<Vec<u8>>();
    check(&frames(&[(1, 0), (3, 0)]), "frame 3 came after frame 1").await;
    check(&frames(&[(1, 0), (1, 0)]), "frame 1 came after frame 1").await;
    check(&frames(&[(1, 0), (0, 0)]), "the connection was closed").await;
    check(&[0xff; 8], &FrameError::TooLong(0xffff_ffff).to_string()).await;
    check(&[0, 0, 0, 1, 0xff], &FrameError::Malformed(1).to_string()).await;
}
