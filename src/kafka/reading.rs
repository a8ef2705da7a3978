//! Reading what a topic holds, once, from somewhere to its present end.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{ANSWER_LIMIT, Auxiliary};
use super::librdkafka::Seated;

/// How long nothing at all may come before the end is reached.
const SILENCE: Duration = Duration::from_secs(30);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is there.
    Beginning,
    /// At the first record that is not older than this: milliseconds since 1970, by Kafka's
    /// records.
    Time(i64),
}

/// What a partition holds: offsets from `low` up to before `high`. With transactions not each of
/// them is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first offset that is there.
    pub low: i64,
    /// The offset after the last record that a consumer of committed records may see.
    pub high: i64,
}

/// The partitions of a topic, by their numbers.
pub type Extents = BTreeMap<i32, Extent>;

/// A client that reads.
pub struct Reader {
    consumer: Seated<BaseConsumer>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// A client of its own, for as long as this lives.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &Auxiliary) -> Result<Self, KafkaError> {
        let consumer = config
            .clone()
            // librdkafka wants a group for `assign`; no offset is ever committed to it.
            .set("group.id", "walpost.reader")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "20")
            .consumer()?;
        Ok(Self { consumer })
    }

    /// What a topic holds; no partitions when it is missing. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn extents(&self, topic: &str) -> Result<Extents, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER_LIMIT)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(Extents::new());
        };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(Extents::new());
            }
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
            None => {}
        }
        let mut extents = Extents::new();
        for partition in found.partitions() {
            let (low, high) =
                self.consumer.fetch_watermarks(topic, partition.id(), ANSWER_LIMIT)?;
            extents.insert(partition.id(), Extent { low, high });
        }
        Ok(extents)
    }

    /// Calls `each` for the committed records of a topic, in the order of each partition, up to
    /// where the partitions ended when it began. Blocks; for a thread that may.
    ///
    /// # Errors
    /// The brokers refuse, do not answer, or stay silent for half a minute before the end.
    pub fn read(
        &self,
        topic: &str,
        start: Start,
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<Extents, KafkaError> {
        let extents = self.extents(topic)?;
        let mut left = self.beginnings(topic, &extents, start)?;
        let mut first = TopicPartitionList::new();
        for (partition, offset) in &left {
            first.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.consumer.assign(&first)?;
        let mut heard = tokio::time::Instant::now();
        while !left.is_empty() {
            let (partition, ended) = match self.consumer.poll(Duration::from_millis(100)) {
                None if heard.elapsed() >= SILENCE => {
                    let code = RDKafkaErrorCode::OperationTimedOut;
                    return Err(KafkaError::MessageConsumption(code));
                }
                None => continue,
                Some(Ok(record)) => {
                    let partition = record.partition();
                    let high = extents.get(&partition).map_or(0, |extent| extent.high);
                    if left.contains_key(&partition) && record.offset() < high {
                        each(&record);
                    }
                    (partition, record.offset() + 1 >= high)
                }
                // The end of what is committed, which may be before the last record.
                Some(Err(KafkaError::PartitionEOF(partition))) => (partition, true),
                Some(Err(error)) => return Err(error),
            };
            heard = tokio::time::Instant::now();
            if ended && left.remove(&partition).is_some() {
                let mut done = TopicPartitionList::new();
                done.add_partition(topic, partition);
                self.consumer.pause(&done)?;
            }
        }
        self.consumer.unassign()?;
        Ok(extents)
    }

    /// Where to begin in each partition that has anything to read.
    fn beginnings(
        &self,
        topic: &str,
        extents: &Extents,
        start: Start,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut found = TopicPartitionList::new();
        if let Start::Time(time) = start {
            for partition in extents.keys() {
                found.add_partition_offset(topic, *partition, Offset::Offset(time))?;
            }
            found = self.consumer.offsets_for_times(found, ANSWER_LIMIT)?;
        }
        let from = |partition: i32, extent: &Extent| match start {
            Start::Beginning => Some(extent.low),
            Start::Time(_) => match found.find_partition(topic, partition)?.offset() {
                Offset::Offset(offset) => Some(offset.max(extent.low)),
                // Every record is older.
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            },
        };
        let beginnings = extents
            .iter()
            .filter_map(|(partition, extent)| Some((*partition, from(*partition, extent)?, extent)))
            .filter(|(_, from, extent)| *from < extent.high);
        Ok(beginnings.map(|(partition, from, _)| (partition, from)).collect())
    }
}
