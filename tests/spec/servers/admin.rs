//! What a test does to a broker besides reading it, through librdkafka: Kafka's own tools take
//! seconds to start.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::{Kafka, PATIENCE, until};

impl Kafka {
    /// Makes a topic and waits until the broker knows it; `configs` as in [`Kafka::create_topic`].
    #[track_caller]
    pub(crate) fn make_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let replication = i32::try_from(self.brokers()).unwrap();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let made = wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        until("the new topic to be known", || {
            self.topics().contains(&name.to_owned()).then_some(())
        });
    }

    /// Gives a topic these configuration entries, and the broker's defaults for all others.
    #[track_caller]
    pub(crate) fn configure_topic(&self, name: &str, configs: &[(&str, &str)]) {
        let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in configs {
            wanted = wanted.set(key, value);
        }
        let altered = wait(self.admin().alter_configs([&wanted], &AdminOptions::new())).unwrap();
        assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    }

    /// Deletes a topic and waits until the broker has forgotten it.
    #[track_caller]
    pub(crate) fn delete_topic(&self, name: &str) {
        let deleted = wait(self.admin().delete_topics(&[name], &AdminOptions::new())).unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        until("the topic to be gone", || (!self.topics().contains(&name.to_owned())).then_some(()));
    }

    /// Writes one record, as some other program would.
    #[track_caller]
    pub(crate) fn write(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create().unwrap();
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        record.key = key;
        record.payload = value;
        producer.send(record).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    /// Calls `each` for the first `count` records of a topic of one partition as they arrive, without
    /// keeping them; returns how many came within `time`.
    #[track_caller]
    pub(crate) fn for_each_record(
        &self,
        topic: &str,
        (count, time): (usize, Duration),
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> usize {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "walpost-tests")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let end = Instant::now() + time;
        let mut seen = 0;
        while seen < count && Instant::now() < end {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => {
                    seen += 1;
                    each(&record);
                }
                // Not made yet: the relay's first record makes it.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::UnknownTopicOrPartition,
                ))) => {}
                Some(Err(error)) => panic!("cannot read {topic}: {error}"),
                None => {}
            }
        }
        seen
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create().unwrap()
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
