//! The rows that were in the tables before the slot, published before the first row of the stream.
//!
//! They go the way of every row, through one encoder and one producer, and are counted by a ledger
//! of their own, as rows of one transaction that has no end. Meanwhile the stream is held and left
//! unread: it is the lock, and keeps what commits from now on. No progress is stored, since a
//! snapshot cannot be continued: the transaction that sees it ends with this process. When every
//! row is confirmed, a checkpoint at the place of the slot says that the stream goes on from there.
//!
//! ```text
//!   checkpoint "snapshot" ─► slot ─► rows ─► all confirmed ─► checkpoint "stream" ─► first row of the stream
//!        └────────── a start that finds it begins again ──────────┘
//! ```
//!
//! It also begins again, and repeats what was sent, when a topic turns out to take smaller batches
//! than are made, and at each refusal of a record. The first happens once for each topic whose
//! limit is below all those before; how many refusals there may be is told in `refusal`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Action, Outcome, Pipeline};
use crate::error::Failure;
use crate::kafka::checkpoint::Phase;
use crate::ledger::{Ledger, Mark};
use crate::lsn::Lsn;
use crate::outbox::mapping::Mapping;
use crate::postgres::error::Error;
use crate::postgres::snapshot::{SnapshotBatch, SnapshotRow, SnapshotRows};
use crate::postgres::timestamp::PgTimestamp;
use crate::status::State;
use crate::status::facts::SnapshotFacts;
use crate::status::span::spoken;

/// How often the log says how far the snapshot is.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How often the page and the metrics learn of it.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// What a snapshot begins with.
#[derive(Debug)]
pub(crate) struct SnapshotWork {
    /// The rows.
    pub(crate) rows: SnapshotRows,
    /// The tables, in the order in which the rows come.
    pub(crate) tables: Vec<Arc<Mapping>>,
    /// How many rows there are, as far as that is known.
    pub(crate) estimated: Option<u64>,
    /// The `time` of rows that have none.
    pub(crate) time: PgTimestamp,
    /// Where the slot stands: the place of all these rows.
    pub(crate) slot_at: Lsn,
}

impl SnapshotWork {
    /// What is said of it before its first row.
    pub(crate) fn at_the_beginning(&self) -> SnapshotFacts {
        SnapshotFacts::of("", 0, self.estimated, Duration::ZERO)
    }
}

/// A snapshot under way.
#[derive(Debug)]
pub(super) struct Snapshot {
    work: SnapshotWork,
    /// The table that the waiting rows are of.
    table: usize,
    waiting: VecDeque<SnapshotRow>,
    all_read: bool,
    began_at: Instant,
    told_at: Instant,
    logged_at: Instant,
}

impl Snapshot {
    /// A snapshot with nothing read, and its books.
    pub(super) fn begin(work: SnapshotWork) -> Result<(Self, Ledger), Failure> {
        let mut ledger = Ledger::new(Mark::start(work.slot_at));
        ledger
            .begin(work.slot_at, 0, work.time.to_unix_micros())
            .map_err(|violation| Failure::again("internal", violation.to_string()))?;
        if work.estimated != Some(0) {
            tracing::info!(
                slot_at = %work.slot_at,
                rows_estimated = work.estimated,
                "publishing the rows that are in the table, and then the stream"
            );
        }
        let now = Instant::now();
        let snapshot = Self {
            work,
            table: 0,
            waiting: VecDeque::new(),
            all_read: false,
            began_at: now,
            told_at: now,
            logged_at: now,
        };
        Ok((snapshot, ledger))
    }

    pub(super) fn time(&self) -> PgTimestamp {
        self.work.time
    }

    fn table_name(&self) -> &str {
        self.work.tables.get(self.table).map_or("", |mapping| mapping.table_text())
    }
}

/// The next rows; waits for ever when there is no snapshot, or none of it is left.
///
/// Cancel safe.
pub(super) async fn next_batch(snapshot: &mut Option<Snapshot>) -> Action {
    match snapshot {
        Some(snapshot) if !snapshot.all_read => {
            Action::SnapshotBatch(snapshot.work.rows.next().await)
        }
        Some(_) | None => std::future::pending().await,
    }
}

impl Pipeline {
    /// Rows of the snapshot came, or its end.
    pub(super) fn snapshot_batch(
        &mut self,
        batch: Result<Option<SnapshotBatch>, Error>,
    ) -> Result<(), Failure> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let batch = batch
            .map_err(|error| Failure::postgres("read the rows that are in the table", &error))?;
        match batch {
            Some(batch) => {
                snapshot.table = batch.table;
                snapshot.waiting = batch.rows;
                self.take_snapshot_rows()
            }
            None => {
                snapshot.all_read = true;
                self.unread = false;
                Ok(())
            }
        }
    }

    /// Takes the rows that wait, until the limit is reached.
    pub(super) fn take_snapshot_rows(&mut self) -> Result<(), Failure> {
        self.unread = true;
        while self.may_take() {
            let Some(snapshot) = &self.snapshot else { return Ok(()) };
            let Some(row) = snapshot.waiting.front() else {
                self.unread = false;
                return Ok(());
            };
            let Some(mapping) = snapshot.work.tables.get(snapshot.table) else {
                return Err(Failure::again("internal", "a row came of a table nobody asked for"));
            };
            let taken = self.rows.take_snapshot_row(mapping, row)?;
            if !self.dealt_with(taken)? {
                return Ok(());
            }
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.waiting.pop_front();
            }
        }
        Ok(())
    }

    /// Once every row is confirmed: says so in the checkpoint, and lets the stream begin.
    ///
    /// The stream need not wait until that record is confirmed. A crash before that finds the one
    /// before, and begins again.
    pub(super) fn finish_snapshot(&mut self) -> Result<(), Failure> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let ledger = &self.rows.ledger;
        if !snapshot.all_read || !snapshot.waiting.is_empty() || ledger.in_flight_rows() > 0 {
            return Ok(());
        }
        if !self.rows.producer.takes_records() {
            return Ok(());
        }
        let rows = ledger.taken().next_ordinal;
        let (mark, began_at) = (Mark::start(snapshot.work.slot_at), snapshot.began_at);
        self.checkpoint.phase = Phase::Stream;
        if !self.write_checkpoint(mark)? {
            return Ok(());
        }
        // Tags of these books are all reported, so they may be used again.
        self.rows.ledger = Ledger::new(mark);
        self.rows.ledger.checkpoint_enqueued(mark);
        self.snapshot = None;
        self.unread = true;
        self.silent_since = Instant::now();
        if rows > 0 {
            tracing::info!(
                rows,
                took = spoken(began_at.elapsed().as_secs_f64()),
                slot_at = %mark.resume_lsn,
                "every row that was in the table is confirmed; the stream goes on from here"
            );
        }
        self.rows.teller.snapshot_is_over();
        Ok(())
    }

    /// Says how far the snapshot is, now and then.
    pub(super) fn tell_snapshot(&mut self) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let now = Instant::now();
        if now - snapshot.told_at < TELL_INTERVAL {
            return;
        }
        snapshot.told_at = now;
        let ledger = &self.rows.ledger;
        let done = ledger.taken().next_ordinal.saturating_sub(ledger.in_flight_rows());
        let elapsed = now - snapshot.began_at;
        let facts =
            SnapshotFacts::of(snapshot.table_name(), done, snapshot.work.estimated, elapsed);
        if now - snapshot.logged_at >= LOG_INTERVAL {
            snapshot.logged_at = now;
            tracing::info!(
                table = facts.table,
                rows_done = facts.rows_done,
                rows_estimated = facts.rows_estimated,
                rows_per_second = facts.rows_per_second,
                time_left = facts.seconds_left.map(spoken),
                "publishing the rows that were in the table"
            );
        }
        self.rows.teller.snapshot(facts);
    }

    /// A drain ends a snapshot at once: what is in flight is repeated in any case.
    pub(super) fn interrupt_snapshot(&mut self) -> Option<Outcome> {
        self.snapshot.as_ref()?;
        tracing::warn!(
            rows_sent = self.rows.ledger.taken().next_ordinal,
            "the snapshot is interrupted; the next start begins it again, and its rows are repeated"
        );
        Some(Outcome::SnapshotInterrupted)
    }

    /// The state in which rows are taken.
    pub(super) fn working(&self) -> State {
        if self.snapshot.is_some() { State::Snapshotting } else { State::Streaming }
    }
}
