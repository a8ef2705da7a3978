//! Where the database is and how to reach it, in libpq's terms.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// One place to try (`host` and `port` of libpq).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A host name, an address, or the directory of a Unix socket.
    pub address: HostAddress,
    /// The TCP port, which also names the socket file `.s.PGSQL.<port>`.
    pub port: u16,
}

/// A host name or address, or a directory of Unix sockets (libpq: a host that begins with `/` or `@`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// A name or an IP address.
    Tcp(String),
    /// The directory in which the server's socket file lies.
    UnixDirectory(PathBuf),
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Only without TLS.
    Disable,
    /// Without TLS first, with it if the server insists.
    Allow,
    /// With TLS if the server can.
    Prefer,
    /// Only with TLS; the certificate is not verified, unless a root certificate is given
    /// (libpq then behaves as `verify-ca`).
    Require,
    /// Only with TLS and a certificate that a trusted authority signed.
    VerifyCa,
    /// As `verify-ca`, and the certificate is for this host.
    VerifyFull,
}

/// libpq's `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// The system's trusted authorities (`sslrootcert=system`, and the default).
    System,
    /// A PEM file.
    File(PathBuf),
}

/// libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the connection is encrypted and the server offers it.
    Prefer,
    /// Or no connection.
    Require,
}

/// libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    Any,
    /// One that takes writes by default.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One in recovery.
    Standby,
    /// A standby if there is one, else any.
    PreferStandby,
}

/// All that is needed to open a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Tried in order; never empty.
    pub hosts: Vec<Host>,
    /// Database name.
    pub database: String,
    /// Role name.
    pub user: String,
    /// Password, where one is set.
    pub password: Option<Secret>,
    /// Encryption and verification. One value per host, because the default depends on the host
    /// (`verify-full` for a remote one, `disable` for loopback and Unix sockets).
    pub sslmode: Option<SslMode>,
    /// Authorities trusted for the server's certificate.
    pub sslrootcert: Option<RootCertificates>,
    /// Client certificate, PEM.
    pub sslcert: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    pub sslkey: Option<PathBuf>,
    /// Whether SCRAM is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// Limit for each host: TCP, TLS and authentication together.
    pub connect_timeout: Duration,
    /// Which kind of server is wanted.
    pub target_session_attrs: TargetSessionAttrs,
    /// `application_name`, always `walpost/<name>`.
    pub application_name: String,
    /// Asked of the server for the replication connection (`wal_sender_timeout`).
    pub wal_sender_timeout: Duration,
}
