//! What can go wrong with Postgres, in the terms in which it is answered.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

/// A failure of a Postgres connection or command.
///
/// The text names what was being done, what went wrong and, where there is one, a next step. It
/// never holds a password.
pub struct Error(Box<Inner>);

struct Inner {
    /// What was being done, as verb and noun: `connect to db.example:5432`.
    doing: Option<String>,
    kind: Kind,
}

/// The class of an [`Error`], for a caller that must decide what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The network or the operating system.
    Io,
    /// The server closed the connection without a word.
    Closed,
    /// Encryption: no TLS on offer, or a certificate that one of the two sides does not accept.
    Tls,
    /// The server does not know us, or cannot prove that it knows us: SQLSTATE class 28, an
    /// authentication method that is not supported or not safe here, or a missing password.
    Authentication,
    /// The server refused or ended something; see [`Error::sqlstate`].
    Server,
    /// Bytes that the protocol does not allow, or that are larger than it allows.
    Protocol,
    /// Nothing happened for too long.
    Timeout,
    /// An option that cannot work, such as a certificate file that cannot be read.
    Configuration,
    /// All hosts were tried, and none is both reachable and of the wanted kind.
    NoSuitableHost,
}

enum Kind {
    Io(io::Error),
    Closed,
    Tls { reason: String, source: Option<rustls::Error> },
    Authentication(String),
    Server(ServerError),
    Protocol { what: String, source: Option<Box<dyn StdError + Send + Sync>> },
    Timeout { of: &'static str, after: Duration },
    Configuration { what: String, source: Option<Box<dyn StdError + Send + Sync>> },
    NoSuitableHost { wanted: Option<&'static str>, attempts: Vec<Error> },
}

/// An `ErrorResponse` of the server.
///
/// Source: PostgreSQL manual, "Error and Notice Message Fields".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, never translated.
    pub severity: String,
    /// Five characters, as in the manual's appendix "PostgreSQL Error Codes".
    pub sqlstate: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
}

impl Error {
    fn new(kind: Kind) -> Self {
        Self(Box::new(Inner { doing: None, kind }))
    }

    /// An I/O error, taken apart where it hides something that has a kind of its own.
    pub(super) fn io(error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::rustls(tls.clone());
        }
        // rustls reports a peer that goes away without `close_notify` as an unexpected end. A
        // server process that is killed does just that, and it means no more than a plain end.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::closed();
        }
        Self::new(Kind::Io(error))
    }

    pub(super) fn closed() -> Self {
        Self::new(Kind::Closed)
    }

    pub(super) fn tls(reason: impl Into<String>) -> Self {
        Self::new(Kind::Tls { reason: reason.into(), source: None })
    }

    pub(super) fn rustls(error: rustls::Error) -> Self {
        Self::new(Kind::Tls { reason: super::tls::reason(&error), source: Some(error) })
    }

    pub(super) fn authentication(what: impl Into<String>) -> Self {
        Self::new(Kind::Authentication(what.into()))
    }

    pub(super) fn from_server(error: ServerError) -> Self {
        Self::new(Kind::Server(error))
    }

    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Self::new(Kind::Protocol { what: what.into(), source: None })
    }

    pub(super) fn timeout(of: &'static str, after: Duration) -> Self {
        Self::new(Kind::Timeout { of, after })
    }

    pub(super) fn configuration(what: impl Into<String>) -> Self {
        Self::new(Kind::Configuration { what: what.into(), source: None })
    }

    pub(super) fn configuration_because(
        what: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::new(Kind::Configuration { what: what.into(), source: Some(Box::new(source)) })
    }

    /// `wanted` says which kind of server is looked for, where that is why a host was refused.
    pub(super) fn no_suitable_host(wanted: Option<&'static str>, attempts: Vec<Self>) -> Self {
        Self::new(Kind::NoSuitableHost { wanted, attempts })
    }

    /// The same failure, saying what was being done. The innermost name stays.
    pub(super) fn doing(mut self, what: impl Into<String>) -> Self {
        if self.0.doing.is_none() {
            self.0.doing = Some(what.into());
        }
        self
    }

    /// The class of this failure.
    ///
    /// A refusal with an SQLSTATE of class 28 (`invalid_authorization_specification`,
    /// `invalid_password`) is [`ErrorKind::Authentication`], and keeps its SQLSTATE.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0.kind {
            Kind::Io(_) => ErrorKind::Io,
            Kind::Closed => ErrorKind::Closed,
            Kind::Tls { .. } => ErrorKind::Tls,
            Kind::Authentication(_) => ErrorKind::Authentication,
            Kind::Server(error) if error.sqlstate.starts_with("28") => ErrorKind::Authentication,
            Kind::Server(_) => ErrorKind::Server,
            Kind::Protocol { .. } => ErrorKind::Protocol,
            Kind::Timeout { .. } => ErrorKind::Timeout,
            Kind::Configuration { .. } => ErrorKind::Configuration,
            Kind::NoSuitableHost { .. } => ErrorKind::NoSuitableHost,
        }
    }

    /// The five characters of the server's error code, where the server said something.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.server().map(|error| error.sqlstate.as_str())
    }

    /// What the server said, where it said something.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        match &self.0.kind {
            Kind::Server(error) => Some(error),
            Kind::Io(_)
            | Kind::Closed
            | Kind::Tls { .. }
            | Kind::Authentication(_)
            | Kind::Protocol { .. }
            | Kind::Timeout { .. }
            | Kind::Configuration { .. }
            | Kind::NoSuitableHost { .. } => None,
        }
    }

    /// What went wrong with each host, in the order of the hosts; empty unless the kind is
    /// [`ErrorKind::NoSuitableHost`].
    #[must_use]
    pub fn attempts(&self) -> &[Self] {
        match &self.0.kind {
            Kind::NoSuitableHost { attempts, .. } => attempts,
            Kind::Io(_)
            | Kind::Closed
            | Kind::Tls { .. }
            | Kind::Authentication(_)
            | Kind::Server(_)
            | Kind::Protocol { .. }
            | Kind::Timeout { .. }
            | Kind::Configuration { .. } => &[],
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        // In classes 22 (data exception) and 23 (integrity constraint violation) the detail quotes
        // values of rows, which must not reach a log.
        let quotes_a_row = self.sqlstate.starts_with("22") || self.sqlstate.starts_with("23");
        if let Some(detail) = self.detail.as_deref().filter(|_| !quotes_a_row) {
            write!(f, "; detail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        // PgBouncer's words. Before 1.23 it knows no `replication`, and it never knows all of the
        // session settings in `options`.
        if self.message.contains("unsupported startup parameter") {
            f.write_str(
                "; hint: this looks like PgBouncer, which cannot pass logical replication on; \
                 connect to the Postgres server itself",
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = &self.0.doing {
            write!(f, "{doing}: ")?;
        }
        match &self.0.kind {
            Kind::Io(error) => write!(f, "{error}"),
            Kind::Closed => f.write_str("the server closed the connection"),
            Kind::Tls { reason, .. } => f.write_str(reason),
            Kind::Authentication(what) => f.write_str(what),
            Kind::Server(error) => write!(f, "{error}"),
            Kind::Protocol { what, .. } => write!(f, "protocol violation: {what}"),
            Kind::Timeout { of, after } => write!(f, "timed out after {after:?}: {of}"),
            Kind::Configuration { what, source: Some(source) } => write!(f, "{what}: {source}"),
            Kind::Configuration { what, source: None } => f.write_str(what),
            Kind::NoSuitableHost { wanted, attempts } => {
                match wanted {
                    Some(wanted) => write!(f, "the server is not {wanted} (target_session_attrs)")?,
                    None => f.write_str("no host takes a connection")?,
                }
                for attempt in attempts {
                    write!(f, "; {attempt}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            Kind::Io(error) => Some(error),
            Kind::Tls { source, .. } => source.as_ref().map(|error| error as _),
            Kind::Protocol { source, .. } | Kind::Configuration { source, .. } => {
                source.as_deref().map(|error| error as _)
            }
            Kind::NoSuitableHost { attempts, .. } => attempts.first().map(|error| error as _),
            Kind::Closed | Kind::Authentication(_) | Kind::Server(_) | Kind::Timeout { .. } => None,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    /// Finds in the chain of causes what has a kind of its own here: the server's word, a closed
    /// connection, an I/O error. The rest is a disagreement about the protocol.
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::from_server(ServerError {
                severity: db
                    .parsed_severity()
                    .map_or_else(|| db.severity().to_owned(), |severity| severity.to_string()),
                sqlstate: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().map(str::to_owned),
                hint: db.hint().map(str::to_owned),
            });
        }
        if error.is_closed() {
            return Self::closed();
        }
        let what = error.to_string();
        match error.into_source().map(<dyn StdError + Send + Sync>::downcast::<io::Error>) {
            Some(Ok(io)) => Self::io(*io),
            Some(Err(other)) => Self::new(Kind::Protocol { what, source: Some(other) }),
            None => Self::protocol(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(sqlstate: &str, message: &str) -> ServerError {
        ServerError {
            severity: "ERROR".to_owned(),
            sqlstate: sqlstate.to_owned(),
            message: message.to_owned(),
            detail: Some("the detail".to_owned()),
            hint: None,
        }
    }

    #[test]
    fn a_refused_password_is_an_authentication_error_and_keeps_its_sqlstate() {
        let error = Error::from_server(server("28P01", "password authentication failed"));
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert_eq!(error.sqlstate(), Some("28P01"));
    }

    #[test]
    fn the_text_names_what_was_done_and_what_went_wrong() {
        let error = Error::from_server(server("55006", "slot \"s\" is active for PID 7"))
            .doing("start replication")
            .doing("something further out");
        assert_eq!(
            error.to_string(),
            "start replication: slot \"s\" is active for PID 7 (SQLSTATE 55006); detail: the detail"
        );
    }

    #[test]
    fn a_detail_that_quotes_a_row_is_not_printed() {
        let error = Error::from_server(server("23505", "duplicate key"));
        assert_eq!(error.to_string(), "duplicate key (SQLSTATE 23505)");
    }

    #[test]
    fn pgbouncer_is_named() {
        let error = Error::from_server(server("08P01", "unsupported startup parameter: x"));
        assert!(error.to_string().contains("PgBouncer"), "{error}");
    }

    #[test]
    fn an_unexpected_end_is_a_closed_connection() {
        let error = Error::io(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert_eq!(error.kind(), ErrorKind::Closed);
    }

    #[test]
    fn a_tls_failure_inside_an_io_error_is_found() {
        let inside = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = Error::io(io::Error::new(io::ErrorKind::InvalidData, inside));
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(error.source().is_some());
    }
}
