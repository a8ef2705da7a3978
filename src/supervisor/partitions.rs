//! Notices topics whose number of partitions has changed.
//!
//! The partition of a key is its hash modulo that number: from the moment the producer learns of
//! another number, events of a key may lie in another partition than those before, and a consumer
//! may read them in another order. Nothing here can prevent it, so it is said.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::config::Config;
use crate::kafka::client::auxiliary;
use crate::kafka::inspect::{Inspector, Known};
use crate::pipeline::{KnownTopics, Teller};
use crate::secret::Secret;

/// The property of librdkafka that says how often the producer learns of changes.
const INTERVAL_PROPERTY: &str = "topic.metadata.refresh.interval.ms";

/// Its default.
const INTERVAL: Duration = Duration::from_secs(300);

/// Counts the partitions of all known topics as often as the producer does. A client of its own,
/// for the moment of each count: the producer's own question would make a topic that is gone.
///
/// A change while no walpost runs is not seen.
pub(super) fn count(config: Config, topics: KnownTopics, teller: Teller) -> JoinHandle<()> {
    let interval = interval(&config.kafka.properties);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            let names = topics.names();
            if names.is_empty() {
                continue;
            }
            let client = auxiliary(&config.kafka, &config.name);
            let counts = tokio::task::spawn_blocking(move || {
                let inspector = Inspector::new(&client).ok()?;
                let mut counts = Vec::new();
                for name in names {
                    match inspector.topic(&name) {
                        Known::There(state) => counts.push((name, state.partitions)),
                        Known::Missing | Known::Forbidden => {}
                        // The next count will see; asking on would take as long for each topic.
                        Known::Unanswered(_) => break,
                    }
                }
                Some(counts)
            });
            for (name, now) in counts.await.ok().flatten().unwrap_or_default() {
                if let Some(before) = topics.counted(&name, now) {
                    teller.metrics.partitions_changed();
                    teller.topic_of(&name, now);
                    tracing::warn!(
                        topic = name,
                        before,
                        now,
                        "the number of partitions changed: keys move to other partitions, where their order against earlier events is not kept"
                    );
                }
            }
        }
    })
}

fn interval(properties: &BTreeMap<String, Secret>) -> Duration {
    let own = properties.get(INTERVAL_PROPERTY);
    // -1 is "never" to librdkafka, which still learns by its errors.
    let milliseconds = own.and_then(|value| value.expose().parse::<u64>().ok());
    milliseconds.map_or(INTERVAL, Duration::from_millis).max(Duration::from_secs(1))
}
