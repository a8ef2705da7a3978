//! Numbers that are taken over from the status whenever Prometheus asks.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge};

use crate::lsn::Lsn;
use crate::status::counts::{OTHER, TOPICS_MAX};
use crate::status::facts::WalStatus;
use crate::status::snapshot::{SlotView, Snapshot, TopicTotal, Until};
use crate::status::{HaltCode, State};

use super::ConfigInfo;
use super::process::Process;
use super::registry::{Family, Registry, of_all_streams};

/// Error codes are words of the program; those of halts exist from the start.
const CODES_MAX: usize = 100;

pub(super) struct Refreshed {
    states: Vec<(State, Gauge)>,
    halted: Vec<(HaltCode, Gauge)>,
    last_error: Family<Gauge>,
    lag: LagSeries,
    slot: SlotSeries,
    work: WorkSeries,
}

impl Refreshed {
    pub(super) fn new(registry: &Registry, config: &ConfigInfo) -> Self {
        let state =
            |state: State| (state, registry.gauge("walpost_state", &[("state", state.as_str())]));
        let halted =
            |code: &HaltCode| (*code, registry.gauge("walpost_halted", &[("code", code.as_str())]));
        let halt_words: Vec<_> = HaltCode::ALL.iter().map(|code| code.as_str()).collect();
        let version = env!("CARGO_PKG_VERSION");
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let build = [("version", version), ("os", os), ("arch", arch)];
        registry.gauge("walpost_build_info", &build).set(1.0);
        let config = [
            ("slot", config.slot.as_str()),
            ("publication", config.publication.as_str()),
            ("database", config.database.as_str()),
            ("delivery", config.delivery.as_str()),
        ];
        registry.gauge("walpost_config_info", &config).set(1.0);
        Self {
            states: State::ALL.into_iter().map(state).collect(),
            halted: HaltCode::ALL.iter().map(halted).collect(),
            last_error: Family::new("code", CODES_MAX, |registry, labels| {
                registry.gauge("walpost_last_error_timestamp_seconds", labels)
            })
            .with(registry, &halt_words),
            lag: LagSeries::new(registry),
            slot: SlotSeries::new(registry),
            work: WorkSeries::new(registry),
        }
    }

    pub(super) fn set(
        &self,
        registry: &Registry,
        snapshot: &Snapshot,
        errors: &[(&'static str, SystemTime)],
    ) {
        for (state, gauge) in &self.states {
            gauge.set(flag(*state == snapshot.state));
        }
        let halt = snapshot.halt.as_ref().map(|halt| halt.code);
        for (code, gauge) in &self.halted {
            gauge.set(flag(Some(*code) == halt));
        }
        for (code, at) in errors {
            self.last_error.of(registry, code).set(unix_seconds(*at));
        }
        self.lag.set(snapshot);
        self.slot.set(snapshot.slot.as_ref());
        self.work.set(registry, snapshot);
    }
}

struct LagSeries {
    seconds: Gauge,
    received: Gauge,
    confirmed: Gauge,
    caught_up: Gauge,
    clock_skew: Gauge,
    confirmed_lsn: Gauge,
}

impl LagSeries {
    fn new(registry: &Registry) -> Self {
        let bytes = |stage| registry.gauge("walpost_lag_bytes", &[("stage", stage)]);
        Self {
            seconds: registry.gauge("walpost_lag_seconds", &[]),
            received: bytes("received"),
            confirmed: bytes("confirmed"),
            caught_up: registry.gauge("walpost_caught_up", &[]),
            clock_skew: registry.gauge("walpost_clock_skew_seconds", &[]),
            confirmed_lsn: registry.gauge("walpost_confirmed_lsn_bytes", &[]),
        }
    }

    fn set(&self, snapshot: &Snapshot) {
        let lag = &snapshot.lag;
        self.seconds.set(lag.seconds);
        self.received.set(lag.received_bytes.unwrap_or(0) as f64);
        self.confirmed.set(lag.confirmed_bytes.unwrap_or(0) as f64);
        self.caught_up.set(flag(lag.caught_up));
        self.clock_skew.set(snapshot.postgres.clock_skew_seconds);
        // Exact up to 2^53 bytes, 8 PiB of log.
        self.confirmed_lsn.set(snapshot.positions.confirmed.map_or(0, Lsn::as_u64) as f64);
    }
}

struct SlotSeries {
    active: Gauge,
    retained: Gauge,
    safe: Gauge,
    keep_limit: Gauge,
    wal_status: Vec<(WalStatus, Gauge)>,
    confirmed_flush_lag: Gauge,
    restart_lag: Gauge,
    catalog_xmin_age: Gauge,
    spill: Counter,
}

impl SlotSeries {
    fn new(registry: &Registry) -> Self {
        let gauge = |name| registry.gauge(name, &[]);
        let wal_status = |status: WalStatus| {
            let labels = [("status", status.as_str())];
            (status, registry.gauge("walpost_slot_wal_status", &labels))
        };
        Self {
            active: gauge("walpost_slot_active"),
            retained: gauge("walpost_slot_retained_wal_bytes"),
            safe: gauge("walpost_slot_safe_wal_bytes"),
            keep_limit: gauge("walpost_slot_wal_keep_limit_bytes"),
            wal_status: WalStatus::ALL.into_iter().map(wal_status).collect(),
            confirmed_flush_lag: gauge("walpost_slot_confirmed_flush_lag_bytes"),
            restart_lag: gauge("walpost_slot_restart_lag_bytes"),
            catalog_xmin_age: gauge("walpost_slot_catalog_xmin_age"),
            spill: registry.counter("walpost_slot_spill_bytes_total", &[]),
        }
    }

    /// Without a poll yet nothing is retained and nothing is in danger.
    fn set(&self, slot: Option<&SlotView>) {
        // No limit is +Inf and not an absent series: comparisons with it are false, as they
        // should be, and a panel shows that there is none.
        let limit = |bytes: Option<u64>| bytes.map_or(f64::INFINITY, |bytes| bytes as f64);
        let bytes = |of: fn(&SlotView) -> u64| slot.map_or(0, of) as f64;
        self.active.set(flag(slot.is_some_and(|slot| slot.active)));
        self.retained.set(bytes(|slot| slot.retained_bytes));
        self.restart_lag.set(bytes(|slot| slot.retained_bytes));
        self.confirmed_flush_lag.set(bytes(|slot| slot.confirmed_flush_lag_bytes));
        self.catalog_xmin_age.set(bytes(|slot| slot.catalog_xmin_age));
        self.safe.set(limit(slot.and_then(|slot| slot.safe_bytes)));
        self.keep_limit.set(limit(slot.and_then(|slot| slot.keep_limit_bytes)));
        let found = slot.and_then(|slot| slot.wal_status);
        for (status, gauge) in &self.wal_status {
            gauge.set(flag(Some(*status) == found));
        }
        self.spill.absolute(slot.map_or(0, |slot| slot.spill_bytes));
    }
}

struct WorkSeries {
    leader: Gauge,
    events: Family<Counter>,
    event_bytes: Family<Counter>,
    skew: Family<Gauge>,
    hot_key: Family<Gauge>,
    transactions: Counter,
    duplicates_suppressed: Counter,
    snapshot_rows: Counter,
    in_flight_events: Gauge,
    in_flight_bytes: Gauge,
    in_flight_limit: Gauge,
    generation: Gauge,
    checkpoint_age: Gauge,
    postgres_connected: Gauge,
    last_message: Gauge,
    postgres_certificate: Gauge,
    kafka_certificate: Gauge,
}

impl WorkSeries {
    fn new(registry: &Registry) -> Self {
        let gauge = |name| registry.gauge(name, &[]);
        let counter = |name| registry.counter(name, &[]);
        let certificate = |peer| {
            registry.gauge("walpost_tls_certificate_expiry_timestamp_seconds", &[("peer", peer)])
        };
        Self {
            leader: gauge("walpost_leader"),
            // One more for `other`, which the counts have made of the rest.
            events: Family::new("topic", TOPICS_MAX + 1, |registry, labels| {
                registry.counter("walpost_events_total", labels)
            }),
            event_bytes: Family::new("topic", TOPICS_MAX + 1, |registry, labels| {
                registry.counter("walpost_event_bytes_total", labels)
            }),
            skew: Family::new("topic", TOPICS_MAX + 1, |registry, labels| {
                registry.gauge("walpost_partition_skew_ratio", labels)
            }),
            hot_key: Family::new("topic", TOPICS_MAX + 1, |registry, labels| {
                registry.gauge("walpost_hot_key_share", labels)
            }),
            transactions: counter("walpost_transactions_total"),
            duplicates_suppressed: counter("walpost_duplicates_suppressed_total"),
            snapshot_rows: counter("walpost_snapshot_rows_total"),
            in_flight_events: gauge("walpost_in_flight_events"),
            in_flight_bytes: gauge("walpost_in_flight_bytes"),
            in_flight_limit: gauge("walpost_in_flight_limit_bytes"),
            generation: gauge("walpost_producer_generation"),
            checkpoint_age: gauge("walpost_checkpoint_age_seconds"),
            postgres_connected: gauge("walpost_postgres_connected"),
            last_message: gauge("walpost_source_last_message_timestamp_seconds"),
            postgres_certificate: certificate("postgres"),
            kafka_certificate: certificate("kafka"),
        }
    }

    fn set(&self, registry: &Registry, snapshot: &Snapshot) {
        self.leader.set(flag(snapshot.leader));
        for total in &snapshot.topics {
            self.events.of(registry, &total.topic).absolute(total.events);
            self.event_bytes.of(registry, &total.topic).absolute(total.bytes);
            let skew = total.skew.map_or(0.0, |skew| skew.ratio);
            self.skew.of(registry, &total.topic).set(skew);
            self.hot_key.of(registry, &total.topic).set(total.hot_key_share.unwrap_or(0.0));
            partitions(registry, total);
        }
        self.transactions.absolute(snapshot.counts.transactions);
        self.duplicates_suppressed.absolute(snapshot.counts.duplicates_suppressed);
        self.snapshot_rows.absolute(snapshot.counts.snapshot_rows);
        self.in_flight_events.set(snapshot.in_flight.events as f64);
        self.in_flight_bytes.set(snapshot.in_flight.bytes as f64);
        self.in_flight_limit.set(snapshot.in_flight.limit_bytes as f64);
        self.generation.set(snapshot.kafka.generation as f64);
        let checkpoint = snapshot.last_checkpoint.unwrap_or(snapshot.started);
        self.checkpoint_age.set(checkpoint.seconds_ago);
        self.postgres_connected.set(flag(snapshot.postgres.connected));
        let heard = snapshot.postgres.last_stream_message.unwrap_or(snapshot.started);
        self.last_message.set(unix_seconds(heard.at));
        // Without a certificate +Inf, so that "expires within a week" is false, as it should be.
        let expiry =
            |until: Option<Until>| until.map_or(f64::INFINITY, |until| unix_seconds(until.at));
        self.postgres_certificate.set(expiry(snapshot.postgres.certificate_expires));
        self.kafka_certificate.set(expiry(snapshot.kafka.certificate_expires));
    }
}

/// The series of a topic's partitions; the counts have made an end of their number.
fn partitions(registry: &Registry, total: &TopicTotal) {
    let count = |partition: &str, events| {
        let labels = [("topic", total.topic.as_str()), ("partition", partition)];
        registry.counter("walpost_partition_events_total", &labels).absolute(events);
    };
    for (partition, events) in total.partitions.iter().enumerate() {
        count(&partition.to_string(), *events);
    }
    if total.other_partitions > 0 {
        count(OTHER, total.other_partitions);
    }
}

/// Adds the series that are not registered: fractions that are counted, and the process itself.
pub(super) fn append_unregistered(registry: &Registry, snapshot: &Snapshot, text: &mut String) {
    let process = Process::read();
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    let series = [
        ("walpost_backpressure_seconds_total", Some(snapshot.counts.backpressure_seconds)),
        ("process_cpu_seconds_total", process.cpu_seconds),
        ("process_resident_memory_bytes", whole(process.resident_bytes)),
        ("process_virtual_memory_bytes", whole(process.virtual_bytes)),
        ("process_open_fds", whole(process.open_fds)),
        ("process_max_fds", whole(process.max_fds)),
        ("process_threads", whole(process.threads)),
        ("process_start_time_seconds", Some(unix_seconds(snapshot.started.at))),
    ];
    for (name, value) in series {
        // The process is told of once, by its first stream.
        let told = registry.shard().unwrap_or(0) == 0 || !of_all_streams(name);
        if let Some(value) = value.filter(|_| told) {
            registry.append(text, name, value);
        }
    }
    super::consumers::append(registry, snapshot, text);
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

pub(super) fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
