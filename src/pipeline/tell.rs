//! What the loop and the supervisor tell of themselves, in one place: counters per event, facts a
//! few times a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::error::Failure;
use crate::lsn::Lsn;
use crate::metrics::Metrics;
use crate::postgres::catalog::{Server, Slot};
use crate::status::counts::TopicCount;
use crate::status::facts::{Holder, InFlight, Positions, SlotFacts, SnapshotFacts, WalStatus};
use crate::status::lag::Watch;
use crate::status::{State, Status};

/// How often trouble with Kafka is logged.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(10);

/// How long reading has to be stopped, or to go on, before the state says so. A Kafka that is a little
/// slower than the rows stops it and lets it go several times a second, and each change of the state
/// is a line of the log; the time that was stopped is counted to the microsecond beside it.
const SETTLED: Duration = Duration::from_secs(1);

/// Topics that were found to exist in the life of this process, and how many partitions they were
/// last seen to have. One that is gone later is not "unknown" but missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownTopics(Arc<Mutex<BTreeMap<String, usize>>>);

impl KnownTopics {
    /// Remembers a topic; the number of one that is known already is left to [`Self::counted`].
    pub(super) fn add(&self, topic: &str, partitions: usize) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(topic) {
            known.insert(topic.to_owned(), partitions);
        }
    }

    /// All of them.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Remembers how many partitions a topic has now; answers how many it had, if that was
    /// another number.
    pub(crate) fn counted(&self, topic: &str, partitions: usize) -> Option<usize> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(topic.to_owned(), partitions)?;
        (before != partitions).then_some(before)
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(topic)
    }
}

/// Where the loop stands, told a few times a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress<'a> {
    pub(super) positions: Positions,
    pub(super) in_flight: InFlight,
    /// Commit time of the oldest row in hand, microseconds since 1970 by the server's clock.
    pub(super) oldest_in_hand: Option<i64>,
    pub(super) blocked: bool,
    /// Since when it is so, or not so.
    pub(super) blocked_since: Instant,
    /// What is wrong with the schema registry, while rows wait for it.
    pub(super) waits_for_registry: Option<&'a str>,
    pub(super) last_stream_message: Instant,
    pub(super) last_confirmation: Option<Instant>,
    pub(super) last_checkpoint: Option<Instant>,
    /// When the first of the brokers' certificates expires, in seconds since 1970.
    pub(super) kafka_certificate: Option<i64>,
}

/// The voice of pipeline and supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    pub(crate) status: Status,
    pub(crate) metrics: Metrics,
    pub(crate) trouble: Trouble,
}

/// Remembers when trouble was logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<Instant>>>);

impl Trouble {
    fn warn(&self, message: &str) {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= TROUBLE_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!("kafka is not well: {message}");
        }
    }
}

impl Teller {
    pub(super) fn transaction(&self) {
        self.metrics.transactions(1);
    }

    pub(super) fn duplicate_suppressed(&self) {
        self.metrics.duplicates_suppressed(1);
    }

    pub(super) fn topic(&self, name: &str) -> Arc<TopicCount> {
        self.metrics.topic(name)
    }

    /// The count of a topic that was found to have so many partitions.
    pub(crate) fn topic_of(&self, name: &str, partitions: usize) -> Arc<TopicCount> {
        let topic = self.metrics.topic(name);
        self.status.counts().partitions(&topic, partitions);
        topic
    }

    pub(super) fn bad_row(&self, reason: &'static str) {
        self.metrics.bad_row(reason);
    }

    pub(super) fn dead_letter(&self, reason: &'static str) {
        self.metrics.dead_letter(reason);
    }

    pub(super) fn latency(&self, micros: i64, rows: u32) {
        let latency = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        self.metrics.event_latency(latency, usize::try_from(rows).unwrap_or(usize::MAX));
    }

    pub(super) fn produce_error(&self, code: RDKafkaErrorCode) {
        self.metrics.produce_error(&format!("{code:?}"));
    }

    pub(super) fn checkpoint(&self) {
        self.metrics.checkpoint();
    }

    /// Something that librdkafka deals with by itself. It says so at each attempt; the log repeats
    /// it at most every ten seconds.
    pub(super) fn kafka_trouble(&self, message: &str) {
        self.trouble.warn(message);
        self.status.error("kafka", message, "librdkafka goes on trying by itself");
    }

    /// The loop's standing; called at most a few times a second.
    pub(super) fn progress(&self, progress: &Progress<'_>) {
        let Progress { positions, in_flight, blocked, .. } = *progress;
        self.metrics.backpressure(blocked);
        let now = Instant::now();
        if now.saturating_duration_since(progress.blocked_since) >= SETTLED {
            match (self.status.state(), blocked) {
                (State::Streaming, true) => self.status.set_state(State::Backpressured),
                (State::Backpressured, false) => self.status.set_state(State::Streaming),
                _ => {}
            }
        }
        let wall = SystemTime::now();
        let ago = |at: Instant| wall.checked_sub(now.saturating_duration_since(at)).unwrap_or(wall);
        self.status.update(|facts| {
            facts.positions =
                Positions { wal_end: facts.positions.wal_end.max(positions.wal_end), ..positions };
            facts.in_flight = in_flight;
            if facts.waits_for_registry.as_deref() != progress.waits_for_registry {
                facts.waits_for_registry = progress.waits_for_registry.map(str::to_owned);
            }
            facts.oldest_in_hand = progress.oldest_in_hand.and_then(system_time);
            facts.postgres.connected = true;
            facts.postgres.last_stream_message = Some(ago(progress.last_stream_message));
            // The catalog may have answered since, all the more while the stream is not read.
            let heard = Some(progress.last_stream_message);
            facts.postgres.last_contact = facts.postgres.last_contact.max(heard);
            if progress.last_confirmation.is_some() {
                facts.kafka.last_confirmation = progress.last_confirmation;
                facts.kafka.last_contact = facts.kafka.last_contact.max(progress.last_confirmation);
            }
            facts.kafka.certificate_expires = progress.kafka_certificate.and_then(moment);
            facts.last_checkpoint = progress.last_checkpoint.or(facts.last_checkpoint);
            if let Some(confirmed) = positions.confirmed {
                facts.freshness.covered(confirmed);
            }
        });
    }

    /// Rows of the snapshot were confirmed.
    pub(super) fn snapshot_rows(&self, rows: u32) {
        self.metrics.snapshot_rows(u64::from(rows));
    }

    /// How far the snapshot is.
    pub(super) fn snapshot(&self, snapshot: SnapshotFacts) {
        self.status.update(|facts| facts.snapshot = Some(snapshot));
    }

    /// All its rows are confirmed, and the stream begins.
    pub(super) fn snapshot_is_over(&self) {
        self.status.update(|facts| {
            facts.snapshot = None;
            facts.freshness.watch(Watch::Stream);
        });
        self.status.set_state(State::Streaming);
    }

    /// The stream is ours, in this generation. Before it come so many rows of a snapshot, as far
    /// as that is known, or there is none.
    pub(crate) fn leading(&self, generation: u64, snapshot: Option<SnapshotFacts>) {
        let (watch, state) = match snapshot {
            Some(_) => (Watch::Nothing, State::Snapshotting),
            None => (Watch::Stream, State::Streaming),
        };
        self.status.update(|facts| {
            facts.leader = true;
            facts.holder = None;
            facts.kafka.generation = generation;
            facts.kafka.connected = true;
            facts.freshness.watch(watch);
            facts.snapshot = snapshot;
        });
        self.metrics.handoff();
        self.status.set_state(state);
    }

    /// The stream is not ours any more.
    pub(crate) fn not_leading(&self) {
        self.metrics.backpressure(false);
        self.status.update(|facts| {
            facts.leader = false;
            facts.catalog_checked = None;
            facts.postgres.connected = false;
            facts.oldest_in_hand = None;
            facts.waits_for_registry = None;
            facts.snapshot = None;
            facts.in_flight.events = 0;
            facts.in_flight.bytes = 0;
            facts.freshness.watch(Watch::Nothing);
        });
    }

    pub(crate) fn reconnect(&self, reason: &'static str) {
        self.metrics.postgres_reconnect(reason);
    }

    pub(crate) fn postgres_contact(&self, server: &Server) {
        let version = server.version();
        self.status.update(|facts| {
            facts.postgres.connected = true;
            facts.postgres.server_version = Some(version);
            facts.postgres.last_contact = Some(Instant::now());
        });
    }

    /// How far the server's clock is from ours; to be told right after it answered.
    pub(crate) fn clock_skew(&self, server: &Server) {
        let skew = micros_to_seconds(server.clock_skew_micros());
        let said = system_time(server.now).map(|said| (said, server.answered_at));
        self.status.update(|facts| {
            facts.clock_skew_seconds = skew;
            facts.server_said = said.or(facts.server_said);
        });
    }

    /// When the certificate expires that the server has shown, in seconds since 1970.
    pub(crate) fn postgres_certificate(&self, not_after: Option<i64>) {
        self.status.update(|facts| {
            facts.postgres.certificate_expires = not_after.and_then(moment);
        });
    }

    /// As [`Teller::postgres_certificate`], of the brokers.
    pub(crate) fn kafka_certificate(&self, not_after: Option<i64>) {
        self.status.update(|facts| {
            facts.kafka.certificate_expires = not_after.and_then(moment);
        });
    }

    pub(crate) fn kafka_contact(&self) {
        self.status.update(|facts| {
            facts.kafka.connected = true;
            facts.kafka.last_contact = Some(Instant::now());
        });
    }

    /// Another holds the slot, which was asked for at `asked`.
    pub(crate) fn standby(&self, server: &Server, slot: &Slot, asked: Instant) {
        let holder = slot.holder.as_ref();
        self.status.update(|facts| {
            facts.leader = false;
            facts.postgres.connected = true;
            facts.postgres.last_contact = Some(Instant::now());
            facts.holder = Some(Holder {
                pid: slot.active_pid,
                application: holder.and_then(|holder| holder.application_name.clone()),
                address: holder.and_then(|holder| holder.client_addr.clone()),
            });
            facts.slot = Some(slot_facts(server, slot));
            facts.freshness.watch(Watch::Slot);
            if let Some(confirmed) = slot.confirmed_flush_lsn {
                facts.freshness.covered(confirmed);
            }
            facts.freshness.server_at(slot.wal_end, asked);
        });
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.status.state() == State::Halted
    }

    pub(crate) fn catalog_trouble(&self, failure: &Failure) {
        failure.tell_without_halting(&self.status);
    }

    /// The server's log ended here when it answered a question asked at `asked`.
    pub(crate) fn log_ends(&self, end: Lsn, asked: Instant) {
        self.status.update(|facts| {
            facts.positions.wal_end = facts.positions.wal_end.max(Some(end));
            facts.freshness.server_at(end, asked);
        });
    }

    /// Publication and tables were found to be as at the start.
    pub(crate) fn catalog_is_as_before(&self) {
        self.status.update(|facts| facts.catalog_checked = Some(Instant::now()));
    }

    /// The catalog was asked at `asked`, while the stream runs.
    pub(crate) fn servers_facts(&self, server: &Server, slot: Option<&Slot>, asked: Instant) {
        self.postgres_contact(server);
        let skew = micros_to_seconds(server.clock_skew_micros());
        let said = system_time(server.now).map(|said| (said, server.answered_at));
        self.status.update(|facts| {
            facts.clock_skew_seconds = skew;
            facts.server_said = said.or(facts.server_said);
            facts.positions.wal_end = facts.positions.wal_end.max(Some(server.wal_end));
            facts.freshness.server_at(server.wal_end, asked);
            facts.slot = slot.map(|slot| slot_facts(server, slot));
        });
        self.metrics.upkeep();
    }
}

fn slot_facts(server: &Server, slot: &Slot) -> SlotFacts {
    let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    SlotFacts {
        active: slot.active,
        wal_end: slot.wal_end,
        restart: slot.restart_lsn,
        confirmed_flush: slot.confirmed_flush_lsn,
        safe_bytes: positive(slot.safe_wal_size),
        keep_limit_bytes: server.max_slot_wal_keep_size.map(|megabytes| megabytes << 20),
        wal_status: slot.wal_status.as_deref().and_then(WalStatus::from_word),
        catalog_xmin_age: positive(slot.catalog_xmin_age.map(i64::from)).unwrap_or(0),
        spill_bytes: positive(slot.spill_bytes).unwrap_or(0),
    }
}

fn system_time(unix_micros: i64) -> Option<SystemTime> {
    let since = Duration::from_micros(u64::try_from(unix_micros).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Seconds since 1970; a moment before is 1970, which is as past as it needs to be.
fn moment(unix_seconds: i64) -> Option<SystemTime> {
    let since = Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[expect(clippy::cast_precision_loss, reason = "a skew of 2^53 microseconds is 285 years")]
fn micros_to_seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// `None` for the position that means none.
pub(super) fn known(lsn: Lsn) -> Option<Lsn> {
    (lsn != Lsn::INVALID).then_some(lsn)
}

#[cfg(test)]
mod tests;
