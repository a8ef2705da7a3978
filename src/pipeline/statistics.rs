//! What librdkafka's statistics say, told to whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::tell::Teller;
use crate::kafka::statistics::Statistics;

/// Takes statistics on a thread that may work: with thousands of partitions the text is megabytes
/// long, and the loop has rows to send. While one is read, others are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher {
    reading: Arc<AtomicBool>,
    /// What the client's count of retries was.
    retries: Arc<AtomicU64>,
}

impl Watcher {
    /// How many retries came since the last call. A new generation has a new client, which counts
    /// from 0: what its predecessor counted after its last text is not known.
    fn more_retries(&self, now: u64) -> u64 {
        let before = self.retries.swap(now, Ordering::AcqRel);
        now.checked_sub(before).unwrap_or(now)
    }
}

impl Teller {
    /// librdkafka told of itself.
    pub(super) fn statistics(&self, text: String) {
        if self.watcher.reading.swap(true, Ordering::AcqRel) {
            return;
        }
        let teller = self.clone();
        tokio::task::spawn_blocking(move || {
            match Statistics::read(&text) {
                Ok(Statistics { brokers, retries }) => {
                    teller.metrics.produce_retries(teller.watcher.more_retries(retries));
                    for broker in brokers {
                        teller.metrics.broker(&broker.name, broker.up, broker.round_trip);
                    }
                }
                Err(error) => tracing::debug!(%error, "librdkafka's statistics cannot be read"),
            }
            teller.watcher.reading.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_of_a_new_client_are_added_to_those_of_the_one_before() {
        let watcher = Watcher::default();
        let more: Vec<u64> = [0, 3, 3, 8, 2, 2].map(|now| watcher.more_retries(now)).into();
        assert_eq!(more, [0, 3, 0, 5, 2, 0]);
    }
}
