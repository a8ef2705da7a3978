//! What happens after the enqueueing: delivery reports, checkpoints, status updates, the drain.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::rows::{Rows, Until};
use super::trouble::Troubles;
use super::{Outcome, Pipeline, Settings};
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::kafka::floor::Moment;
use crate::kafka::librdkafka::Happening;
use crate::kafka::producer::{CHECKPOINT_TAG, Meaning, is_authentication, meaning};
use crate::ledger::{Due, Mark};
use crate::lsn::Lsn;
use crate::mutant::{self, Mutant};
use crate::postgres::replication::StatusUpdate;

/// A checkpoint is written at most this often while rows are confirmed.
pub(super) const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(100);

/// A checkpoint of an idle stream is written this often…
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// …or when the server's log has grown by this much, whichever comes first.
const IDLE_BYTES: u64 = 64 * 1024 * 1024;

/// When the server asks for an answer, an idle checkpoint is written at once, but not more often
/// than this. A server that shuts down asks until everything is flushed, and would wait.
const ASKED_INTERVAL: Duration = Duration::from_secs(1);

/// With more than this under way, waiting for fuller batches gains more than it costs.
const FEW: u64 = 256;

impl Pipeline {
    /// The server's clock, microseconds since 1970, by one of ours that never jumps.
    fn server_now(&self) -> i64 {
        let (said, at) = self.settings.server_said;
        said.saturating_add(i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// Takes Kafka's reports.
    pub(super) fn deliveries(&mut self) -> Result<Option<Outcome>, Failure> {
        let mut trouble = Troubles::default();
        let mut violation = None;
        let mut stored = false;
        let now = self.server_now();
        let Rows { ledger, producer, teller, .. } = &mut self.rows;
        let counts = &self.counts;
        let in_snapshot = self.snapshot.is_some();
        let mut confirmed = false;
        producer.happenings(|happening| match happening {
            Happening::Delivered { tag: CHECKPOINT_TAG, .. } => {
                stored = true;
                violation = ledger.checkpoint_delivered().err().or(violation.take());
                crash::at(Point::CheckpointConfirmed);
            }
            Happening::Delivered { tag, count, bytes, topic, partition } => {
                confirmed = true;
                crash::at(Point::BeforeReport);
                if let Some(counts) = counts.get(&topic) {
                    counts.delivered(u64::from(count), bytes, partition);
                }
                let result = ledger.delivered(tag, count, |settled| {
                    if in_snapshot {
                        teller.snapshot_rows(settled.rows);
                    } else {
                        teller.latency(now.saturating_sub(settled.oldest), settled.rows);
                    }
                });
                violation = result.err().or(violation.take());
                crash::at(Point::AfterReport);
            }
            Happening::Failed { tag, topic, error } => {
                teller.produce_error(error.code);
                trouble.failed(tag, topic, error);
            }
            Happening::Transaction(error) => trouble.uncommitted = Some(error),
            Happening::Fatal(error) => trouble.fatal = Some(error),
            Happening::Notice(error) => {
                teller.kafka_trouble(&error.to_string());
                if is_authentication(&error) {
                    trouble.unknown_to_kafka.get_or_insert(error);
                }
            }
        });
        if let Some(violation) = violation {
            return Err(Failure::again("internal", violation.to_string()));
        }
        trouble.look_for_cause(producer);
        if stored {
            teller.checkpoint();
            self.stored_at = Some(Instant::now());
        }
        if confirmed || stored {
            self.confirmed_at = Some(Instant::now());
            self.reminder.all_is_well(Instant::now());
        }
        self.look_for_new_client();
        self.concerned(trouble)
    }

    /// Where nothing comes back for long, Kafka's client may have forgotten where to ask.
    pub(super) fn remind_kafka(&mut self) {
        let waits =
            self.rows.ledger.in_flight_rows() > 0 || self.rows.producer.open_since().is_some();
        if !waits {
            self.reminder.all_is_well(Instant::now());
        } else if let Some(silent) = self.reminder.is_due(Instant::now()) {
            tracing::info!(
                ?silent,
                "kafka confirms nothing; its client is told KAFKA_BOOTSTRAP_SERVERS again"
            );
            self.rows.producer.handle().bootstrap_again();
        }
    }

    /// In exactly-once the producer may have got itself another client between two transactions.
    fn look_for_new_client(&mut self) {
        let Some(topics) = self.rows.producer.new_addresses() else { return };
        let teller = &self.rows.teller;
        let count = |(name, address): (String, usize)| (address, teller.topic(&name));
        self.counts = topics.into_iter().map(count).collect();
        // It asks for a topic of the client of before.
        if let Some(question) = self.question.take() {
            question.answer.abort();
            self.unread = true;
        }
    }

    /// Takes over which of the rows passed are not in Kafka. Rows that were taken and are not
    /// confirmed yet are among them: too many are kept rather than too few.
    fn remember_kept(&mut self) {
        for kept in self.rows.kept.drain(..) {
            if self.checkpoint.kept.note(kept.printed_id.as_deref()) {
                self.raising.after(kept.commit_lsn);
            }
        }
    }

    /// Raises the floors past a row that could not be remembered, as soon as that is known to work.
    pub(super) fn raise_floors(&mut self, lsn: Lsn, moment: Option<Moment>) {
        self.remember_kept();
        let Some(moment) = moment else { return };
        if self.raising.is_passed(lsn, moment) {
            let tables: Vec<_> = self.checkpoint.floors.iter().map(|floor| floor.table).collect();
            self.checkpoint = self.checkpoint.clone().with_floors(&tables, moment);
            self.checkpoint.kept.unknown = false;
        }
    }

    /// Writes a checkpoint, if one is due: of what is confirmed, or in exactly-once of what is in
    /// the transaction that it ends.
    pub(super) fn checkpoint(&mut self) -> Result<(), Failure> {
        if self.fatal.is_some() {
            return Ok(());
        }
        if self.snapshot.is_some() {
            // A snapshot stores no progress, but what is confirmed of it is to be seen.
            let ends = self.rows.producer.open_since().is_some() && self.ends_transaction();
            return if ends { self.close_transaction() } else { Ok(()) };
        }
        if mutant::is(Mutant::TwoTransactions)
            && self.rows.producer.open_since().is_some()
            && self.ends_transaction()
        {
            return self.close_transaction();
        }
        let once = self.rows.producer.is_transactional();
        let ledger = &self.rows.ledger;
        let with_rows = once || mutant::is(Mutant::CheckpointEarly);
        let due = if with_rows { ledger.due_with_rows() } else { ledger.due() };
        let waited = self.checkpointed_at.elapsed();
        let mark = match due {
            Due::Nothing => return Ok(()),
            Due::Rows(mark) if once && self.ends_transaction() => mark,
            Due::Rows(mark)
                if !once && (self.is_stored_at_once() || waited >= CHECKPOINT_INTERVAL) =>
            {
                mark
            }
            Due::Idle(mark, bytes)
                if (bytes >= IDLE_BYTES
                    || waited >= IDLE_INTERVAL
                    || (self.asked && waited >= ASKED_INTERVAL))
                    && self.rows.producer.takes_records() =>
            {
                mark
            }
            Due::Rows(_) | Due::Idle(..) => return Ok(()),
        };
        if self.write_checkpoint(mark)? {
            if with_rows {
                self.rows.ledger.checkpoint_enqueued_with_rows(mark);
            } else {
                self.rows.ledger.checkpoint_enqueued(mark);
            }
            self.asked = false;
        }
        Ok(())
    }

    /// Enqueues a record of this place; answers whether there was room for it.
    pub(super) fn write_checkpoint(&mut self, mark: Mark) -> Result<bool, Failure> {
        crash::at(Point::BeforeCheckpoint);
        self.remember_kept();
        let mut record = self.checkpoint.at(mark);
        if mutant::is(Mutant::OrdinalNotStored) && !mark.complete {
            record.next_ordinal = 0;
        }
        {
            let facts = self.facts.borrow();
            if facts.seen_lsn > record.seen_lsn {
                (record.seen_lsn, record.seen_time) = (facts.seen_lsn, facts.seen_time);
            }
        }
        let key = Checkpoint::key(record.shard, record.generation);
        let enqueued = self.rows.producer.enqueue(
            self.checkpoint_topic,
            Some(key.as_bytes()),
            Some(&record.encode()),
            std::iter::empty(),
            CHECKPOINT_TAG,
        );
        match enqueued {
            Ok(()) => {
                crash::at(Point::CheckpointEnqueued);
                self.close_transaction()?;
                self.checkpointed_at = Instant::now();
                self.hurry();
                Ok(true)
            }
            Err(error) if error.code == Code::QueueFull => Ok(false),
            // The producer broke; the report that tells why is still to come.
            Err(error) if meaning(error.code) == Meaning::Secondary => {
                self.fatal.get_or_insert((error, Instant::now()));
                Ok(false)
            }
            Err(error) => Err(Failure::kafka("write the checkpoint", &error)),
        }
    }

    /// Something goes on only when all is stored.
    fn is_stored_at_once(&self) -> bool {
        self.draining.is_some() || self.ending || self.waits == Some(Until::Stored)
    }

    /// Something goes on only when what is under way has come, or is under way alone.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_stored_at_once() || self.waits.is_some() || self.alone.is_some()
    }

    /// Lets what was enqueued leave at once, unless there is a backlog to be sent in large batches.
    pub(super) fn hurry(&self) {
        let in_flight = self.rows.ledger.in_flight_rows();
        if self.is_waited_for() || (in_flight <= FEW && !self.pace.is_behind()) {
            self.rows.producer.hurry();
        }
    }

    /// In exactly-once: nothing more comes into the open transaction.
    fn close_transaction(&mut self) -> Result<(), Failure> {
        let closed = self.rows.producer.close_transaction();
        closed.map_err(|error| Failure::kafka("commit a transaction", &error))
    }

    /// Whether the transaction ends here: it was open for long enough, or nothing more comes into
    /// it. Rows that were passed over are stored in a transaction of their own.
    fn ends_transaction(&self) -> bool {
        let Settings { transaction_interval: interval, max_in_flight, .. } = self.settings;
        if !self.rows.producer.takes_records() {
            return false;
        }
        let since = self.rows.producer.open_since().unwrap_or(self.checkpointed_at);
        since.elapsed() >= interval
            || self.is_waited_for()
            || self.rows.ledger.in_flight_bytes() >= max_in_flight
    }

    fn update(&self) -> StatusUpdate {
        if self.snapshot.is_some() {
            // Says nothing but that we are there.
            return StatusUpdate::default();
        }
        let mut flush = self.rows.ledger.flush_lsn();
        if mutant::is(Mutant::FlushKeepalive) {
            flush = self.server_end.max(self.flushed);
        } else if mutant::is(Mutant::FlushLength) {
            flush = self.received.max(self.flushed);
        }
        StatusUpdate {
            write: self.received.max(flush),
            flush,
            apply: flush,
            // An answer tells a quiet server from one that is gone.
            reply_requested: self.silent_since.elapsed() >= self.settings.status_interval,
        }
    }

    pub(super) async fn send_status(&mut self) -> Result<(), Failure> {
        let update = self.update();
        if self.snapshot.is_none() {
            assert!(update.flush >= self.flushed, "the slot would be told to go back");
            self.flushed = update.flush;
        }
        self.status_due = Instant::now() + self.settings.status_interval;
        self.stream
            .send_status(update)
            .await
            .map_err(|error| Failure::postgres("send a status update", &error))
    }

    pub(super) fn drained(&mut self) -> Option<Outcome> {
        let Some(deadline) = self.draining else {
            // Of a snapshot nothing is ever stored, so there is nothing to wait for.
            let stored = self.snapshot.is_some() || self.rows.ledger.rows_are_stored();
            let ends = self.ending && stored;
            return ends.then_some(Outcome::SmallerBatches);
        };
        if self.rows.ledger.is_settled() {
            return Some(Outcome::Drained);
        }
        // A stop repeats nothing once all rows are stored; the place of an idle stream may wait.
        if self.rows.ledger.rows_are_stored() {
            return Some(Outcome::Drained);
        }
        (Instant::now() >= deadline)
            .then(|| Outcome::DrainDeadline { unsettled: self.rows.ledger.in_flight_rows() })
    }

    /// Ends the stream so that the server knows the last flush position.
    pub(super) async fn close(self) {
        let update = self.update();
        self.rows.producer.abandon();
        if mutant::is(Mutant::NoFinalStatus) {
            return;
        }
        if let Err(error) = self.stream.shutdown(update, Duration::from_secs(5)).await {
            tracing::warn!(
                error = %crate::error::chain(&error),
                "the replication stream did not end well; what was stored stays stored"
            );
        }
    }
}
