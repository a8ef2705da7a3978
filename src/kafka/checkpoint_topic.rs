//! Reading the checkpoint topic.
//!
//! The topic has one partition, is compacted and keeps small segments, so that what is read at a
//! start is short. Records of one generation lie in order; a process that was frozen may write
//! one more record of its older generation behind those of its successor, so the highest
//! generation counts, and within it the last record.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::checkpoint::{Checkpoint, StreamId, Unreadable};
use super::client::Auxiliary;
use super::librdkafka::Seated;
use crate::mutant::{self, Mutant};

/// How many records before the end are looked at first. A generation writes at most ten a second
/// and one at a time, so the newest record of the newest generation is among them.
const WINDOW: i64 = 1_000;

/// Says what goes wrong, of which the end of the topic is nothing.
pub(super) struct Quiet {
    /// To whoever operates walpost. A client that waits beside the relay's own would only repeat it.
    pub(super) warns: bool,
}

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        if self.warns {
            tracing::warn!(target: "librdkafka", %error, "{reason}");
        } else {
            tracing::debug!(target: "librdkafka", %error, "{reason}");
        }
    }
}

impl ConsumerContext for Quiet {}

/// A client that reads the topic.
pub(super) type Reader = Seated<BaseConsumer<Quiet>>;

/// What the topic says of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The newest record of the highest generation.
    pub checkpoint: Option<Checkpoint>,
    /// Generations of this stream that have a record, for cleaning up.
    pub generations: BTreeSet<u64>,
    /// Where the topic ended when it was read: every record before was looked at.
    pub watermark: i64,
    /// When [`Self::checkpoint`] was written, milliseconds since 1970 by Kafka's record.
    pub written_at: Option<i64>,
    /// The last record that cannot be read and that no later one puts right. What it says of this
    /// stream is not known, so nothing may go on from [`Self::checkpoint`].
    pub unreadable: Option<UnreadableRecord>,
    /// The newest record of this connector from when it had another number of streams, as long as
    /// nothing of this stream is newer. Then the connector's place is not the one of this stream.
    pub otherwise: Option<Checkpoint>,
}

impl Stored {
    /// The number of streams that the connector has by what is stored, where it is not this
    /// stream's.
    #[must_use]
    pub fn other_shards(&self) -> Option<u32> {
        let other = self.otherwise.as_ref()?;
        let newest = self.checkpoint.as_ref();
        newest.is_none_or(|newest| newest.generation < other.generation).then_some(other.shards)
    }
}

/// A record of the topic that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord {
    /// Its offset.
    pub offset: i64,
    /// Why.
    pub cause: Unreadable,
    /// The generation that its key names, if that is a key of this stream's.
    pub generation: Option<u64>,
}

/// Why the checkpoint could not be read.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// Kafka did not answer as it should.
    Kafka(KafkaError),
    /// The end was not reached in time.
    Slow(Duration),
    /// Somebody writes to it in a transaction that has not ended. What that says is not known.
    Open,
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
            Self::Open => f.write_str("a transaction that writes to it has not ended"),
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
    config: Auxiliary,
    topic: &str,
    stream: &StreamId,
    limit: Duration,
) -> Result<Stored, ReadError> {
    let stored = survey(config, topic, stream, limit)?;
    match stored.unreadable {
        Some(UnreadableRecord { offset, cause, .. }) => {
            Err(ReadError::Unreadable { offset, cause })
        }
        None => Ok(stored),
    }
}

/// As [`read`], but an unreadable record is part of the answer: for whoever writes a good one
/// behind it.
///
/// # Errors
/// Kafka does not answer as it should.
pub fn survey(
    config: Auxiliary,
    topic: &str,
    stream: &StreamId,
    limit: Duration,
) -> Result<Stored, ReadError> {
    let consumer = consumer(config, &stream.name, "read_committed", Quiet { warns: true })?;
    let bounds = consumer.fetch_watermarks(topic, 0, limit)?;
    newest(&consumer, topic, stream, bounds, limit)
}

/// A client that reads the topic.
pub(super) fn consumer(
    mut config: Auxiliary,
    name: &str,
    isolation: &str,
    says: Quiet,
) -> Result<Reader, KafkaError> {
    config
        // librdkafka wants a group for `assign`; no offset is ever committed to it.
        .set("group.id", format!("walpost.{name}"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", isolation)
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "10")
        .consumer_with(says)
}

/// What lies between these two offsets; the second one is behind the last record.
pub(super) fn newest(
    consumer: &Reader,
    topic: &str,
    stream: &StreamId,
    (low, high): (i64, i64),
    limit: Duration,
) -> Result<Stored, ReadError> {
    // Several streams write to one topic, each at its own pace, and the newest record of one that
    // stands still may lie anywhere.
    let near = if stream.shards > 1 { low } else { low.max(high - WINDOW) };
    let stored = scan(consumer, topic, (near, high), stream, limit)?;
    if stored.checkpoint.is_none() && near > low {
        return scan(consumer, topic, (low, high), stream, limit);
    }
    Ok(stored)
}

fn scan(
    consumer: &Reader,
    topic: &str,
    (from, to): (i64, i64),
    stream: &StreamId,
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
                let found = Found {
                    key: record.key(),
                    value: record.payload(),
                    offset: record.offset(),
                    written_at: record.timestamp().to_millis(),
                };
                take(&mut stored, &found, stream);
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

/// One record of the topic.
struct Found<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    offset: i64,
    written_at: Option<i64>,
}

fn take(stored: &mut Stored, found: &Found<'_>, stream: &StreamId) {
    let key = found.key.and_then(of_key);
    let generation =
        key.and_then(|(shard, generation)| (shard == stream.shard).then_some(generation));
    let Some(value) = found.value else {
        if let Some(generation) = generation {
            stored.generations.remove(&generation);
            // Whoever removes a record by its key has written a later one before.
            let removed = |record: &UnreadableRecord| record.generation == Some(generation);
            if stored.unreadable.as_ref().is_some_and(removed) {
                stored.unreadable = None;
            }
        }
        let removed = |other: &Checkpoint| key == Some((other.shard, other.generation));
        if stored.otherwise.as_ref().is_some_and(removed) {
            stored.otherwise = None;
        }
        return;
    };
    let checkpoint = match Checkpoint::decode(value) {
        Ok(checkpoint) if checkpoint.name != stream.name => return,
        Ok(checkpoint) if checkpoint.shards != stream.shards => {
            let newer = |newest: &Checkpoint| checkpoint.generation >= newest.generation;
            if stored.otherwise.as_ref().is_none_or(newer) {
                stored.otherwise = Some(checkpoint);
            }
            return;
        }
        Ok(checkpoint) if checkpoint.shard != stream.shard => return,
        Ok(checkpoint) => checkpoint,
        // The key of another stream of this connector: that one has to say something about it.
        Err(_) if key.is_some_and(|(shard, _)| shard != stream.shard && shard < stream.shards) => {
            return;
        }
        Err(cause) => {
            stored.generations.extend(generation);
            stored.unreadable = Some(UnreadableRecord { offset: found.offset, cause, generation });
            return;
        }
    };
    stored.generations.insert(checkpoint.generation);
    // A record of a higher generation was written by somebody who knew what to do about an
    // unreadable one. Where its key names no generation, it was nobody's of this stream, and any
    // later record of the stream tells where it stands.
    let behind = |record: &UnreadableRecord| {
        record.generation.is_none_or(|unreadable| checkpoint.generation > unreadable)
    };
    if stored.unreadable.as_ref().is_some_and(behind) {
        stored.unreadable = None;
    }
    let newer = mutant::is(Mutant::NewestByOffset)
        || stored
            .checkpoint
            .as_ref()
            .is_none_or(|newest| checkpoint.generation >= newest.generation);
    if newer {
        stored.checkpoint = Some(checkpoint);
        stored.written_at = found.written_at;
    }
}

/// Shard and generation of a key.
fn of_key(key: &[u8]) -> Option<(u32, u64)> {
    let (shard, generation) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some((shard.parse().ok()?, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::checkpoint::{FORMAT, tests::checkpoint};

    fn stream(shard: u32, shards: u32) -> StreamId {
        StreamId { name: "shop.walpost".to_owned(), shard, shards }
    }

    fn record_of(shard: u32, shards: u32, generation: u64) -> Vec<u8> {
        Checkpoint { shard, shards, generation, ..checkpoint() }.encode()
    }

    /// Takes records of key and value as this stream, and compares the generation that counts and
    /// the other number of streams that the connector has.
    #[track_caller]
    fn check_stream(
        of: &StreamId,
        records: &[(&str, Option<&[u8]>)],
        expected: (Option<u64>, Option<u32>),
    ) {
        let mut stored = Stored::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let found =
                Found { key: Some(key.as_bytes()), value: *value, offset, written_at: None };
            take(&mut stored, &found, of);
        }
        let generation = stored.checkpoint.as_ref().map(|checkpoint| checkpoint.generation);
        assert_eq!((generation, stored.other_shards()), expected, "{stored:?}");
        assert_eq!(stored.unreadable, None);
    }

    #[test]
    fn a_stream_reads_its_own_records_and_knows_of_another_number_of_streams() {
        let (one, first, second) = (record_of(0, 1, 7), record_of(0, 2, 8), record_of(1, 2, 8));
        let before = [("0/7", Some(one.as_slice()))];
        check_stream(&stream(0, 1), &before, (Some(7), None));
        check_stream(&stream(0, 2), &before, (None, Some(1)));
        let both =
            [before[0], ("0/8", Some(&first[..])), ("1/8", Some(&second[..])), ("0/7", None)];
        check_stream(&stream(0, 2), &both, (Some(8), None));
        check_stream(&stream(1, 2), &both, (Some(8), None));
        check_stream(&stream(0, 1), &both, (Some(7), Some(2)));
        // A record of the old set that comes late is older than all of the new one.
        check_stream(&stream(1, 2), &[both[1], both[2], before[0]], (Some(8), None));
        // Another stream's record that cannot be read is not ours to judge.
        check_stream(&stream(0, 2), &[both[1], ("1/9", Some(b"garbage"))], (Some(8), None));
    }

    fn record(generation: u64) -> Vec<u8> {
        Checkpoint { generation, ..checkpoint() }.encode()
    }

    /// Takes records of key and value, and compares the generation that counts and whether it may
    /// be used.
    #[track_caller]
    fn check(records: &[(&str, Option<&[u8]>)], expected: Option<u64>, usable: bool) {
        let mut stored = Stored::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let found =
                Found { key: Some(key.as_bytes()), value: *value, offset, written_at: Some(1) };
            take(&mut stored, &found, &stream(0, 1));
        }
        let generation = stored.checkpoint.as_ref().map(|checkpoint| checkpoint.generation);
        assert_eq!((generation, stored.unreadable.is_none()), (expected, usable), "{stored:?}");
    }

    #[test]
    fn the_last_record_of_the_highest_generation_counts() {
        check(&[], None, true);
        check(&[("0/1", Some(&record(1))), ("0/2", Some(&record(2)))], Some(2), true);
        check(&[("0/2", Some(&record(2))), ("0/1", Some(&record(1)))], Some(2), true);
    }

    #[test]
    fn an_unreadable_record_forbids_what_lies_before_it() {
        check(&[("0/1", Some(&record(1))), ("x", Some(b"garbage"))], Some(1), false);
        check(&[("x", Some(b"garbage"))], None, false);
    }

    #[test]
    fn a_record_behind_an_unreadable_one_puts_it_right() {
        check(&[("x", Some(b"garbage")), ("0/2", Some(&record(2)))], Some(2), true);
        let newer = format!("{{\"format\":{}}}", FORMAT + 1);
        let newer = Some(newer.as_bytes());
        check(&[("0/5", newer), ("0/6", Some(&record(6)))], Some(6), true);
        check(&[("0/5", newer), ("0/5", None)], None, true);
    }

    #[test]
    fn a_late_record_of_an_older_generation_does_not_hide_a_newer_program() {
        let newer = format!("{{\"format\":{}}}", FORMAT + 1);
        check(&[("0/5", Some(newer.as_bytes())), ("0/4", Some(&record(4)))], Some(4), false);
    }
}
