//! What librdkafka's statistics say, told to whoever watches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::tell::Teller;
use crate::kafka::producer::TOPICS_MAX;
use crate::kafka::statistics::Statistics;

/// Takes statistics on a thread that may work: with thousands of partitions the text is megabytes
/// long, and the loop has rows to send. Clones share what was seen before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// A text is being read; one that comes meanwhile is left out.
    busy: AtomicBool,
    /// Partitions of each topic when it was last in use, over generations.
    partitions: Mutex<BTreeMap<String, usize>>,
}

impl Teller {
    /// librdkafka told of itself.
    pub(super) fn statistics(&self, text: String) {
        if self.watcher.0.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let teller = self.clone();
        tokio::task::spawn_blocking(move || {
            match Statistics::read(&text) {
                Ok(statistics) => teller.take(&statistics),
                Err(error) => tracing::debug!(%error, "librdkafka's statistics cannot be read"),
            }
            teller.watcher.0.busy.store(false, Ordering::Release);
        });
    }

    fn take(&self, statistics: &Statistics) {
        for broker in &statistics.brokers {
            self.metrics.broker(&broker.name, broker.up, broker.round_trip);
        }
        let mut seen = self.watcher.0.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, partitions) in &statistics.partitions {
            // Before the first answer of the brokers there are none.
            if *partitions == 0 {
                continue;
            }
            let full = seen.len() >= TOPICS_MAX;
            match seen.get_mut(topic) {
                Some(before) if before == partitions => {}
                Some(before) => {
                    tracing::warn!(
                        topic,
                        before = *before,
                        now = *partitions,
                        "the topic's partition count changed: keys move to other partitions, so events of one key may be read in another order than before and after the change"
                    );
                    *before = *partitions;
                    self.metrics.partition_count_changed(topic);
                }
                // Names come from rows, so there must be an end.
                None if full => {}
                None => {
                    // So that the series exists before anything happens.
                    self.metrics.partition_count_known(topic);
                    seen.insert(topic.clone(), *partitions);
                }
            }
        }
    }
}
