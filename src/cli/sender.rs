//! Sends records in order, within a budget of what is under way, for the commands that send.
//!
//! It ends at the first record that Kafka does not take: what was enqueued behind it is not
//! known to be written, and is for the command to look up or to send again.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::output;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::batch_limits::{MAX_MESSAGE_BYTES, alone, configured};
use crate::kafka::client::{ANSWER_LIMIT, auxiliary, producer_properties};
use crate::kafka::librdkafka::{ClientError, Happening};
use crate::kafka::producer::{Meaning, Producer, Resolution, TopicId, meaning};
use crate::kafka::topics::{Topics, Wanted};

/// Weight of a record beside its bytes, as the relay counts it.
const RECORD_OVERHEAD: usize = 256;

/// How often troubles that pass by themselves are told.
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the consequences of an error may be known before the error itself is.
const CAUSE_LIMIT: Duration = Duration::from_secs(2);

/// The longest wait without a look at the clock.
const PAUSE: Duration = Duration::from_millis(100);

/// Why sending ended.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Kafka refuses a record for what it is, and would again.
    Refused {
        /// The topic it was for.
        topic: String,
        /// Kafka's words.
        said: String,
    },
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failure(failure) => failure,
            Trouble::Refused { topic, said } => Self::Again {
                code: "refused_by_broker",
                message: format!("kafka refuses a record for topic {topic}: {said}"),
                hint: Some(format!(
                    "look at max.message.bytes and cleanup.policy of topic {topic} (a compacted topic takes no record without a key)"
                )),
            },
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// Its key.
    pub(super) key: Option<&'a [u8]>,
    /// Its value.
    pub(super) value: Option<&'a [u8]>,
    /// Its headers, in order.
    pub(super) headers: &'a [(&'a str, &'a [u8])],
}

impl Record<'_> {
    /// Key, value and headers, in bytes.
    pub(super) fn byte_size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers.sum::<usize>()
    }
}

/// The number of a record: they count from 0.
pub(super) type Number = u64;

/// A producer and what it has under way.
pub(super) struct Sender {
    producer: Producer,
    budget: usize,
    /// What is under way and what it weighs.
    under_way: HashMap<Number, usize>,
    weight: usize,
    next: Number,
    trouble: Option<Trouble>,
    /// A consequence of an error that has not come yet, and when it came.
    consequence: Option<(Instant, String)>,
    noticed: Option<Instant>,
}

impl Sender {
    /// Makes a producer and sees that a broker answers.
    ///
    /// # Errors
    /// None does, or librdkafka refuses the configuration.
    pub(super) async fn connect(config: &Config) -> Result<Self, Failure> {
        let create = config.topic_partitions.is_none();
        let properties = producer_properties(
            &config.kafka,
            &config.name,
            config.events.max_event,
            create,
            configured(&config.kafka),
        );
        let producer = Producer::new(&properties).map_err(|error| {
            Failure::again("kafka_error", format!("failed to make the producer: {error}"))
        })?;
        let handle = producer.handle();
        let answers = tokio::task::spawn_blocking(move || handle.answers(ANSWER_LIMIT));
        if !answers.await.unwrap_or(false) {
            return Err(Failure::Again {
                code: "kafka_unreachable",
                message: format!("no answer from kafka at {}", config.kafka.bootstrap_servers),
                hint: Some("`walpost check` says what is wrong with it".to_owned()),
            });
        }
        Ok(Self {
            producer,
            budget: usize::try_from(config.max_in_flight).unwrap_or(usize::MAX),
            under_way: HashMap::new(),
            weight: 0,
            next: 0,
            trouble: None,
            consequence: None,
            noticed: None,
        })
    }

    /// The topic of this name. One that is missing is made as the relay makes it; `None` when it
    /// is still missing after `patience`.
    ///
    /// # Errors
    /// It may not be written to, or nobody answers.
    pub(super) async fn topic(
        &mut self,
        config: &Config,
        name: &str,
        patience: Duration,
    ) -> Result<Option<TopicId>, Failure> {
        if let Some(topic) = self.producer.topic(name) {
            return Ok(Some(topic));
        }
        let doing = format!("look up topic {name}");
        if let Some(partitions) = config.topic_partitions {
            let replication = config.topic_replication.unwrap_or(-1);
            let wanted = Wanted { name, partitions, replication, config: &[] };
            let made = match Topics::new(&auxiliary(&config.kafka, &config.name)) {
                Ok(topics) => topics.ensure(wanted).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = made {
                output::error(&format!("topic {name} could not be created: {error}"));
            }
        }
        let question = self
            .producer
            .question(name, patience)
            .map_err(|error| Failure::kafka(&doing, &error))?;
        match tokio::task::spawn_blocking(question).await {
            Ok(Resolution::Known { topic, partitions }) => {
                self.heed_limit(config, name).await;
                Ok(Some(self.producer.learn(name, topic, partitions)))
            }
            Ok(Resolution::Unknown) => Ok(None),
            Ok(Resolution::Forbidden(error) | Resolution::Unanswered(error)) => {
                Err(Failure::kafka(&doing, &error))
            }
            Err(error) => Err(Failure::again("kafka_error", error.to_string())),
        }
    }

    /// A broker refuses a batch over the topic's limit, also where each of its records would fit. A
    /// batch is never more than what is under way, so where the limit is below the size of batches,
    /// no more than the limit is. Where it may not be read, a refusal names it.
    async fn heed_limit(&mut self, config: &Config, name: &str) {
        let Ok(topics) = Topics::new(&auxiliary(&config.kafka, &config.name)) else { return };
        let read = topics.config(name, MAX_MESSAGE_BYTES).await;
        let limit = read.ok().flatten().and_then(|limit| limit.parse::<usize>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < configured(&config.kafka)) {
            self.budget = self.budget.min(limit);
        }
    }

    /// Enqueues a record behind all others, when there is room for it.
    ///
    /// # Errors
    /// Kafka did not take a record that was sent before.
    pub(super) async fn send(
        &mut self,
        topic: TopicId,
        record: &Record<'_>,
    ) -> Result<Number, Trouble> {
        let bytes = record.byte_size();
        let weight = (bytes + RECORD_OVERHEAD).max(alone(bytes, record.headers.len()));
        let number = self.next;
        loop {
            self.look()?;
            if self.weight == 0 || self.weight + weight <= self.budget {
                let headers = record.headers.iter().copied();
                match self.producer.enqueue(topic, record.key, record.value, headers, number) {
                    Ok(()) => break,
                    Err(error) if error.code == RDKafkaErrorCode::QueueFull => {}
                    Err(error) => return Err(Failure::kafka("enqueue a record", &error).into()),
                }
            }
            self.wait(PAUSE).await?;
        }
        self.under_way.insert(number, weight);
        self.weight += weight;
        self.next += 1;
        Ok(number)
    }

    /// Waits until everything is confirmed.
    ///
    /// # Errors
    /// Kafka did not take a record.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        loop {
            self.look()?;
            if self.under_way.is_empty() {
                return Ok(());
            }
            self.wait(PAUSE).await?;
        }
    }

    /// Waits until this moment.
    ///
    /// # Errors
    /// Kafka did not take a record.
    pub(super) async fn wait_until(&mut self, moment: Instant) -> Result<(), Trouble> {
        loop {
            self.look()?;
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait(left).await?;
        }
    }

    /// How many records Kafka has confirmed.
    pub(super) fn confirmed(&self) -> u64 {
        self.next.saturating_sub(u64::try_from(self.under_way.len()).unwrap_or(u64::MAX))
    }

    /// Whether Kafka has confirmed this one.
    pub(super) fn has_confirmed(&self, number: Number) -> bool {
        number < self.next && !self.under_way.contains_key(&number)
    }

    async fn wait(&mut self, limit: Duration) -> Result<(), Trouble> {
        tokio::select! {
            woken = self.producer.woken() => woken.map_err(|error| {
                Trouble::Failure(Failure::again("kafka_error", error.to_string()))
            }),
            () = tokio::time::sleep(limit) => Ok(()),
        }
    }

    /// Takes what has happened.
    fn look(&mut self) -> Result<(), Trouble> {
        let Self { producer, under_way, weight, trouble, consequence, .. } = self;
        let mut notice = None;
        let mut failed = |topic: Option<String>, error: &ClientError| {
            if let Some(cause) = cause(topic, error) {
                trouble.get_or_insert(cause);
            } else {
                consequence.get_or_insert_with(|| (Instant::now(), error.to_string()));
            }
        };
        producer.happenings(|happening| match happening {
            Happening::Delivered { tag, .. } => {
                *weight = weight.saturating_sub(under_way.remove(&tag).unwrap_or(0));
            }
            Happening::Failed { topic, error, .. } => failed(Some(topic), &error),
            Happening::Fatal(error) | Happening::Transaction(error) => failed(None, &error),
            Happening::Notice(error) => notice = Some(error),
        });
        if let Some(error) = notice {
            self.tell(&error);
        }
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        match &self.consequence {
            Some((at, said)) if at.elapsed() >= CAUSE_LIMIT => {
                let message = format!("kafka's client gave up: {said}");
                Err(Failure::again("kafka_error", message).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn tell(&mut self, error: &ClientError) {
        if self.noticed.is_none_or(|at| at.elapsed() >= NOTICE_INTERVAL) {
            self.noticed = Some(Instant::now());
            output::error(&format!("kafka is not well: {error}; waiting for it"));
        }
    }
}

/// What an error means; `None` for one that is the consequence of another.
fn cause(topic: Option<String>, error: &ClientError) -> Option<Trouble> {
    let topic = topic.unwrap_or_default();
    match meaning(error.code) {
        Meaning::Secondary => None,
        Meaning::Refused => Some(Trouble::Refused { topic, said: error.to_string() }),
        Meaning::Forbidden | Meaning::TopicGone | Meaning::Fenced | Meaning::Again => {
            Some(Trouble::Failure(Failure::kafka(&format!("write to topic {topic}"), error)))
        }
    }
}
