//! Opens the socket to one host.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::Instant;

use super::error::Error;
use super::options::{Host, HostAddress};
use super::stream::Stream;

/// After this long without traffic the operating system asks whether the peer is still there.
/// Firewalls and load balancers forget a silent connection after minutes; half a minute is well
/// below all of them that are known.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Between two unanswered questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Questions without an answer after which the connection is dead: with the above, 45 seconds.
const KEEPALIVE_RETRIES: u32 = 3;

/// How long sent bytes may stay unacknowledged before the connection is dead, where
/// `wal_sender_timeout` gives no better measure.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a host is this machine itself, seen from its name: no bytes leave it.
pub(super) fn is_local(host: &Host) -> bool {
    match &host.address {
        HostAddress::UnixDirectory(_) => true,
        HostAddress::Tcp(name) => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// Opens a socket to a host, trying all addresses of its name before `deadline`.
///
/// `unacknowledged` is the limit for bytes that the peer does not acknowledge (TCP_USER_TIMEOUT);
/// zero stands for a default.
pub(super) async fn open(
    host: &Host,
    unacknowledged: Duration,
    deadline: Instant,
) -> Result<Stream, Error> {
    match &host.address {
        HostAddress::UnixDirectory(directory) => {
            let socket = UnixStream::connect(socket_path(directory, host.port)).await;
            socket.map(Stream::Unix).map_err(Error::io)
        }
        HostAddress::Tcp(name) => {
            let socket = open_tcp(name, host.port, deadline).await?;
            let limit = if unacknowledged.is_zero() { USER_TIMEOUT } else { unacknowledged };
            tune(&socket, limit).map_err(Error::io)?;
            Ok(Stream::Tcp(socket))
        }
    }
}

/// The socket file in a directory, or, where the directory begins with `@`, the abstract name
/// (Linux), which begins with a NUL instead.
///
/// Source: `UNIXSOCK_PATH` in `src/include/libpq/pqcomm.h`.
fn socket_path(directory: &Path, port: u16) -> OsString {
    let mut path = directory.join(format!(".s.PGSQL.{port}")).into_os_string().into_vec();
    if directory.as_os_str().as_bytes().starts_with(b"@")
        && let Some(first) = path.first_mut()
    {
        *first = 0;
    }
    OsString::from_vec(path)
}

async fn open_tcp(name: &str, port: u16, deadline: Instant) -> Result<TcpStream, Error> {
    let addresses: Vec<SocketAddr> = lookup_host((name, port)).await.map_err(Error::io)?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        // An address that swallows packets may cost its share of the time, and not all of it.
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(_) => {
                last = io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {address}"));
            }
        }
    }
    Err(Error::io(last))
}

/// Small writes go out at once, and a peer that is gone is noticed.
fn tune(socket: &TcpStream, unacknowledged: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(unacknowledged))?;
    #[cfg(not(target_os = "linux"))]
    let _unknown_here = unacknowledged;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn tcp(name: &str) -> Host {
        Host { address: HostAddress::Tcp(name.to_owned()), port: 5432 }
    }

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        for name in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_local(&tcp(name)), "{name}");
        }
        for name in ["db", "localhost.example", "10.0.0.1", "0.0.0.0", "::2"] {
            assert!(!is_local(&tcp(name)), "{name}");
        }
        let unix = HostAddress::UnixDirectory(PathBuf::from("/run/postgresql"));
        assert!(is_local(&Host { address: unix, port: 5432 }));
    }

    #[test]
    fn a_directory_that_begins_with_at_is_an_abstract_name() {
        assert_eq!(socket_path(Path::new("/run/pg"), 5433), "/run/pg/.s.PGSQL.5433");
        assert_eq!(socket_path(Path::new("@pg"), 5433), "\0pg/.s.PGSQL.5433");
    }
}
