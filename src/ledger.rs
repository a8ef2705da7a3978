//! From confirmations to the position that may be checkpointed, and from that to the LSN that
//! may be flushed.
//!
//! This file answers the two questions that matter most: *when does the slot move*, and *what
//! does a crash repeat*.
//!
//! ```text
//!   flush  ≤  checkpoint  ≤  confirmed  ≤  taken
//!     │           │             │            └ the last row read from Postgres and enqueued
//!     │           │             └ everything before is confirmed by Kafka
//!     │           └ stored in the checkpoint topic, and that is confirmed too
//!     └ told to Postgres: the slot may move here
//! ```
//!
//! Each only grows within a generation (the life of one producer). A crash repeats what lies
//! between `checkpoint` and `taken`, and nothing else: a start reads the checkpoint and drops the
//! rows that it covers.
//!
//! Delivery reports arrive out of order between partitions. So rows are counted in *segments*, in
//! the order of the log: a segment is confirmed when all its rows are, and the confirmed position
//! moves over confirmed segments from the oldest on. What is behind an unconfirmed segment stays
//! in flight, even when Kafka has it: that bounds what a crash repeats, and what this remembers.
//!
//! Pure: no clock and no I/O.

use std::collections::VecDeque;

use crate::lsn::{Lsn, Position};

mod mark;
mod violation;

pub use mark::Mark;
pub use violation::Violation;

/// A segment is closed when it holds this many rows. Small enough that the confirmed position
/// follows closely, large enough that a million rows in flight are a few thousand counters.
const SEGMENT_ROWS: u32 = 256;

/// A segment is also closed when it holds this many bytes, so that rows of some kilobytes free
/// their share of the in-flight limit soon.
const SEGMENT_BYTES: u64 = 128 * 1024;

/// The transaction that is being read.
#[derive(Clone, Copy, Debug)]
struct Open {
    commit_lsn: Lsn,
    xid: u32,
    commit_time: i64,
    next_ordinal: u64,
}

/// Rows that are confirmed together.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Enqueued rows without a delivery report.
    outstanding: u32,
    rows: u32,
    bytes: u64,
    /// Commit time of its first row.
    oldest: i64,
    /// Where the stream stood when it was closed; `None` while it is open.
    end: Option<Mark>,
}

const EMPTY: Segment = Segment { outstanding: 0, rows: 0, bytes: 0, oldest: 0, end: None };

/// Whether a checkpoint has something new to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It has not, or one is under way.
    Nothing,
    /// No row, but the server's log has grown by so many bytes.
    Idle(Mark, u64),
    /// Rows or transaction ends were confirmed.
    Rows(Mark),
}

/// Rows that became confirmed: how many, and how old the oldest of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Rows.
    pub rows: u32,
    /// Commit time of the first of them, microseconds since 1970 by the server's clock.
    pub oldest: i64,
}

/// The books of one generation.
#[derive(Debug)]
pub struct Ledger {
    /// Oldest first; never empty, and only the last one is open.
    segments: VecDeque<Segment>,
    /// Tag of the oldest segment. Tags count up by one.
    first_tag: u64,
    open: Option<Open>,
    /// Commit LSN of the last transaction that began in this generation.
    began: Lsn,
    taken: Mark,
    confirmed: Mark,
    checkpointing: Option<Mark>,
    checkpointed: Mark,
    in_flight_rows: u64,
    in_flight_bytes: u64,
}

impl Ledger {
    /// Opens the books at the place where the checkpoint stands.
    #[must_use]
    pub fn new(checkpoint: Mark) -> Self {
        Self {
            segments: VecDeque::from([EMPTY]),
            first_tag: 0,
            open: None,
            began: Lsn::INVALID,
            taken: checkpoint,
            confirmed: checkpoint,
            checkpointing: None,
            checkpointed: checkpoint,
            in_flight_rows: 0,
            in_flight_bytes: 0,
        }
    }

    /// A transaction begins (`Begin`).
    ///
    /// # Errors
    /// It is inside another one, or commits before one that began in this generation: one stream
    /// delivers transactions in the order of their commits.
    pub fn begin(&mut self, commit_lsn: Lsn, xid: u32, commit_time: i64) -> Result<(), Violation> {
        if let Some(open) = self.open {
            return Err(Violation::NestedBegin(open.commit_lsn));
        }
        if commit_lsn <= self.began {
            return Err(Violation::Backwards { taken: self.began, came: commit_lsn });
        }
        self.began = commit_lsn;
        self.open = Some(Open { commit_lsn, xid, commit_time, next_ordinal: 0 });
        Ok(())
    }

    /// The place of the row that came, or `None` if it was delivered before this generation.
    ///
    /// A row that is not covered must be followed by [`enqueued`](Self::enqueued) or
    /// [`passed_over`](Self::passed_over); asking again before that gives the same place.
    ///
    /// # Errors
    /// There is no transaction.
    pub fn place(&self) -> Result<(Position, bool), Violation> {
        let open = self.open.ok_or(Violation::OutsideTransaction)?;
        let position = Position { commit_lsn: open.commit_lsn, ordinal: open.next_ordinal };
        Ok((position, self.taken.covers(position)))
    }

    /// The tag under which the next row must be enqueued.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.first_tag + (self.segments.len() as u64 - 1)
    }

    /// The row at [`place`](Self::place) was enqueued under [`tag`](Self::tag) and weighs this
    /// much.
    ///
    /// # Panics
    /// If there is no transaction: `place` has refused that before.
    pub fn enqueued(&mut self, bytes: u64) {
        let commit_time = self.advance();
        let tail = self.segments.back_mut().expect("there is always an open segment");
        if tail.rows == 0 {
            tail.oldest = commit_time;
        }
        tail.outstanding += 1;
        tail.rows += 1;
        tail.bytes += bytes;
        self.in_flight_rows += 1;
        self.in_flight_bytes += bytes;
        if tail.rows >= SEGMENT_ROWS || tail.bytes >= SEGMENT_BYTES {
            tail.end = Some(self.taken);
            self.segments.push_back(EMPTY);
        }
    }

    /// The row at [`place`](Self::place) sends nothing: it was delivered before, or the policy
    /// for bad rows leaves it out.
    ///
    /// # Panics
    /// If there is no transaction: `place` has refused that before.
    pub fn passed_over(&mut self) {
        let _: i64 = self.advance();
        self.settle();
    }

    fn advance(&mut self) -> i64 {
        let open = self.open.as_mut().expect("a row has a place, so there is a transaction");
        open.next_ordinal += 1;
        let open = *open;
        let position = Position { commit_lsn: open.commit_lsn, ordinal: open.next_ordinal - 1 };
        if !self.taken.covers(position) {
            self.taken = Mark {
                commit_lsn: open.commit_lsn,
                next_ordinal: open.next_ordinal,
                complete: false,
                resume_lsn: self.taken.resume_lsn,
                xid: open.xid,
                commit_time: open.commit_time,
            };
        }
        open.commit_time
    }

    /// The transaction ends (`Commit`).
    ///
    /// # Errors
    /// There is none, or it is another one.
    pub fn commit(&mut self, commit_lsn: Lsn, end_lsn: Lsn) -> Result<(), Violation> {
        let open = self.open.take().ok_or(Violation::OutsideTransaction)?;
        if open.commit_lsn != commit_lsn {
            return Err(Violation::OtherCommit { began: open.commit_lsn, committed: commit_lsn });
        }
        if open.next_ordinal == 0 {
            // Postgres 14 sends transactions that touch no watched table. They only move the
            // place where the stream may be resumed, as a keepalive does.
            self.taken.resume_lsn = self.taken.resume_lsn.max(end_lsn);
            self.settle();
            return Ok(());
        }
        let end = Mark {
            commit_lsn,
            next_ordinal: open.next_ordinal,
            complete: true,
            resume_lsn: end_lsn.max(self.taken.resume_lsn),
            xid: open.xid,
            commit_time: open.commit_time,
        };
        // A transaction from before the checkpoint is sent again after the slot has gone back;
        // it must not take the books back with it.
        if self.taken.at_or_before(&end) {
            self.taken = end;
        }
        self.settle();
        Ok(())
    }

    /// The server says that it has sent everything below `wal_end` (a keepalive), so that an
    /// idle stream may be resumed from there. Taken only when nothing is pending and no
    /// transaction is open; answers whether it was.
    pub fn idle(&mut self, wal_end: Lsn) -> bool {
        if self.open.is_some() || self.in_flight_rows > 0 || wal_end <= self.taken.resume_lsn {
            return false;
        }
        self.taken.resume_lsn = wal_end;
        self.settle();
        true
    }

    /// Kafka has confirmed so many rows that were enqueued under this tag.
    ///
    /// # Errors
    /// More than were outstanding.
    pub fn delivered(
        &mut self,
        tag: u64,
        count: u32,
        mut settled: impl FnMut(Settled),
    ) -> Result<(), Violation> {
        let segment = tag
            .checked_sub(self.first_tag)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.segments.get_mut(index))
            .ok_or(Violation::UnknownDelivery)?;
        segment.outstanding =
            segment.outstanding.checked_sub(count).ok_or(Violation::UnknownDelivery)?;
        while let Some(Segment { outstanding: 0, end: Some(end), .. }) = self.segments.front() {
            self.confirmed = *end;
            self.release(&mut settled);
            self.first_tag += 1;
        }
        if self.segments.len() == 1
            && self.segments.front().is_some_and(|open| open.outstanding == 0 && open.rows > 0)
        {
            self.release(&mut settled);
            self.first_tag += 1;
            self.segments.push_back(EMPTY);
        }
        self.settle();
        Ok(())
    }

    fn release(&mut self, settled: &mut impl FnMut(Settled)) {
        if let Some(segment) = self.segments.pop_front() {
            self.in_flight_rows -= u64::from(segment.rows);
            self.in_flight_bytes -= segment.bytes;
            settled(Settled { rows: segment.rows, oldest: segment.oldest });
        }
    }

    /// With nothing in flight, all that was taken is confirmed.
    fn settle(&mut self) {
        if self.in_flight_rows == 0 {
            self.confirmed = self.taken;
        }
        assert!(
            self.checkpointed.at_or_before(&self.confirmed)
                && self.confirmed.at_or_before(&self.taken),
            "the ledger's order is broken: checkpoint {:?}, confirmed {:?}, taken {:?}",
            self.checkpointed,
            self.confirmed,
            self.taken
        );
    }

    /// What could be checkpointed now: the confirmed mark, if it has moved past the stored one
    /// and no checkpoint is under way.
    #[must_use]
    pub fn due(&self) -> Due {
        self.due_at(self.confirmed)
    }

    /// What the checkpoint of a transaction that ends here says: all that was taken, because it
    /// is stored together with the rows or not at all.
    #[must_use]
    pub fn due_with_rows(&self) -> Due {
        self.due_at(self.taken)
    }

    fn due_at(&self, mark: Mark) -> Due {
        let stored = self.checkpointed;
        if self.checkpointing.is_some() || mark == stored {
            Due::Nothing
        } else if (mark.commit_lsn, mark.next_ordinal, mark.complete)
            == (stored.commit_lsn, stored.next_ordinal, stored.complete)
        {
            Due::Idle(mark, mark.resume_lsn.bytes_since(stored.resume_lsn))
        } else {
            Due::Rows(mark)
        }
    }

    /// A checkpoint record with this mark was enqueued.
    ///
    /// # Panics
    /// If the mark is ahead of what Kafka has confirmed, or a record is under way already.
    pub fn checkpoint_enqueued(&mut self, mark: Mark) {
        assert!(mark.at_or_before(&self.confirmed), "a checkpoint would be ahead of kafka");
        self.checkpoint_enqueued_with_rows(mark);
    }

    /// A checkpoint record with this mark was enqueued in the transaction of the rows before it:
    /// it is confirmed with them or not at all.
    ///
    /// # Panics
    /// If the mark is ahead of what was enqueued, or a record is under way already.
    pub fn checkpoint_enqueued_with_rows(&mut self, mark: Mark) {
        assert!(mark.at_or_before(&self.taken), "a checkpoint would be ahead of its rows");
        assert!(self.checkpointing.is_none(), "two checkpoints would be under way");
        self.checkpointing = Some(mark);
    }

    /// Kafka has confirmed the checkpoint record.
    ///
    /// # Errors
    /// None was under way.
    ///
    /// # Panics
    /// If the checkpoint would go back, or is ahead of what Kafka has confirmed.
    pub fn checkpoint_delivered(&mut self) -> Result<(), Violation> {
        let mark = self.checkpointing.take().ok_or(Violation::UnknownDelivery)?;
        assert!(mark.at_or_before(&self.confirmed), "the checkpoint is ahead of kafka");
        assert!(self.checkpointed.at_or_before(&mark), "the checkpoint would go back");
        self.checkpointed = mark;
        Ok(())
    }

    /// Where the rows that were enqueued under these tags lie: after the first mark and before the
    /// second. `None` for a tag of no row in flight.
    #[must_use]
    pub fn span(&self, first: u64, last: u64) -> Option<(Mark, Mark)> {
        let index = |tag: u64| usize::try_from(tag.checked_sub(self.first_tag)?).ok();
        let last = self.segments.get(index(last)?)?;
        let before = match index(first)?.checked_sub(1) {
            Some(before) => self.segments.get(before)?.end?,
            None => self.confirmed,
        };
        Some((before, last.end.unwrap_or(self.taken)))
    }

    /// Whether all rows that were taken are stored: a new generation would repeat none.
    #[must_use]
    pub fn rows_are_stored(&self) -> bool {
        self.in_flight_rows == 0 && (self.is_settled() || matches!(self.due(), Due::Idle(..)))
    }

    /// Whether the stored checkpoint covers every row that was taken, though perhaps not the end of
    /// their transaction: a new generation would send none of them again.
    #[must_use]
    pub fn rows_are_covered(&self) -> bool {
        let rows = |mark: Mark| (mark.commit_lsn, mark.next_ordinal);
        self.in_flight_rows == 0 && rows(self.checkpointed) == rows(self.taken)
    }

    /// How far the slot may be flushed.
    #[must_use]
    pub fn flush_lsn(&self) -> Lsn {
        self.checkpointed.resume_lsn
    }

    /// The stored checkpoint.
    #[must_use]
    pub fn checkpointed(&self) -> Mark {
        self.checkpointed
    }

    /// Everything before this is confirmed by Kafka.
    #[must_use]
    pub fn confirmed(&self) -> Mark {
        self.confirmed
    }

    /// Everything before this was read from Postgres.
    #[must_use]
    pub fn taken(&self) -> Mark {
        self.taken
    }

    /// Commit time of the oldest row that is not settled, microseconds since 1970.
    #[must_use]
    pub fn oldest_in_flight(&self) -> Option<i64> {
        self.segments.front().filter(|segment| segment.rows > 0).map(|segment| segment.oldest)
    }

    /// Whether a transaction is being read.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Rows from the oldest unconfirmed one on.
    #[must_use]
    pub fn in_flight_rows(&self) -> u64 {
        self.in_flight_rows
    }

    /// Their weight in bytes.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Nothing is in flight, and what was taken is stored: a stop here repeats nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight_rows == 0
            && self.checkpointing.is_none()
            && self.checkpointed == self.confirmed
    }
}

#[cfg(test)]
mod tests;
