//! What would be sent, counted through the relay's own encoder.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::run_id::RunId;
use super::sent::{HEADER, Sent};
use super::source::Source;
use super::{Asked, event_identity};
use crate::cli::command::{self, Stopped, refused};
use crate::cli::printed::{count, printable, seconds, size};
use crate::cloudevent::{BadRow, Encoder};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::client::auxiliary;
use crate::kafka::inspect::{Inspector, Known};
use crate::kafka::producer::TOPICS_MAX;
use crate::outbox::mapping::Mapping;
use crate::outbox::role::Role;
use crate::outbox::row::{OutboxRow, RowScratch};
use crate::pipeline::encode;

/// How many ids of bad rows are named for each reason.
const NAMED: usize = 5;

/// Events of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Bad rows of one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bad {
    rows: u64,
    message: String,
    ids: Vec<String>,
}

/// A topic as Kafka has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    exists: bool,
    compacted: bool,
}

/// What would be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Rows of each table.
    tables: Vec<(String, u64)>,
    /// What is to be sent, by topic.
    pub(super) topics: BTreeMap<String, Tally>,
    /// What the run sent before.
    pub(super) sent_before: u64,
    bad: BTreeMap<&'static str, Bad>,
    /// Events whose time is that of the run.
    undated: u64,
    /// Rows that a range leaves out because they have no time.
    left_out: u64,
    seen: BTreeMap<String, Seen>,
}

impl Plan {
    /// Reads all rows once, and counts.
    pub(super) async fn make(
        config: &Config,
        source: &Source<'_>,
        asked: &Asked,
        mut sent: Sent,
    ) -> Result<Self, Stopped> {
        let mut plan = Self { left_out: source.rows_without_time().await?, ..Self::default() };
        let mut encoder = encoder(config)?;
        let mut scratch = RowScratch::new();
        for table in 0..source.tables() {
            let Some(mut reading) = source.read(table).await? else { continue };
            let mut rows = 0;
            loop {
                let piece = reading.next().await?;
                if piece.is_empty() {
                    break;
                }
                for row in &piece {
                    rows += 1;
                    let row = scratch.copy_of(row.iter().map(Option::as_deref));
                    let mapping = &reading.present.mapping;
                    plan.count(&mut encoder, (mapping, &row), asked, &mut sent).await?;
                }
            }
            plan.tables.push((reading.present.mapping.table_text().to_owned(), rows));
        }
        Ok(plan)
    }

    async fn count(
        &mut self,
        encoder: &mut Encoder,
        (mapping, row): (&Mapping, &OutboxRow<'_>),
        asked: &Asked,
        sent: &mut Sent,
    ) -> Result<(), Stopped> {
        let event = match encode(encoder, mapping, row, asked.time).await? {
            Ok(event) => event,
            Err(bad) => {
                self.bad(mapping, row, &bad);
                return Ok(());
            }
        };
        if sent.take(event_identity(&event)) {
            self.sent_before += 1;
            return Ok(());
        }
        if mapping.role(Role::Time).and_then(|field| row.printed(field)).is_none() {
            self.undated += 1;
        }
        let topic = asked.to_topic.as_deref().unwrap_or(event.topic);
        let bytes = event.byte_size() + HEADER.len() + RunId::LENGTH;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= TOPICS_MAX {
                return Err(refused(
                    format!("the rows are for more than {TOPICS_MAX} topics"),
                    "replay fewer at a time, or into one topic by --to-topic",
                ));
            }
            self.topics.insert(topic.to_owned(), Tally::default());
        }
        let Some(tally) = self.topics.get_mut(topic) else { return Ok(()) };
        tally.events += 1;
        tally.bytes = tally.bytes.saturating_add(bytes);
        Ok(())
    }

    fn bad(&mut self, mapping: &Mapping, row: &OutboxRow<'_>, bad: &BadRow) {
        let kept = self.bad.entry(bad.reason.word()).or_default();
        kept.rows += 1;
        if kept.rows == 1 {
            kept.message.clone_from(&bad.message);
        }
        if kept.ids.len() < NAMED {
            let id = mapping.role(Role::Id).and_then(|field| row.text(field));
            let id = id.map_or_else(
                || "NULL".to_owned(),
                |id| String::from_utf8_lossy(id.get(..64).unwrap_or(id)).into_owned(),
            );
            kept.ids.push(id);
        }
    }

    /// Looks at the topics. Makes none.
    pub(super) async fn look(&mut self, config: &Config) -> Result<(), Failure> {
        let client = auxiliary(&config.kafka, &config.name);
        let inspector = Inspector::new(&client).map_err(|error| {
            Failure::again("kafka_error", format!("failed to make a kafka client: {error}"))
        })?;
        let inspector = std::sync::Arc::new(inspector);
        for topic in self.topics.keys() {
            let (asker, name) = (std::sync::Arc::clone(&inspector), topic.clone());
            let known = tokio::task::spawn_blocking(move || asker.topic(&name)).await;
            let exists = match known {
                Ok(Known::There(_)) => true,
                Ok(Known::Missing) => false,
                Ok(Known::Forbidden) => {
                    return Err(Failure::Again {
                        code: "refused",
                        message: format!("walpost's Kafka user may not see topic {topic}"),
                        hint: Some(format!(
                            "give it the rights Describe and Write on topic {topic}"
                        )),
                    });
                }
                Ok(Known::Unanswered(said)) => {
                    return Err(Failure::Again {
                        code: "kafka_unreachable",
                        message: format!("kafka does not answer for topic {topic}: {said}"),
                        hint: Some("`walpost check` says what is wrong with it".to_owned()),
                    });
                }
                Err(error) => return Err(Failure::again("kafka_error", error.to_string())),
            };
            let mut compacted = false;
            if exists {
                // Without the right to see it, it is taken for one that is not compacted.
                let entries = inspector.topic_entries(topic).await.unwrap_or_default();
                compacted =
                    entries.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"));
            }
            self.seen.insert(topic.clone(), Seen { exists, compacted });
        }
        Ok(())
    }

    /// What is to be sent, all topics together.
    pub(super) fn total(&self) -> Tally {
        self.topics.values().fold(Tally::default(), |sum, tally| Tally {
            events: sum.events + tally.events,
            bytes: sum.bytes.saturating_add(tally.bytes),
        })
    }

    fn seconds(&self, asked: &Asked) -> Option<u64> {
        Some(self.total().events.div_ceil(u64::from(asked.rate?)))
    }

    fn compacted(&self) -> Vec<&str> {
        let compacted = self.seen.iter().filter(|(_, seen)| seen.compacted);
        compacted.map(|(topic, _)| topic.as_str()).collect()
    }

    /// What somebody should know before.
    fn warnings(&self, config: &Config, asked: &Asked) -> Vec<String> {
        let mut warnings = Vec::new();
        let compacted = self.compacted();
        if !compacted.is_empty() {
            warnings.push(format!(
                "compacted: {}: of each key Kafka keeps the last record, which is then the replayed one, be it older than what is there; a tombstone that is sent again removes the key",
                compacted.join(", ")
            ));
        }
        if asked.to_topic.is_none() && self.total().events > 0 {
            warnings.push(
                "the same topics: consumers see these events again, behind newer ones of the same keys; they keep their id, so consumers that know ids pass over them".to_owned(),
            );
        }
        for (topic, _) in self.seen.iter().filter(|(_, seen)| !seen.exists) {
            warnings.push(match config.topic_partitions {
                Some(partitions) => format!(
                    "topic {topic} does not exist; --yes makes it with {}",
                    count(u64::try_from(partitions).unwrap_or(0), "partition", "partitions")
                ),
                None => format!("topic {topic} does not exist; --yes goes on only if the brokers make it when asked"),
            });
        }
        if self.left_out > 0 {
            warnings.push(format!(
                "{} without a time, which --since and --until leave out",
                count(self.left_out, "row", "rows")
            ));
        }
        if self.undated > 0 {
            warnings.push(format!(
                "{} without a time of its own: `time` becomes that of this run, since the table does not tell the commit's",
                count(self.undated, "event", "events")
            ));
        }
        warnings
    }

    /// For people.
    pub(super) fn text(&self, config: &Config, asked: &Asked) -> String {
        let mut lines = Vec::new();
        if let Some(run) = &asked.run {
            lines.push(format!("run         {}", run.as_str()));
        }
        for (table, rows) in &self.tables {
            lines.push(format!("rows        {rows} of {table}"));
        }
        for (reason, bad) in &self.bad {
            lines.push(format!(
                "bad         {reason}: {}, not sent; {} (id {}{})",
                count(bad.rows, "row", "rows"),
                printable(&bad.message),
                printable(&bad.ids.join(", ")),
                if bad.rows > NAMED as u64 { ", …" } else { "" },
            ));
        }
        if self.sent_before > 0 {
            lines.push(format!(
                "before      {} of this run in Kafka already, not sent again",
                count(self.sent_before, "event", "events")
            ));
        }
        for (topic, tally) in &self.topics {
            lines.push(format!(
                "topic       {topic}: {}, {}",
                count(tally.events, "event", "events"),
                size(tally.bytes)
            ));
        }
        let total = self.total();
        let time = match (self.seconds(asked), asked.rate) {
            (Some(time), Some(rate)) => format!("{} at {rate} a second", seconds(time)),
            _ => "as fast as Kafka takes them; --rate limits it".to_owned(),
        };
        lines.push(format!(
            "sends       {}, {}, {time}",
            count(total.events, "event", "events"),
            size(total.bytes)
        ));
        lines.extend(self.warnings(config, asked).iter().map(|text| format!("warning     {text}")));
        lines.join("\n")
    }

    /// For programs; `sent` is what was done of it.
    pub(super) fn json(&self, config: &Config, asked: &Asked, sent: Option<u64>) -> Value {
        let total = self.total();
        let topics = self.topics.iter().map(|(topic, tally)| {
            let seen = self.seen.get(topic);
            json!({
                "topic": topic,
                "events": tally.events,
                "bytes": tally.bytes,
                "exists": seen.is_some_and(|seen| seen.exists),
                "compacted": seen.is_some_and(|seen| seen.compacted),
            })
        });
        let bad = self.bad.iter().map(|(reason, bad)| {
            json!({"reason": reason, "rows": bad.rows, "message": bad.message, "ids": bad.ids})
        });
        let tables = self.tables.iter().map(|(table, rows)| json!({"table": table, "rows": rows}));
        json!({
            "run": asked.run.as_ref().map(RunId::as_str),
            "to_topic": asked.to_topic,
            "tables": tables.collect::<Vec<_>>(),
            "bad_rows": bad.collect::<Vec<_>>(),
            "sent_before": self.sent_before,
            "topics": topics.collect::<Vec<_>>(),
            "events": total.events,
            "bytes": total.bytes,
            "seconds": self.seconds(asked),
            "warnings": self.warnings(config, asked),
            "sent": sent,
        })
    }
}

/// The relay's encoder.
pub(super) fn encoder(config: &Config) -> Result<Encoder, Stopped> {
    command::encoder(config)
}
