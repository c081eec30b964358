use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use crate::Error;
use crate::wire::{ACK, Answer, DONE, DUMP, ERROR, Messages, answers, u32_at};

/// Longer than the kernel takes for any answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// As large as the parts of a dump.
const RECEIVED: usize = 32 << 10;
/// Room for a transaction that makes every mapping of an agent anew, in bytes.
const SENT: usize = 8 << 20;

/// A connection to a part of the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// Why the kernel did not do what a message asked for.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What was asked for.
    pub(crate) asked: String,
    pub(crate) source: io::Error,
}

impl Refused {
    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Kernel { attempted: refused.asked, source: refused.source }
    }
}

impl Socket {
    /// Interfaces, addresses and routes.
    pub(crate) fn route() -> io::Result<Socket> {
        Self::open(None)
    }

    /// Packet filters and tracked connections.
    pub(crate) fn netfilter() -> io::Result<Socket> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Socket> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
        // Without the right to do this what is usual has to do.
        let _ = set_socket_send_buffer_size_force(&fd, SENT);
        Ok(Socket { fd, buffer: vec![0; RECEIVED], sequence: 0 })
    }

    /// Has the kernel do what the messages ask for. It has done it, or not, when this returns.
    pub(crate) fn request(&mut self, mut messages: Messages) -> Result<(), Refused> {
        let first = self.send(&mut messages)?;
        let asked = messages.asked();
        let wanted = asked.iter().filter(|(acknowledged, _)| *acknowledged).count();
        let mut acknowledged = 0;
        let mut refused = None;
        // The kernel answers before the sending returns.
        loop {
            let received = match recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((received, _)) => received.min(self.buffer.len()),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(failed(asked.first(), error.into())),
            };
            for answer in answers(&self.buffer[..received]).filter(|answer| answer.kind == ERROR) {
                let at = answer.sequence.wrapping_sub(first) as usize;
                match (asked.get(at), errno(answer)) {
                    (None, _) => {}
                    (Some(_), None) => acknowledged += 1,
                    // The first says what was wrong; those after it may follow from it.
                    (of, Some(source)) => _ = refused.get_or_insert_with(|| failed(of, source)),
                }
            }
        }
        match refused {
            Some(refused) => Err(refused),
            None if acknowledged < wanted => {
                Err(failed(asked.first(), io::Error::other("the kernel did not answer")))
            }
            None => Ok(()),
        }
    }

    /// Asks for everything of a kind; `each` reads the answers, a kind and a body each.
    pub(crate) fn dump(
        &mut self,
        kind: u16,
        asks: &'static str,
        fill: impl FnOnce(&mut crate::wire::Body<'_>),
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Refused> {
        let mut messages = Messages::default();
        messages.add(kind, DUMP, asks, fill);
        let first = self.send(&mut messages)?;
        let refused = |source| Refused { asked: asks.to_owned(), source };
        loop {
            let received = self.receive().map_err(refused)?;
            for answer in answers(&self.buffer[..received]).filter(|answer| answer.sequence == first) {
                match answer.kind {
                    DONE => return errno(answer).map_or(Ok(()), |source| Err(refused(source))),
                    ERROR => {
                        if let Some(source) = errno(answer) {
                            return Err(refused(source));
                        }
                    }
                    kind => each(kind, answer.body),
                }
            }
        }
    }

    /// Asks for one thing; `read` reads the answer.
    pub(crate) fn get<T>(
        &mut self,
        kind: u16,
        asks: &'static str,
        fill: impl FnOnce(&mut crate::wire::Body<'_>),
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Refused> {
        let mut messages = Messages::default();
        messages.add(kind, 0, asks, fill);
        let first = self.send(&mut messages)?;
        let refused = |source| Refused { asked: asks.to_owned(), source };
        loop {
            let received = self.receive().map_err(refused)?;
            let mut found = answers(&self.buffer[..received]).filter(|answer| answer.sequence == first);
            let Some(answer) = found.next() else { continue };
            if answer.kind == ERROR {
                let nothing = || io::Error::other("the kernel answered nothing");
                return Err(refused(errno(answer).unwrap_or_else(nothing)));
            }
            return read(answer.body)
                .ok_or_else(|| refused(io::Error::other("the answer is not understood")));
        }
    }

    /// Waits for answers; how many bytes of them are in the buffer.
    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((received, _)) => return Ok(received.min(self.buffer.len())),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self, messages: &mut Messages) -> Result<u32, Refused> {
        let first = self.sequence;
        self.sequence = first.wrapping_add(messages.asked().len() as u32);
        messages.number_from(first);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        let sent = sendto(&self.fd, messages.bytes(), SendFlags::empty(), &kernel);
        sent.map(|_| first).map_err(|error| failed(messages.asked().first(), error.into()))
    }
}

fn failed(of: Option<&(bool, std::borrow::Cow<'static, str>)>, source: io::Error) -> Refused {
    Refused { asked: of.map(|(_, asked)| asked.to_string()).unwrap_or_default(), source }
}

/// The error in an answer; none if it acknowledges.
fn errno(answer: Answer<'_>) -> Option<io::Error> {
    let code = u32_at(answer.body, 0).unwrap_or(0) as i32;
    (code != 0).then(|| io::Error::from_raw_os_error(code.wrapping_neg()))
}

/// A message that is acknowledged.
pub(crate) const fn acknowledged(flags: u16) -> u16 {
    flags | ACK
}
