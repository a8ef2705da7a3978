//! The loop: the only file that knows all rooms.
//!
//! `Pipeline::run` waits for the next thing to do and does it. Waiting changes nothing and is
//! cancel safe; doing never waits, except to write a status update of 34 bytes.
//!
//! ```text
//!   read ──► take rows ──► enqueue                    Kafka's delivery reports
//!    ▲          │                                               │
//!    │          └ stop when the in-flight limit is reached      ▼
//!    │                                             ledger: confirmed moves
//!    │                                                          │  at most every 100 ms
//!    └── status update ◄── slot may move ◄── confirmed ◄── checkpoint record
//! ```
//!
//! *When does the slot move?* When a status update with a new flush position is sent, which
//! happens only after the checkpoint record with that position was confirmed by Kafka, which was
//! enqueued only after all rows before it were confirmed. *What does a crash repeat?* The rows
//! after the stored checkpoint: what was in flight, and at most 100 ms of confirmations.
//!
//! In exactly-once, rows and checkpoint record stand in one Kafka transaction, a report counts when
//! that is committed, and no row is taken between the checkpoint record and the commit. The
//! differences are [`crate::kafka::transaction`], and in `confirm` when a checkpoint is written.
//!
//! Backpressure is not a code path of its own: past the in-flight limit the frames stay in the
//! buffer and the socket unread, while delivery reports, checkpoints and status updates go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::batch_limits::BatchLimits;
use crate::kafka::checkpoint::Checkpoint;
use crate::kafka::floor::{Moment, Raising};
use crate::kafka::librdkafka::ClientError;
use crate::kafka::producer::{Producer, TopicId};
use crate::ledger::{Due, Ledger};
use crate::lsn::Lsn;
use crate::mutant::{self, Mutant};
use crate::postgres::error::Error as PostgresError;
use crate::postgres::replication::ReplicationStream;
use crate::postgres::snapshot::SnapshotBatch;
use crate::proof;
use crate::registry::error::RegistryError;
use crate::status::counts::TopicCount;
use crate::status::facts::{InFlight, Positions};
use crate::status::{HaltCode, Heartbeat, State};

mod brokers;
mod confirm;
mod encoded;
mod keys;
mod letter;
mod messages;
mod pace;
mod question;
mod refusal;
mod reminder;
mod rows;
mod schema;
mod snapshot;
mod take;
mod tell;
mod trouble;

pub(crate) use encoded::encode;
pub(crate) use question::TopicMaker;
pub(crate) use refusal::{Alone, Refusals, Suspects};
pub(crate) use rows::RowSettings;
pub(crate) use snapshot::SnapshotWork;
pub(crate) use tell::{KnownTopics, Teller, Trouble};

use confirm::CHECKPOINT_INTERVAL;
use pace::Pace;
use question::{Answer, Question, answer};
use reminder::Reminder;
use rows::{Rows, Until};
use schema::{SchemaQuestion, schema_answer};
use snapshot::{Snapshot, next_batch};
use tell::{Progress, known};

/// The loop turns at least this often, to refresh what the process says of itself.
const TICK: Duration = Duration::from_millis(200);

/// A walsender that decodes a large transaction may be silent for minutes (Postgres 14 and 15 send
/// nothing while a transaction without our rows is decoded), and a new connection would begin that
/// work anew. A peer that is gone is noticed sooner by TCP keepalive and `TCP_USER_TIMEOUT`.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);

/// What the process says of itself is refreshed this often while nothing changes.
const SAY_INTERVAL: Duration = Duration::from_millis(100);

/// A commit of a Kafka transaction that takes longer than this is one that Kafka is waited for; it
/// usually takes milliseconds.
const SLOW_COMMIT: Duration = Duration::from_secs(1);

/// What the poller of the catalog says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CatalogFacts {
    /// Something changed that ends the generation.
    pub(crate) failure: Option<Failure>,
    /// End of the server's log when publication and tables were last seen unchanged.
    pub(crate) seen_lsn: Lsn,
    /// The server's clock then, microseconds since 1970.
    pub(crate) seen_time: i64,
    /// The server's transactions then.
    pub(crate) moment: Option<Moment>,
}

/// What one generation works with.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The replication stream: the lock, and where rows come from.
    pub(crate) stream: ReplicationStream,
    /// The producer that no other generation uses.
    pub(crate) producer: Producer,
    /// The record that was claimed; progress is written as copies of it at other places.
    pub(crate) checkpoint: Checkpoint,
    /// Where those go.
    pub(crate) checkpoint_topic: TopicId,
    /// What Kafka refused before.
    pub(crate) refusals: Refusals,
    /// On a first start: rows that are published before the stream.
    pub(crate) snapshot: Option<SnapshotWork>,
}

/// What the loop is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Rows into events.
    pub(crate) rows: RowSettings,
    /// In-flight limit, bytes.
    pub(crate) max_in_flight: u64,
    /// How long a transaction is open, in exactly-once.
    pub(crate) transaction_interval: Duration,
    /// How often the server hears from us at least.
    pub(crate) status_interval: Duration,
    /// How long a drain may take.
    pub(crate) shutdown_timeout: Duration,
    /// Makes a topic before it is first written to, where that is configured.
    pub(crate) topic_maker: Option<TopicMaker>,
    /// The checkpoint topic's name.
    pub(crate) checkpoint_topic: String,
    /// Topics that were there.
    pub(crate) known_topics: KnownTopics,
    /// How large a batch the topics take.
    pub(crate) batch_limits: BatchLimits,
    /// How large the batches of this generation's producer get.
    pub(crate) batch_size: usize,
    /// What the server's clock said, microseconds since 1970, and when.
    pub(crate) server_said: (i64, Instant),
    /// Nothing whose commit begins here or later is taken: the generation drains there by itself.
    pub(crate) stop_before: Option<Lsn>,
}

/// How a generation ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything that was taken is confirmed, stored and flushed.
    Drained,
    /// The drain took too long: so many events will be sent again.
    DrainDeadline {
        /// Events that are not settled.
        unsettled: u64,
    },
    /// A drain came while the rows of a first start were published; they will be sent again.
    SnapshotInterrupted,
    /// Something went wrong.
    Failed(Failure),
    /// A topic was found that takes smaller batches than this producer makes. Everything that was
    /// taken is confirmed, stored and flushed, unless it is of a snapshot, which begins again.
    SmallerBatches,
    /// Kafka refused a batch, or several.
    RefusedBatch {
        /// The rows of which it refused one.
        suspects: Vec<Suspects>,
        /// It was for the size.
        too_large: bool,
    },
    /// Kafka refused this record, which was sent alone.
    RefusedAlone {
        /// Which.
        alone: Alone,
        /// What Kafka said.
        said: String,
    },
    /// A dead letter cannot be written, whatever is in it.
    LetterFailed {
        /// What Kafka said.
        said: String,
    },
}

/// The next thing to do.
#[derive(Debug)]
enum Action {
    Drain,
    Deliveries,
    StatusDue,
    Tick,
    Facts,
    Resolved(String, Answer),
    SchemaAnswered(String, Result<(), RegistryError>),
    Bytes(usize),
    SnapshotBatch(Result<Option<SnapshotBatch>, PostgresError>),
    StreamEnded(PostgresError),
    Broken(String),
}

/// One generation at work.
#[derive(Debug)]
pub(crate) struct Pipeline {
    stream: ReplicationStream,
    rows: Rows,
    checkpoint: Checkpoint,
    /// The floors wait for a moment after a row that could not be remembered.
    raising: Raising,
    checkpoint_topic: TopicId,
    /// What the next row's record waits for, since it is sent alone.
    waits: Option<Until>,
    /// The record that was sent alone and is not answered.
    alone: Option<Alone>,
    /// A topic takes smaller batches than these: the generation ends when all is
    /// stored, and within a snapshot at once.
    ending: bool,
    /// Rows that come before those of the stream.
    snapshot: Option<Snapshot>,
    settings: Settings,
    heartbeat: Arc<Heartbeat>,
    facts: watch::Receiver<CatalogFacts>,
    pace: Pace,
    question: Option<Question>,
    schema_question: Option<SchemaQuestion>,
    /// Rows wait for the registry, and what was wrong with it when it was last asked.
    waits_for_registry: Option<String>,
    /// A row that cannot be dealt with, and when it is offered again.
    held: Option<(Failure, Instant)>,
    /// Counts by the address of the topic's handle.
    counts: HashMap<usize, Arc<TopicCount>>,
    /// The next row was held before.
    was_held: bool,
    /// Complete frames may be in the buffer.
    unread: bool,
    /// How many bytes the last read brought.
    last_read: usize,
    draining: Option<Instant>,
    /// The producer is broken, since when; nothing more is enqueued.
    fatal: Option<(ClientError, Instant)>,
    status_due: Instant,
    checkpointed_at: Instant,
    asked: bool,
    /// Since when nothing came although we read.
    silent_since: Instant,
    flushed: Lsn,
    received: Lsn,
    server_end: Lsn,
    confirmed_at: Option<Instant>,
    reminder: Reminder,
    stored_at: Option<Instant>,
    said_at: Instant,
    brokers_told_at: Instant,
    was_blocked: bool,
    /// Since when it is so, or not so.
    blocked_since: Instant,
    /// Since when no records are taken, because a Kafka transaction is being ended.
    closed_since: Option<Instant>,
}

impl Pipeline {
    pub(crate) fn new(
        generation: Generation,
        settings: Settings,
        (teller, heartbeat): (Teller, Arc<Heartbeat>),
        facts: watch::Receiver<CatalogFacts>,
    ) -> Result<Self, Failure> {
        let mark = generation.checkpoint.mark();
        let (snapshot, ledger) = match generation.snapshot.map(Snapshot::begin).transpose()? {
            Some((snapshot, ledger)) => (Some(snapshot), ledger),
            None => (None, Ledger::new(mark)),
        };
        let mut rows = Rows::new(
            settings.rows.clone(),
            (ledger, generation.producer),
            generation.refusals,
            teller,
        )?;
        if let Some(snapshot) = &snapshot {
            rows.begin_snapshot(snapshot.time());
        }
        let now = Instant::now();
        let mut raising = Raising::default();
        if generation.checkpoint.kept.unknown {
            raising.after(mark.resume_lsn.max(mark.commit_lsn));
        }
        Ok(Self {
            stream: generation.stream,
            rows,
            checkpoint: generation.checkpoint,
            raising,
            checkpoint_topic: generation.checkpoint_topic,
            waits: None,
            alone: None,
            ending: false,
            snapshot,
            settings,
            heartbeat,
            facts,
            pace: Pace::default(),
            question: None,
            schema_question: None,
            waits_for_registry: None,
            held: None,
            counts: HashMap::new(),
            was_held: false,
            unread: true,
            last_read: 0,
            draining: None,
            fatal: None,
            status_due: now,
            checkpointed_at: now,
            asked: false,
            silent_since: now,
            flushed: mark.resume_lsn,
            received: mark.resume_lsn,
            server_end: mark.resume_lsn,
            confirmed_at: None,
            reminder: Reminder::new(now),
            stored_at: None,
            said_at: now,
            brokers_told_at: now,
            was_blocked: false,
            blocked_since: now,
            closed_since: None,
        })
    }

    /// Works until told to drain, or until something ends the generation. The producer is
    /// abandoned before this returns, so that nothing leaves this process any more.
    pub(crate) async fn run(mut self, mut drain: watch::Receiver<bool>) -> Outcome {
        let outcome = loop {
            self.heartbeat.beat();
            let action = self.select(&mut drain).await;
            match self.apply(action).await {
                Ok(None) => {}
                Ok(Some(outcome)) => break outcome,
                Err(failure) => break Outcome::Failed(failure),
            }
        };
        if let Some(question) = self.question.take() {
            question.answer.abort();
        }
        if let Some(question) = self.schema_question.take() {
            question.answer.abort();
        }
        match outcome {
            Outcome::Drained | Outcome::SnapshotInterrupted | Outcome::SmallerBatches => {
                crash::at(Point::Drained);
                self.close().await;
                crash::at(Point::StreamClosed);
                outcome
            }
            Outcome::DrainDeadline { .. }
            | Outcome::Failed(_)
            | Outcome::RefusedBatch { .. }
            | Outcome::RefusedAlone { .. }
            | Outcome::LetterFailed { .. } => {
                self.rows.producer.abandon();
                outcome
            }
        }
    }

    /// Waits for the next thing to do, and changes nothing.
    ///
    /// Cancel safe: every arm is one cancel-safe receive. The order is the policy: what frees
    /// memory and moves the slot comes before what takes new work.
    async fn select(&mut self, drain: &mut watch::Receiver<bool>) -> Action {
        // What has been read is dealt with before more is. The timer below is late by up to a
        // millisecond, in which a socket under backlog would give tens of megabytes.
        if self.unread && self.may_take() {
            return if self.status_is_due() { Action::StatusDue } else { Action::Bytes(0) };
        }
        let may_read = self.may_take();
        let may_read_stream = may_read && self.snapshot.is_none();
        if may_read_stream
            && let Some(pause) =
                self.pace.pause(self.last_read, self.stream.last_received_at().elapsed())
        {
            // Blocks this thread, on which nothing else runs but this loop. Tokio would be woken by each
            // message that arrives, for it watches the socket also while nobody wants to read it.
            std::thread::sleep(pause);
        }
        let tick = self.wake_at();
        let Self { stream, rows, snapshot, facts, draining, status_due, .. } = self;
        let (question, schema_question) = (&mut self.question, &mut self.schema_question);
        tokio::select! {
            biased;
            _ = drain.wait_for(|drain| *drain), if draining.is_none() => Action::Drain,
            woken = rows.producer.woken() => match woken {
                Ok(()) => Action::Deliveries,
                Err(error) => Action::Broken(format!("the producer's wake-up failed: {error}")),
            },
            () = tokio::time::sleep_until(*status_due) => Action::StatusDue,
            changed = facts.changed() => match changed {
                Ok(()) => Action::Facts,
                Err(_) => Action::Broken("the catalog is no longer watched".to_owned()),
            },
            resolution = answer(question) => resolution,
            answer = schema_answer(schema_question) => answer,
            batch = next_batch(snapshot), if may_read => batch,
            read = stream.fill(), if may_read_stream => match read {
                Ok(bytes) => Action::Bytes(bytes),
                Err(error) => Action::StreamEnded(error),
            },
            () = tokio::time::sleep_until(tick) => Action::Tick,
        }
    }

    /// The next moment at which something is due without anything happening.
    fn wake_at(&self) -> Instant {
        let tick = Instant::now() + TICK;
        if let (Some(since), None) = (self.rows.producer.open_since(), &self.fatal) {
            return tick.min(since + self.settings.transaction_interval);
        }
        match self.rows.ledger.due() {
            Due::Rows(_) => tick.min(self.checkpointed_at + CHECKPOINT_INTERVAL),
            Due::Nothing | Due::Idle(..) => tick,
        }
    }

    /// A server that does not say a word for this long, although we read and ask, is gone without
    /// its connection having ended.
    fn notice_silence(&mut self) -> Result<(), Failure> {
        if !self.may_take() || self.snapshot.is_some() {
            self.silent_since = Instant::now();
        }
        if self.silent_since.elapsed() < SILENCE_LIMIT {
            return Ok(());
        }
        Err(Failure::again(
            "postgres_timeout",
            format!("the server has not said a word for {SILENCE_LIMIT:?}"),
        ))
    }

    /// Refuses to go on when the server may have given the slot to another process.
    ///
    /// A process that was frozen finds its connection as it left it, with megabytes of rows in the
    /// socket that its successor has long sent: the end of the connection comes only after them
    /// (measured: up to 20,000 repeats). The server ends a connection `wal_sender_timeout` after our
    /// last status update, of which [`Settings::status_interval`] is at most a third.
    fn still_holds_the_slot(&self) -> Result<(), Failure> {
        if Instant::now() < self.status_due + self.settings.status_interval * 2 {
            return Ok(());
        }
        Err(Failure::again(
            "stalled",
            "this process stood still for so long that another one may have the slot by now",
        ))
    }

    /// Rows wait for this: on a machine that gives us little time, what one read has brought may take
    /// longer than the server waits for a word.
    fn status_is_due(&self) -> bool {
        Instant::now() >= self.status_due
    }

    fn may_take(&self) -> bool {
        self.draining.is_none()
            && self.fatal.is_none()
            && self.question.is_none()
            && self.schema_question.is_none()
            && self.held.is_none()
            && self.waits.is_none()
            && self.alone.is_none()
            && !self.ending
            && self.rows.producer.takes_records()
            && self.rows.ledger.in_flight_bytes() < self.settings.max_in_flight
    }

    /// Does it. `Some` ends the generation.
    async fn apply(&mut self, action: Action) -> Result<Option<Outcome>, Failure> {
        self.still_holds_the_slot()?;
        match action {
            Action::Drain => {
                self.draining = Some(Instant::now() + self.settings.shutdown_timeout);
                self.rows.teller.status.set_state(State::Draining);
                if let Some(interrupted) = self.interrupt_snapshot() {
                    return Ok(Some(interrupted));
                }
                tracing::info!(
                    in_flight = self.rows.ledger.in_flight_rows(),
                    "draining: no more rows are read; waiting for kafka's confirmations"
                );
                self.hurry();
                crash::at(Point::DrainBegun);
            }
            Action::Deliveries => {
                if mutant::is(Mutant::GaplessOff) {
                    // What the setting protects is a loop that is slower than librdkafka.
                    std::thread::sleep(Duration::from_millis(200));
                }
                if let Some(outcome) = self.deliveries()? {
                    return Ok(Some(outcome));
                }
            }
            Action::StatusDue => self.send_status().await?,
            Action::Tick => {
                self.notice_silence()?;
                self.remind_kafka();
                if let Some(outcome) = self.fatal_without_cause()? {
                    return Ok(Some(outcome));
                }
            }
            Action::Facts => {
                let facts = self.facts.borrow_and_update().clone();
                if let Some(failure) = facts.failure {
                    return Err(failure);
                }
                self.raise_floors(facts.seen_lsn, facts.moment);
            }
            Action::Resolved(topic, answer) => self.resolved(topic, answer)?,
            Action::SchemaAnswered(subject, answer) => self.schema_answered(&subject, answer),
            Action::Bytes(bytes) => {
                if bytes > 0 {
                    self.last_read = bytes;
                }
                self.silent_since = Instant::now();
                if self.take_rows()? || self.is_waited_for() {
                    self.hurry();
                }
            }
            Action::SnapshotBatch(batch) => self.snapshot_batch(batch)?,
            Action::StreamEnded(error) => {
                return Err(self.stream_failed(&error));
            }
            Action::Broken(message) => return Err(Failure::again("internal", message)),
        }
        self.offer_held_again();
        self.finish_snapshot()?;
        self.checkpoint()?;
        let silent = mutant::is(Mutant::NoFinalStatus) && self.draining.is_some();
        if self.snapshot.is_none() && self.rows.ledger.flush_lsn() > self.flushed && !silent {
            crash::at(Point::BeforeStatus);
            self.send_status().await?;
            crash::at(Point::AfterStatus);
        }
        self.answered_alone();
        self.say();
        self.tell_snapshot();
        Ok(self.drained())
    }

    /// Whether nothing is read because Kafka does not say that a transaction is committed.
    fn commit_is_slow(&mut self, now: Instant) -> bool {
        if self.rows.producer.takes_records() {
            self.closed_since = None;
            return false;
        }
        now - *self.closed_since.get_or_insert(now) >= SLOW_COMMIT
    }

    /// Refreshes what the process says of itself.
    fn say(&mut self) {
        let now = Instant::now();
        let blocked = self.draining.is_none()
            && self.held.is_none()
            && (self.rows.ledger.in_flight_bytes() >= self.settings.max_in_flight
                || self.commit_is_slow(now)
                || self.waits_for_registry.is_some());
        let changed = blocked != self.was_blocked;
        if !changed && now - self.said_at < SAY_INTERVAL {
            return;
        }
        if changed {
            (self.was_blocked, self.blocked_since) = (blocked, now);
        }
        self.said_at = now;
        let ledger = &self.rows.ledger;
        let progress = Progress {
            positions: Positions {
                received: known(self.received.max(ledger.taken().resume_lsn)),
                sent: known(ledger.taken().resume_lsn),
                confirmed: known(ledger.confirmed().resume_lsn),
                checkpointed: known(ledger.checkpointed().resume_lsn),
                flushed: known(self.flushed),
                wal_end: known(self.server_end),
            },
            in_flight: InFlight {
                events: ledger.in_flight_rows(),
                bytes: ledger.in_flight_bytes(),
                limit_bytes: self.settings.max_in_flight,
            },
            oldest_in_hand: ledger.oldest_in_flight(),
            blocked,
            blocked_since: self.blocked_since,
            waits_for_registry: self.waits_for_registry.as_deref(),
            last_stream_message: self.stream.last_received_at(),
            last_confirmation: self.confirmed_at,
            last_checkpoint: self.stored_at,
            kafka_certificate: self.rows.producer.certificate_expiry(),
        };
        self.rows.teller.progress(&progress);
        self.tell_of_brokers(now);
        self.rows.keys.tell(now);
    }

    /// The stream ended with an error. Up to Postgres 17 one kind does not go away: decoding looks
    /// into the catalog as it was when each change was written, and finds no publication in the
    /// time in which there was none.
    fn stream_failed(&self, error: &PostgresError) -> Failure {
        let failure = Failure::postgres("read the replication stream", error);
        if error.sqlstate() != Some("42704") {
            return failure;
        }
        let stored = self.rows.ledger.checkpointed();
        let hint = format!(
            "the log holds changes from a time at which the publication did not exist, and the server cannot decode them; making it again does not help. Rows committed after {} may be missing in Kafka: `walpost checkpoint accept` prints the range, and makes a new slot with --yes",
            proof::place((stored.resume_lsn, stored.commit_time)),
        );
        Failure::halt(HaltCode::PublicationChanged, failure.message(), hint)
    }
}
