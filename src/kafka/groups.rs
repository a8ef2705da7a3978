//! Consumer groups: where they stand in topics, and setting them somewhere else.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{ANSWER_LIMIT, Auxiliary};
use super::librdkafka::Seated;

/// A consumer group as its coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Kafka's word: `Stable`, `Empty`, `PreparingRebalance`, …; `Dead` for one that nobody knows.
    pub word: String,
    /// Consumers in it.
    pub members: usize,
}

/// Where a group stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The next offset that it reads; `None` when it has stored none.
    pub next: Option<i64>,
    /// The first offset that is there.
    pub low: i64,
    /// The offset after the last record.
    pub high: i64,
}

impl Standing {
    /// Records before the end, as far as offsets tell.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        self.next.map(|next| self.high.saturating_sub(next.max(self.low)).max(0))
    }
}

/// By topic and partition.
pub type Standings = BTreeMap<(String, i32), Standing>;

/// One group. Never joins it.
pub struct Group {
    consumer: Seated<BaseConsumer>,
    name: String,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Group {
    /// A client of its own, for as long as this lives.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &Auxiliary, name: &str) -> Result<Self, KafkaError> {
        let consumer = config
            .clone()
            .set("group.id", name)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .consumer()?;
        Ok(Self { consumer, name: name.to_owned() })
    }

    /// Whether it is at work. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn state(&self) -> Result<State, KafkaError> {
        let list = self.consumer.fetch_group_list(Some(&self.name), ANSWER_LIMIT)?;
        let found = list.groups().iter().find(|group| group.name() == self.name);
        Ok(found.map_or_else(
            || State { word: "Dead".to_owned(), members: 0 },
            |group| State { word: group.state().to_owned(), members: group.members().len() },
        ))
    }

    /// Where it stands: in these topics, or in all where it has stored something. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn standings(&self, topics: &[String]) -> Result<Standings, KafkaError> {
        let metadata = self.consumer.fetch_metadata(None, ANSWER_LIMIT)?;
        let mut asked = TopicPartitionList::new();
        for topic in metadata.topics() {
            if topics.is_empty() || topics.iter().any(|name| name == topic.name()) {
                for partition in topic.partitions() {
                    asked.add_partition(topic.name(), partition.id());
                }
            }
        }
        let committed = self.consumer.committed_offsets(asked, ANSWER_LIMIT)?;
        let mut standings = Standings::new();
        for element in committed.elements() {
            let next = match element.offset() {
                Offset::Offset(next) => Some(next),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            };
            if next.is_none() && topics.is_empty() {
                continue;
            }
            let (topic, partition) = (element.topic(), element.partition());
            let (low, high) = self.consumer.fetch_watermarks(topic, partition, ANSWER_LIMIT)?;
            standings.insert((topic.to_owned(), partition), Standing { next, low, high });
        }
        Ok(standings)
    }

    /// The first record of each partition that is not older than this moment, milliseconds since
    /// 1970; the end where all are. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn at(
        &self,
        standings: &Standings,
        millis: i64,
    ) -> Result<BTreeMap<(String, i32), i64>, KafkaError> {
        let mut times = TopicPartitionList::new();
        for (topic, partition) in standings.keys() {
            times.add_partition_offset(topic, *partition, Offset::Offset(millis))?;
        }
        let found = self.consumer.offsets_for_times(times, ANSWER_LIMIT)?;
        let offset = |(topic, partition): &(String, i32)| {
            found.find_partition(topic, *partition).and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            })
        };
        let places = standings
            .iter()
            .map(|(place, standing)| (place.clone(), offset(place).unwrap_or(standing.high)));
        Ok(places.collect())
    }

    /// Stores these offsets for the group. Kafka refuses while the group has members. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn set(&self, places: &BTreeMap<(String, i32), i64>) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in places {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.consumer.commit(&list, CommitMode::Sync)
    }
}
