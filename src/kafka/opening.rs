//! Opens partitions: the first record that a producer sends to a partition travels alone.
//!
//! A broker that has nothing of a producer in a partition takes a batch with any sequence number (it
//! cannot know that it is not the first: KIP-360; `ProducerAppendInfo.checkSequence` of Apache Kafka).
//! So if the first batch is refused for a passing reason, as by a broker that has just been told of
//! the topic, and a later one gets in before the first is tried again, the later one is written. To
//! librdkafka that means that the first one was written too, for a broker takes them in order: it
//! reports the first as delivered (`rd_kafka_msgq_move_acked`, 2.12.1), and it is lost. Seen with Kafka
//! 4.3.1, in a topic that was just being made: the first batch of a producer in the log began with the
//! sequence number 1, and every delivery report was a success. When a later batch gets in is a matter
//! of time; the deliberate mistake `open_at_once` shows it in one try of a few.
//!
//! A record that is alone cannot be overtaken. Once it is confirmed the broker has a sequence number to
//! compare with, which all replicas have too, and from then on it refuses what does not follow. It
//! forgets after `producer.id.expiration.ms` (a day by default), so a partition that was silent for long
//! is opened again.

use std::time::Duration;

use tokio::time::Instant;

use crate::mutant::{self, Mutant};

/// A partition that confirmed nothing for so long is opened again.
const OPEN_FOR: Duration = Duration::from_secs(600);

/// So many records without a key go to one partition, then the next one has its turn: a batch is of
/// one partition, and such records have no order among each other.
const TURN: u32 = 100;

/// What is known of one partition.
#[derive(Clone, Copy, Debug)]
enum Partition {
    /// Nothing was sent to it.
    Untested,
    /// Its first record is on its way.
    Opening,
    /// It confirmed something at this time.
    Open(Instant),
}

/// The partitions of a topic, as one producer has found them.
#[derive(Debug)]
pub(super) struct Partitions {
    all: Vec<Partition>,
    /// Whose turn it is among records without a key, and how many more it takes.
    turn: (usize, u32),
}

impl Partitions {
    /// None of them has been sent anything; `first` is where records without a key begin.
    pub(super) fn new(count: usize, first: usize) -> Self {
        let count = count.max(1);
        Self { all: vec![Partition::Untested; count], turn: (first % count, TURN) }
    }

    /// As new, for another producer.
    pub(super) fn again(&self) -> Self {
        Self::new(self.all.len(), self.turn.0)
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The partition of the next record without a key: one that need not be waited for, if there is
    /// one.
    pub(super) fn without_key(&mut self) -> usize {
        let (mut index, mut left) = self.turn;
        let count = self.count();
        for _ in 0..count {
            if left > 0 && !matches!(self.all.get(index), Some(Partition::Opening)) {
                break;
            }
            (index, left) = ((index + 1) % count, TURN);
        }
        self.turn = (index, left.saturating_sub(1));
        index
    }

    /// Whether a record may be sent to this partition now, or has to wait for the first one. `idle`
    /// says whether nothing at all is on its way: then there is nothing to wait for, also where the first
    /// one went elsewhere, since partitions were added.
    pub(super) fn takes(&mut self, index: usize, now: Instant, idle: impl Fn() -> bool) -> bool {
        let Some(partition) = self.all.get_mut(index) else { return true };
        match *partition {
            Partition::Open(at) if now.saturating_duration_since(at) < OPEN_FOR => true,
            Partition::Open(_) | Partition::Untested => {
                *partition = Partition::Opening;
                true
            }
            Partition::Opening => mutant::is(Mutant::OpenAtOnce) || idle(),
        }
    }

    /// This partition has confirmed a record.
    pub(super) fn confirmed(&mut self, number: i32, now: Instant) {
        let Ok(index) = usize::try_from(number) else { return };
        if index >= self.all.len() {
            self.all.resize(index + 1, Partition::Untested);
        }
        if let Some(partition) = self.all.get_mut(index) {
            *partition = Partition::Open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done with partitions, and whether a record is taken or which one has its turn.
    enum Step {
        Takes(usize, bool),
        TakesIdle(usize),
        Confirmed(i32),
        Passes(Duration),
        WithoutKey(usize),
    }

    #[track_caller]
    fn check(count: usize, steps: &[Step]) {
        let mut partitions = Partitions::new(count, 0);
        let mut now = Instant::now();
        for (number, step) in steps.iter().enumerate() {
            match *step {
                Step::Takes(index, expected) => {
                    assert_eq!(partitions.takes(index, now, || false), expected, "step {number}");
                }
                Step::TakesIdle(index) => assert!(partitions.takes(index, now, || true)),
                Step::Confirmed(index) => partitions.confirmed(index, now),
                Step::Passes(time) => now += time,
                Step::WithoutKey(expected) => {
                    assert_eq!(partitions.without_key(), expected, "step {number}");
                }
            }
        }
    }

    #[test]
    fn the_first_record_of_a_partition_travels_alone() {
        use Step::{Confirmed, Takes};
        check(2, &[Takes(0, true), Takes(0, false), Takes(1, true), Takes(1, false)]);
        check(2, &[Takes(0, true), Confirmed(0), Takes(0, true), Takes(0, true)]);
        check(2, &[Takes(0, true), Takes(1, true), Confirmed(1), Takes(0, false)]);
    }

    #[test]
    fn a_partition_that_was_silent_for_long_is_opened_again() {
        use Step::{Confirmed, Passes, Takes};
        let before = OPEN_FOR - Duration::from_secs(1);
        check(1, &[Takes(0, true), Confirmed(0), Passes(before), Takes(0, true), Takes(0, true)]);
        check(
            1,
            &[Takes(0, true), Confirmed(0), Passes(OPEN_FOR), Takes(0, true), Takes(0, false)],
        );
    }

    #[test]
    fn a_record_that_went_to_a_partition_that_was_added_is_not_waited_for_for_ever() {
        use Step::{Confirmed, Takes, TakesIdle};
        check(1, &[Takes(0, true), Confirmed(2), Takes(0, false), TakesIdle(0), Takes(2, true)]);
    }

    #[test]
    fn records_without_a_key_take_turns_and_do_not_wait_where_another_partition_takes_them() {
        use Step::{Confirmed, Takes, WithoutKey};
        check(3, &[WithoutKey(0), Takes(0, true), WithoutKey(1), Takes(1, true), WithoutKey(2)]);
        check(2, &[WithoutKey(0), Takes(0, true), Confirmed(0), WithoutKey(0)]);
        let mut partitions = Partitions::new(2, 1);
        let turns: Vec<_> = (0..3 * TURN).map(|_| partitions.without_key()).collect();
        let of = |index| turns.iter().filter(|turn| **turn == index).count();
        assert_eq!((turns[0], of(0), of(1)), (1, 100, 200));
    }
}
