//! A consumer that is a member of a group, as an application has one.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::servers::{Kafka, PATIENCE, until, within};

/// A member of a group that reads one topic, from its beginning where the group has no place.
///
/// A group's first moments and those of its coordinator are full of errors that pass (it is loaded, it is
/// not available, the group rebalances). As an application does, a member goes on after them; one that does
/// not pass is the last one named when the patience ends.
pub(crate) struct Member {
    consumer: BaseConsumer,
    topic: String,
}

impl Member {
    pub(crate) fn join(kafka: &Kafka, group: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        Self { consumer, topic: topic.to_owned() }
    }

    /// Is there for a moment, as a rebalance wants it, and reads nothing.
    pub(crate) fn attend(&self) {
        if let Some(Ok(record)) = self.consumer.poll(Duration::from_millis(50)) {
            panic!("{} had a record at {}", self.topic, record.offset());
        }
    }

    /// Reads so many records and stores the place behind each; their offsets.
    #[track_caller]
    pub(crate) fn read(&self, count: usize) -> Vec<i64> {
        let mut offsets = Vec::new();
        let mut last = None;
        let done = within(PATIENCE, || {
            match self.next() {
                Ok(Some(offset)) => offsets.push(offset),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            (offsets.len() == count).then_some(())
        });
        assert!(done.is_some(), "{} of {count} records of {}: {last:?}", offsets.len(), self.topic);
        offsets
    }

    /// One record, when there is one, and its place stored.
    fn next(&self) -> Result<Option<i64>, KafkaError> {
        let Some(record) = self.consumer.poll(Duration::from_millis(100)).transpose()? else {
            return Ok(None);
        };
        // One whose place could not be stored is read again from where the group stands, here or by the
        // member that has its partition then.
        if let Err(error) = self.consumer.commit_message(&record, CommitMode::Sync) {
            self.consumer.seek(
                record.topic(),
                record.partition(),
                Offset::Offset(record.offset()),
                Duration::from_secs(5),
            )?;
            return Err(error);
        }
        Ok(Some(record.offset()))
    }

    /// Reads until the group has stored that it read `count` records of the topic's first `partitions`
    /// partitions in all.
    #[track_caller]
    pub(crate) fn read_to(&self, partitions: i32, count: u32) {
        let mut places = TopicPartitionList::new();
        places.add_partition_range(&self.topic, 0, partitions - 1);
        let mut last = None;
        until(&format!("{count} records to be read"), || {
            if let Some(Err(error)) = self.consumer.poll(Duration::from_millis(100)) {
                last = Some(error);
            }
            if let Err(error) = self.consumer.commit_consumer_state(CommitMode::Sync) {
                last = Some(error);
            }
            let stored =
                self.consumer.committed_offsets(places.clone(), Duration::from_secs(5)).ok()?;
            let stored = stored.elements();
            let stored: i64 =
                stored.iter().filter_map(|it| it.offset().to_raw()).map(|it| it.max(0)).sum();
            assert!(stored <= i64::from(count), "{stored} of {count} records, last {last:?}");
            (stored == i64::from(count)).then_some(())
        });
    }
}
