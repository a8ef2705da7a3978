//! What the configuration says about how rows become events (`WALPOST_CE_*`, `WALPOST_TIME_*`, …).

use std::collections::BTreeMap;

use crate::outbox::role::{ColumnChoice, Role};
use crate::outbox::spread::HotAggregate;
use crate::outbox::template::Template;

/// Content mode of the CloudEvents Kafka binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, the payload's bytes as value.
    Binary,
    /// One JSON object as value.
    Structured,
}

/// What an SQL NULL payload becomes (`WALPOST_NULL_PAYLOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullPayload {
    /// A record with a null value.
    Tombstone,
    /// A record with a value of no bytes.
    Empty,
    /// A bad row.
    Reject,
}

/// Unit of an integer time column (`WALPOST_TIME_UNIT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// 1 s
    Seconds,
    /// 1 ms
    Milliseconds,
    /// 1 µs
    Microseconds,
    /// 1 ns
    Nanoseconds,
}

/// What is done with the schema of a payload (`WALPOST_REGISTRY_MODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaMode {
    /// The payload is checked against it, and not changed.
    Validate,
    /// The value begins with its id, as with Confluent's serializers.
    Prefix,
    /// A header has its GUID, as with Confluent's serializers since version 8.
    Header,
}

/// Which schema a payload has to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaOptions {
    /// What is done with it.
    pub mode: SchemaMode,
    /// Template of the subject; the role `topic` in it is the topic that the event goes to.
    pub subject: Template,
    /// Template of the name of the message, for schemas of Protobuf; `None`: their first one.
    pub message: Option<Template>,
}

/// Everything that decides how a row becomes an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOptions {
    /// Database name, for the default `source`.
    pub database: String,
    /// The column of each role that is not left to the aliases.
    pub columns: BTreeMap<Role, ColumnChoice>,
    /// Topic template.
    pub topic: Template,
    /// Binary or structured.
    pub mode: Mode,
    /// `source` of all rows; `None` is `/{database}/{schema}/{table}`. May hold the placeholders
    /// `{database}`, `{schema}` and `{table}`, already validated.
    pub source: Option<String>,
    /// `type` template.
    pub type_template: Template,
    /// `datacontenttype` of all rows; `None` is by column type.
    pub datacontenttype: Option<String>,
    /// Extension name and the column it comes from.
    pub extensions: Vec<(String, String)>,
    /// Unit of an integer time column.
    pub time_unit: TimeUnit,
    /// Zone of a `timestamp` without time zone, an IANA name.
    pub time_zone: String,
    /// Policy for an SQL NULL payload.
    pub null_payload: NullPayload,
    /// Also write Debezium's plain headers `id` and `eventType`.
    pub debezium_headers: bool,
    /// Largest key + value + headers, in bytes.
    pub max_event: usize,
    /// Topics that no row may reach: walpost's own.
    pub reserved_topics: Vec<String>,
    /// Aggregates that have several keys.
    pub virtual_partitions: Vec<HotAggregate>,
    /// The schema that payloads have to fit; `None` without a registry.
    pub schemas: Option<SchemaOptions>,
}
