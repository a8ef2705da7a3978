//! One topic's counts: what Kafka confirmed, by partition, and how unevenly of late.
//!
//! What is added per event or per report is an atomic addition. What is worked out of it (a rate,
//! a skew) is worked out every ten seconds, over the last minute.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::TopicTotal;

/// Over how long rates and skews are taken, at least: six marks of ten seconds.
const MARKS: usize = 7;

/// Fewer events than this within the last minute say nothing about how they are spread.
pub const SPREAD_LEAST: u64 = 100;

/// Events that Kafka confirmed for one topic.
#[derive(Debug, Default)]
pub struct TopicCount {
    events: AtomicU64,
    bytes: AtomicU64,
    /// By partition, with room for as many again, since topics are given more partitions while we
    /// run. Empty where there was no room for this topic.
    partitions: OnceLock<Partitions>,
    /// Share of the most frequent key, as the bits of a float; 0: not known.
    hot_key: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Partitions {
    counts: Vec<AtomicU64>,
    /// How many the topic has.
    known: AtomicU64,
    /// Of partitions past the room.
    other: AtomicU64,
}

#[derive(Debug, Default)]
struct Recent {
    marks: VecDeque<Mark>,
    rate: Option<f64>,
    skew: Option<Skew>,
}

#[derive(Debug)]
struct Mark {
    at: Instant,
    events: u64,
    partitions: Vec<u64>,
}

/// How unevenly events were spread over partitions in the last minute.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Skew {
    /// Events of the busiest partition over the mean of all; 1 is even.
    pub ratio: f64,
    /// The busiest partition.
    pub partition: usize,
}

impl TopicCount {
    /// Adds confirmed events of one partition (negative: not known) and their bytes (key, value
    /// and headers).
    pub fn delivered(&self, events: u64, bytes: u64, partition: i32) {
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let (Some(partitions), Ok(at)) = (self.partitions.get(), usize::try_from(partition)) {
            let count = partitions.counts.get(at).unwrap_or(&partitions.other);
            count.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// The topic has so many partitions; room is made at the first call, for at most `room` counts.
    /// Answers how many counts it took.
    pub(super) fn has_partitions(&self, known: usize, room: usize) -> usize {
        let mut taken = 0;
        let partitions = self.partitions.get_or_init(|| {
            taken = known.saturating_mul(2).min(room);
            if taken < known {
                taken = 0;
            }
            Partitions {
                counts: (0..taken).map(|_| AtomicU64::new(0)).collect(),
                known: AtomicU64::new(0),
                other: AtomicU64::new(0),
            }
        });
        partitions.known.fetch_max(known as u64, Ordering::Relaxed);
        taken
    }

    /// The share of the most frequent key among the events of late; `None`: not known.
    pub fn hot_key(&self, share: Option<f64>) {
        self.hot_key.store(share.unwrap_or(0.0).to_bits(), Ordering::Relaxed);
    }

    /// The share that was told last.
    #[must_use]
    pub fn hot_key_share(&self) -> Option<f64> {
        let share = f64::from_bits(self.hot_key.load(Ordering::Relaxed));
        (share > 0.0).then_some(share)
    }

    /// Everything about the topic, under its name.
    pub(super) fn total(&self, name: &str) -> TopicTotal {
        let (events_per_second, skew) = {
            let recent = self.recent();
            (recent.rate, recent.skew)
        };
        TopicTotal {
            topic: name.to_owned(),
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            events_per_second,
            hot_key_share: self.hot_key_share(),
            skew,
            partitions: self.partitions(),
            other_partitions: self
                .partitions
                .get()
                .map_or(0, |partitions| partitions.other.load(Ordering::Relaxed)),
        }
    }

    fn partitions(&self) -> Vec<u64> {
        let Some(partitions) = self.partitions.get() else { return Vec::new() };
        let known = usize::try_from(partitions.known.load(Ordering::Relaxed)).unwrap_or(0);
        let counts = partitions.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let counts: Vec<_> = counts.collect();
        // A partition that was added since is listed as soon as it has an event.
        let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts.into_iter().take(known.max(used)).collect()
    }

    /// Takes the rate and the skew of the last minute; to be called every ten seconds.
    pub(super) fn mark(&self, now: Instant) {
        let mark = Mark {
            at: now,
            events: self.events.load(Ordering::Relaxed),
            partitions: self.partitions(),
        };
        let mut recent = self.recent();
        if let Some(oldest) = recent.marks.front() {
            let elapsed = now.saturating_duration_since(oldest.at);
            let rate = rate(mark.events.saturating_sub(oldest.events), elapsed);
            let skew = skew(&oldest.partitions, &mark.partitions);
            (recent.rate, recent.skew) = (rate, skew);
        }
        if recent.marks.len() >= MARKS {
            recent.marks.pop_front();
        }
        recent.marks.push_back(mark);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate(events: u64, elapsed: Duration) -> Option<f64> {
    // Exact up to 2^53 events.
    (!elapsed.is_zero()).then(|| events as f64 / elapsed.as_secs_f64())
}

fn skew(before: &[u64], now: &[u64]) -> Option<Skew> {
    let since = |(at, count): (usize, &u64)| {
        count.saturating_sub(before.get(at).copied().unwrap_or_default())
    };
    let grown: Vec<u64> = now.iter().enumerate().map(since).collect();
    let sum: u64 = grown.iter().sum();
    if sum < SPREAD_LEAST {
        return None;
    }
    let (partition, most) = grown.iter().enumerate().max_by_key(|(_, grown)| **grown)?;
    Some(Skew { ratio: *most as f64 * grown.len() as f64 / sum as f64, partition })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        // One base for all, or differences would not be whole.
        static BASE: OnceLock<Instant> = OnceLock::new();
        *BASE.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let topic = TopicCount::default();
        for second in (0..=200).step_by(10) {
            topic.mark(at(second));
            topic.delivered(if second < 100 { 1_000 } else { 50 }, 1, 0);
        }
        assert_eq!(topic.total("t").events_per_second, Some(5.0));
    }

    #[test]
    fn skew_is_the_busiest_partition_over_the_mean_of_all() {
        #[track_caller]
        fn check(before: &[u64], now: &[u64], expected: Option<(f64, usize)>) {
            let found = skew(before, now).map(|skew| (skew.ratio, skew.partition));
            assert_eq!(found, expected, "{before:?} {now:?}");
        }
        check(&[0, 0, 0, 0], &[25, 25, 25, 25], Some((1.0, 3)));
        check(&[0, 0, 0, 0], &[0, 400, 0, 0], Some((4.0, 1)));
        check(&[1_000, 0], &[1_000, 100], Some((2.0, 1)));
        check(&[0], &[0, 300, 0], Some((3.0, 1)));
        check(&[0, 0], &[99, 0], None);
        check(&[], &[], None);
    }

    #[test]
    fn partitions_past_the_room_are_counted_together() {
        let topic = TopicCount::default();
        topic.delivered(7, 1, 0);
        assert_eq!(topic.has_partitions(2, 100), 4);
        assert_eq!(topic.has_partitions(3, 100), 0, "room is made once");
        for partition in [0, 2, 3, 4, 5, -1] {
            topic.delivered(1, 1, partition);
        }
        let total = topic.total("t");
        assert_eq!((total.partitions, total.other_partitions), (vec![1, 0, 1, 1], 2));
    }

    #[test]
    fn a_topic_for_which_there_is_no_room_has_no_partitions() {
        let topic = TopicCount::default();
        assert_eq!(topic.has_partitions(11, 10), 0);
        topic.delivered(5, 1, 3);
        let total = topic.total("t");
        assert_eq!((total.partitions.len(), total.other_partitions), (0, 5));
    }
}
