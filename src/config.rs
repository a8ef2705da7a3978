//! The configuration: one table of all variables, and the validated values made of it.
//!
//! Only environment variables, and a file of them. All mistakes are reported together, and nothing
//! starts before there is none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

mod database;
pub mod effective;
pub mod env;
mod events;
mod invalid;
mod kafka;
mod lookup;
mod reader;
mod registry;
mod service_link;
mod shards;
mod shown;
pub mod table;
mod url;
mod value;

pub use invalid::{Invalid, Problem};
pub use reader::Effective;
pub use value::duration;

use env::Source;
use reader::Reader;

use crate::cloudevent::options::{EventOptions, SchemaMode};
use crate::kafka::options::KafkaOptions;
use crate::outbox::role::TableName;
use crate::postgres::options::ConnectOptions;
use crate::registry::options::RegistryOptions;
use crate::registry::schemas::Schemas;
use crate::secret::Secret;
use crate::shard::Shard;

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
    /// `WALPOST_TABLE`; empty only where there are messages.
    pub tables: Vec<TableName>,
    /// `WALPOST_MESSAGES`; `None` without.
    pub messages: Option<String>,
    /// `WALPOST_SLOT`
    pub slot: String,
    /// `WALPOST_PUBLICATION`
    pub publication: String,
    /// `WALPOST_SHARDS`: how many streams there are.
    pub shards: u32,
    /// Which of them this is the configuration of; `None` for that of the whole, and where there
    /// is one stream. See [`Config::streams`].
    pub shard: Option<Shard>,
    /// `WALPOST_CREATE`
    pub create: bool,
    /// `WALPOST_SNAPSHOT`
    pub snapshot: Snapshot,
    /// How rows become events.
    pub events: EventOptions,
    /// Where the schema registry is; what it is for stands in [`EventOptions::schemas`].
    pub registry: Option<RegistryOptions>,
    /// `WALPOST_DELIVERY`
    pub delivery: Delivery,
    /// `WALPOST_TRANSACTION_INTERVAL`
    pub transaction_interval: Duration,
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
    /// `WALPOST_PRUNE_AFTER`; `None` is `off`.
    pub prune_after: Option<Duration>,
    /// `WALPOST_CONSUMER_GROUPS`
    pub consumer_groups: Vec<String>,
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

/// A configuration as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The validated values.
    pub config: Config,
    /// What the user should know although it is no mistake.
    pub warnings: Vec<String>,
    /// Each value that is set, as it may be shown, and where it stands.
    pub effective: BTreeMap<String, Effective>,
}

/// Which servers a command speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Postgres and Kafka.
    Both,
    /// Postgres alone: where Kafka is need not be said, nor under which name. What is said must be
    /// right all the same.
    Database,
}

impl Config {
    /// No schema yet, of the registry that rows are checked against, if they are.
    #[must_use]
    pub fn schemas(&self) -> Option<Schemas> {
        let needs_guid = self.events.schemas.as_ref()?.mode == SchemaMode::Header;
        Some(Schemas::new(self.registry.clone()?, needs_guid))
    }

    /// Reads and checks everything. It may be called again at any time, and then reads the files
    /// that `NAME_FILE` variables name again.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn load(source: &dyn Source) -> Result<Loaded, Invalid> {
        Self::load_for(source, Needs::Both)
    }

    /// As [`load`](Self::load), for a command that does not need everything. Without
    /// `KAFKA_BOOTSTRAP_SERVERS` the list of brokers is empty.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn load_for(source: &dyn Source, needs: Needs) -> Result<Loaded, Invalid> {
        let mut reader = Reader::new(source);
        reader.ignore_service_links();
        let config = read(&mut reader, needs);
        reader.refuse_unknown();
        if let Some(config) = &config {
            reader.derived("WALPOST_NAME", &config.name);
            reader.derived("WALPOST_CHECKPOINT_TOPIC", &config.checkpoint_topic);
            reader.derived("PGDATABASE", &config.database.database);
            if config.tables.is_empty() {
                reader.derived("WALPOST_TABLE", "");
            }
        }
        let (effective, warnings) = reader.finish()?;
        match config {
            Some(config) => Ok(Loaded { config, warnings, effective }),
            // Every way to `None` notes a problem, so `finish` has refused already.
            None => Err(Invalid { problems: Vec::new(), warnings }),
        }
    }
}

/// The schema registry alone, for commands that need no database and no Kafka.
///
/// # Errors
/// All mistakes of its variables together, also that there is no `WALPOST_REGISTRY_URL`.
pub fn registry(source: &dyn Source) -> Result<RegistryOptions, Invalid> {
    let mut reader = Reader::new(source);
    let read = registry::read(&mut reader);
    if read.as_ref().is_some_and(|registry| registry.options.is_none()) {
        reader.problem("WALPOST_REGISTRY_URL", None, "is required");
    }
    reader.finish()?;
    // Every way to none notes a problem, so `finish` has refused already.
    read.and_then(|registry| registry.options)
        .ok_or_else(|| Invalid { problems: Vec::new(), warnings: Vec::new() })
}

/// One variable's text, from itself or from its file; for commands that ask a running walpost and
/// need no more. An empty text is as none.
///
/// # Errors
/// The text cannot be read; the message shows no secret.
pub fn text(source: &dyn Source, name: &str) -> Result<Option<String>, String> {
    match lookup::text(source, name) {
        Ok(found) => Ok(found.map(|(text, _)| text).filter(|text| !text.is_empty())),
        Err(lookup::Unusable { variable, value, reason }) => {
            let value = value.map_or_else(String::new, |value| format!("={value:?}"));
            Err(format!("{variable}{value}: {reason}"))
        }
    }
}

/// A URL without its user and password, for messages.
#[must_use]
pub fn without_user(url: &str) -> String {
    shown::without_user(url)
}

/// `None` only after a mistake that was noted.
fn read(reader: &mut Reader<'_>, needs: Needs) -> Option<Config> {
    let mut database = database::read(reader);
    let kafka = kafka::read(reader, needs);
    let slot = reader.parsed("WALPOST_SLOT", slot_name);
    let name = name(reader, (&database.database, slot.as_deref()), needs);
    let checkpoint_topic = reader
        .optional("WALPOST_CHECKPOINT_TOPIC", topic)
        .or_else(|| name.as_ref().map(|name| format!("walpost.checkpoint.{name}")));
    let dlq_topic = reader.parsed("WALPOST_DLQ_TOPIC", topic);
    if checkpoint_topic.is_some() && checkpoint_topic == dlq_topic {
        reader.problem("WALPOST_DLQ_TOPIC", dlq_topic.clone(), "is the checkpoint topic as well");
    }
    let reserved = checkpoint_topic.iter().chain(&dlq_topic).cloned().collect();
    let events = events_and_registry(reader, &database.database, reserved);
    let wal_sender_timeout = reader.duration("WALPOST_WAL_SENDER_TIMEOUT");
    let (messages, tables) = events::sources(reader);
    let delivery = delivery(reader);
    let http = http(reader);
    let process = Process {
        log: reader.parsed("WALPOST_LOG", log_filter),
        log_format: reader
            .word("WALPOST_LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    };
    let publication = reader.parsed("WALPOST_PUBLICATION", |text| match text.len() {
        1..=63 => Ok(text.to_owned()),
        _ => Err("expected a name of at most 63 bytes".to_owned()),
    });
    let shards = shards::read(reader, slot.as_deref(), publication.as_deref());
    let create = reader.boolean("WALPOST_CREATE");
    let snapshot = reader
        .word("WALPOST_SNAPSHOT", &[("initial", Snapshot::Initial), ("never", Snapshot::Never)]);
    refuse_pruning_of_nothing(reader, tables.as_deref(), delivery.as_ref());
    let (name, delivery, (http_addr, http_auth)) = (name?, delivery?, http?);
    let (events, registry) = events?;
    database.application_name = format!("walpost/{name}");
    database.wal_sender_timeout = wal_sender_timeout?;
    Some(Config {
        database,
        kafka,
        name,
        tables: tables?,
        messages,
        slot: slot?,
        publication: publication?,
        shards: shards?,
        shard: None,
        create: create?,
        snapshot: snapshot?,
        events,
        registry,
        delivery: delivery.delivery,
        checkpoint_topic: checkpoint_topic?,
        transaction_interval: delivery.transaction_interval,
        on_bad_row: delivery.on_bad_row,
        dlq_topic: dlq_topic?,
        topic_partitions: delivery.topic_partitions,
        topic_replication: delivery.topic_replication,
        max_in_flight: delivery.max_in_flight,
        prune_after: delivery.prune_after,
        consumer_groups: delivery.consumer_groups,
        shutdown_timeout: delivery.shutdown_timeout,
        http_addr,
        http_auth,
        log: process.log?,
        log_format: process.log_format,
    })
}

/// The name of a slot, as the server accepts it.
fn slot_name(text: &str) -> Result<String, String> {
    let legal = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if legal { Ok(text.to_owned()) } else { Err("expected 1 to 63 of a-z, 0-9 and _".to_owned()) }
}

/// How rows become events, with the schemas that they have to fit, and the registry of those.
fn events_and_registry(
    reader: &mut Reader<'_>,
    database: &str,
    reserved_topics: Vec<String>,
) -> Option<(EventOptions, Option<RegistryOptions>)> {
    let events = events::read(reader, database, reserved_topics);
    let registry = registry::read(reader);
    let (mut events, registry) = (events?, registry?);
    registry::fits(reader, registry.schemas.as_ref(), events.mode);
    events.schemas = registry.schemas;
    Some((events, registry.options))
}

struct Process {
    log: Option<String>,
    log_format: Option<LogFormat>,
}

struct DeliveryOptions {
    delivery: Delivery,
    transaction_interval: Duration,
    on_bad_row: OnBadRow,
    topic_partitions: Option<i32>,
    topic_replication: Option<i32>,
    max_in_flight: u64,
    prune_after: Option<Duration>,
    consumer_groups: Vec<String>,
    shutdown_timeout: Duration,
}

fn name(
    reader: &mut Reader<'_>,
    (database, slot): (&str, Option<&str>),
    needs: Needs,
) -> Option<String> {
    const ACCEPTED: &str = "expected 1 to 63 letters, digits and ._-";
    let legal = |text: &str| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let check =
        |text: &str| if legal(text) { Ok(text.to_owned()) } else { Err(ACCEPTED.to_owned()) };
    if let Some(name) = reader.filled("WALPOST_NAME") {
        return match check(&name) {
            Ok(name) => Some(name),
            Err(reason) => {
                reader.refuse("WALPOST_NAME", &name, reason);
                None
            }
        };
    }
    let name = format!("{database}.{}", slot?);
    if legal(&name) {
        return Some(name);
    }
    if needs == Needs::Database {
        return slot.map(str::to_owned);
    }
    let reason = format!(
        "is required, because the default {{database}}.{{slot}} is no name here; {ACCEPTED}"
    );
    reader.problem("WALPOST_NAME", None, reason);
    None
}

fn topic(text: &str) -> Result<String, String> {
    let legal = (1..=249).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !matches!(text, "." | "..")
        && !text.starts_with("__");
    if legal {
        Ok(text.to_owned())
    } else {
        Err("expected a topic name: 1 to 249 letters, digits and ._- , not beginning with __"
            .to_owned())
    }
}

/// `off`, or an age.
fn prune_after(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    match duration(text) {
        Ok(age) if age >= Duration::from_secs(1) => Ok(Some(age)),
        Ok(_) | Err(_) => Err("expected off, or 1s or more: 7d".to_owned()),
    }
}

/// Each takes a client of its own, with a connection to each broker.
const CONSUMER_GROUPS_MAX: usize = 32;

/// Names between commas. Kafka takes any text as one that is not empty, so a name with a comma in
/// it cannot be said here.
fn consumer_groups(text: &str) -> Result<Vec<String>, String> {
    let mut groups: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("expected names of consumer groups between commas".to_owned());
        }
        if groups.iter().any(|known| known == name) {
            return Err(format!("names group {name} twice"));
        }
        groups.push(name.to_owned());
    }
    if groups.len() > CONSUMER_GROUPS_MAX {
        return Err(format!("names more than {CONSUMER_GROUPS_MAX} groups"));
    }
    Ok(groups)
}

fn delivery(reader: &mut Reader<'_>) -> Option<DeliveryOptions> {
    let delivery = reader.word(
        "WALPOST_DELIVERY",
        &[("at-least-once", Delivery::AtLeastOnce), ("exactly-once", Delivery::ExactlyOnce)],
    );
    let transaction_interval = reader.duration("WALPOST_TRANSACTION_INTERVAL");
    let on_bad_row = reader.word(
        "WALPOST_ON_BAD_ROW",
        &[("dlq", OnBadRow::DeadLetter), ("halt", OnBadRow::Halt), ("skip", OnBadRow::Skip)],
    );
    let mut count = |name: &str| reader.number(name).and_then(|count| i32::try_from(count).ok());
    let topic_partitions = count("WALPOST_TOPIC_PARTITIONS");
    let topic_replication = count("WALPOST_TOPIC_REPLICATION");
    let max_in_flight = reader.size("WALPOST_MAX_IN_FLIGHT");
    let prune_after = reader.parsed("WALPOST_PRUNE_AFTER", prune_after);
    let consumer_groups =
        reader.optional("WALPOST_CONSUMER_GROUPS", consumer_groups).unwrap_or_default();
    let shutdown_timeout = reader.duration("WALPOST_SHUTDOWN_TIMEOUT");
    Some(DeliveryOptions {
        delivery: delivery?,
        transaction_interval: transaction_interval?,
        on_bad_row: on_bad_row?,
        topic_partitions,
        topic_replication,
        max_in_flight: max_in_flight?,
        prune_after: prune_after?,
        consumer_groups,
        shutdown_timeout: shutdown_timeout?,
    })
}

fn refuse_pruning_of_nothing(
    reader: &mut Reader<'_>,
    tables: Option<&[TableName]>,
    delivery: Option<&DeliveryOptions>,
) {
    let no_table = tables.is_some_and(<[TableName]>::is_empty);
    if no_table && delivery.is_some_and(|delivery| delivery.prune_after.is_some()) {
        reader.problem(
            "WALPOST_PRUNE_AFTER",
            None,
            "has no table to delete from: WALPOST_MESSAGES is set, and WALPOST_TABLE is not",
        );
    }
}

fn http(reader: &mut Reader<'_>) -> Option<(Option<SocketAddr>, Option<HttpAuth>)> {
    let addr = reader.parsed("WALPOST_HTTP_ADDR", |text| {
        if text == "off" {
            return Ok(None);
        }
        let expected = "expected address:port, or off";
        text.parse().map(Some).map_err(|_| expected.to_owned())
    });
    let username = reader.optional("WALPOST_HTTP_USERNAME", |text| match text.contains(':') {
        // RFC 7617: the first colon ends the user.
        true => Err("may have no colon in it".to_owned()),
        false => Ok(text.to_owned()),
    });
    let password = reader.filled("WALPOST_HTTP_PASSWORD").map(Secret::new);
    let auth = match (username, password) {
        (Some(username), Some(password)) => Some(HttpAuth { username, password }),
        (None, None) => None,
        (Some(_), None) => {
            reader.problem("WALPOST_HTTP_PASSWORD", None, "is required with WALPOST_HTTP_USERNAME");
            None
        }
        (None, Some(_)) => {
            reader.problem("WALPOST_HTTP_USERNAME", None, "is required with WALPOST_HTTP_PASSWORD");
            None
        }
    };
    Some((addr?, auth))
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected error, warn, info, debug, trace, or target=level,…".to_owned()),
    }
}

#[cfg(test)]
mod tests;
