//! The checkpoint topic, as a test sees it.

use serde_json::Value;

use crate::servers::{Database, Kafka, Record};

/// The topic of a relay with the settings of [`crate::servers::Settings::new`].
pub(crate) fn topic(database: &Database) -> String {
    format!("walpost.checkpoint.{0}.{0}", database.name())
}

/// The newest record: the last one of the highest generation.
#[track_caller]
pub(crate) fn newest(kafka: &Kafka, topic: &str) -> Option<(Record, Value)> {
    let records = kafka.records(topic);
    let with_value = records.into_iter().filter(|record| record.value.is_some());
    let parsed = with_value.map(|record| {
        let value = record.value_json();
        (record, value)
    });
    parsed.max_by_key(|(record, value)| (value["generation"].as_u64().unwrap(), record.offset))
}

/// The place up to which everything is stored: the slot must never be ahead of it.
#[track_caller]
pub(crate) fn resume_lsn(kafka: &Kafka, topic: &str) -> Option<u64> {
    newest(kafka, topic).map(|(_, value)| lsn(value["resume_lsn"].as_str().unwrap()))
}

/// Where the slot named after the database stands; 0 without a slot.
#[track_caller]
pub(crate) fn slot_lsn(database: &Database) -> u64 {
    of_slot(database, "confirmed_flush_lsn")
}

/// Where decoding would start for the slot named after the database; 0 without a slot.
#[track_caller]
pub(crate) fn restart_lsn(database: &Database) -> u64 {
    of_slot(database, "restart_lsn")
}

#[track_caller]
fn of_slot(database: &Database, column: &str) -> u64 {
    let slot = format!(
        "select coalesce((select {column} from pg_replication_slots where slot_name = '{}'), '0/0')",
        database.name()
    );
    lsn(&database.value(&slot))
}

/// The end of the server's log.
#[track_caller]
pub(crate) fn wal_end(database: &Database) -> u64 {
    lsn(&database.value("select pg_current_wal_lsn()"))
}

/// A position as the server prints it, as a number of bytes.
#[track_caller]
fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap_or_else(|| panic!("no position: {text}"));
    let part = |text| u64::from_str_radix(text, 16).unwrap();
    (part(high) << 32) + part(low)
}
