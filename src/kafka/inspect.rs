//! Questions to Kafka that change nothing, not even a topic that brokers would make when asked.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::client::{ANSWER_LIMIT, Auxiliary};
use super::librdkafka::Seated;
use super::topics::Wanted;

/// A topic that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    /// How many partitions it has.
    pub partitions: usize,
    /// Copies of the partition that has the fewest.
    pub copies: usize,
    /// Copies in step of the partition that has the fewest.
    pub in_sync: usize,
    /// A partition has no leader, so cannot be written to.
    pub leaderless: bool,
}

/// What the brokers know of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is there.
    There(TopicState),
    /// It is not.
    Missing,
    /// We may not see it, so may not write to it either.
    Forbidden,
    /// They did not answer, or with something else.
    Unanswered(String),
}

/// Entries of a configuration, by their names.
pub type Entries = BTreeMap<String, String>;

/// A client that only asks.
pub struct Inspector {
    consumer: Seated<BaseConsumer>,
    admin: Seated<AdminClient<DefaultClientContext>>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inspector")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_LIMIT)).operation_timeout(Some(ANSWER_LIMIT))
}

impl Inspector {
    /// Clients of its own, for as long as this lives.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &Auxiliary) -> Result<Self, KafkaError> {
        // A producer's question for a topic makes it, where brokers do that; a consumer's does
        // not, unless it says so.
        let mut passive = config.clone();
        passive.set("allow.auto.create.topics", "false");
        Ok(Self { consumer: passive.consumer()?, admin: config.admin()? })
    }

    /// What the brokers know of a topic. Blocks.
    #[must_use]
    pub fn topic(&self, name: &str) -> Known {
        let metadata = match self.consumer.fetch_metadata(Some(name), ANSWER_LIMIT) {
            Ok(metadata) => metadata,
            Err(error) => return unknown(error.rdkafka_error_code(), &error.to_string()),
        };
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Known::Missing;
        };
        if let Some(error) = topic.error() {
            let code = RDKafkaErrorCode::from(error);
            return unknown(Some(code), &code.to_string());
        }
        let partitions = topic.partitions();
        if partitions.is_empty() {
            return Known::Missing;
        }
        Known::There(TopicState {
            partitions: partitions.len(),
            copies: partitions.iter().map(|p| p.replicas().len()).min().unwrap_or(0),
            in_sync: partitions.iter().map(|p| p.isr().len()).min().unwrap_or(0),
            leaderless: partitions.iter().any(|partition| partition.leader() < 0),
        })
    }

    /// Number of brokers, and the id of one of them. Blocks.
    #[must_use]
    pub fn brokers(&self) -> Option<(usize, i32)> {
        // A topic's name keeps the answer short; the name is impossible, so nothing is made.
        let metadata = self.consumer.fetch_metadata(Some("."), ANSWER_LIMIT).ok()?;
        let first = metadata.brokers().first()?.id();
        Some((metadata.brokers().len(), first))
    }

    /// A topic's configuration.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub async fn topic_entries(&self, topic: &str) -> Result<Entries, KafkaError> {
        self.entries(&ResourceSpecifier::Topic(topic)).await
    }

    /// A broker's configuration.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub async fn broker_entries(&self, broker: i32) -> Result<Entries, KafkaError> {
        self.entries(&ResourceSpecifier::Broker(broker)).await
    }

    async fn entries(&self, of: &ResourceSpecifier<'_>) -> Result<Entries, KafkaError> {
        let results = self.admin.describe_configs([of], &options()).await?;
        match results.into_iter().next() {
            Some(Ok(resource)) => Ok(resource
                .entries
                .into_iter()
                .filter_map(|entry| Some((entry.name, entry.value?)))
                .collect()),
            Some(Err(code)) => Err(KafkaError::AdminOp(code)),
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Unknown)),
        }
    }

    /// Whether a topic could be made like this. The brokers only check it.
    ///
    /// # Errors
    /// They would refuse, or do not answer.
    pub async fn could_make(&self, wanted: Wanted<'_>) -> Result<(), KafkaError> {
        let topic = wanted.config.iter().fold(
            NewTopic::new(
                wanted.name,
                wanted.partitions,
                TopicReplication::Fixed(wanted.replication),
            ),
            |topic, (key, value)| topic.set(key, value),
        );
        let results = self.admin.create_topics([&topic], &options().validate_only(true)).await?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Unknown)),
        }
    }
}

fn unknown(code: Option<RDKafkaErrorCode>, text: &str) -> Known {
    match code {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Known::Missing
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => Known::Forbidden,
        _ => Known::Unanswered(text.to_owned()),
    }
}
