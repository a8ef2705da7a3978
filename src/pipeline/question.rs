//! Asking for a topic before the first record goes to it.
//!
//! A record for a topic that does not exist would sit in librdkafka's queue for 30 seconds and
//! then fail, and a failed delivery ends the generation. So the brokers are asked first, on a
//! thread that may block, while the loop goes on with everything but rows.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Action, Pipeline};
use crate::error::Failure;
use crate::kafka::batch_limits::MAX_MESSAGE_BYTES;
use crate::kafka::client::ANSWER_LIMIT;
use crate::kafka::librdkafka::{ClientError, Handle};
use crate::kafka::producer::{Resolution, TopicId};
use crate::kafka::topics::{Made, Topics, Wanted};
use crate::status::HaltCode;

/// The pause before a question that nobody answered is asked again.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(200);

/// A question for a topic that is being asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) topic: String,
    pub(super) answer: JoinHandle<Answer>,
}

/// What the brokers say of a topic.
#[derive(Debug)]
pub(super) struct Answer {
    resolution: Resolution,
    /// The largest batch that it takes, if they tell.
    limit: Option<usize>,
}

impl Answer {
    fn none(error: &tokio::task::JoinError) -> Self {
        let code = rdkafka::types::RDKafkaErrorCode::Fail;
        let error = ClientError { code, message: error.to_string() };
        Self { resolution: Resolution::Unanswered(error), limit: None }
    }
}

/// How event topics are made (`WALPOST_TOPIC_PARTITIONS`, `WALPOST_TOPIC_REPLICATION`).
#[derive(Clone, Debug)]
pub(crate) struct TopicMaker {
    /// The client's configuration.
    pub(crate) client: crate::kafka::client::Auxiliary,
    /// Partitions of a new topic.
    pub(crate) partitions: i32,
    /// Copies of each; -1 is the broker's default.
    pub(crate) replication: i32,
}

impl TopicMaker {
    /// Makes a topic unless it is there.
    async fn make(&self, name: &str) -> Result<Made, rdkafka::error::KafkaError> {
        let (partitions, replication) = (self.partitions, self.replication);
        Topics::new(&self.client)?
            .ensure(Wanted { name, partitions, replication, config: &[] })
            .await
    }
}

impl Pipeline {
    pub(super) fn ask(&mut self, topic: String) -> Result<(), Failure> {
        if !self.rows.producer.has_room_for_a_topic() {
            self.rows.topic_is_unknown(topic);
            return Ok(());
        }
        let doing = format!("look up topic {topic}");
        let ask = self
            .rows
            .producer
            .question(&topic, self.rows.patience(&topic))
            .map_err(|error| Failure::kafka(&doing, &error))?;
        let maker = self.settings.topic_maker.clone();
        let name = topic.clone();
        let handle = self.rows.producer.handle();
        let answer = tokio::spawn(async move {
            if let Some(maker) = maker
                && let Err(error) = maker.make(&name).await
            {
                tracing::warn!(topic = name, %error, "the topic could not be created");
            }
            let asked = tokio::task::spawn_blocking(move || {
                let resolution = ask();
                let known = matches!(resolution, Resolution::Known { .. });
                let limit = if known { batch_limit(&handle, &name) } else { None };
                Answer { resolution, limit }
            });
            match asked.await {
                Ok(answer) => {
                    if let Resolution::Unanswered(_) = answer.resolution {
                        tokio::time::sleep(UNANSWERED_PAUSE).await;
                    }
                    answer
                }
                Err(error) => Answer::none(&error),
            }
        });
        self.question = Some(Question { topic, answer });
        Ok(())
    }

    pub(super) fn resolved(&mut self, name: String, answer: Answer) -> Result<(), Failure> {
        self.question = None;
        self.unread = true;
        // Letters that have nowhere to go hold their row and keep the slot, whatever the reason.
        let letters = name == self.settings.rows.dlq_topic;
        match answer.resolution {
            Resolution::Known { topic, partitions } => {
                tracing::info!(topic = name, partitions, "writing to a topic");
                self.settings.known_topics.add(&name, partitions);
                let count = self.rows.teller.topic_of(&name, partitions);
                self.counts.insert(topic.address(), Arc::clone(&count));
                let id = self.rows.producer.learn(&name, topic, partitions);
                self.rows.keys.learn(id, count);
                self.takes_batches_of(&name, id, answer.limit);
            }
            Resolution::Unknown if !letters && self.settings.known_topics.contains(&name) => {
                return Err(Failure::halt(
                    HaltCode::TopicMissing,
                    format!("topic {name} was there and is gone"),
                    "create it again; walpost tries again by itself",
                ));
            }
            Resolution::Unknown => self.rows.topic_is_unknown(name),
            Resolution::Forbidden(error) if letters => {
                self.rows.refusals.letter_failed(error.to_string());
            }
            Resolution::Forbidden(error) => {
                return Err(Failure::kafka(&format!("describe topic {name}"), &error));
            }
            Resolution::Unanswered(error) => {
                let message = format!("no broker says whether topic {name} exists: {error}");
                self.rows.teller.kafka_trouble(&message);
            }
        }
        Ok(())
    }

    /// Remembers how large a batch a topic takes. If that is less than this producer makes, the
    /// generation ends as soon as all that was taken is stored, so that nothing repeats:
    /// librdkafka has one size for all topics of a producer, and does not change it.
    fn takes_batches_of(&mut self, name: &str, id: TopicId, read: Option<usize>) {
        let limits = &self.settings.batch_limits;
        if let Some(limit) = read {
            limits.note(name, limit);
        }
        let Some(limit) = limits.of(name) else { return };
        self.rows.producer.limit(id, limit);
        if limit < self.settings.batch_size {
            tracing::info!(
                topic = name,
                limit,
                batch_size = self.settings.batch_size,
                "the topic takes smaller batches than are made; beginning again with smaller ones"
            );
            self.ending = true;
        }
    }
}

/// The largest batch that a topic takes, if the brokers tell. Blocks.
fn batch_limit(handle: &Handle, topic: &str) -> Option<usize> {
    match handle.topic_config(topic, MAX_MESSAGE_BYTES, ANSWER_LIMIT) {
        Ok(value) => value?.parse().ok(),
        Err(error) => {
            tracing::debug!(topic, %error, "the topic's max.message.bytes cannot be read; a batch that is over it will be refused, and the limit found by halving. The right DescribeConfigs on the topic spares that");
            None
        }
    }
}

/// The answer to a question for a topic; waits for ever when none is asked.
///
/// Cancel safe: the task goes on, and is asked again.
pub(super) async fn answer(question: &mut Option<Question>) -> Action {
    match question {
        None => std::future::pending().await,
        Some(question) => {
            let answer = match (&mut question.answer).await {
                Ok(answer) => answer,
                Err(error) => Answer::none(&error),
            };
            Action::Resolved(question.topic.clone(), answer)
        }
    }
}
