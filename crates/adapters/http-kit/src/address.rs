//! Where a server listens and a client connects.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

use crate::server::Peer;
use crate::stream::Stream;

/// How many connections the kernel keeps waiting for `accept`.
const BACKLOG: u32 = 1024;

/// The first descriptor that systemd hands over.
const FIRST_HANDED_OVER: i32 = 3;

/// The end of a connection: an IP address and port, or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp(address)
    }
}

/// Text that is neither `ip:port` nor `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address: allowed are IP:PORT and unix:/PATH")]
pub struct ParseAddressError(pub String);

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:")
            && path.starts_with('/')
        {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        text.parse().map(Address::Tcp).map_err(|_| ParseAddressError(text.to_owned()))
    }
}

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: Address,
    /// What the system said.
    pub source: io::Error,
}

impl BindError {
    /// Whether somebody else has the address.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// A bound, listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds and listens. Port 0 takes a free port, [`Listener::address`] tells which.
    ///
    /// The file of a Unix socket that nobody listens on any more (its owner was killed) is replaced;
    /// one that still answers is an address in use. The file stays behind when the listener is
    /// dropped: its successor may already have bound it.
    pub async fn bind(address: &Address) -> Result<Self, BindError> {
        let bound = match address {
            Address::Tcp(tcp) => bind_tcp(*tcp),
            Address::Unix(path) => bind_unix(path).await,
        };
        bound.map_err(|source| BindError { address: address.clone(), source })
    }

    /// The socket that a service manager listens on for this process, if there is one: the first of those that
    /// systemd hands over (`man 3 sd_listen_fds`). It stays open when the listener is dropped, so that nothing is
    /// refused while the process is replaced.
    ///
    /// # Errors
    /// When what was handed over is no Unix socket.
    pub fn handed_over() -> Result<Option<Self>, BindError> {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        let is_ours = number("LISTEN_PID") == Some(std::process::id());
        match is_ours && number("LISTEN_FDS").is_some_and(|count| count > 0) {
            true => Listener::of_descriptor(FIRST_HANDED_OVER).map(Some),
            false => Ok(None),
        }
    }

    fn of_descriptor(number: i32) -> Result<Self, BindError> {
        let failed = |source| {
            let path = format!("/proc/self/fd/{number}").into();
            BindError { address: Address::Unix(path), source }
        };
        // A copy, which nobody else can close, and which programs that are started do not inherit. Not by
        // pidfd_getfd, which filters of containers forbid.
        #[allow(unsafe_code, reason = "a descriptor that is known by its number alone")]
        let copy = || -> io::Result<OwnedFd> {
            // SAFETY: systemd opened it before this process began, and nothing here closes what it does not own. It
            // is borrowed for this one call; were it not open, the call would say so.
            let handed_over = unsafe { BorrowedFd::borrow_raw(number) };
            Ok(rustix::io::fcntl_dupfd_cloexec(handed_over, FIRST_HANDED_OVER)?)
        };
        let socket = std::os::unix::net::UnixListener::from(copy().map_err(failed)?);
        let local = socket.local_addr().map_err(failed)?;
        let path = local.as_pathname().map_or_else(PathBuf::new, Path::to_owned);
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = UnixListener::from_std(socket).map_err(failed)?;
        Ok(Listener { socket: Socket::Unix(socket), address: Address::Unix(path) })
    }

    /// The address it is bound to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next connection.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                let local = stream.local_addr()?;
                // Small answers must not wait for the peer's delayed acknowledgement.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Peer::Tcp { remote, local }))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Peer::Unix { uid: credentials.uid(), pid: credentials.pid() };
                Ok((Stream::Unix(stream), peer))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted component takes its port again while old connections are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = Address::Tcp(listener.local_addr()?);
    Ok(Listener { socket: Socket::Tcp(listener), address })
}

async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path).await => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    Ok(Listener { socket: Socket::Unix(listener), address: Address::Unix(path.to_owned()) })
}

/// Whether the socket file is a leftover: connecting is refused only when nobody listens.
async fn is_abandoned(path: &Path) -> bool {
    matches!(UnixStream::connect(path).await, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_handed_over_is_listened_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let manager = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for _ in 0..2 {
            let listener = Listener::of_descriptor(manager.as_raw_fd()).unwrap();
            assert_eq!(listener.address(), &Address::Unix(path.clone()));
            let (_client, (_, peer)) =
                tokio::try_join!(UnixStream::connect(&path), listener.accept()).unwrap();
            assert!(matches!(peer, Peer::Unix { .. }));
        }
        let file = std::fs::File::open(dir.path()).unwrap();
        assert!(Listener::of_descriptor(file.as_raw_fd()).is_err(), "it is no socket");
        assert_eq!(Listener::handed_over().unwrap().map(|_| ()), None, "nobody started this test so");
    }
}
