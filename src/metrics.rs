//! The numbers of `/metrics`.
//!
//! [`catalog::TABLE`] defines every metric once. Most numbers are held in [`Status`], which the
//! page shows too, and are taken over when Prometheus asks: so lag and ages grow while the
//! pipeline is stuck, which is when they matter. [`Metrics`] adds what only Prometheus wants.

pub mod catalog;
mod consumers;
mod merge;
mod process;
mod refresh;
mod registry;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::status::Status;
use crate::status::counts::TopicCount;

use self::catalog::{BAD_ROW_REASONS, RECONNECT_REASONS};
use self::refresh::Refreshed;
use self::registry::{Family, Registry};

/// How many codes of the Kafka client are told apart; it has some 150.
const CODES_MAX: usize = 200;

/// How many brokers are told apart.
const BROKERS_MAX: usize = 1_000;

/// Which database is followed, for `walpost_config_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigInfo {
    /// Replication slot.
    pub slot: String,
    /// Publication.
    pub publication: String,
    /// Database.
    pub database: String,
    /// `at-least-once` or `exactly-once`.
    pub delivery: String,
    /// The number of the stream, for the label `shard`; `None` where there is one stream.
    pub shard: Option<u32>,
}

/// A handle to the numbers; clones share them.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    status: Status,
    registry: Registry,
    refreshed: Refreshed,
    /// Somebody empties what the histogram records; without, it would grow for ever.
    drained: AtomicBool,
    event_latency: Histogram,
    handoffs: Counter,
    checkpoints: Counter,
    outbox_rows: Gauge,
    outbox_bytes: Gauge,
    pruned_rows: Counter,
    nontransactional_messages: Counter,
    partition_changes: Counter,
    bad_rows: Family<Counter>,
    dead_letters: Family<Counter>,
    produce_errors: Family<Counter>,
    produce_retries: Counter,
    reconnects: Family<Counter>,
    broker_up: Family<Gauge>,
    broker_round_trip: Family<Gauge>,
}

impl Metrics {
    /// All series of a connector, those with a closed set of labels from the start.
    #[must_use]
    pub fn new(status: &Status, config: &ConfigInfo) -> Self {
        let registry = Registry::new(status.name(), config.shard);
        let reasons = |register| {
            Family::new("reason", BAD_ROW_REASONS.len(), register).with(&registry, &BAD_ROW_REASONS)
        };
        let shared = Shared {
            refreshed: Refreshed::new(&registry, config),
            drained: AtomicBool::new(false),
            event_latency: registry.histogram("walpost_event_latency_seconds"),
            handoffs: registry.counter("walpost_handoffs_total", &[]),
            checkpoints: registry.counter("walpost_checkpoints_total", &[]),
            outbox_rows: registry.gauge("walpost_outbox_rows", &[]),
            outbox_bytes: registry.gauge("walpost_outbox_bytes", &[]),
            pruned_rows: registry.counter("walpost_pruned_rows_total", &[]),
            nontransactional_messages: registry
                .counter("walpost_nontransactional_messages_total", &[]),
            partition_changes: registry.counter("walpost_partition_changes_total", &[]),
            bad_rows: reasons(|registry, labels| {
                registry.counter("walpost_bad_rows_total", labels)
            }),
            dead_letters: reasons(|registry, labels| {
                registry.counter("walpost_dead_letters_total", labels)
            }),
            produce_retries: registry.counter("walpost_produce_retries_total", &[]),
            produce_errors: Family::new("code", CODES_MAX, |registry, labels| {
                registry.counter("walpost_produce_errors_total", labels)
            }),
            reconnects: Family::new("reason", RECONNECT_REASONS.len(), |registry, labels| {
                registry.counter("walpost_postgres_reconnects_total", labels)
            })
            .with(&registry, &RECONNECT_REASONS),
            broker_up: Family::new("broker", BROKERS_MAX, |registry, labels| {
                registry.gauge("walpost_broker_up", labels)
            }),
            broker_round_trip: Family::new("broker", BROKERS_MAX, |registry, labels| {
                registry.gauge("walpost_broker_rtt_seconds", labels)
            }),
            status: status.clone(),
            registry,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The count of a topic, for the caller to keep: adding to it is two atomic additions, while
    /// this takes a lock. At most 1,000 topics are told apart.
    #[must_use]
    pub fn topic(&self, name: &str) -> Arc<TopicCount> {
        self.shared.status.counts().topic(name)
    }

    /// Adds transactions whose every event Kafka confirmed.
    pub fn transactions(&self, transactions: u64) {
        self.shared.status.counts().transactions(transactions);
    }

    /// Adds rows that were read again and left out, as the checkpoint covers them.
    pub fn duplicates_suppressed(&self, rows: u64) {
        self.shared.status.counts().duplicates_suppressed(rows);
    }

    /// Adds rows of a snapshot that Kafka confirmed.
    pub fn snapshot_rows(&self, rows: u64) {
        self.shared.status.counts().snapshot_rows(rows);
    }

    /// Reading was stopped until Kafka confirms, or goes on. Telling the same again is harmless.
    pub fn backpressure(&self, stopped: bool) {
        let watch = self.shared.status.counts().backpressure();
        if stopped { watch.start() } else { watch.stop() }
    }

    /// So many events, committed `latency` ago on the server's clock, were confirmed now.
    pub fn event_latency(&self, latency: Duration, events: usize) {
        if self.shared.drained.load(Ordering::Relaxed) {
            self.shared.event_latency.record_many(latency.as_secs_f64(), events);
        }
    }

    /// A row could not become an event. `reason` is one of [`BAD_ROW_REASONS`].
    pub fn bad_row(&self, reason: &str) {
        self.shared.status.counts().bad_row();
        self.shared.bad_rows.of(&self.shared.registry, reason).increment(1);
    }

    /// A dead letter was confirmed. `reason` is one of [`BAD_ROW_REASONS`].
    pub fn dead_letter(&self, reason: &str) {
        self.shared.status.counts().dead_letter();
        self.shared.dead_letters.of(&self.shared.registry, reason).increment(1);
    }

    /// This instance took the slot over while standing by.
    pub fn handoff(&self) {
        self.shared.handoffs.increment(1);
    }

    /// A checkpoint was confirmed.
    pub fn checkpoint(&self) {
        self.shared.checkpoints.increment(1);
    }

    /// How large the outbox tables are, all together.
    pub fn outbox(&self, rows: u64, bytes: u64) {
        // Exact up to 2^53.
        self.shared.outbox_rows.set(rows as f64);
        self.shared.outbox_bytes.set(bytes as f64);
    }

    /// Rows were deleted that were proven to be delivered.
    pub fn pruned_rows(&self, rows: u64) {
        self.shared.pruned_rows.increment(rows);
    }

    /// A message of the outbox's prefix was left out, as it was not part of a transaction.
    pub fn nontransactional_message(&self) {
        self.shared.nontransactional_messages.increment(1);
    }

    /// A topic was found to have another number of partitions than before.
    pub fn partitions_changed(&self) {
        self.shared.partition_changes.increment(1);
    }

    /// The Kafka client reported an error for a record; `code` is its name for it.
    pub fn produce_error(&self, code: &str) {
        self.shared.produce_errors.of(&self.shared.registry, code).increment(1);
    }

    /// The Kafka client has sent so many more requests again.
    pub fn produce_retries(&self, retries: u64) {
        self.shared.produce_retries.increment(retries);
    }

    /// The connection to Postgres is made anew. `reason` is one of [`RECONNECT_REASONS`].
    pub fn postgres_reconnect(&self, reason: &str) {
        self.shared.reconnects.of(&self.shared.registry, reason).increment(1);
    }

    /// Whether the connection to a broker is up, and the mean round trip in seconds since it was last
    /// told, if there was one.
    pub fn broker(&self, name: &str, up: bool, round_trip: Option<f64>) {
        let Shared { registry, broker_up, broker_round_trip, .. } = &*self.shared;
        broker_up.of(registry, name).set(if up { 1.0 } else { 0.0 });
        if let Some(seconds) = round_trip {
            broker_round_trip.of(registry, name).set(seconds);
        }
    }

    /// Puts what the histogram recorded into its buckets. The HTTP server calls it every second;
    /// before the first call nothing is recorded, so that without a server nothing piles up.
    pub fn upkeep(&self) {
        self.shared.drained.store(true, Ordering::Relaxed);
        self.shared.registry.upkeep();
    }

    /// Everything of several streams: each metric once, with the series of all.
    #[must_use]
    pub fn render_all(streams: &[Self]) -> String {
        match streams {
            [only] => only.render(),
            _ => merge::merge(streams.iter().map(Self::render)),
        }
    }

    /// Everything in Prometheus' text format 0.0.4, as it is now.
    #[must_use]
    pub fn render(&self) -> String {
        let Shared { status, registry, refreshed, .. } = &*self.shared;
        let snapshot = status.snapshot();
        refreshed.set(registry, &snapshot, &status.last_errors_by_code());
        let mut text = registry.render();
        refresh::append_unregistered(registry, &snapshot, &mut text);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("connector", &self.shared.status.name()).finish()
    }
}
