//! The loop: the only file that knows all rooms.
//!
//! [`Pipeline::run`] waits for the next thing to do and does it. Waiting changes nothing and is
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
//! Backpressure is not a code path of its own: past the in-flight limit the frames stay in the
//! buffer and the socket unread, while delivery reports, checkpoints and status updates go on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cloudevent::Encoder;
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::kafka::librdkafka::{ClientError, Happening};
use crate::kafka::producer::{CHECKPOINT_TAG, Meaning, Producer, Resolution, TopicId, meaning};
use crate::ledger::{Due, Ledger};
use crate::lsn::{Lsn, Position};
use crate::metrics::Metrics;
use crate::pgoutput;
use crate::postgres::replication::{ReplicationMessage, ReplicationStream, StatusUpdate};
use crate::status::{Heartbeat, State, Status};

mod pace;
mod rows;

pub(crate) use rows::{Refused, RowSettings};

use pace::Pace;
use rows::{Rows, Taken, now_unix_micros};

/// A checkpoint is written at most this often while rows are confirmed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(100);

/// A checkpoint of an idle stream is written this often…
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// …or when the server's log has grown by this much, whichever comes first.
const IDLE_BYTES: u64 = 64 * 1024 * 1024;

/// When the server asks for an answer, an idle checkpoint is written at once, but not more often
/// than this. A server that shuts down asks until everything is flushed, and would wait.
const ASKED_INTERVAL: Duration = Duration::from_secs(1);

/// The loop turns at least this often, to refresh what the process says of itself.
const TICK: Duration = Duration::from_millis(200);

/// A held row (halted, slot kept) is tried again this often.
const HELD_INTERVAL: Duration = Duration::from_secs(5);

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
    /// Rows that Kafka refused when they were sent alone.
    pub(crate) refused: Refused,
    /// Up to here, rows are sent one at a time, because Kafka refused one of them.
    pub(crate) alone_until: Option<Position>,
}

/// What the loop is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Rows into events.
    pub(crate) rows: RowSettings,
    /// In-flight limit, bytes.
    pub(crate) max_in_flight: u64,
    /// How often the server hears from us at least.
    pub(crate) status_interval: Duration,
    /// How long a drain may take.
    pub(crate) shutdown_timeout: Duration,
    /// Makes a topic before it is first written to, where that is configured.
    pub(crate) topic_maker: Option<TopicMaker>,
    /// The server's clock less ours, microseconds.
    pub(crate) clock_skew: i64,
}

/// How event topics are made (`WALPOST_TOPIC_PARTITIONS`, `WALPOST_TOPIC_REPLICATION`).
#[derive(Clone, Debug)]
pub(crate) struct TopicMaker {
    /// The client's configuration.
    pub(crate) client: rdkafka::ClientConfig,
    /// Partitions of a new topic.
    pub(crate) partitions: i32,
    /// Copies of each; -1 is the broker's default.
    pub(crate) replication: i32,
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
    /// Something went wrong.
    Failed(Failure),
    /// Kafka refused a record among these: send them one at a time.
    RefusedBatch {
        /// The last row that was enqueued.
        until: Position,
    },
    /// Kafka refused this row, which was sent alone.
    RefusedRow {
        /// Its place.
        position: Position,
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
    Resolved(String, Resolution),
    Bytes(usize),
    StreamEnded(crate::postgres::Error),
    Broken(String),
}

/// A question for a topic that is being asked.
#[derive(Debug)]
struct Question {
    topic: String,
    answer: JoinHandle<Resolution>,
}

/// One generation at work.
#[derive(Debug)]
pub(crate) struct Pipeline {
    stream: ReplicationStream,
    rows: Rows,
    checkpoint: Checkpoint,
    checkpoint_topic: TopicId,
    alone_until: Option<Position>,
    settings: Settings,
    status: Status,
    heartbeat: Heartbeat,
    /// The poller of the catalog says that something changed.
    facts: watch::Receiver<Option<Failure>>,
    pace: Pace,
    question: Option<Question>,
    /// A row that cannot be dealt with, and when it is offered again.
    held: Option<(Failure, Instant)>,
    /// Complete frames may be in the buffer.
    unread: bool,
    last_read: usize,
    draining: Option<Instant>,
    status_due: Instant,
    checkpointed_at: Instant,
    asked: bool,
    flushed: Lsn,
    received: Lsn,
    server_end: Lsn,
    blocked_since: Option<Instant>,
    confirmed_at: Instant,
}

impl Pipeline {
    pub(crate) fn new(
        generation: Generation,
        settings: Settings,
        (status, metrics, heartbeat): (Status, Metrics, Heartbeat),
        facts: watch::Receiver<Option<Failure>>,
    ) -> Result<Self, Failure> {
        let mark = generation.checkpoint.mark();
        let rows = Rows::new(
            settings.rows.clone(),
            (Ledger::new(mark), generation.producer),
            generation.refused,
            metrics,
        )?;
        let now = Instant::now();
        Ok(Self {
            stream: generation.stream,
            rows,
            checkpoint: generation.checkpoint,
            checkpoint_topic: generation.checkpoint_topic,
            alone_until: generation.alone_until,
            settings,
            status,
            heartbeat,
            facts,
            pace: Pace::default(),
            question: None,
            held: None,
            unread: true,
            last_read: 0,
            draining: None,
            status_due: now,
            checkpointed_at: now,
            asked: false,
            flushed: mark.resume_lsn,
            received: mark.resume_lsn,
            server_end: mark.resume_lsn,
            blocked_since: None,
            confirmed_at: now,
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
        match outcome {
            Outcome::Drained => self.close().await,
            Outcome::DrainDeadline { .. }
            | Outcome::Failed(_)
            | Outcome::RefusedBatch { .. }
            | Outcome::RefusedRow { .. } => {
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
        if self.unread && self.may_take() {
            return Action::Bytes(0);
        }
        let may_read = self.may_take();
        let pause = if may_read { self.pace.pause(self.last_read) } else { None };
        if let Some(pause) = pause {
            // Blocks this thread, on which nothing else runs but this loop: Tokio's timer has a
            // grain of a millisecond, which is too coarse for a socket buffer.
            std::thread::sleep(pause);
        }
        let tick = self.wake_at();
        let Self { stream, rows, question, facts, draining, status_due, .. } = self;
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
            read = stream.fill(), if may_read => match read {
                Ok(bytes) => Action::Bytes(bytes),
                Err(error) => Action::StreamEnded(error),
            },
            () = tokio::time::sleep_until(tick) => Action::Tick,
        }
    }

    /// The next moment at which something is due without anything happening.
    fn wake_at(&self) -> Instant {
        let tick = Instant::now() + TICK;
        match self.rows.ledger.due() {
            Due::Rows(_) => tick.min(self.checkpointed_at + CHECKPOINT_INTERVAL),
            Due::Nothing | Due::Idle(..) => tick,
        }
    }

    fn may_take(&self) -> bool {
        self.draining.is_none()
            && self.question.is_none()
            && self.held.is_none()
            && if self.alone_until.is_some() {
                self.rows.ledger.in_flight_rows() == 0
            } else {
                self.rows.ledger.in_flight_bytes() < self.settings.max_in_flight
            }
    }

    /// Does it. `Some` ends the generation.
    async fn apply(&mut self, action: Action) -> Result<Option<Outcome>, Failure> {
        match action {
            Action::Drain => {
                self.draining = Some(Instant::now() + self.settings.shutdown_timeout);
                self.status.set_state(State::Draining);
                tracing::info!(
                    in_flight = self.rows.ledger.in_flight_rows(),
                    "draining: no more rows are read; waiting for kafka's confirmations"
                );
            }
            Action::Deliveries => {
                if let Some(outcome) = self.deliveries()? {
                    return Ok(Some(outcome));
                }
            }
            Action::StatusDue => self.send_status().await?,
            Action::Tick => {}
            Action::Facts => {
                if let Some(failure) = self.facts.borrow_and_update().clone() {
                    return Err(failure);
                }
            }
            Action::Resolved(topic, resolution) => self.resolved(topic, resolution)?,
            Action::Bytes(bytes) => {
                self.last_read = bytes;
                self.take_rows()?;
            }
            Action::StreamEnded(error) => {
                return Err(Failure::postgres("read the replication stream", &error));
            }
            Action::Broken(message) => return Err(Failure::again("internal", message)),
        }
        self.offer_held_again();
        self.checkpoint()?;
        if self.rows.ledger.flush_lsn() > self.flushed {
            self.send_status().await?;
        }
        self.say();
        Ok(self.drained())
    }

    /// Takes messages until the buffer has no whole one, or the limit is reached.
    fn take_rows(&mut self) -> Result<(), Failure> {
        self.unread = true;
        while self.may_take() {
            let peeked = self.stream.peek();
            let peeked =
                peeked.map_err(|error| Failure::postgres("read the replication stream", &error))?;
            let Some((message, length)) = peeked else {
                self.unread = false;
                return Ok(());
            };
            match message {
                ReplicationMessage::XLogData { wal_end, sent_at, data, .. } => {
                    let message = pgoutput::decode(data).map_err(|error| {
                        Failure::again(
                            "postgres_protocol",
                            format!("a message of the stream cannot be read: {error}"),
                        )
                    })?;
                    if let pgoutput::LogicalMessage::Begin(begin) = &message {
                        self.pace
                            .saw(begin.commit_time.to_unix_micros(), sent_at.to_unix_micros());
                    }
                    self.received = self.received.max(wal_end);
                    match self.rows.take(&message)? {
                        Taken::Done => {}
                        Taken::NeedsTopic(topic) => {
                            self.ask(topic)?;
                            return Ok(());
                        }
                        Taken::QueueFull => return Ok(()),
                        Taken::Held(failure) => {
                            self.hold(failure);
                            return Ok(());
                        }
                    }
                }
                ReplicationMessage::Keepalive { wal_end, reply_requested, .. } => {
                    self.pace.caught_up();
                    self.server_end = self.server_end.max(wal_end);
                    self.rows.ledger.idle(wal_end);
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
            if self.alone_until.is_some_and(|until| self.is_past(until)) {
                tracing::info!("the rows that kafka refused are behind; sending in batches again");
                self.alone_until = None;
            }
        }
        Ok(())
    }

    fn is_past(&self, until: Position) -> bool {
        self.rows.ledger.in_flight_rows() == 0 && self.rows.ledger.taken().covers(until)
    }

    fn hold(&mut self, failure: Failure) {
        let first = self.held.is_none();
        if first {
            tracing::error!(code = failure.code(), hint = failure.hint(), "halted: {failure}");
        }
        self.status.failed(&failure);
        self.held = Some((failure, Instant::now() + HELD_INTERVAL));
    }

    /// A held row is offered again from time to time: its cause may be gone.
    fn offer_held_again(&mut self) {
        if self.held.as_ref().is_some_and(|(_, at)| *at <= Instant::now()) {
            self.held = None;
            self.unread = true;
        }
    }

    fn ask(&mut self, topic: String) -> Result<(), Failure> {
        if !self.rows.producer.has_room_for_a_topic() {
            self.rows.topic_is_unknown(topic);
            return Ok(());
        }
        let doing = format!("look up topic {topic}");
        let ask = self
            .rows
            .producer
            .question(&topic)
            .map_err(|error| Failure::kafka(&doing, &error))?;
        let maker = self.settings.topic_maker.clone();
        let name = topic.clone();
        let answer = tokio::spawn(async move {
            if let Some(maker) = maker
                && let Err(error) = maker.make(&name).await
            {
                tracing::warn!(topic = name, %error, "the topic could not be created");
            }
            match tokio::task::spawn_blocking(ask).await {
                Ok(resolution) => resolution,
                Err(error) => Resolution::Unanswered(ClientError {
                    code: rdkafka::types::RDKafkaErrorCode::Fail,
                    message: error.to_string(),
                }),
            }
        });
        self.question = Some(Question { topic, answer });
        Ok(())
    }

    fn resolved(&mut self, name: String, resolution: Resolution) -> Result<(), Failure> {
        self.question = None;
        self.unread = true;
        match resolution {
            Resolution::Known { topic, partitions } => {
                tracing::info!(topic = name, partitions, "writing to a topic");
                self.status.knows_topic(&name);
                self.rows.producer.learn(&name, topic);
            }
            Resolution::Unknown if self.status.knew_topic(&name) => {
                return Err(Failure::halt(
                    crate::status::HaltCode::TopicMissing,
                    format!("topic {name} was there and is gone"),
                    "create it again; walpost tries again by itself",
                ));
            }
            Resolution::Unknown => self.rows.topic_is_unknown(name),
            Resolution::Forbidden(error) => {
                return Err(Failure::kafka(&format!("describe topic {name}"), &error));
            }
            Resolution::Unanswered(error) => {
                tracing::warn!(topic = name, %error, "no broker says whether the topic exists; asking again");
                self.status.kafka_trouble(&error.to_string());
            }
        }
        Ok(())
    }

    /// Takes Kafka's reports.
    fn deliveries(&mut self) -> Result<Option<Outcome>, Failure> {
        let mut failed: Option<(String, ClientError)> = None;
        let mut violation = None;
        let mut stored = false;
        let now = now_unix_micros() + self.settings.clock_skew;
        let Rows { ledger, producer, metrics, .. } = &mut self.rows;
        let status = &self.status;
        let mut confirmed = false;
        producer.happenings(|happening| match happening {
            Happening::Delivered { tag: CHECKPOINT_TAG, .. } => {
                stored = true;
                if let Err(error) = ledger.checkpoint_delivered() {
                    violation = Some(error);
                }
            }
            Happening::Delivered { tag, count } => {
                confirmed = true;
                let result = ledger.delivered(tag, count, |settled| {
                    metrics.latency(now.saturating_sub(settled.oldest), settled.rows);
                });
                if let Err(error) = result {
                    violation = Some(error);
                }
            }
            Happening::Failed { topic, error, .. } => {
                metrics.produce_error(&error.code);
                let secondary = meaning(error.code) == Meaning::Secondary;
                if failed.is_none() && !secondary {
                    failed = Some((topic, error));
                }
            }
            Happening::Fatal(error) => {
                failed.get_or_insert((String::new(), error));
            }
            Happening::Notice(error) => {
                tracing::warn!(%error, "kafka is not well");
                status.kafka_trouble(&error.to_string());
            }
        });
        if let Some(violation) = violation {
            return Err(Failure::again("internal", violation.to_string()));
        }
        if stored {
            metrics.checkpoints.increment(1);
        }
        if confirmed || stored {
            self.confirmed_at = Instant::now();
        }
        match failed {
            Some((topic, error)) => self.delivery_failed(&topic, &error).map(Some),
            None => Ok(None),
        }
    }

    /// A record was not delivered, as far as is known: the generation ends.
    fn delivery_failed(&self, topic: &str, error: &ClientError) -> Result<Outcome, Failure> {
        let taken = self.rows.ledger.taken();
        let last = Position {
            commit_lsn: taken.commit_lsn,
            ordinal: taken.next_ordinal.saturating_sub(1),
        };
        let in_flight = self.rows.ledger.in_flight_rows();
        if meaning(error.code) == Meaning::Refused && in_flight > 0 {
            tracing::warn!(topic, %error, in_flight, "kafka refused a record");
            return Ok(if self.alone_until.is_some() {
                Outcome::RefusedRow { position: last, said: error.to_string() }
            } else {
                Outcome::RefusedBatch { until: last }
            });
        }
        let doing = if topic.is_empty() {
            "write to kafka".to_owned()
        } else {
            format!("write to topic {topic}")
        };
        Err(Failure::kafka(&doing, error))
    }

    /// Writes a checkpoint, if one is due.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        let waited = self.checkpointed_at.elapsed();
        let mark = match self.rows.ledger.due() {
            Due::Nothing => return Ok(()),
            Due::Rows(mark) if self.draining.is_some() || waited >= CHECKPOINT_INTERVAL => mark,
            Due::Idle(mark, bytes)
                if bytes >= IDLE_BYTES
                    || waited >= IDLE_INTERVAL
                    || (self.asked && waited >= ASKED_INTERVAL) =>
            {
                mark
            }
            Due::Rows(_) | Due::Idle(..) => return Ok(()),
        };
        let record = self.checkpoint.at(mark);
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
                self.rows.ledger.checkpoint_enqueued(mark);
                self.checkpointed_at = Instant::now();
                self.asked = false;
                Ok(())
            }
            Err(error) if error.code == rdkafka::types::RDKafkaErrorCode::QueueFull => Ok(()),
            Err(error) => Err(Failure::kafka("write the checkpoint", &error)),
        }
    }

    fn update(&self) -> StatusUpdate {
        let flush = self.rows.ledger.flush_lsn();
        StatusUpdate {
            write: self.received.max(flush),
            flush,
            apply: flush,
            reply_requested: false,
        }
    }

    async fn send_status(&mut self) -> Result<(), Failure> {
        let update = self.update();
        assert!(update.flush >= self.flushed, "the slot would be told to go back");
        self.flushed = update.flush;
        self.status_due = Instant::now() + self.settings.status_interval;
        self.stream
            .send_status(update)
            .await
            .map_err(|error| Failure::postgres("send a status update", &error))
    }

    fn drained(&mut self) -> Option<Outcome> {
        let deadline = self.draining?;
        if self.rows.ledger.is_settled() {
            return Some(Outcome::Drained);
        }
        // A stop repeats nothing once all rows are stored; the place of an idle stream may wait.
        if self.rows.ledger.in_flight_rows() == 0
            && matches!(self.rows.ledger.due(), Due::Idle(..))
        {
            return Some(Outcome::Drained);
        }
        (Instant::now() >= deadline)
            .then(|| Outcome::DrainDeadline { unsettled: self.rows.ledger.in_flight_rows() })
    }

    /// Ends the stream so that the server knows the last flush position.
    async fn close(self) -> Outcome {
        let update = self.update();
        self.rows.producer.abandon();
        if let Err(error) = self.stream.shutdown(update, Duration::from_secs(5)).await {
            tracing::warn!(
                error = %crate::error::chain(&error),
                "the replication stream did not end well; the checkpoint is stored, nothing repeats"
            );
        }
        Outcome::Drained
    }

    /// Refreshes what the process says of itself.
    fn say(&mut self) {
        let blocked = self.draining.is_none() && self.held.is_none() && !self.may_take();
        let now = Instant::now();
        match (blocked, self.blocked_since) {
            (true, None) => self.blocked_since = Some(now),
            (false, Some(since)) => {
                self.blocked_since = None;
                self.rows.metrics.backpressured(now - since);
            }
            (true, Some(_)) | (false, None) => {}
        }
        self.status.progress(&self.progress(now));
    }
}
