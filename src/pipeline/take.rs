//! Taking messages out of the buffer, until it has no whole one, the in-flight limit is reached or a
//! status update is due.

use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use super::refusal::Sent;
use super::rows::{Taken, Until};
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::lsn::Lsn;
use crate::mutant::{self, Mutant};
use crate::pgoutput;
use crate::postgres::replication::ReplicationMessage;
use crate::status::State;

/// A held row (halted, slot kept) is tried again this often.
const HELD_INTERVAL: Duration = Duration::from_secs(5);

/// After so many messages the clock is asked whether the server wants to hear from us. A read brings
/// some hundred kilobytes, so this is often enough, and for every message it would cost more than to
/// decode a Begin.
const CLOCK_EVERY: u32 = 64;

/// A row that ends the generation is asked this often whether all before it is stored.
const ENDING_INTERVAL: Duration = Duration::from_millis(100);

/// How long Kafka may take to confirm what was sent before a stream that stops by itself.
const STOP_LIMIT: Duration = Duration::from_secs(600);

impl Pipeline {
    /// Takes messages until the buffer has no whole one, the limit is reached, or the server wants to
    /// hear from us; says whether rows were enqueued.
    pub(super) fn take_rows(&mut self) -> Result<bool, Failure> {
        let before = self.rows.ledger.in_flight_rows();
        if self.snapshot.is_some() {
            self.take_snapshot_rows()?;
        } else {
            self.take_stream_rows()?;
        }
        Ok(self.rows.ledger.in_flight_rows() > before)
    }

    fn take_stream_rows(&mut self) -> Result<(), Failure> {
        self.unread = true;
        let mut messages: u32 = 0;
        while self.may_take() && !(messages.is_multiple_of(CLOCK_EVERY) && self.status_is_due()) {
            messages = messages.wrapping_add(1);
            let (message, length) = match self.stream.peek() {
                Ok(Some(peeked)) => peeked,
                Ok(None) => {
                    self.unread = false;
                    return Ok(());
                }
                Err(error) => return Err(self.stream_failed(&error)),
            };
            match message {
                ReplicationMessage::XLogData { wal_start, wal_end, sent_at, data } => {
                    let message = pgoutput::decode(data).map_err(|error| {
                        Failure::again(
                            "postgres_protocol",
                            format!("a message of the stream cannot be read: {error}"),
                        )
                    })?;
                    if let pgoutput::LogicalMessage::Begin(begin) = &message {
                        // Transactions come in the order of their commits.
                        if self.settings.stop_before.is_some_and(|stop| begin.final_lsn >= stop) {
                            self.stop_here();
                            return Ok(());
                        }
                        let committed = begin.commit_time.to_unix_micros();
                        self.pace.began(committed, sent_at.to_unix_micros());
                    } else {
                        self.pace.came(sent_at.to_unix_micros());
                    }
                    self.received = self.received.max(wal_end);
                    if mutant::is(Mutant::FlushLength) {
                        self.received = Lsn::new(wal_start.as_u64() + data.len() as u64);
                    }
                    let taken = self.rows.take(&message)?;
                    if !self.dealt_with(taken)? {
                        return Ok(());
                    }
                }
                ReplicationMessage::Keepalive { wal_end, reply_requested, .. } => {
                    self.pace.caught_up();
                    self.server_end = self.server_end.max(wal_end);
                    // The server has decoded all that is before this, and sent what was ours.
                    if self.settings.stop_before.is_some_and(|stop| wal_end >= stop) {
                        self.stop_here();
                        return Ok(());
                    }
                    if self.rows.ledger.idle(wal_end) {
                        crash::at(Point::KeepaliveTaken);
                    }
                    if reply_requested {
                        self.asked = true;
                        self.status_due = Instant::now();
                    }
                }
                ReplicationMessage::CopyDone => {
                    return Err(Failure::again(
                        "postgres_closed",
                        "the server ended the replication stream",
                    ));
                }
            }
            self.stream.consume(length);
        }
        Ok(())
    }

    /// Takes nothing more, and ends when all that was taken is stored.
    fn stop_here(&mut self) {
        self.draining.get_or_insert(Instant::now() + STOP_LIMIT);
        self.rows.teller.status.set_state(State::Draining);
        self.hurry();
    }

    /// Does what follows from the offer of a row; answers whether the next one may be offered.
    pub(super) fn dealt_with(&mut self, taken: Taken) -> Result<bool, Failure> {
        match taken {
            Taken::Done => {
                self.goes_on();
                return Ok(true);
            }
            Taken::Alone(alone) => {
                self.alone = Some(alone);
                self.goes_on();
                return Ok(true);
            }
            Taken::NeedsTopic(topic) => self.ask(topic)?,
            Taken::NeedsSchema(subject) => self.ask_for_schema(subject),
            Taken::QueueFull => {}
            Taken::Broken(error) => {
                self.fatal.get_or_insert((error, Instant::now()));
            }
            Taken::Later(until) => self.waits = Some(until),
            Taken::Held(failure) => self.hold(failure, HELD_INTERVAL),
            Taken::Ending(failure) => self.hold(failure, ENDING_INTERVAL),
        }
        Ok(false)
    }

    /// Goes on with rows, when what a record that is sent alone waits for has come, and when it was
    /// confirmed.
    pub(super) fn answered_alone(&mut self) {
        let ledger = &self.rows.ledger;
        if self.waits.is_some_and(|until| until.is_met(ledger)) {
            self.waits = None;
            self.unread = true;
        }
        if let Some(alone) = self.alone.filter(|_| ledger.in_flight_rows() == 0) {
            if alone.sent != Sent::Event {
                self.rows.refusals.letter_written();
                // Of a snapshot nothing is ever stored.
                let waits = !alone.place.is_in_snapshot() && !Until::Stored.is_met(ledger);
                self.waits = waits.then_some(Until::Stored);
            }
            self.alone = None;
            self.unread = true;
        }
    }

    /// A row was dealt with: if it had been held, its cause is gone.
    pub(super) fn goes_on(&mut self) {
        if std::mem::take(&mut self.was_held) {
            tracing::info!("the row that was held is dealt with; going on");
            self.rows.teller.status.set_state(self.working());
        }
    }

    pub(super) fn hold(&mut self, failure: Failure, interval: Duration) {
        self.was_held = true;
        failure.tell(&self.rows.teller.status);
        self.held = Some((failure, Instant::now() + interval));
    }

    /// A held row is offered again from time to time: its cause may be gone.
    pub(super) fn offer_held_again(&mut self) {
        if self.held.as_ref().is_some_and(|(_, at)| *at <= Instant::now()) {
            self.held = None;
            self.unread = true;
        }
    }
}
