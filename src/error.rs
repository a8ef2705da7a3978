//! What went wrong, and what the relay does about it: try again, or halt under a code.
//!
//! Every error of a room ends here, in [`Failure`], by an exhaustive match. A failure names the
//! object, keeps the cause's text, and says what the operator can do.

use crate::kafka::librdkafka::ClientError;
use crate::kafka::producer::{Meaning, meaning};
use crate::postgres::error::{Error as PostgresError, ErrorKind};
use crate::registry::error::RegistryError;
use crate::status::{Halt, HaltCode, Status};

/// The end of an attempt to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may go away by itself: begin again after a pause.
    Again {
        /// A short word for metrics and the page, such as `postgres_io`.
        code: &'static str,
        /// What happened.
        message: String,
        /// What to look at if it stays.
        hint: Option<String>,
    },
    /// Rows may be missing, or somebody must act.
    Halt {
        /// The contract's word for it.
        code: HaltCode,
        /// What happened.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl Failure {
    /// A failure that may go away by itself.
    pub fn again(code: &'static str, message: impl Into<String>) -> Self {
        Self::Again { code, message: message.into(), hint: None }
    }

    /// A failure that needs somebody.
    pub fn halt(code: HaltCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Halt { code, message: message.into(), hint: hint.into() }
    }

    /// The short word for metrics and the page.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Again { code, .. } => code,
            Self::Halt { code, .. } => code.as_str(),
        }
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Again { message, .. } | Self::Halt { message, .. } => message,
        }
    }

    /// What to do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Again { hint, .. } => hint.as_deref(),
            Self::Halt { hint, .. } => Some(hint),
        }
    }

    /// Keeps it for the page: as a halt, or among the last errors.
    pub fn tell(&self, status: &Status) {
        match self {
            Self::Again { code, message, hint } => {
                status.error(code, message, hint.as_deref().unwrap_or(""));
            }
            Self::Halt { code, message, hint } => {
                let (message, hint) = (message.clone(), hint.clone());
                status.halt(Halt { code: *code, message, hint });
            }
        }
    }

    /// Keeps it among the last errors, whatever it is: it does not stop the stream.
    pub fn tell_without_halting(&self, status: &Status) {
        status.error(self.code(), self.message(), self.hint().unwrap_or(""));
    }

    /// The word of `walpost_postgres_reconnects_total{reason}`, when this ended a connection.
    #[must_use]
    pub fn reconnect_reason(&self) -> Option<&'static str> {
        match self {
            Self::Again { code: "postgres_io" | "postgres_closed", .. } => Some("lost"),
            Self::Again { code: "postgres_timeout", .. } => Some("silent"),
            Self::Again { code: "postgres_protocol", .. } => Some("protocol"),
            Self::Again { code: "postgres_error", .. } => Some("server"),
            Self::Again { code: "kafka_error", .. } => Some("producer"),
            Self::Again { .. } | Self::Halt { .. } => None,
        }
    }

    /// An error of the database while `doing` something ("read the slot").
    #[must_use]
    pub fn postgres(doing: &str, error: &PostgresError) -> Self {
        // Of several hosts that were all tried, the one that refused us says more than the others.
        let refused =
            error.attempts().iter().find(|attempt| attempt.kind() == ErrorKind::Authentication);
        let error = refused.unwrap_or(error);
        let message = format!("failed to {doing}: {}", chain(error));
        let again = |code, hint: Option<&str>| Self::Again {
            code,
            message: message.clone(),
            hint: hint.map(str::to_owned),
        };
        match error.kind() {
            ErrorKind::Authentication => Self::halt(
                HaltCode::Authentication,
                message,
                "check the user, the password (PGPASSWORD, PGPASSWORD_FILE or DATABASE_URL) and pg_hba.conf; walpost tries again by itself",
            ),
            ErrorKind::Server => match error.sqlstate() {
                Some("42501") => Self::halt(
                    HaltCode::Authorization,
                    message,
                    "grant the role what the message names; `walpost check` lists every right that is missing",
                ),
                Some("3D000") => Self::halt(
                    HaltCode::NotReady,
                    message,
                    "create the database, or correct PGDATABASE or DATABASE_URL",
                ),
                _ => again("postgres_error", None),
            },
            ErrorKind::Io => again("postgres_io", None),
            ErrorKind::Closed => again("postgres_closed", None),
            ErrorKind::Tls => again(
                "postgres_tls",
                Some("check PGSSLMODE, PGSSLROOTCERT and the server's certificate"),
            ),
            ErrorKind::Protocol => again("postgres_protocol", None),
            ErrorKind::Timeout => again("postgres_timeout", None),
            ErrorKind::Configuration => again("postgres_configuration", None),
            ErrorKind::NoSuitableHost => again(
                "postgres_no_suitable_host",
                Some("none of the hosts is of the kind that PGTARGETSESSIONATTRS asks for"),
            ),
        }
    }

    /// A broker does not take our user, password or mechanism.
    #[must_use]
    pub fn kafka_authentication(error: &ClientError) -> Self {
        Self::halt(
            HaltCode::Authentication,
            format!("kafka refuses walpost: {error}"),
            "check KAFKA_SASL_MECHANISM and what goes with it (user and password, or client and secret) and KAFKA_SECURITY_PROTOCOL; `walpost check` says more; walpost tries again by itself",
        )
    }

    /// Nothing is known of a schema.
    #[must_use]
    pub fn registry(error: &RegistryError) -> Self {
        let message = error.to_string();
        let again = |hint: &str| Self::Again {
            code: "registry",
            message: message.clone(),
            hint: Some(hint.to_owned()),
        };
        match error {
            RegistryError::Unreachable(_) => again(
                "look at WALPOST_REGISTRY_URL and at the registry; schemas that are known go on being used",
            ),
            RegistryError::NotFound(_) | RegistryError::Refused(_) | RegistryError::Unusable(_) => {
                again("put the schema right in the registry; walpost asks for it again")
            }
            RegistryError::Unauthorized(_) => Self::halt(
                HaltCode::Authentication,
                message,
                "check WALPOST_REGISTRY_USERNAME and WALPOST_REGISTRY_PASSWORD; walpost tries again by itself",
            ),
            RegistryError::Forbidden(_) => Self::halt(
                HaltCode::Authorization,
                message,
                "grant walpost's user of the schema registry the right to read the subject; walpost tries again by itself",
            ),
        }
    }

    /// An error of Kafka's while `doing` something ("write to topic \"orders\"").
    #[must_use]
    pub fn kafka(doing: &str, error: &ClientError) -> Self {
        let message = format!("failed to {doing}: {error}");
        match meaning(error.code) {
            Meaning::Forbidden => Self::halt(
                HaltCode::Authorization,
                message,
                "grant walpost's Kafka user the right that the message names; walpost tries again by itself",
            ),
            Meaning::TopicGone => Self::halt(
                HaltCode::TopicMissing,
                message,
                "create the topic again; walpost tries again by itself",
            ),
            Meaning::Fenced => Self::halt(
                HaltCode::Fenced,
                message,
                "another walpost works under this WALPOST_NAME, or a transaction was open for longer than kafka allows; walpost looks who has the slot and goes on by itself",
            ),
            Meaning::Refused | Meaning::Secondary | Meaning::Again => {
                Self::Again { code: "kafka_error", message, hint: None }
            }
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Again { message, .. } => f.write_str(message),
            Self::Halt { code, message, .. } => write!(f, "{}: {message}", code.as_str()),
        }
    }
}

impl std::error::Error for Failure {}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
