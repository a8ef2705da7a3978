//! Reading the checkpoint topic.
//!
//! The topic has one partition, is compacted and keeps small segments, so that what is read at a
//! start is short. Records of one generation lie in order; a process that was frozen may write
//! one more record of its older generation behind those of its successor, so the highest
//! generation counts, and within it the last record.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::checkpoint::{Checkpoint, Unreadable};

/// How many records before the end are looked at first. A generation writes at most ten a second
/// and one at a time, so the newest record of the newest generation is among them.
const WINDOW: i64 = 1_000;

/// What the topic says of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The newest record of the highest generation.
    pub checkpoint: Option<Checkpoint>,
    /// Generations of this stream that have a record, for cleaning up.
    pub generations: BTreeSet<u64>,
    /// Where the topic ended when it was read: every record before was looked at.
    pub watermark: i64,
}

/// Why the checkpoint could not be read.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// Kafka did not answer as it should.
    Kafka(KafkaError),
    /// The end was not reached in time.
    Slow(Duration),
    /// A record of this connector that cannot be understood.
    Unreadable {
        /// Its offset.
        offset: i64,
        /// Why.
        cause: Unreadable,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kafka(error) => write!(f, "{error}"),
            Self::Slow(limit) => write!(f, "its end was not reached within {limit:?}"),
            Self::Unreadable { offset, cause } => write!(f, "at offset {offset}: {cause}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<KafkaError> for ReadError {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// Reads the newest checkpoint of a stream. Blocks for `limit` at most.
///
/// # Errors
/// See [`ReadError`].
pub fn read(
    mut config: ClientConfig,
    topic: &str,
    name: &str,
    shard: u32,
    limit: Duration,
) -> Result<Stored, ReadError> {
    let consumer: BaseConsumer = config
        // librdkafka wants a group for `assign`; no offset is ever committed to it.
        .set("group.id", format!("walpost.{name}"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let (low, high) = consumer.fetch_watermarks(topic, 0, limit)?;
    let near = low.max(high - WINDOW);
    let stored = scan(&consumer, topic, (near, high), (name, shard), limit)?;
    if stored.checkpoint.is_none() && near > low {
        return scan(&consumer, topic, (low, high), (name, shard), limit);
    }
    Ok(stored)
}

fn scan(
    consumer: &BaseConsumer,
    topic: &str,
    (from, to): (i64, i64),
    (name, shard): (&str, u32),
    limit: Duration,
) -> Result<Stored, ReadError> {
    let mut stored = Stored { watermark: to, ..Stored::default() };
    if from >= to {
        return Ok(stored);
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(from))?;
    consumer.assign(&assignment)?;
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Err(ReadError::Slow(limit));
        }
        match consumer.poll(left.min(Duration::from_millis(100))) {
            None => {}
            Some(Ok(record)) => {
                take(&mut stored, record.key(), record.payload(), record.offset(), (name, shard))?;
                if record.offset() + 1 >= to {
                    return Ok(stored);
                }
            }
            // The end that this consumer may read to, behind which nothing is committed.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(stored),
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

fn take(
    stored: &mut Stored,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    offset: i64,
    (name, shard): (&str, u32),
) -> Result<(), ReadError> {
    let Some(value) = value else {
        let generation = key
            .and_then(|key| std::str::from_utf8(key).ok())
            .and_then(|key| key.strip_prefix(&format!("{shard}/")))
            .and_then(|generation| generation.parse::<u64>().ok());
        if let Some(generation) = generation {
            stored.generations.remove(&generation);
        }
        return Ok(());
    };
    let checkpoint =
        Checkpoint::decode(value).map_err(|cause| ReadError::Unreadable { offset, cause })?;
    if checkpoint.name != name || checkpoint.shard != shard {
        return Ok(());
    }
    stored.generations.insert(checkpoint.generation);
    let newer =
        stored.checkpoint.as_ref().is_none_or(|newest| checkpoint.generation >= newest.generation);
    if newer {
        stored.checkpoint = Some(checkpoint);
    }
    Ok(())
}
