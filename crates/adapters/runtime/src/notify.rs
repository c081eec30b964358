use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable in which a service manager names the socket that is told.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells the service manager that this process answers, if one waits for that: systemd does for units of
/// `Type=notify` (`man 3 sd_notify`). What is started by nobody who waits tells nobody.
///
/// # Errors
/// When there is such a manager and it cannot be told.
pub fn tell_ready() -> io::Result<()> {
    std::env::var_os(SOCKET).map_or(Ok(()), |socket| tell(&socket))
}

fn tell(socket: &OsStr) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1\n", &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_by_either_kind_of_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("dcos-notify-{}", std::process::id());
        let check = |address: &SocketAddr, socket: &OsStr| {
            let manager = UnixDatagram::bind_addr(address).unwrap();
            tell(socket).unwrap();
            let mut told = [0; 64];
            let length = manager.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"READY=1\n");
        };
        check(&SocketAddr::from_pathname(&path).unwrap(), path.as_os_str());
        check(&SocketAddr::from_abstract_name(&name).unwrap(), OsStr::new(&format!("@{name}")));
        assert!(tell(dir.path().join("nobody").as_os_str()).is_err());
    }
}
