//! When Kafka's client is to be told again where it began.
//!
//! A client can forget all brokers and then waits for ever, with everything that was enqueued; see
//! [`Handle::bootstrap_again`](crate::kafka::librdkafka::Handle::bootstrap_again). From outside that is
//! an outage like any other. To remind a client that is well, or whose brokers are down, does no harm,
//! so it is done whenever nothing was confirmed for a while, and ever more seldom.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing is confirmed before the first time. Longer than a leader election takes.
const FIRST: Duration = Duration::from_secs(10);

/// In a long outage once in so long: each time costs the client some bytes that it keeps.
const LONGEST: Duration = Duration::from_secs(600);

/// Watches how long nothing was confirmed although something is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reminder {
    since: Instant,
    pause: Duration,
}

impl Reminder {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, pause: FIRST }
    }

    /// Kafka has confirmed something, or nothing is under way.
    pub(super) fn all_is_well(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Whether it is time; for how long nothing was confirmed or reminded of, then.
    pub(super) fn is_due(&mut self, now: Instant) -> Option<Duration> {
        let silent = now - self.since;
        if silent < self.pause {
            return None;
        }
        *self = Self { since: now, pause: (self.pause * 2).min(LONGEST) };
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_kafka_is_reminded_of_ever_more_seldom_and_one_that_confirms_not_at_all() {
        let begin = Instant::now();
        let mut reminder = Reminder::new(begin);
        let mut at = Vec::new();
        for second in 0..3_000 {
            let now = begin + Duration::from_secs(second);
            if reminder.is_due(now).is_some() {
                at.push(second);
            }
        }
        assert_eq!(at, [10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430]);
        for second in 3_000..3_100 {
            let now = begin + Duration::from_secs(second);
            reminder.all_is_well(now);
            assert_eq!(reminder.is_due(now + Duration::from_secs(9)), None);
        }
    }
}
