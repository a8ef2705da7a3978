//! What the reports say that went wrong, and how that ends the generation.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::refusal::Suspects;
use super::{Outcome, Pipeline};
use crate::error::Failure;
use crate::kafka::librdkafka::ClientError;
use crate::kafka::producer::{Meaning, Producer, meaning};

/// How long a broken producer may take to report what broke it. It comes in the same millisecond.
const CAUSE_LIMIT: Duration = Duration::from_secs(1);

/// The first and the last tag of the records that were refused, by topic.
type Refused = BTreeMap<String, (u64, u64)>;

/// What went wrong according to the reports that were taken together.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// The first record that failed for a reason of its own: its topic, and the reason.
    failed: Option<(String, ClientError)>,
    refused: Refused,
    /// Records were thrown away because of something else.
    thrown_away: bool,
    /// The transaction was not committed, as far as is known.
    pub(super) uncommitted: Option<ClientError>,
    /// The producer is broken.
    pub(super) fatal: Option<ClientError>,
    /// A broker does not know us.
    pub(super) unknown_to_kafka: Option<ClientError>,
}

impl Troubles {
    /// A record was not delivered.
    pub(super) fn failed(&mut self, tag: u64, topic: String, error: ClientError) {
        let what = meaning(error.code);
        if what == Meaning::Refused {
            let (first, last) = self.refused.entry(topic.clone()).or_insert((tag, tag));
            (*first, *last) = ((*first).min(tag), (*last).max(tag));
        }
        if what == Meaning::Secondary {
            self.thrown_away = true;
        } else if self.failed.is_none() {
            self.failed = Some((topic, error));
        }
    }

    /// A transaction that fails as a whole takes its records with it without a reason.
    pub(super) fn look_for_cause(&mut self, producer: &Producer) {
        if !self.thrown_away || self.failed.is_some() {
            return;
        }
        match producer.cause() {
            // The report that tells which record was refused is still to come.
            Some(error) if meaning(error.code) == Meaning::Refused => self.fatal = Some(error),
            cause => self.failed = cause.map(|error| (String::new(), error)),
        }
    }
}

impl Pipeline {
    /// Ends the generation if anything went wrong that does not go away by itself.
    pub(super) fn concerned(&mut self, troubles: Troubles) -> Result<Option<Outcome>, Failure> {
        let Troubles { failed, refused, uncommitted, fatal, unknown_to_kafka, .. } = troubles;
        if let Some(error) = fatal {
            self.fatal.get_or_insert((error, Instant::now()));
        }
        match (failed, uncommitted, unknown_to_kafka) {
            (Some((topic, error)), ..) => self.delivery_failed(&topic, &error, refused).map(Some),
            (None, Some(error), _) => Err(Failure::kafka("commit a transaction", &error)),
            // librdkafka would try the same password for ever. The next generation has it read again.
            (None, None, Some(error)) => Err(Failure::kafka_authentication(&error)),
            (None, None, None) => self.fatal_without_cause(),
        }
    }

    /// The producer is broken, and no report has told by which record.
    ///
    /// With `enable.gapless.guarantee` librdkafka says first that it is broken, then by a delivery
    /// report which record the broker refused (measured with librdkafka 2.12.1). Only the report
    /// tells a refused row, which is to be found, from a producer that is to be made anew.
    pub(super) fn fatal_without_cause(&self) -> Result<Option<Outcome>, Failure> {
        match &self.fatal {
            Some((error, since)) if since.elapsed() >= CAUSE_LIMIT => {
                self.delivery_failed("", error, Refused::new()).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// A record was not delivered, as far as is known: the generation ends.
    fn delivery_failed(
        &self,
        topic: &str,
        error: &ClientError,
        mut refused: Refused,
    ) -> Result<Outcome, Failure> {
        refused.remove(&self.settings.checkpoint_topic);
        let ledger = &self.rows.ledger;
        let what = meaning(error.code);
        if what == Meaning::Refused && !refused.is_empty() {
            let in_flight = ledger.in_flight_rows();
            tracing::warn!(topic, %error, in_flight, "kafka refused a batch of records");
            if let Some(alone) = self.alone {
                return Ok(Outcome::RefusedAlone { alone, said: error.to_string() });
            }
            let suspects = refused.into_iter().filter_map(|(topic, (first, last))| {
                let (after, until) = ledger.span(first, last)?;
                Some(Suspects { topic, in_snapshot: self.snapshot.is_some(), after, until })
            });
            return Ok(Outcome::RefusedBatch {
                suspects: suspects.collect(),
                too_large: matches!(
                    error.code,
                    Code::MessageSizeTooLarge | Code::MessageBatchTooLarge
                ),
            });
        }
        let letter = topic == self.settings.rows.dlq_topic;
        if letter && matches!(what, Meaning::Forbidden | Meaning::TopicGone) {
            return Ok(Outcome::LetterFailed { said: error.to_string() });
        }
        let doing = if topic.is_empty() {
            "write to kafka".to_owned()
        } else {
            format!("write to topic {topic}")
        };
        Err(Failure::kafka(&doing, error))
    }
}
