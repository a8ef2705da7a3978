//! What a run has sent before it was interrupted, from the topics themselves.
//!
//! Each event of a run carries the run's name, so Kafka is the only book that is kept. An event is
//! known by its `source` and `id`; ids that a table has twice are counted.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::run_id::RunId;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::client::auxiliary;
use crate::kafka::reading::{Reader, Start};

/// The header that each replayed event gains, with the run's name.
pub(super) const HEADER: &str = "walpost-replay";

/// How long before the beginning of the run its records are looked for: the broker's clock and
/// ours may differ.
const CLOCKS: Duration = Duration::from_secs(600);

/// What the kernel still had of a process that was killed reaches the broker within this time.
const SETTLES: Duration = Duration::from_secs(1);

/// An event, by a digest of its `source` and `id`.
pub(super) type Identity = u128;

/// How often each event was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    events: HashMap<Identity, u32>,
}

impl Sent {
    /// Whether this event was sent before, once more than it was asked for.
    pub(super) fn take(&mut self, event: Identity) -> bool {
        match self.events.get_mut(&event) {
            Some(1) => self.events.remove(&event).is_some(),
            Some(times) => {
                *times -= 1;
                true
            }
            None => false,
        }
    }

    fn total(&self) -> u64 {
        self.events.values().map(|times| u64::from(*times)).sum()
    }
}

/// Reads what the run has written to these topics; until two readings agree.
pub(super) async fn read(config: &Config, run: &RunId, topics: &[String]) -> Result<Sent, Failure> {
    let mut before = None;
    loop {
        let client = auxiliary(&config.kafka, &config.name);
        let (topics, name) = (topics.to_vec(), run.as_str().to_owned());
        let began = run.began.saturating_mul(1_000);
        let since = began.saturating_sub(i64::try_from(CLOCKS.as_millis()).unwrap_or(0));
        let scan = move || {
            let mut sent = Sent::default();
            let reader = Reader::new(&client)?;
            for topic in &topics {
                reader.read(topic, Start::Time(since), |record| {
                    if let Some(event) = of_run(record, &name) {
                        let times = sent.events.entry(event).or_insert(0);
                        *times = times.saturating_add(1);
                    }
                })?;
            }
            Ok::<_, rdkafka::error::KafkaError>(sent)
        };
        let sent = tokio::task::spawn_blocking(scan)
            .await
            .map_err(|error| Failure::again("kafka_error", error.to_string()))?
            .map_err(|error| {
                let message = format!("failed to read what the run has sent: {error}");
                Failure::Again {
                    code: "kafka_error",
                    message,
                    hint: Some(
                        "resuming needs the right to read the topics; nothing was sent".to_owned(),
                    ),
                }
            })?;
        if before == Some(sent.total()) {
            return Ok(sent);
        }
        before = Some(sent.total());
        tokio::time::sleep(SETTLES).await;
    }
}

fn of_run(record: &BorrowedMessage<'_>, run: &str) -> Option<Identity> {
    let headers = record.headers()?;
    let value = |name: &str| {
        headers.iter().find(|header| header.key == name).and_then(|header| header.value)
    };
    if value(HEADER) != Some(run.as_bytes()) {
        return None;
    }
    Some(identity(value("ce_source"), value("ce_id"), record.payload()))
}

/// An event by its attributes, which are headers in binary mode and members of its value in
/// structured mode.
pub(super) fn identity(source: Option<&[u8]>, id: Option<&[u8]>, value: Option<&[u8]>) -> Identity {
    #[derive(Deserialize)]
    struct Envelope {
        source: String,
        id: String,
    }
    match (source, id) {
        (Some(source), Some(id)) => digest(source, id),
        _ => match value.and_then(|value| serde_json::from_slice::<Envelope>(value).ok()) {
            Some(Envelope { source, id }) => digest(source.as_bytes(), id.as_bytes()),
            // Not an event; by its bytes then.
            None => digest(b"", value.unwrap_or_default()),
        },
    }
}

fn digest(source: &[u8], id: &[u8]) -> Identity {
    let mut hash = Sha256::new();
    // The length keeps `a` and `bc` apart from `ab` and `c`.
    hash.update(source.len().to_be_bytes());
    hash.update(source);
    hash.update(id);
    let digest = hash.finalize();
    u128::from_be_bytes(digest.first_chunk::<16>().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_in_both_modes() {
        let binary = identity(Some(b"/s"), Some(b"1"), Some(b"{}"));
        let structured = br#"{"specversion":"1.0","id":"1","source":"/s","data":{"id":"2"}}"#;
        assert_eq!(binary, identity(None, None, Some(structured)));
        assert_ne!(binary, identity(Some(b"/"), Some(b"s1"), None));
        assert_ne!(identity(Some(b"/s"), Some(b"2"), None), binary);
    }

    #[test]
    fn an_event_is_passed_over_as_often_as_it_was_sent() {
        let mut sent = Sent::default();
        sent.events.extend([(1, 2), (2, 1)]);
        assert_eq!(sent.total(), 3);
        assert_eq!(
            [1, 1, 1, 2, 2, 3].map(|event| sent.take(event)),
            [true, true, false, true, false, false]
        );
    }
}
