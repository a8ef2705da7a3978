//! What librdkafka's statistics say, told to whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tell::Teller;
use crate::kafka::statistics::Statistics;

/// Takes statistics on a thread that may work: with thousands of partitions the text is megabytes
/// long, and the loop has rows to send. While one is read, others are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher(Arc<AtomicBool>);

impl Teller {
    /// librdkafka told of itself.
    pub(super) fn statistics(&self, text: String) {
        if self.watcher.0.swap(true, Ordering::AcqRel) {
            return;
        }
        let teller = self.clone();
        tokio::task::spawn_blocking(move || {
            match Statistics::read(&text) {
                Ok(Statistics { brokers }) => {
                    for broker in brokers {
                        teller.metrics.broker(&broker.name, broker.up, broker.round_trip);
                    }
                }
                Err(error) => tracing::debug!(%error, "librdkafka's statistics cannot be read"),
            }
            teller.watcher.0.store(false, Ordering::Release);
        });
    }
}
