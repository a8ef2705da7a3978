//! Topics, read further each time.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::time::Instant;

use super::super::servers::{Kafka, PATIENCE, until};

/// How long a broker may take to answer, until it is asked again: a question that met a partition
/// without a leader is answered only by its time-out.
const ANSWER: Duration = Duration::from_secs(5);

/// Reads topics from their beginning, each record once, as a consumer of committed records does.
pub(super) struct Reader {
    /// One for each topic: what says that the end of a partition is reached does not say of which
    /// topic.
    consumers: Vec<BaseConsumer>,
    topics: Vec<String>,
    /// The next offset of each partition that is read.
    next: Ends,
}

/// An offset of each partition.
pub(super) type Ends = BTreeMap<(String, i32), i64>;

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(kafka: &Kafka, topics: Vec<String>) -> Self {
        let consumer = || {
            ClientConfig::new()
                .set("bootstrap.servers", kafka.bootstrap())
                .set("group.id", "walpost-oracle")
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "earliest")
                .set("isolation.level", "read_committed")
                .set("allow.auto.create.topics", "false")
                .set("fetch.wait.max.ms", "20")
                // A broker that was down is tried again soon.
                .set("reconnect.backoff.max.ms", "500")
                .create()
                .unwrap()
        };
        let consumers = topics.iter().map(|_| consumer()).collect();
        Self { consumers, topics, next: BTreeMap::new() }
    }

    /// Hands over every record that was there when this was called and was not handed over before,
    /// with the number of its topic.
    #[track_caller]
    pub(super) fn read(&mut self, mut take: impl FnMut(usize, &BorrowedMessage<'_>)) {
        let ends = self.ends();
        for (number, topic) in self.topics.iter().enumerate() {
            let mut unread = TopicPartitionList::new();
            for (place, end) in ends.iter().filter(|((name, _), _)| name == topic) {
                let next = *self.next.entry(place.clone()).or_insert(0);
                if next < *end {
                    unread.add_partition_offset(topic, place.1, Offset::Offset(next)).unwrap();
                }
            }
            let mut unfinished = unread.count();
            if unfinished == 0 {
                continue;
            }
            let consumer = &self.consumers[number];
            // Assigned anew, so that an end that is told is one that was found after this.
            consumer.assign(&unread).unwrap();
            let deadline = Instant::now() + PATIENCE;
            let mut trouble = None;
            while unfinished > 0 {
                assert!(
                    Instant::now() < deadline,
                    "{:?} not read to {ends:?} in time; last {trouble:?}",
                    self.next
                );
                match consumer.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => {
                        take(number, &message);
                        let place = (topic.clone(), message.partition());
                        self.next.insert(place, message.offset() + 1);
                    }
                    // Compaction and the marks of transactions leave gaps, also at the end.
                    Some(Err(KafkaError::PartitionEOF(partition))) => {
                        let place = (topic.clone(), partition);
                        let next = self.next[&place].max(ends[&place]);
                        self.next.insert(place, next);
                        unfinished -= 1;
                    }
                    // A broker that comes back from an outage; the deadline holds.
                    Some(Err(error)) => trouble = Some(error),
                    None => {}
                }
            }
        }
    }

    /// Leaves out what lies before these ends.
    pub(super) fn begin_at(&mut self, ends: &Ends) {
        self.next.clone_from(ends);
    }

    /// The sum of the ends of all partitions.
    #[track_caller]
    pub(super) fn end(&self) -> i64 {
        self.ends().values().sum()
    }

    /// Where the partitions end. A broker that was frozen has no leaders for a moment when it comes
    /// back, so it is asked until it answers.
    #[track_caller]
    pub(super) fn ends(&self) -> Ends {
        until("the ends of all partitions", || self.try_ends().ok())
    }

    fn try_ends(&self) -> Result<Ends, KafkaError> {
        let mut ends = BTreeMap::new();
        for (consumer, name) in self.consumers.iter().zip(&self.topics) {
            let metadata = consumer.fetch_metadata(Some(name), ANSWER)?;
            for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
                for partition in topic.partitions() {
                    let (_, end) = consumer.fetch_watermarks(name, partition.id(), ANSWER)?;
                    ends.insert((name.clone(), partition.id()), end);
                }
            }
        }
        Ok(ends)
    }
}
