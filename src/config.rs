//! The configuration: one table of all variables, and the validated values made of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cloudevent::options::EventOptions;
use crate::kafka::options::KafkaOptions;
use crate::outbox::role::TableName;
use crate::postgres::options::ConnectOptions;
use crate::secret::Secret;

/// `WALPOST_SNAPSHOT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// Rows already in the table are published first, when walpost makes the slot.
    Initial,
    /// Only the stream.
    Never,
}

/// `WALPOST_DELIVERY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Repeats after a fault.
    AtLeastOnce,
    /// Events and checkpoint in one Kafka transaction.
    ExactlyOnce,
}

/// `WALPOST_ON_BAD_ROW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadRow {
    /// To the dead-letter topic.
    DeadLetter,
    /// Stop there, until the cause is gone.
    Halt,
    /// Counted, logged, not sent.
    Skip,
}

/// `WALPOST_LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// User and password of the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAuth {
    /// `WALPOST_HTTP_USERNAME`
    pub username: String,
    /// `WALPOST_HTTP_PASSWORD`
    pub password: Secret,
}

/// The whole configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the database is.
    pub database: ConnectOptions,
    /// Where Kafka is.
    pub kafka: KafkaOptions,
    /// `WALPOST_NAME`
    pub name: String,
    /// `WALPOST_TABLE`; never empty.
    pub tables: Vec<TableName>,
    /// `WALPOST_SLOT`
    pub slot: String,
    /// `WALPOST_PUBLICATION`
    pub publication: String,
    /// `WALPOST_CREATE`
    pub create: bool,
    /// `WALPOST_SNAPSHOT`
    pub snapshot: Snapshot,
    /// How rows become events.
    pub events: EventOptions,
    /// `WALPOST_DELIVERY`
    pub delivery: Delivery,
    /// `WALPOST_CHECKPOINT_TOPIC`
    pub checkpoint_topic: String,
    /// `WALPOST_ON_BAD_ROW`
    pub on_bad_row: OnBadRow,
    /// `WALPOST_DLQ_TOPIC`
    pub dlq_topic: String,
    /// `WALPOST_TOPIC_PARTITIONS`
    pub topic_partitions: Option<i32>,
    /// `WALPOST_TOPIC_REPLICATION`
    pub topic_replication: Option<i32>,
    /// `WALPOST_MAX_IN_FLIGHT`, bytes.
    pub max_in_flight: u64,
    /// `WALPOST_SHUTDOWN_TIMEOUT`
    pub shutdown_timeout: Duration,
    /// `WALPOST_HTTP_ADDR`; `None` is `off`.
    pub http_addr: Option<SocketAddr>,
    /// Basic authentication of the page.
    pub http_auth: Option<HttpAuth>,
    /// `WALPOST_LOG`, a `tracing` filter.
    pub log: String,
    /// `WALPOST_LOG_FORMAT`; `None` is text on a terminal, else JSON.
    pub log_format: Option<LogFormat>,
}
