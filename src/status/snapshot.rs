//! Everything known at one moment, as `/status.json` shows it.
//!
//! Unknown is `null`. A moment is an object `{"at": RFC 3339, "seconds_ago": number}`; positions
//! are the server's text (`"16/B374D848"`); sizes are bytes and spans are seconds. Members may be
//! added; none is renamed or taken away.
//!
//! ```json
//! {
//!   "name": "shop.walpost", "slot_name": "walpost", "version": "0.1.0",
//!   "at": "2026-11-21T07:36:03.250Z",
//!   "started": {"at": "2026-11-21T07:30:00.000Z", "seconds_ago": 363.25},
//!   "verdict": "streaming, caught up; last event confirmed 3 s ago",
//!   "state": "streaming",
//!   "state_since": {"at": "2026-11-21T07:30:01.000Z", "seconds_ago": 362.25},
//!   "ready": {"ok": true, "reason": "streaming"},
//!   "live": {"ok": true, "reason": "all tasks move"},
//!   "startup": {"ok": true, "reason": "all tasks run"},
//!   "leader": true,
//!   "halt": null,
//!   "holder": null,
//!   "postgres": {"connected": true, "version": "17.2", "last_contact": {"at": "…", "seconds_ago": 0.4},
//!                "last_stream_message": {"at": "…", "seconds_ago": 0.4}, "clock_skew_seconds": 0.001,
//!                "certificate_expires": {"at": "…", "seconds_left": 86400.0}},
//!   "kafka": {"connected": true, "last_contact": null, "last_confirmation": null, "generation": 7,
//!             "certificate_expires": null},
//!   "positions": {"received": "0/1A2B3C8", "sent": "0/1A2B3C8", "confirmed": "0/1A2B3C8",
//!                 "checkpointed": "0/1A2B3C8", "flushed": "0/1A2B3C8", "wal_end": "0/1A2B3C8"},
//!   "lag": {"seconds": 0.0, "caught_up": true, "received_bytes": 0, "confirmed_bytes": 0},
//!   "in_flight": {"events": 0, "bytes": 0, "limit_bytes": 16777216},
//!   "waits_for_registry": null,
//!   "slot": {"active": true, "wal_status": "reserved", "retained_bytes": 56, "safe_bytes": null,
//!            "keep_limit_bytes": null, "confirmed_flush_lag_bytes": 0, "catalog_xmin_age": 3,
//!            "spill_bytes": 0},
//!   "catalog_checked": {"at": "…", "seconds_ago": 2.1},
//!   "snapshot": null,
//!   "last_checkpoint": null,
//!   "counts": {"events": 10, "bytes": 5120, "transactions": 4, "duplicates_suppressed": 0,
//!              "snapshot_rows": 0, "bad_rows": 0, "dead_letters": 0, "backpressure_seconds": 0.0},
//!   "topics": [{"topic": "outbox.event.order", "events": 10, "bytes": 5120,
//!               "events_per_second": 0.2, "hot_key_share": null,
//!               "skew": {"ratio": 1.4, "partition": 2}, "partitions": [3, 3, 4],
//!               "other_partitions": 0}],
//!   "consumer_groups": [{"group": "billing", "state": "Stable", "members": 2, "rebalances": 1,
//!                        "looked": {"at": "…", "seconds_ago": 1.2}, "trouble": null,
//!                        "topics": [{"topic": "outbox.event.order", "lag": 12, "lag_seconds": 3.4,
//!                                    "partitions": 3, "partitions_without_place": 0}]}],
//!   "errors": [{"at": "…", "seconds_ago": 12.0, "times": 3, "code": "connect",
//!               "message": "…", "hint": "…"}],
//!   "tasks": [{"task": "pipeline", "seconds_since_beat": 0.02}]
//! }
//! ```
//!
//! While the rows of a first start are published, `snapshot` is `{"table": "public.outbox",
//! "rows_done": 1000, "rows_estimated": 5000, "rows_per_second": 500, "seconds_left": 8.0}`, rows of
//! all tables together.
//!
//! A halt is `{"code": "slot_missing", "message": "…", "hint": "…", "resumes_by_itself": false}`,
//! a holder `{"pid": 123, "application": "walpost/shop.walpost", "address": "10.0.0.3"}`.

use std::time::SystemTime;

use tokio::time::Instant;

use super::consumers::GroupView;
use super::errors::ErrorEntry;
use super::facts::{Holder, InFlight, Positions, SlotFacts, SnapshotFacts, WalStatus};
use super::halt::Halt;
use super::health::{self, Answer};
use super::heartbeat::TaskAge;
use super::rfc3339;
use super::state::State;
use super::topic::Skew;
use super::verdict;

/// Now, on both clocks: spans are taken on the one that never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

impl Clock {
    /// A moment of this process.
    pub(super) fn ago(self, at: Instant) -> Ago {
        let age = self.now.saturating_duration_since(at);
        Ago { at: self.wall.checked_sub(age).unwrap_or(self.wall), seconds_ago: age.as_secs_f64() }
    }

    /// A moment to come, or past, told by the wall clock.
    pub(super) fn until(self, at: SystemTime) -> Until {
        let seconds_left = match at.duration_since(self.wall) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        Until { at, seconds_left }
    }

    /// A moment told by the wall clock.
    pub(super) fn ago_wall(self, at: SystemTime) -> Ago {
        let age = self.wall.duration_since(at).unwrap_or_default();
        Ago { at, seconds_ago: age.as_secs_f64() }
    }
}

/// A moment in the past.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ago {
    /// On the wall clock.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: SystemTime,
    /// Seconds before the snapshot.
    pub seconds_ago: f64,
}

/// A moment to come.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Until {
    /// On the wall clock.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: SystemTime,
    /// Seconds after the snapshot; negative when it is past.
    pub seconds_left: f64,
}

/// Everything known at one moment.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Snapshot {
    /// The connector.
    pub name: String,
    /// The replication slot.
    pub slot_name: String,
    /// walpost's version.
    pub version: &'static str,
    /// The moment.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: SystemTime,
    /// When the process started.
    pub started: Ago,
    /// One sentence that says how it goes and, if it does not, what to do.
    pub verdict: String,
    /// What the process is doing.
    pub state: State,
    /// Since when.
    pub state_since: Ago,
    /// `/readyz`
    pub ready: Answer,
    /// `/livez`
    pub live: Answer,
    /// `/startupz`
    pub startup: Answer,
    /// This instance holds the slot.
    pub leader: bool,
    /// Why it does not work.
    pub halt: Option<Halt>,
    /// Who holds the slot instead of this instance.
    pub holder: Option<Holder>,
    /// The database server.
    pub postgres: PostgresView,
    /// The Kafka cluster.
    pub kafka: KafkaView,
    /// How far each step has got.
    pub positions: Positions,
    /// How far behind.
    pub lag: LagView,
    /// What was read and is not confirmed.
    pub in_flight: InFlight,
    /// What is wrong with the schema registry, while rows wait for it.
    pub waits_for_registry: Option<String>,
    /// The slot as last polled.
    pub slot: Option<SlotView>,
    /// When publication and tables were last found to be as at the start.
    pub catalog_checked: Option<Ago>,
    /// How far the snapshot of a first start is.
    pub snapshot: Option<SnapshotFacts>,
    /// When the last checkpoint was confirmed.
    pub last_checkpoint: Option<Ago>,
    /// Totals since the start.
    pub counts: Totals,
    /// Totals by topic, the busiest first.
    pub topics: Vec<TopicTotal>,
    /// The consumer groups that are watched.
    pub consumer_groups: Vec<GroupView>,
    /// The last errors, the newest first.
    pub errors: Vec<ErrorEntry>,
    /// The tasks without which nothing works.
    pub tasks: Vec<TaskAge>,
    /// The configuration is read and all tasks run.
    #[serde(skip)]
    pub tasks_started: bool,
}

/// The database server.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct PostgresView {
    /// The connection that the present state needs is up.
    pub connected: bool,
    /// `server_version`
    pub version: Option<String>,
    /// When the server last sent anything.
    pub last_contact: Option<Ago>,
    /// When the replication stream last sent anything.
    pub last_stream_message: Option<Ago>,
    /// The server's clock minus ours.
    pub clock_skew_seconds: f64,
    /// When the certificate that the server showed last expires.
    pub certificate_expires: Option<Until>,
}

/// The Kafka cluster.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct KafkaView {
    /// At least one broker is up.
    pub connected: bool,
    /// When a broker last answered.
    pub last_contact: Option<Ago>,
    /// When a record was last confirmed.
    pub last_confirmation: Option<Ago>,
    /// The producer's generation.
    pub generation: u64,
    /// When the first of the certificates that the brokers showed expires.
    pub certificate_expires: Option<Until>,
}

/// How far behind; the rule is in [`super::lag`].
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct LagView {
    /// 0 when caught up, growing while anything is stuck.
    pub seconds: f64,
    /// It is proven that everything is confirmed.
    pub caught_up: bool,
    /// WAL that was not yet received.
    pub received_bytes: Option<u64>,
    /// WAL that is not yet confirmed.
    pub confirmed_bytes: Option<u64>,
}

/// The slot as last polled.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SlotView {
    /// A session holds it.
    pub active: bool,
    /// `wal_status`
    pub wal_status: Option<WalStatus>,
    /// WAL that the server keeps for the slot: from `restart_lsn` to the end.
    pub retained_bytes: u64,
    /// WAL that may be written before the slot can be lost; `null`: no limit.
    pub safe_bytes: Option<u64>,
    /// `max_slot_wal_keep_size`; `null`: no limit.
    pub keep_limit_bytes: Option<u64>,
    /// WAL from `confirmed_flush_lsn` to the end.
    pub confirmed_flush_lag_bytes: u64,
    /// Transactions that the slot holds back from vacuum in the catalogs.
    pub catalog_xmin_age: u64,
    /// Bytes that decoding large transactions wrote to the server's disk.
    pub spill_bytes: u64,
}

impl SlotView {
    pub(super) fn of(slot: &SlotFacts) -> Self {
        let lag = |from: Option<_>| from.map_or(0, |from| slot.wal_end.bytes_since(from));
        // `safe_wal_size` is NULL for a lost slot as well as without a limit (manual,
        // "pg_replication_slots"), and the two could not be further apart.
        let lost = slot.wal_status == Some(WalStatus::Lost);
        Self {
            active: slot.active,
            wal_status: slot.wal_status,
            retained_bytes: lag(slot.restart),
            safe_bytes: if lost { Some(0) } else { slot.safe_bytes },
            keep_limit_bytes: slot.keep_limit_bytes,
            confirmed_flush_lag_bytes: lag(slot.confirmed_flush),
            catalog_xmin_age: slot.catalog_xmin_age,
            spill_bytes: slot.spill_bytes,
        }
    }
}

/// Totals since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Totals {
    /// Events that Kafka confirmed.
    pub events: u64,
    /// Their keys and values.
    pub bytes: u64,
    /// Transactions whose every event was confirmed.
    pub transactions: u64,
    /// Rows read again that the checkpoint covers.
    pub duplicates_suppressed: u64,
    /// Rows of a snapshot that Kafka confirmed.
    pub snapshot_rows: u64,
    /// Rows that could not become events.
    pub bad_rows: u64,
    /// Those of them that were written as dead letters.
    pub dead_letters: u64,
    /// Time in which reading was stopped for Kafka.
    pub backpressure_seconds: f64,
}

/// Events confirmed for one topic.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TopicTotal {
    /// The topic.
    pub topic: String,
    /// Events.
    pub events: u64,
    /// Their keys and values.
    pub bytes: u64,
    /// Over the last minute; `null`: not known yet.
    pub events_per_second: Option<f64>,
    /// Share of the most frequent key among the events of the last minutes; `null`: too few.
    pub hot_key_share: Option<f64>,
    /// How unevenly partitions were used in the last minute; `null`: too few events.
    pub skew: Option<Skew>,
    /// Events by partition, from 0 up; empty past the first 2,000 partitions of all topics.
    pub partitions: Vec<u64>,
    /// Events of partitions that are not listed.
    pub other_partitions: u64,
}

impl Snapshot {
    /// A process of which nothing is known yet.
    pub(super) fn start(name: &str, slot_name: &str, clock: Clock) -> Self {
        let now = clock.ago(clock.now);
        Self {
            name: name.to_owned(),
            slot_name: slot_name.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            at: clock.wall,
            started: now,
            verdict: String::new(),
            state: State::Starting,
            state_since: now,
            ready: Answer::default(),
            live: Answer::default(),
            startup: Answer::default(),
            leader: false,
            halt: None,
            holder: None,
            postgres: PostgresView::default(),
            kafka: KafkaView::default(),
            positions: Positions::default(),
            lag: LagView::default(),
            in_flight: InFlight::default(),
            waits_for_registry: None,
            slot: None,
            catalog_checked: None,
            snapshot: None,
            last_checkpoint: None,
            counts: Totals::default(),
            topics: Vec::new(),
            consumer_groups: Vec::new(),
            errors: Vec::new(),
            tasks: Vec::new(),
            tasks_started: false,
        }
    }

    /// Works out what follows from the facts.
    pub(super) fn finish(&mut self) {
        self.ready = health::ready(self);
        self.live = health::live(self);
        self.startup = health::startup(self);
        self.verdict = verdict::verdict(self);
    }

    /// A process of which nothing is known yet.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        let clock = Clock { now: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        Self::start("shop.walpost", "walpost", clock)
    }

    /// A moment that many seconds before the snapshot.
    #[cfg(test)]
    pub(super) fn ago(&self, seconds: f64) -> Ago {
        Ago { at: self.at, seconds_ago: seconds }
    }
}

fn as_rfc3339<S: serde::Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339::text(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    #[test]
    fn the_json_has_every_member_also_when_nothing_is_known() {
        let mut snapshot = Snapshot::for_tests();
        snapshot.finish();
        let json = serde_json::to_value(&snapshot).unwrap();
        let members: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        // serde_json sorts the keys of a map.
        assert_eq!(
            members.join(" "),
            "at catalog_checked consumer_groups counts errors halt holder in_flight kafka lag last_checkpoint leader live name \
             positions postgres ready slot slot_name snapshot started startup state state_since tasks \
             topics verdict version waits_for_registry"
        );
        assert_eq!(json["state"], "starting");
        assert_eq!(json["state_since"]["at"], "1970-01-01T00:00:00.000Z");
        assert!(json["kafka"]["last_confirmation"].is_null());
    }

    #[test]
    fn a_lost_slot_has_no_safe_bytes_left_and_one_without_a_limit_is_not_limited() {
        #[track_caller]
        fn check(wal_status: WalStatus, safe_bytes: Option<u64>, expected: Option<u64>) {
            let slot =
                SlotFacts { wal_status: Some(wal_status), safe_bytes, ..SlotFacts::default() };
            assert_eq!(SlotView::of(&slot).safe_bytes, expected);
        }
        check(WalStatus::Reserved, None, None);
        check(WalStatus::Extended, Some(7), Some(7));
        check(WalStatus::Lost, None, Some(0));
    }

    #[test]
    fn what_a_slot_retains_counts_from_its_restart_position() {
        let slot = SlotFacts {
            wal_end: Lsn::new(1_000),
            restart: Some(Lsn::new(400)),
            confirmed_flush: Some(Lsn::new(900)),
            ..SlotFacts::default()
        };
        let view = SlotView::of(&slot);
        assert_eq!((view.retained_bytes, view.confirmed_flush_lag_bytes), (600, 100));
    }
}
