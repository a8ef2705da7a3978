//! Why a row becomes no event.

use std::borrow::Cow;
use std::fmt;

/// The kind of mistake, as it appears in the log, the metric and the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A value that has to be there is NULL.
    Missing,
    /// A value that must not be empty is.
    Empty,
    /// A character that `CloudEvents` refuses in attributes.
    ControlCharacter,
    /// No URI reference of RFC 3986.
    InvalidUri,
    /// A URI reference without a scheme, where one is needed.
    NotAbsoluteUri,
    /// No media type of RFC 2045.
    InvalidMediaType,
    /// No JSON text of RFC 8259.
    InvalidJson,
    /// A value for which the event's format has no form: infinity, a year past 9999, no UTF-8.
    NotRepresentable,
    /// A name that Kafka or walpost refuses.
    IllegalName,
    /// A topic name, attribute or set of headers over its limit.
    TooLong,
    /// Key, value and headers together are over the limit of an event.
    TooLarge,
    /// The payload does not fit its schema.
    SchemaMismatch,
    /// Kafka has no such topic and makes none.
    UnknownTopic,
    /// The broker refused this record and would refuse it again.
    RefusedByBroker,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::Missing,
        Self::Empty,
        Self::ControlCharacter,
        Self::InvalidUri,
        Self::NotAbsoluteUri,
        Self::InvalidMediaType,
        Self::InvalidJson,
        Self::NotRepresentable,
        Self::IllegalName,
        Self::TooLong,
        Self::TooLarge,
        Self::SchemaMismatch,
        Self::UnknownTopic,
        Self::RefusedByBroker,
    ];

    /// The word for it, `[a-z_]+`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::ControlCharacter => "control_character",
            Self::InvalidUri => "invalid_uri",
            Self::NotAbsoluteUri => "not_absolute_uri",
            Self::InvalidMediaType => "invalid_media_type",
            Self::InvalidJson => "invalid_json",
            Self::NotRepresentable => "not_representable",
            Self::IllegalName => "illegal_name",
            Self::TooLong => "too_long",
            Self::TooLarge => "too_large",
            Self::SchemaMismatch => "schema_mismatch",
            Self::UnknownTopic => "unknown_topic",
            Self::RefusedByBroker => "refused_by_broker",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A row that becomes no event. It never holds a value of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// What is wrong: an attribute by its `CloudEvents` name, or `topic`, `key`, `payload`,
    /// `headers`.
    pub attribute: Cow<'static, str>,
    /// The kind of mistake.
    pub reason: Reason,
    /// A sentence that names the attribute and what is wrong with it.
    pub message: String,
}

impl BadRow {
    /// A mistake in `attribute`; `what` goes on after its name: "is NULL".
    #[must_use]
    pub fn new(attribute: &str, reason: Reason, what: impl fmt::Display) -> Self {
        Self {
            attribute: Cow::Owned(attribute.to_owned()),
            reason,
            message: format!("{attribute} {what}"),
        }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for BadRow {}
