//! Telling how the connections to the brokers are.

use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use super::tell::Teller;
use crate::kafka::connections::Seen;

/// How often it is told; a mean round trip is that of the requests since then.
const INTERVAL: Duration = Duration::from_secs(5);

impl Pipeline {
    pub(super) fn tell_of_brokers(&mut self, now: Instant) {
        if now - self.brokers_told_at >= INTERVAL {
            self.brokers_told_at = now;
            self.rows.teller.brokers(self.rows.producer.look_at_connections());
        }
    }
}

impl Teller {
    fn brokers(&self, seen: Seen) {
        self.metrics.produce_retries(seen.retries);
        for broker in seen.brokers {
            self.metrics.broker(&broker.name, broker.up, broker.round_trip);
        }
    }
}
