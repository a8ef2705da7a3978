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
use crate::kafka::librdkafka::ClientError;
use crate::kafka::producer::Resolution;
use crate::kafka::topics::{Made, Topics, Wanted};
use crate::status::HaltCode;

/// The pause before a question that nobody answered is asked again.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(200);

/// A question for a topic that is being asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) topic: String,
    pub(super) answer: JoinHandle<Resolution>,
}

/// How event topics are made (`WALPOST_TOPIC_PARTITIONS`, `WALPOST_TOPIC_REPLICATION`).
#[derive(Clone, Debug)]
pub(crate) struct TopicMaker {
    /// The client's configuration.
    pub(crate) client: rdkafka::ClientConfig,
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
        let answer = tokio::spawn(async move {
            if let Some(maker) = maker
                && let Err(error) = maker.make(&name).await
            {
                tracing::warn!(topic = name, %error, "the topic could not be created");
            }
            match tokio::task::spawn_blocking(ask).await {
                Ok(resolution) => {
                    if let Resolution::Unanswered(_) = resolution {
                        tokio::time::sleep(UNANSWERED_PAUSE).await;
                    }
                    resolution
                }
                Err(error) => Resolution::Unanswered(ClientError {
                    code: rdkafka::types::RDKafkaErrorCode::Fail,
                    message: error.to_string(),
                }),
            }
        });
        self.question = Some(Question { topic, answer });
        Ok(())
    }

    pub(super) fn resolved(&mut self, name: String, resolution: Resolution) -> Result<(), Failure> {
        self.question = None;
        self.unread = true;
        match resolution {
            Resolution::Known { topic, partitions } => {
                tracing::info!(topic = name, partitions, "writing to a topic");
                self.settings.known_topics.add(&name, partitions);
                let count = self.rows.teller.topic_of(&name, partitions);
                self.counts.insert(topic.address(), Arc::clone(&count));
                let id = self.rows.producer.learn(&name, topic);
                self.rows.keys.learn(id, count);
            }
            Resolution::Unknown if self.settings.known_topics.contains(&name) => {
                return Err(Failure::halt(
                    HaltCode::TopicMissing,
                    format!("topic {name} was there and is gone"),
                    "create it again; walpost tries again by itself",
                ));
            }
            Resolution::Unknown => self.rows.topic_is_unknown(name),
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
}

/// The answer to a question for a topic; waits for ever when none is asked.
///
/// Cancel safe: the task goes on, and is asked again.
pub(super) async fn answer(question: &mut Option<Question>) -> Action {
    match question {
        None => std::future::pending().await,
        Some(question) => {
            let resolution = match (&mut question.answer).await {
                Ok(resolution) => resolution,
                Err(error) => Resolution::Unanswered(ClientError {
                    code: rdkafka::types::RDKafkaErrorCode::Fail,
                    message: error.to_string(),
                }),
            };
            Action::Resolved(question.topic.clone(), resolution)
        }
    }
}
