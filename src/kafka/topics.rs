//! walpost's own topics: made where they are missing, checked where they are there.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::client::{ANSWER_LIMIT, Auxiliary};
use super::librdkafka::Seated;

/// What happened to a topic that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was missing and is there now.
    Created,
    /// It was there.
    Existed,
}

/// Questions and changes to topics.
pub struct Topics {
    admin: Seated<AdminClient<DefaultClientContext>>,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Topics")
    }
}

/// How a topic is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name.
    pub name: &'a str,
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of each; -1 is the broker's default.
    pub replication: i32,
    /// Topic configuration.
    pub config: &'a [(&'a str, &'a str)],
}

/// Configuration of the checkpoint topic: compacted at once and kept short, because a start reads
/// it; records are small, so segments are too.
pub const CHECKPOINT_CONFIG: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1048576"),
    ("segment.ms", "3600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "3600000"),
    ("max.compaction.lag.ms", "3600000"),
];

/// Configuration of the dead-letter topic: a letter stays until somebody has dealt with it.
pub const DEAD_LETTER_CONFIG: &[(&str, &str)] =
    &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

impl Topics {
    /// A client of its own, for as long as this lives.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &Auxiliary) -> Result<Self, KafkaError> {
        Ok(Self { admin: config.admin()? })
    }

    fn options() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(ANSWER_LIMIT))
            .operation_timeout(Some(ANSWER_LIMIT))
    }

    /// Makes a topic unless it is there.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub async fn ensure(&self, wanted: Wanted<'_>) -> Result<Made, KafkaError> {
        let topic = wanted.config.iter().fold(
            NewTopic::new(
                wanted.name,
                wanted.partitions,
                TopicReplication::Fixed(wanted.replication),
            ),
            |topic, (key, value)| topic.set(key, value),
        );
        let results = self.admin.create_topics([&topic], &Self::options()).await?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(Made::Created),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Made::Existed),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Unknown)),
        }
    }

    /// The value of one of a topic's configuration entries.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer; an unknown topic is `UnknownTopicOrPartition`.
    pub async fn config(&self, topic: &str, entry: &str) -> Result<Option<String>, KafkaError> {
        let results = self
            .admin
            .describe_configs([&ResourceSpecifier::Topic(topic)], &Self::options())
            .await?;
        match results.into_iter().next() {
            Some(Ok(resource)) => Ok(resource
                .entries
                .into_iter()
                .find(|found| found.name == entry)
                .and_then(|found| found.value)),
            Some(Err(code)) => Err(KafkaError::AdminOp(code)),
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Unknown)),
        }
    }
}
