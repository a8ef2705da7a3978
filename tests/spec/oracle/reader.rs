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

/// How long a client may get nothing, until another one takes its place. A client of librdkafka (2.12.1)
/// that met a broker which had just been frozen has been seen to wait for a partition's leader for more
/// than a minute, while one that came then was served at once; what is tried here is not the reader.
const NOTHING: Duration = Duration::from_secs(15);

/// Reads topics from their beginning, each record once, as a consumer of committed records does.
pub(super) struct Reader {
    bootstrap: String,
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
        let bootstrap = kafka.bootstrap();
        let consumers = topics.iter().map(|_| consumer(&bootstrap)).collect();
        Self { bootstrap, consumers, topics, next: BTreeMap::new() }
    }

    /// Hands over every record that was there when this was called and was not handed over before,
    /// with the number of its topic.
    #[track_caller]
    pub(super) fn read(&mut self, mut take: impl FnMut(usize, &BorrowedMessage<'_>)) {
        let ends = self.ends();
        for (number, topic) in self.topics.iter().enumerate() {
            let unread = not_handed_over(&mut self.next, topic, &ends);
            let mut unfinished = unread.count();
            if unfinished == 0 {
                continue;
            }
            // Assigned anew, so that an end that is told is one that was found after this.
            self.consumers[number].assign(&unread).unwrap();
            let deadline = Instant::now() + PATIENCE;
            let mut heard = Instant::now();
            let mut trouble = None;
            while unfinished > 0 {
                assert!(
                    Instant::now() < deadline,
                    "{:?} not read to {ends:?} in time; last {trouble:?}",
                    self.next
                );
                if heard.elapsed() > NOTHING {
                    heard = Instant::now();
                    self.consumers[number] = consumer(&self.bootstrap);
                    let unread = not_handed_over(&mut self.next, topic, &ends);
                    unfinished = unread.count();
                    self.consumers[number].assign(&unread).unwrap();
                }
                match self.consumers[number].poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => {
                        heard = Instant::now();
                        take(number, &message);
                        let place = (topic.clone(), message.partition());
                        self.next.insert(place, message.offset() + 1);
                    }
                    // Compaction and the marks of transactions leave gaps, also at the end.
                    Some(Err(KafkaError::PartitionEOF(partition))) => {
                        heard = Instant::now();
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
        let mut asked = Instant::now();
        let mut other: Option<Vec<BaseConsumer>> = None;
        until("the ends of all partitions", || {
            if asked.elapsed() > NOTHING {
                asked = Instant::now();
                other = Some(self.topics.iter().map(|_| consumer(&self.bootstrap)).collect());
            }
            self.try_ends(other.as_ref().unwrap_or(&self.consumers)).ok()
        })
    }

    fn try_ends(&self, consumers: &[BaseConsumer]) -> Result<Ends, KafkaError> {
        let mut ends = BTreeMap::new();
        for (consumer, name) in consumers.iter().zip(&self.topics) {
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

/// What a topic has before `ends` that was not handed over.
fn not_handed_over(next: &mut Ends, topic: &str, ends: &Ends) -> TopicPartitionList {
    let mut unread = TopicPartitionList::new();
    for (place, end) in ends.iter().filter(|((name, _), _)| name == topic) {
        let next = *next.entry(place.clone()).or_insert(0);
        if next < *end {
            unread.add_partition_offset(topic, place.1, Offset::Offset(next)).unwrap();
        }
    }
    unread
}

fn consumer(bootstrap: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
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
}
