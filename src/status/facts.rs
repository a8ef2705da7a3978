//! What the supervisor and the pipeline find out and tell.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::lsn::Lsn;

use super::consumers::{ConsumerGroup, GroupView};
use super::lag::{Freshness, lag};
use super::snapshot::{Clock, KafkaView, LagView, PostgresView, SlotView, Snapshot};

/// What was told last; every field stays until it is told anew.
#[derive(Debug)]
pub struct Facts {
    /// The database server.
    pub postgres: PostgresFacts,
    /// The Kafka cluster.
    pub kafka: KafkaFacts,
    /// How far each step has got.
    pub positions: Positions,
    /// What was read and is not confirmed.
    pub in_flight: InFlight,
    /// What is wrong with the schema registry, while rows wait for it.
    pub waits_for_registry: Option<String>,
    /// The slot as last polled.
    pub slot: Option<SlotFacts>,
    /// Who holds the slot while this instance stands by.
    pub holder: Option<Holder>,
    /// This instance holds the slot.
    pub leader: bool,
    /// When the last checkpoint was confirmed.
    pub last_checkpoint: Option<Instant>,
    /// When publication and tables were last found to be as at the start.
    pub catalog_checked: Option<Instant>,
    /// The server's clock minus ours, in seconds.
    pub clock_skew_seconds: f64,
    /// What the server's clock said last, and when. From then on time is taken by a clock that never
    /// jumps: ours may be set while we work.
    pub server_said: Option<(SystemTime, Instant)>,
    /// Commit time, on the server's clock, of the oldest transaction that was received and is not
    /// confirmed; `None`: nothing is in hand.
    pub oldest_in_hand: Option<SystemTime>,
    /// How far the snapshot of a first start is, while there is one.
    pub snapshot: Option<SnapshotFacts>,
    /// The consumer groups that are watched.
    pub consumer_groups: Vec<ConsumerGroup>,
    /// What the lag is worked out from.
    pub freshness: Freshness,
}

/// The database server as this process sees it.
#[derive(Clone, Debug, Default)]
pub struct PostgresFacts {
    /// The connection that the present state needs is up.
    pub connected: bool,
    /// `server_version`, as the server says it.
    pub server_version: Option<String>,
    /// When the server last sent anything.
    pub last_contact: Option<Instant>,
    /// When the replication stream last sent anything, keepalives too.
    pub last_stream_message: Option<SystemTime>,
    /// When the certificate that the server showed last expires; `None` without encryption.
    pub certificate_expires: Option<SystemTime>,
}

/// The Kafka cluster as this process sees it.
#[derive(Clone, Debug, Default)]
pub struct KafkaFacts {
    /// At least one broker is up.
    pub connected: bool,
    /// When a broker last answered.
    pub last_contact: Option<Instant>,
    /// When a record was last confirmed.
    pub last_confirmation: Option<Instant>,
    /// The generation of the producer, counted in the checkpoint.
    pub generation: u64,
    /// When the first of the certificates that the brokers showed expires; `None` without
    /// encryption.
    pub certificate_expires: Option<SystemTime>,
}

/// How far each step has got. Never `flushed > checkpointed` or `checkpointed > confirmed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Positions {
    /// Taken from the stream, also where it held no row.
    pub received: Option<Lsn>,
    /// Handed to the Kafka client, up to the end of the last whole transaction.
    pub sent: Option<Lsn>,
    /// Everything below was confirmed by Kafka; moves with `received` while nothing is in hand.
    pub confirmed: Option<Lsn>,
    /// Stored in the checkpoint topic.
    pub checkpointed: Option<Lsn>,
    /// Reported to the server, which may forget what is before it.
    pub flushed: Option<Lsn>,
    /// The end of the server's WAL, last seen.
    pub wal_end: Option<Lsn>,
}

/// What was read and is not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct InFlight {
    /// Events.
    pub events: u64,
    /// Key, value and headers twice, 1,024 bytes an event, and 64 a header.
    pub bytes: u64,
    /// `WALPOST_MAX_IN_FLIGHT`.
    pub limit_bytes: u64,
}

/// How far the snapshot of a first start is.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct SnapshotFacts {
    /// The table that is being read.
    pub table: String,
    /// Rows of all tables that are dealt with: confirmed by Kafka, or left out as bad rows.
    pub rows_done: u64,
    /// About how many rows all tables have; `None`: unknown.
    pub rows_estimated: Option<u64>,
    /// Rows that were dealt with per second, since it began.
    pub rows_per_second: u64,
    /// Seconds until it is done at this rate; `None`: unknown.
    pub seconds_left: Option<f64>,
}

impl SnapshotFacts {
    /// So many rows are done in that time.
    #[must_use]
    pub fn of(table: &str, rows_done: u64, estimated: Option<u64>, elapsed: Duration) -> Self {
        let milliseconds = elapsed.as_millis().max(1);
        let rate = u128::from(rows_done) * 1000 / milliseconds;
        let rows_left = estimated.map(|estimated| estimated.saturating_sub(rows_done));
        let left = rows_left.filter(|_| rows_done > 0).map(|rows| {
            // By the rows themselves, since the rate is rounded.
            let milliseconds = u128::from(rows) * milliseconds / u128::from(rows_done);
            Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX)).as_secs_f64()
        });
        Self {
            table: table.to_owned(),
            rows_done,
            rows_estimated: estimated,
            rows_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            seconds_left: left,
        }
    }
}

/// `wal_status` of `pg_replication_slots`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WalStatus {
    /// Within `max_wal_size`.
    Reserved,
    /// Past it, and kept for the slot.
    Extended,
    /// To be removed at the next checkpoint of the server.
    Unreserved,
    /// Removed: the slot cannot be used any more.
    Lost,
}

impl WalStatus {
    /// Every status, from good to bad.
    pub const ALL: [Self; 4] = [Self::Reserved, Self::Extended, Self::Unreserved, Self::Lost];

    /// The server's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Extended => "extended",
            Self::Unreserved => "unreserved",
            Self::Lost => "lost",
        }
    }

    /// Reads the server's word; `None`: it is none of these.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// The slot, from one poll of `pg_replication_slots`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotFacts {
    /// `active`: a session holds it.
    pub active: bool,
    /// `pg_current_wal_lsn()` in the same query.
    pub wal_end: Lsn,
    /// `restart_lsn`; `None` for a slot that is lost.
    pub restart: Option<Lsn>,
    /// `confirmed_flush_lsn`.
    pub confirmed_flush: Option<Lsn>,
    /// `safe_wal_size`: bytes that may be written before the slot can be lost. `None` without a
    /// limit, and for a slot that is lost.
    pub safe_bytes: Option<u64>,
    /// `max_slot_wal_keep_size`; `None`: -1, no limit.
    pub keep_limit_bytes: Option<u64>,
    /// `wal_status`; `None`: NULL.
    pub wal_status: Option<WalStatus>,
    /// `age(catalog_xmin)`, in transactions.
    pub catalog_xmin_age: u64,
    /// `spill_bytes` of `pg_stat_replication_slots`.
    pub spill_bytes: u64,
}

/// The session that holds the slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    /// `active_pid` of the slot.
    pub pid: Option<i32>,
    /// `application_name` of that session; hidden from roles without `pg_read_all_stats`.
    pub application: Option<String>,
    /// `client_addr` of that session; as hidden.
    pub address: Option<String>,
}

impl Facts {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            postgres: PostgresFacts::default(),
            kafka: KafkaFacts::default(),
            positions: Positions::default(),
            in_flight: InFlight::default(),
            waits_for_registry: None,
            slot: None,
            holder: None,
            leader: false,
            last_checkpoint: None,
            catalog_checked: None,
            clock_skew_seconds: 0.0,
            server_said: None,
            oldest_in_hand: None,
            snapshot: None,
            consumer_groups: Vec::new(),
            freshness: Freshness::new(now),
        }
    }

    /// How long ago, on the server's clock, the oldest transaction in hand was committed.
    fn in_hand_seconds(&self, clock: Clock) -> Option<f64> {
        let (said, at) = self.server_said.unwrap_or((clock.wall, clock.now));
        let since = clock.now.saturating_duration_since(at).as_secs_f64();
        Some(match said.duration_since(self.oldest_in_hand?) {
            Ok(age) => since + age.as_secs_f64(),
            Err(ahead) => since - ahead.duration().as_secs_f64(),
        })
    }

    pub(super) fn fill(&self, snapshot: &mut Snapshot, clock: Clock) {
        let behind = |position: Option<Lsn>| match (self.positions.wal_end, position) {
            (Some(wal_end), Some(position)) => Some(wal_end.bytes_since(position)),
            _ => None,
        };
        let lag = lag(self.in_hand_seconds(clock), &self.freshness, clock.now);
        snapshot.postgres = PostgresView {
            connected: self.postgres.connected,
            version: self.postgres.server_version.clone(),
            last_contact: self.postgres.last_contact.map(|at| clock.ago(at)),
            last_stream_message: self.postgres.last_stream_message.map(|at| clock.ago_wall(at)),
            clock_skew_seconds: self.clock_skew_seconds,
            certificate_expires: self.postgres.certificate_expires.map(|at| clock.until(at)),
        };
        snapshot.kafka = KafkaView {
            connected: self.kafka.connected,
            last_contact: self.kafka.last_contact.map(|at| clock.ago(at)),
            last_confirmation: self.kafka.last_confirmation.map(|at| clock.ago(at)),
            generation: self.kafka.generation,
            certificate_expires: self.kafka.certificate_expires.map(|at| clock.until(at)),
        };
        snapshot.lag = LagView {
            seconds: lag.seconds,
            caught_up: lag.caught_up,
            received_bytes: behind(self.positions.received),
            confirmed_bytes: behind(self.positions.confirmed),
        };
        snapshot.positions = self.positions;
        snapshot.in_flight = self.in_flight;
        snapshot.waits_for_registry.clone_from(&self.waits_for_registry);
        snapshot.snapshot.clone_from(&self.snapshot);
        snapshot.slot = self.slot.as_ref().map(SlotView::of);
        snapshot.holder.clone_from(&self.holder);
        snapshot.leader = self.leader;
        snapshot.consumer_groups =
            self.consumer_groups.iter().map(|group| GroupView::of(group, clock)).collect();
        snapshot.catalog_checked = self.catalog_checked.map(|at| clock.ago(at));
        snapshot.last_checkpoint = self.last_checkpoint.map(|at| clock.ago(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_age_of_a_commit_is_taken_on_the_servers_clock() {
        #[track_caller]
        fn check(commit_before: f64, since: f64, expected: f64) {
            let said = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let commit = Duration::try_from_secs_f64(1_000_000.0 - commit_before).unwrap();
            let at = Instant::now();
            let mut facts = Facts::new(at);
            facts.oldest_in_hand = Some(SystemTime::UNIX_EPOCH + commit);
            facts.server_said = Some((said, at));
            // Whatever our own clock says.
            for wall in [SystemTime::UNIX_EPOCH, said, said + Duration::from_secs(3_600)] {
                let clock = Clock { now: at + Duration::from_secs_f64(since), wall };
                let found = facts.in_hand_seconds(clock).unwrap();
                assert!((found - expected).abs() < 1e-6, "{found}");
            }
        }
        check(10.0, 0.0, 10.0);
        check(10.0, 2.5, 12.5);
        check(-1.0, 1.0, 0.0);
    }

    #[test]
    fn the_servers_word_for_the_wal_of_a_slot_is_known() {
        assert_eq!(WalStatus::from_word("unreserved"), Some(WalStatus::Unreserved));
        assert_eq!(WalStatus::from_word("LOST"), None);
    }
}
