//! Messages between the agent and its helper: JSON with a length before it, and descriptors.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of a message: the kernel would not take longer arguments and environment either.
const LIMIT: u32 = 4 << 20;
/// The most descriptors that come with a message.
const DESCRIPTORS: usize = 3;

/// Sends a message. It is written whole before this returns.
pub(crate) fn send(to: &UnixStream, message: &impl Serialize, with: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut text = vec![0; 4];
    serde_json::to_writer(&mut text, message)?;
    let length = u32::try_from(text.len() - 4).ok().filter(|length| *length <= LIMIT);
    let length = length.ok_or_else(|| io::Error::other("a message of more than 4 MiB"))?;
    text[..4].copy_from_slice(&length.to_ne_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(with));
    }
    // The peer may be gone: that is an error here, not a signal.
    let sent = rustix::net::sendmsg(to, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    let mut to = to;
    to.write_all(&text[sent..])
}

/// Takes the next message; `None` if the peer has closed.
pub(crate) fn receive<T: DeserializeOwned>(from: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    // A stop of the process interrupts waiting for a limited time, with or without a handler of signals.
    let received = retry_on_intr(|| {
        rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut length)], &mut control, flags)
    })?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    match received.bytes {
        0 => return Ok(None),
        4 => {}
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    let length = u32::from_ne_bytes(length);
    if length > LIMIT {
        return Err(io::Error::other("a message of more than 4 MiB"));
    }
    let mut text = vec![0; length as usize];
    let mut from = from;
    from.read_exact(&mut text)?;
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_come_whole_and_in_order_with_their_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let long = "x".repeat(1 << 20);
        let sender = std::thread::spawn(move || {
            let null = std::fs::File::open("/dev/null").unwrap();
            send(&theirs, &long, &[]).unwrap();
            send(&theirs, &"fds", &[null.as_fd(), null.as_fd()]).unwrap();
        });
        let (text, none) = receive::<String>(&ours).unwrap().unwrap();
        assert_eq!((text.len(), none.len()), (1 << 20, 0));
        let (text, two) = receive::<String>(&ours).unwrap().unwrap();
        assert_eq!((text.as_str(), two.len()), ("fds", 2));
        sender.join().unwrap();
        assert!(receive::<String>(&ours).unwrap().is_none());
    }

    #[test]
    fn foreign_words_are_refused() {
        let check = |bytes: &[u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(bytes).unwrap();
            drop(theirs);
            assert!(receive::<String>(&ours).is_err(), "{bytes:?}");
        };
        check(b"abc");
        check(&u32::MAX.to_ne_bytes());
        check(&[9, 0, 0, 0, b'"']);
        check(&[1, 0, 0, 0, b'x']);
    }
}
