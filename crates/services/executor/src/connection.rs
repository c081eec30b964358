//! A non-blocking socket that speaks HTTP as a client.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::http::{HttpError, Part, ResponseReader};

/// One connection. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// What is yet to be written.
    unsent: Vec<u8>,
    reader: ResponseReader,
}

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection was closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Self {
        Broken::Io(errno.into())
    }
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// What is read at once. On the stack, so that an idle connection holds no buffer.
const READ_SIZE: usize = 8 << 10;

impl Connection {
    /// Connects to a Unix socket; at once, or not at all.
    pub(crate) fn unix(path: &Path) -> io::Result<Connection> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self::new(socket))
    }

    /// Begins to connect; it is made when the socket gets writable.
    pub(crate) fn tcp(address: SocketAddr) -> io::Result<Connection> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self::new(socket)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn new(socket: OwnedFd) -> Connection {
        Connection { socket, unsent: Vec::new(), reader: ResponseReader::default() }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Whether a begun connection was made: an error if it was refused.
    pub(crate) fn established(&self) -> Result<(), Broken> {
        rustix::net::sockopt::socket_error(&self.socket)?.map_err(Broken::from)
    }

    /// Adds to what is to be written, and writes what can be.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.unsent.extend_from_slice(bytes);
        self.flush()
    }

    /// Writes what can be written now.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        while !self.unsent.is_empty() {
            match rustix::net::send(&self.socket, &self.unsent, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.unsent.drain(..sent);
                }
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.unsent = Vec::new();
        Ok(())
    }

    /// Reads one arrival; leaves `parts` as it is if there is none.
    pub(crate) fn receive(&mut self, parts: &mut Vec<Part>) -> Result<(), Broken> {
        let mut buffer = [0; READ_SIZE];
        match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            Ok((0, _)) => Err(Broken::Closed),
            Ok((read, _)) => Ok(self.reader.push(&buffer[..read], parts)?),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
