//! What the loop tells of itself, in one place: counters per event, facts a few times a second.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use crate::postgres::catalog::{Server, Slot};
use crate::status::Status;

/// Topics that were found to exist in the life of this process. One that is gone later is not
/// "unknown" but missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownTopics(Arc<Mutex<BTreeSet<String>>>);

impl KnownTopics {
    pub(super) fn add(&self, topic: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }
}

/// The loop's voice.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    pub(crate) status: Status,
}

impl Teller {
    pub(super) fn transaction(&self) {}
    pub(super) fn duplicate_suppressed(&self) {}
    pub(super) fn event(&self, _topic: &str, _bytes: u64) {}
    pub(super) fn bad_row(&self, _reason: &'static str) {}
    pub(super) fn dead_letter(&self, _reason: &'static str) {}
    pub(super) fn latency(&self, _micros: i64, _rows: u32) {}
    pub(super) fn produce_error(&self, _code: RDKafkaErrorCode) {}
    pub(super) fn checkpoint(&self) {}
    pub(super) fn backpressured(&self, _pause: Duration) {}
    pub(crate) fn postgres_contact(&self, _server: &Server) {}
    pub(crate) fn kafka_contact(&self) {}
    pub(crate) fn standby(&self, _slot: &Slot) {}
    pub(crate) fn is_halted(&self) -> bool {
        self.status.state() == crate::status::State::Halted
    }
    pub(crate) fn catalog_trouble(&self, failure: &crate::error::Failure) {
        failure.tell(&self.status);
    }
    pub(crate) fn servers_facts(&self, _server: &Server, _slot: Option<&Slot>) {}
    pub(super) fn kafka_trouble(&self, message: &str) {
        self.status.error("kafka", message, "");
    }
}
