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

/// Reads topics from their beginning, each record once.
pub(super) struct Reader {
    consumer: BaseConsumer,
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
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("group.id", "walpost-oracle")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "20")
            // A broker that was down is tried again soon.
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        Self { consumer, topics, next: BTreeMap::new() }
    }

    /// Hands over every record that was there when this was called and was not handed over before,
    /// with the number of its topic.
    #[track_caller]
    pub(super) fn read(&mut self, mut take: impl FnMut(usize, &BorrowedMessage<'_>)) {
        let ends = self.ends();
        if self.consumer.assignment().unwrap().count() < ends.len() {
            let mut list = TopicPartitionList::new();
            for (topic, partition) in ends.keys() {
                let next = *self.next.entry((topic.clone(), *partition)).or_insert(0);
                list.add_partition_offset(topic, *partition, Offset::Offset(next)).unwrap();
            }
            self.consumer.assign(&list).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        let unread = |next: &Ends| ends.iter().any(|(partition, end)| next[partition] < *end);
        while unread(&self.next) {
            assert!(Instant::now() < deadline, "{:?} not read to {ends:?} in time", self.next);
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let topic = self.topics.iter().position(|topic| topic == message.topic());
                    take(topic.unwrap(), &message);
                    let partition = (message.topic().to_owned(), message.partition());
                    // Compaction and transaction markers leave gaps.
                    self.next.insert(partition, message.offset() + 1);
                }
                // A broker that comes back from an outage; the deadline holds.
                Some(Err(error)) => println!("reading {:?}: {error}", self.topics),
                None => self.skip_gap(&ends),
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

    /// A partition whose last offsets were compacted away never delivers them.
    fn skip_gap(&mut self, ends: &Ends) {
        let positions = self.consumer.position().unwrap();
        for place in positions.elements() {
            let partition = (place.topic().to_owned(), place.partition());
            if let (Offset::Offset(at), Some(end)) = (place.offset(), ends.get(&partition))
                && at >= *end
            {
                self.next.insert(partition, at);
            }
        }
    }

    /// Where the partitions end. A broker that was frozen has no leaders for a moment when it comes
    /// back, so it is asked until it answers.
    #[track_caller]
    pub(super) fn ends(&self) -> Ends {
        until("the ends of all partitions", || self.try_ends().ok())
    }

    fn try_ends(&self) -> Result<Ends, KafkaError> {
        let mut ends = BTreeMap::new();
        for name in &self.topics {
            let metadata = self.consumer.fetch_metadata(Some(name), PATIENCE)?;
            for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
                for partition in topic.partitions() {
                    let (_, end) =
                        self.consumer.fetch_watermarks(name, partition.id(), PATIENCE)?;
                    ends.insert((name.clone(), partition.id()), end);
                }
            }
        }
        Ok(ends)
    }
}
