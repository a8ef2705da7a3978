//! From options to a session: hosts in their order, encrypted or not, of the wanted kind.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::time::Instant;

use super::connection::{Connection, Purpose};
use super::error::{Error, ErrorKind};
use super::options::{ConnectOptions, Host, HostAddress, SslMode, TargetSessionAttrs};
use super::socket;
use super::stream::Stream;
use super::tls::{self, Material, Offer};

/// One way to talk to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    None,
    /// In the clear, if the server has no TLS.
    IfOffered,
    Required,
}

/// Opens a session with the first host that takes it and is of the wanted kind.
///
/// As in libpq, a host that refuses our credentials ends the search, since the others would too.
///
/// Not cancel safe, but harmless to cancel: the half-open session is dropped.
pub(super) async fn connect(
    options: &ConnectOptions,
    purpose: Purpose,
) -> Result<Connection, Error> {
    let mut attempts = Vec::new();
    for wanted in passes(options.target_session_attrs) {
        attempts.clear();
        for host in &options.hosts {
            let attempt = connect_to_host(options, host, purpose, *wanted).await;
            let error = match attempt.map_err(|error| error.doing(describe(host))) {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Authentication | ErrorKind::Configuration => return Err(error),
                ErrorKind::Io
                | ErrorKind::Closed
                | ErrorKind::Tls
                | ErrorKind::Server
                | ErrorKind::Protocol
                | ErrorKind::Timeout
                | ErrorKind::NoSuitableHost => attempts.push(error),
            }
        }
    }
    if attempts.len() > 1 {
        return Err(Error::no_suitable_host(None, attempts));
    }
    Err(attempts.pop().unwrap_or_else(|| Error::configuration("no host is named")))
}

/// The kinds of servers to look for, one pass over the hosts after the other.
fn passes(wanted: TargetSessionAttrs) -> &'static [TargetSessionAttrs] {
    use TargetSessionAttrs as T;
    match wanted {
        T::Any => &[T::Any],
        T::ReadWrite => &[T::ReadWrite],
        T::ReadOnly => &[T::ReadOnly],
        T::Primary => &[T::Primary],
        T::Standby => &[T::Standby],
        T::PreferStandby => &[T::Standby, T::Any],
    }
}

fn describe(host: &Host) -> String {
    match &host.address {
        HostAddress::Tcp(name) if name.contains(':') => {
            format!("connect to [{name}]:{}", host.port)
        }
        HostAddress::Tcp(name) => format!("connect to {name}:{}", host.port),
        HostAddress::UnixDirectory(directory) => {
            format!("connect to {}/.s.PGSQL.{}", directory.display(), host.port)
        }
    }
}

/// The ways to try on one host, in their order.
///
/// Source: PostgreSQL manual, "SSL Mode Descriptions". Unix sockets are never encrypted.
fn ways(host: &Host, mode: SslMode) -> &'static [Encryption] {
    match (&host.address, mode) {
        (HostAddress::UnixDirectory(_), _) | (_, SslMode::Disable) => &[Encryption::None],
        (_, SslMode::Allow) => &[Encryption::None, Encryption::Required],
        (_, SslMode::Prefer) => &[Encryption::IfOffered, Encryption::None],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Encryption::Required],
    }
}

async fn connect_to_host(
    options: &ConnectOptions,
    host: &Host,
    purpose: Purpose,
    wanted: TargetSessionAttrs,
) -> Result<Connection, Error> {
    let default = if socket::is_local(host) { SslMode::Disable } else { SslMode::VerifyFull };
    let mode = options.sslmode.unwrap_or(default);
    let deadline = Instant::now() + options.connect_timeout;
    let attempt = async {
        let mut refusal = None;
        for &way in ways(host, mode) {
            match begin(options, host, purpose, (mode, way), deadline).await {
                Ok(connection) => return hold_against(connection, wanted).await,
                Err(error) if another_way_may_help(&error) => {
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(Error::closed))
    };
    match tokio::time::timeout_at(deadline, attempt).await {
        Ok(result) => result,
        Err(_) => Err(Error::timeout(
            "no session in the time of connect_timeout; is the host right, and does a firewall \
             let this machine through",
            options.connect_timeout,
        )),
    }
}

/// Whether a failure may be due to the connection being encrypted, or not: a failed handshake, or
/// no line in `pg_hba.conf` for this kind of connection (28000). libpq tries again after a wrong
/// password too, which would only count as one more failed login.
fn another_way_may_help(error: &Error) -> bool {
    error.kind() == ErrorKind::Tls || error.sqlstate() == Some("28000")
}

async fn begin(
    options: &ConnectOptions,
    host: &Host,
    purpose: Purpose,
    (mode, way): (SslMode, Encryption),
    deadline: Instant,
) -> Result<Connection, Error> {
    let stream = match way {
        Encryption::None => socket::open(host, options.wal_sender_timeout, deadline).await?,
        Encryption::IfOffered | Encryption::Required => {
            let config = Material::new(options).load(mode).await?;
            let socket = socket::open(host, options.wal_sender_timeout, deadline).await?;
            encrypt(socket, host, way, config).await?
        }
    };
    let mut connection = Connection::new(stream);
    connection.start(options, purpose).await?;
    Ok(connection)
}

async fn encrypt(
    stream: Stream,
    host: &Host,
    way: Encryption,
    config: Arc<ClientConfig>,
) -> Result<Stream, Error> {
    let (mut socket, name) = match (stream, &host.address) {
        (Stream::Tcp(socket), HostAddress::Tcp(name)) => (socket, name),
        (other, _) => return Ok(other),
    };
    match tls::request(&mut socket).await? {
        Offer::Tls => {
            let encrypted = tls::handshake(socket, name, config).await?;
            Ok(Stream::Tls(Box::new(encrypted)))
        }
        Offer::Refused if way == Encryption::IfOffered => Ok(Stream::Tcp(socket)),
        Offer::Refused => Err(Error::tls(
            "the server does not offer TLS; set ssl = on there, or sslmode=disable here if the \
             network is trusted",
        )),
    }
}

/// Gives the session back if its server is of the wanted kind.
async fn hold_against(
    mut connection: Connection,
    wanted: TargetSessionAttrs,
) -> Result<Connection, Error> {
    use TargetSessionAttrs as T;
    let (suits, wanted) = match wanted {
        T::Any | T::PreferStandby => return Ok(connection),
        T::ReadWrite => (!is_read_only(&mut connection).await?, "one that takes writes"),
        T::ReadOnly => (is_read_only(&mut connection).await?, "one that takes no writes"),
        T::Primary => (!is_standby(&mut connection).await?, "a primary"),
        T::Standby => (is_standby(&mut connection).await?, "a standby"),
    };
    if suits {
        return Ok(connection);
    }
    connection.terminate().await;
    Err(Error::no_suitable_host(Some(wanted), Vec::new()))
}

/// Whether a transaction of this session would be read-only, as the server reports it (14 and
/// newer) or says when asked (what stands in front of it may keep reports to itself).
async fn is_read_only(connection: &mut Connection) -> Result<bool, Error> {
    let parameters = &connection.parameters;
    let reported =
        (parameters.get("in_hot_standby"), parameters.get("default_transaction_read_only"));
    if let (Some(standby), Some(read_only)) = reported {
        return Ok(standby == "on" || read_only == "on");
    }
    answers_on(connection, "SHOW transaction_read_only").await
}

async fn is_standby(connection: &mut Connection) -> Result<bool, Error> {
    match connection.parameters.get("in_hot_standby") {
        Some(standby) => Ok(standby == "on"),
        None => answers_on(connection, "SELECT pg_catalog.pg_is_in_recovery()").await,
    }
}

async fn answers_on(connection: &mut Connection, question: &str) -> Result<bool, Error> {
    let rows = connection.command(question).await?;
    let answer = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    Ok(matches!(answer, Some(b"on" | b"t")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { address: HostAddress::Tcp(name.to_owned()), port: 5432 }
    }

    #[test]
    fn only_weak_modes_try_more_than_one_way() {
        use Encryption as E;
        #[track_caller]
        fn check(mode: SslMode, expected: &[Encryption]) {
            assert_eq!(ways(&host("db"), mode), expected);
        }
        check(SslMode::Disable, &[E::None]);
        check(SslMode::Allow, &[E::None, E::Required]);
        check(SslMode::Prefer, &[E::IfOffered, E::None]);
        check(SslMode::Require, &[E::Required]);
        check(SslMode::VerifyCa, &[E::Required]);
        check(SslMode::VerifyFull, &[E::Required]);
    }

    #[test]
    fn unix_sockets_are_never_encrypted() {
        let unix = Host { address: HostAddress::UnixDirectory("/run".into()), port: 5432 };
        assert_eq!(ways(&unix, SslMode::VerifyFull), &[Encryption::None]);
        assert_eq!(describe(&unix), "connect to /run/.s.PGSQL.5432");
        assert_eq!(describe(&host("::1")), "connect to [::1]:5432");
    }
}
