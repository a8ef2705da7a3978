//! Every metric, once: name, kind, labels and what it means.
//!
//! Names follow the Prometheus practices: one prefix, base units, `_total` on counters, `_info` on
//! gauges that are always 1, `_timestamp_seconds` on moments. Every series also has the label
//! `connector`. A metric whose subject does not exist yet is listed with [`When::Later`]: its name
//! is taken, it is not shown.

use super::catalog::Kind::{Counter, Gauge, Histogram};
use super::catalog::When::Now;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How values are distributed.
    Histogram,
}

impl Kind {
    /// The word of the text format's `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Whether a metric is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Shown.
    Now,
    /// The name is taken; what it measures is still to be built.
    Later,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// With prefix and unit.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// Label names besides `connector`.
    pub labels: &'static [&'static str],
    /// Whether it is shown.
    pub when: When,
    /// What it means, for the `# HELP` line.
    pub help: &'static str,
}

/// Upper bounds of the buckets of `walpost_event_latency_seconds`.
pub const LATENCY_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Why a row is a bad row.
pub const BAD_ROW_REASONS: [&str; 14] = [
    "missing",
    "empty",
    "control_character",
    "invalid_uri",
    "not_absolute_uri",
    "invalid_media_type",
    "invalid_json",
    "not_representable",
    "illegal_name",
    "too_long",
    "too_large",
    "schema_mismatch",
    "unknown_topic",
    "refused_by_broker",
];

/// Why the connection to Postgres was made anew: it broke, nothing was heard for too long, the
/// server ended it, it sent what we do not understand, or the producer's generation ended and the
/// slot was let go with it.
pub const RECONNECT_REASONS: [&str; 5] = ["lost", "silent", "server", "protocol", "producer"];

const fn define(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    when: When,
    help: &'static str,
) -> Definition {
    Definition { name, kind, labels, when, help }
}

/// The definition with that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    TABLE.iter().find(|definition| definition.name == name)
}

/// Every metric.
#[rustfmt::skip]
pub const TABLE: &[Definition] = &[
    define("walpost_state", Gauge, &["state"], Now, "1 for what the process is doing, 0 for the other states."),
    define("walpost_leader", Gauge, &[], Now, "1 while this instance holds the replication slot."),
    define("walpost_build_info", Gauge, &["version", "os", "arch"], Now, "Always 1; the labels say which build runs."),
    define("walpost_config_info", Gauge, &["slot", "publication", "database", "delivery"], Now, "Always 1; the labels say what is followed and how."),
    define("walpost_halted", Gauge, &["code"], Now, "1 for the reason of a halt; the status page says what to do."),
    define("walpost_handoffs_total", Counter, &[], Now, "How often this instance took the slot over while standing by."),
    define("walpost_last_error_timestamp_seconds", Gauge, &["code"], Now, "When an error with this code was last seen; 0: never."),
    define("walpost_clock_skew_seconds", Gauge, &[], Now, "The database server's clock minus ours."),
    define("walpost_tls_certificate_expiry_timestamp_seconds", Gauge, &["peer"], Now, "When the certificate expires that the peer, postgres or kafka, showed at its last handshake; of several brokers, the first. +Inf without encryption."),

    define("walpost_lag_seconds", Gauge, &[], Now, "0 when caught up, else the age of the oldest commit not confirmed by Kafka, or the time since being caught up was last proven."),
    define("walpost_lag_bytes", Gauge, &["stage"], Now, "WAL between the end of the server's log and what was received, or confirmed by Kafka."),
    define("walpost_caught_up", Gauge, &[], Now, "1 while it is proven that everything is confirmed."),
    define("walpost_event_latency_seconds", Histogram, &[], Now, "From the commit of a row to the confirmation of its event, corrected by the clock skew."),
    define("walpost_confirmed_lsn_bytes", Gauge, &[], Now, "Log position below which everything is confirmed, in bytes from the start of the log."),

    define("walpost_slot_active", Gauge, &[], Now, "1 while a session holds the replication slot."),
    define("walpost_slot_retained_wal_bytes", Gauge, &[], Now, "WAL that the server keeps for the slot."),
    define("walpost_slot_safe_wal_bytes", Gauge, &[], Now, "WAL that may still be written before the slot can be lost; +Inf without a limit."),
    define("walpost_slot_wal_keep_limit_bytes", Gauge, &[], Now, "max_slot_wal_keep_size of the server; +Inf without a limit."),
    define("walpost_slot_wal_status", Gauge, &["status"], Now, "1 for wal_status of the slot; all 0 while it is not known."),
    define("walpost_slot_confirmed_flush_lag_bytes", Gauge, &[], Now, "WAL from confirmed_flush_lsn of the slot to the end of the log."),
    define("walpost_slot_restart_lag_bytes", Gauge, &[], Now, "WAL from restart_lsn of the slot to the end of the log, which a new session decodes again."),
    define("walpost_slot_catalog_xmin_age", Gauge, &[], Now, "Transactions that the slot holds back from vacuum in the catalogs."),
    define("walpost_slot_spill_bytes_total", Counter, &[], Now, "Bytes that decoding large transactions wrote to the server's disk."),

    define("walpost_events_total", Counter, &["topic"], Now, "Events that Kafka confirmed; topics past the first 1000 are counted as other."),
    define("walpost_event_bytes_total", Counter, &["topic"], Now, "Keys and values of the events that Kafka confirmed."),
    define("walpost_transactions_total", Counter, &[], Now, "Database transactions whose every event Kafka confirmed."),
    define("walpost_duplicates_suppressed_total", Counter, &[], Now, "Rows that were read again after a restart and left out, as the checkpoint covers them."),
    define("walpost_snapshot_rows_total", Counter, &[], Now, "Rows that were in the table before the slot and that Kafka confirmed."),
    define("walpost_bad_rows_total", Counter, &["reason"], Now, "Rows that cannot become events."),
    define("walpost_dead_letters_total", Counter, &["reason"], Now, "Bad rows that were written to the dead-letter topic."),

    define("walpost_in_flight_events", Gauge, &[], Now, "Events that were read and are not confirmed."),
    define("walpost_in_flight_bytes", Gauge, &[], Now, "Bytes that were read and are not confirmed."),
    define("walpost_in_flight_limit_bytes", Gauge, &[], Now, "Where reading stops until Kafka confirms."),
    define("walpost_backpressure_seconds_total", Counter, &[], Now, "Time in which reading was stopped until Kafka confirms."),

    define("walpost_produce_errors_total", Counter, &["code"], Now, "Errors that the Kafka client reported for records."),
    define("walpost_produce_retries_total", Counter, &[], Now, "Requests with records that got no answer, as the connection ended or the time was over; the records are sent again. Told every 5 s."),
    define("walpost_broker_up", Gauge, &["broker"], Now, "1 while the connection to the broker is up; brokers that there was no reason to connect to are left out."),
    define("walpost_broker_rtt_seconds", Gauge, &["broker"], Now, "Mean round trip to the broker of the last 5 s in which it answered; an answer to records includes the time until all replicas in sync have them."),
    define("walpost_producer_generation", Gauge, &[], Now, "Generation of the producer, counted in the checkpoint."),
    define("walpost_partition_events_total", Counter, &["topic", "partition"], Now, "Events that Kafka confirmed, by partition; of the first 2000 partitions of all topics, the rest of a topic as other."),
    define("walpost_partition_changes_total", Counter, &[], Now, "How often a topic was found with another number of partitions, which moves keys between them."),
    define("walpost_partition_skew_ratio", Gauge, &["topic"], Now, "Events of the busiest partition over the mean of all in the last minute; 1 is even, 0: fewer than 100 events."),
    define("walpost_hot_key_share", Gauge, &["topic"], Now, "Share of a topic's events of the last minutes that have its most frequent key, at least; 0: fewer than 100 events."),

    define("walpost_checkpoint_age_seconds", Gauge, &[], Now, "Time since the last checkpoint was confirmed; before the first one, since the start."),
    define("walpost_checkpoints_total", Counter, &[], Now, "Checkpoints that Kafka confirmed."),
    define("walpost_postgres_connected", Gauge, &[], Now, "1 while the connection that the present state needs is up."),
    define("walpost_postgres_reconnects_total", Counter, &["reason"], Now, "How often the connection to Postgres was made anew."),
    define("walpost_source_last_message_timestamp_seconds", Gauge, &[], Now, "When the replication stream last sent anything, keepalives too; before that, the start."),

    define("walpost_outbox_rows", Gauge, &[], Now, "Rows of the outbox tables by the last VACUUM or ANALYZE; kept by the leader."),
    define("walpost_outbox_bytes", Gauge, &[], Now, "Size of the outbox tables with their indexes; kept by the leader."),
    define("walpost_pruned_rows_total", Counter, &[], Now, "Delivered rows that WALPOST_PRUNE_AFTER deleted from the outbox tables."),
    define("walpost_nontransactional_messages_total", Counter, &[], Now, "Messages with the prefix of WALPOST_MESSAGES that are not sent, as they were written with transactional = false."),
    define("walpost_consumer_group_lag", Gauge, &["group", "topic"], Now, "Records that a consumer group has not read; of a partition without a stored place those since it is watched."),
    define("walpost_consumer_group_lag_seconds", Gauge, &["group", "topic"], Now, "How long ago the oldest record was written that a consumer group has not read; 0: it has read all."),
    define("walpost_consumer_group_members", Gauge, &["group"], Now, "Consumers in a group."),
    define("walpost_consumer_group_rebalances_total", Counter, &["group"], Now, "How often a consumer group was seen to share its partitions out anew; one that ends between two looks and changes nothing is not seen."),
    define("walpost_consumer_group_looked_timestamp_seconds", Gauge, &["group"], Now, "When a consumer group was last looked at with success; before that, the start. Its other series are left out once that is a minute ago."),

    define("process_cpu_seconds_total", Counter, &[], Now, "User and system CPU time spent."),
    define("process_resident_memory_bytes", Gauge, &[], Now, "Resident memory."),
    define("process_virtual_memory_bytes", Gauge, &[], Now, "Virtual memory."),
    define("process_open_fds", Gauge, &[], Now, "Open file descriptors."),
    define("process_max_fds", Gauge, &[], Now, "Limit of open file descriptors."),
    define("process_threads", Gauge, &[], Now, "Threads."),
    define("process_start_time_seconds", Gauge, &[], Now, "When the process started."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_listed_once_and_ends_as_its_kind_demands() {
        let mut names: Vec<_> = TABLE.iter().map(|definition| definition.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "a name is listed twice");
        for definition in TABLE {
            let name = definition.name;
            assert!(name.starts_with("walpost_") || name.starts_with("process_"), "{name}");
            let total = name.ends_with("_total");
            assert_eq!(total, definition.kind == Counter, "{name}");
            assert!(definition.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn buckets_grow() {
        assert!(LATENCY_BUCKETS.is_sorted_by(|a, b| a < b));
    }
}
