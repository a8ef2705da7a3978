//! What is counted while events flow: atomics beside the lock, cheap enough for every event.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{Snapshot, TopicTotal};

pub use super::topic::TopicCount;

/// How many topics are counted by name. A topic may come from a row, so the number of series has
/// to have an end; what is past it is counted together under [`OTHER`].
pub const TOPICS_MAX: usize = 1_000;

/// The name under which topics past [`TOPICS_MAX`] are counted. It can be a topic's name too;
/// then the two are counted together.
pub const OTHER: &str = "other";

/// How many series of single partitions there are at most, of all topics together. A topic whose
/// partitions do not all find room has none.
pub const PARTITIONS_MAX: usize = 2_000;

/// Everything that is counted and that the status page shows as well as `/metrics`.
#[derive(Debug)]
pub struct Counts {
    topics: Mutex<HashMap<String, Arc<TopicCount>>>,
    other: Arc<TopicCount>,
    /// Counts of partitions that are still to be had.
    partitions_left: Mutex<usize>,
    transactions: AtomicU64,
    duplicates_suppressed: AtomicU64,
    snapshot_rows: AtomicU64,
    bad_rows: AtomicU64,
    dead_letters: AtomicU64,
    backpressure: Stopwatch,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            topics: Mutex::new(HashMap::new()),
            other: Arc::default(),
            partitions_left: Mutex::new(PARTITIONS_MAX),
            transactions: AtomicU64::new(0),
            duplicates_suppressed: AtomicU64::new(0),
            snapshot_rows: AtomicU64::new(0),
            bad_rows: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            backpressure: Stopwatch::default(),
        }
    }

    /// The count of a topic, to be kept by the caller: this takes a lock and looks up.
    #[must_use]
    pub fn topic(&self, name: &str) -> Arc<TopicCount> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return Arc::clone(topic);
        }
        if topics.len() >= TOPICS_MAX || name == OTHER {
            return Arc::clone(&self.other);
        }
        let topic = Arc::<TopicCount>::default();
        topics.insert(name.to_owned(), Arc::clone(&topic));
        topic
    }

    /// A topic was found to have so many partitions.
    pub fn partitions(&self, topic: &TopicCount, partitions: usize) {
        if std::ptr::eq(topic, &raw const *self.other) {
            // Several topics together have no partitions that could be compared.
            return;
        }
        let mut left = self.partitions_left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(topic.has_partitions(partitions, *left));
    }

    /// Takes rates and skews of the last minute.
    pub(super) fn mark(&self, now: Instant) {
        let topics: Vec<_> = {
            let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            topics.values().map(Arc::clone).collect()
        };
        topics.iter().for_each(|topic| topic.mark(now));
        self.other.mark(now);
    }

    /// Adds transactions whose every event Kafka confirmed.
    pub fn transactions(&self, transactions: u64) {
        self.transactions.fetch_add(transactions, Ordering::Relaxed);
    }

    /// Adds rows that were read again after a restart and left out, as the checkpoint covers them.
    pub fn duplicates_suppressed(&self, rows: u64) {
        self.duplicates_suppressed.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds rows of a snapshot that Kafka confirmed.
    pub fn snapshot_rows(&self, rows: u64) {
        self.snapshot_rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn bad_row(&self) {
        self.bad_rows.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dead_letter(&self) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
    }

    /// The watch that runs while reading is stopped for Kafka.
    #[must_use]
    pub const fn backpressure(&self) -> &Stopwatch {
        &self.backpressure
    }

    /// Topics, the busiest first.
    pub(super) fn fill(&self, snapshot: &mut Snapshot, now: Instant) {
        let mut topics: Vec<TopicTotal> = {
            let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            topics.iter().map(|(name, topic)| topic.total(name)).collect()
        };
        let other = self.other.total(OTHER);
        if other.events > 0 {
            topics.push(other);
        }
        topics.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.topic.cmp(&b.topic)));
        let counts = &mut snapshot.counts;
        counts.events = topics.iter().map(|topic| topic.events).sum();
        counts.bytes = topics.iter().map(|topic| topic.bytes).sum();
        counts.transactions = self.transactions.load(Ordering::Relaxed);
        counts.duplicates_suppressed = self.duplicates_suppressed.load(Ordering::Relaxed);
        counts.snapshot_rows = self.snapshot_rows.load(Ordering::Relaxed);
        counts.bad_rows = self.bad_rows.load(Ordering::Relaxed);
        counts.dead_letters = self.dead_letters.load(Ordering::Relaxed);
        counts.backpressure_seconds = self.backpressure.total(now).as_secs_f64();
        snapshot.topics = topics;
    }
}

/// Adds up the time in which something is so, and counts on while it is so.
///
/// A lock and not two atomics: a reader between two stores would see the total go back, which
/// Prometheus takes for a restart of the process and adds up anew.
#[derive(Debug, Default)]
pub struct Stopwatch {
    spans: Mutex<Spans>,
}

#[derive(Debug, Default)]
struct Spans {
    over: Duration,
    since: Option<Instant>,
}

impl Stopwatch {
    /// Starts a span; one that runs goes on.
    pub fn start(&self) {
        self.spans().since.get_or_insert_with(Instant::now);
    }

    /// Ends the span; without one nothing happens.
    pub fn stop(&self) {
        let mut spans = self.spans();
        if let Some(since) = spans.since.take() {
            spans.over = spans.over.saturating_add(since.elapsed());
        }
    }

    /// All spans together, with the one that runs.
    #[must_use]
    pub fn total(&self, now: Instant) -> Duration {
        let spans = self.spans();
        let running = spans.since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        spans.over.saturating_add(running)
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_past_the_maximum_are_counted_together() {
        let counts = Counts::new();
        for n in 0..TOPICS_MAX + 5 {
            counts.topic(&format!("topic-{n}")).delivered(1, 10, 0);
        }
        counts.topic("topic-0").delivered(3, 30, 0);
        counts.topic(OTHER).delivered(1, 10, 0);
        let mut snapshot = Snapshot::for_tests();
        counts.fill(&mut snapshot, Instant::now());
        assert_eq!(snapshot.topics.len(), TOPICS_MAX + 1);
        assert_eq!(snapshot.topics[0].topic, OTHER);
        assert_eq!((snapshot.topics[0].events, snapshot.topics[0].bytes), (6, 60));
        assert_eq!((snapshot.topics[1].topic.as_str(), snapshot.topics[1].events), ("topic-0", 4));
        assert_eq!(snapshot.counts.events, 1_009);
    }

    #[test]
    fn a_stopwatch_counts_on_while_it_runs() {
        let watch = Stopwatch::default();
        let now = Instant::now();
        assert_eq!(watch.total(now), Duration::ZERO);
        watch.spans().since = Some(now.checked_sub(Duration::from_secs(10)).unwrap());
        watch.start();
        assert_eq!(watch.total(now), Duration::from_secs(10));
        watch.stop();
        watch.stop();
        let total = watch.total(now);
        assert!((10..60).contains(&total.as_secs()), "{total:?}");
        assert_eq!(watch.total(now + Duration::from_secs(5)), total);
    }
}
