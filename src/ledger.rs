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

/// A segment is closed when it holds this many rows. Small enough that the confirmed position
/// follows closely, large enough that a million rows in flight are a few thousand counters.
const SEGMENT_ROWS: u32 = 256;

/// A segment is also closed when it holds this many bytes, so that rows of some kilobytes free
/// their share of the in-flight limit soon.
const SEGMENT_BYTES: u64 = 128 * 1024;

/// A place in the stream: what a checkpoint stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Commit LSN of the last transaction of which a row or the end was taken.
    pub commit_lsn: Lsn,
    /// Rows of that transaction that were taken: the ordinal of the next one.
    pub next_ordinal: u64,
    /// That transaction was taken to its end.
    pub complete: bool,
    /// Where the stream may be resumed: the end of the last complete transaction, or a later
    /// position below which the server had nothing more to send. The slot never passes it.
    pub resume_lsn: Lsn,
    /// The transaction's id, as Postgres sends it (the low 32 bits).
    pub xid: u32,
    /// Its commit time, microseconds since 1970 by the server's clock.
    pub commit_time: i64,
}

impl Mark {
    /// The place of a stream that begins at this position, with nothing taken.
    #[must_use]
    pub const fn start(resume_lsn: Lsn) -> Self {
        Self {
            commit_lsn: Lsn::INVALID,
            next_ordinal: 0,
            complete: true,
            resume_lsn,
            xid: 0,
            commit_time: 0,
        }
    }

    /// Whether an event at `position` lies before this mark, that is, was taken already.
    ///
    /// Decided by commit LSN and ordinal only, never by the LSN of a row.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        position.commit_lsn < self.commit_lsn
            || (position.commit_lsn == self.commit_lsn
                && (self.complete || position.ordinal < self.next_ordinal))
    }

    fn order(&self) -> (Lsn, bool, u64, Lsn) {
        (self.commit_lsn, self.complete, self.next_ordinal, self.resume_lsn)
    }

    /// Whether this is at or behind `other`.
    #[must_use]
    pub fn at_or_before(&self, other: &Self) -> bool {
        self.order() <= other.order()
    }
}

/// A stream that breaks the rules of the protocol: messages in an impossible order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// `Begin` inside a transaction.
    NestedBegin(Lsn),
    /// A row or `Commit` outside of one.
    OutsideTransaction,
    /// `Commit` of another transaction than the one that began.
    OtherCommit {
        /// What `Begin` announced.
        began: Lsn,
        /// What `Commit` said.
        committed: Lsn,
    },
    /// A transaction that commits before one that was already taken whole.
    Backwards {
        /// The later one, taken before.
        taken: Lsn,
        /// The one that came after it.
        came: Lsn,
    },
    /// A delivery report for rows that were never enqueued, or were reported before.
    UnknownDelivery,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NestedBegin(lsn) => write!(f, "transaction {lsn} began inside another one"),
            Self::OutsideTransaction => f.write_str("a row or commit came outside a transaction"),
            Self::OtherCommit { began, committed } => {
                write!(f, "transaction {began} began, but {committed} was committed")
            }
            Self::Backwards { taken, came } => {
                write!(f, "transaction {came} came after {taken}, which commits later")
            }
            Self::UnknownDelivery => {
                f.write_str("kafka reported a delivery that was not outstanding")
            }
        }
    }
}

impl std::error::Error for Violation {}

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
        let (confirmed, stored) = (self.confirmed, self.checkpointed);
        if self.checkpointing.is_some() || confirmed == stored {
            Due::Nothing
        } else if (confirmed.commit_lsn, confirmed.next_ordinal, confirmed.complete)
            == (stored.commit_lsn, stored.next_ordinal, stored.complete)
        {
            Due::Idle(confirmed, confirmed.resume_lsn.bytes_since(stored.resume_lsn))
        } else {
            Due::Rows(confirmed)
        }
    }

    /// A checkpoint record with this mark was enqueued.
    ///
    /// # Panics
    /// If the mark is ahead of what Kafka has confirmed, or a record is under way already.
    pub fn checkpoint_enqueued(&mut self, mark: Mark) {
        assert!(mark.at_or_before(&self.confirmed), "a checkpoint would be ahead of kafka");
        assert!(self.checkpointing.is_none(), "two checkpoints would be under way");
        self.checkpointing = Some(mark);
    }

    /// Kafka has confirmed the checkpoint record.
    ///
    /// # Errors
    /// None was under way.
    ///
    /// # Panics
    /// If the checkpoint would go back.
    pub fn checkpoint_delivered(&mut self) -> Result<(), Violation> {
        let mark = self.checkpointing.take().ok_or(Violation::UnknownDelivery)?;
        assert!(self.checkpointed.at_or_before(&mark), "the checkpoint would go back");
        self.checkpointed = mark;
        Ok(())
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const L: fn(u64) -> Lsn = Lsn::new;

    fn ledger() -> Ledger {
        Ledger::new(Mark::start(L(10)))
    }

    fn row(ledger: &mut Ledger) -> u64 {
        let (_, covered) = ledger.place().expect("in a transaction");
        assert!(!covered);
        let tag = ledger.tag();
        ledger.enqueued(100);
        tag
    }

    fn deliver(ledger: &mut Ledger, tag: u64, count: u32) {
        ledger.delivered(tag, count, |_| {}).expect("outstanding");
    }

    fn checkpoint(ledger: &mut Ledger) {
        let (Due::Rows(mark) | Due::Idle(mark, _)) = ledger.due() else { panic!("not due") };
        ledger.checkpoint_enqueued(mark);
        ledger.checkpoint_delivered().expect("under way");
    }

    #[test]
    fn the_slot_moves_only_behind_a_stored_checkpoint() {
        let mut ledger = ledger();
        ledger.begin(L(100), 1, 0).expect("begin");
        let tag = row(&mut ledger);
        ledger.commit(L(100), L(110)).expect("commit");
        assert_eq!(ledger.due(), Due::Nothing, "nothing is confirmed");
        deliver(&mut ledger, tag, 1);
        let Due::Rows(mark) = ledger.due() else { panic!("confirmed") };
        assert_eq!(ledger.flush_lsn(), L(10), "confirmed is not stored");
        ledger.checkpoint_enqueued(mark);
        assert_eq!(ledger.flush_lsn(), L(10), "under way is not stored");
        ledger.checkpoint_delivered().expect("under way");
        assert_eq!(ledger.flush_lsn(), L(110));
        assert!(ledger.is_settled());
    }

    #[test]
    fn inside_a_transaction_the_checkpoint_moves_and_the_slot_does_not() {
        let mut ledger = ledger();
        ledger.begin(L(100), 1, 0).expect("begin");
        let tag = row(&mut ledger);
        deliver(&mut ledger, tag, 1);
        checkpoint(&mut ledger);
        assert_eq!(ledger.checkpointed().next_ordinal, 1);
        assert!(!ledger.checkpointed().complete);
        assert_eq!(ledger.flush_lsn(), L(10));
    }

    #[test]
    fn a_later_transaction_waits_for_an_earlier_one() {
        let mut ledger = ledger();
        let mut tags = Vec::new();
        for lsn in [100, 200] {
            ledger.begin(L(lsn), 1, 0).expect("begin");
            for _ in 0..SEGMENT_ROWS {
                tags.push(row(&mut ledger));
            }
            ledger.commit(L(lsn), L(lsn + 10)).expect("commit");
        }
        assert_ne!(tags.first(), tags.last(), "two segments");
        let second = *tags.last().expect("rows");
        deliver(&mut ledger, second, SEGMENT_ROWS);
        assert_eq!(ledger.due(), Due::Nothing);
        let in_flight = u64::from(SEGMENT_ROWS) * 2;
        assert_eq!(ledger.in_flight_rows(), in_flight, "still counted: a crash repeats it");
        deliver(&mut ledger, tags[0], SEGMENT_ROWS);
        assert_eq!(ledger.in_flight_rows(), 0);
        assert_eq!(ledger.confirmed().resume_lsn, L(210));
    }

    #[test]
    fn a_keepalive_moves_an_idle_stream() {
        let mut ledger = ledger();
        assert!(ledger.idle(L(500)));
        let Due::Idle(_, bytes) = ledger.due() else { panic!("idle") };
        assert_eq!(bytes, 490);
        checkpoint(&mut ledger);
        assert_eq!(ledger.flush_lsn(), L(500));
    }

    #[test]
    fn a_keepalive_inside_a_transaction_does_not_move_the_slot() {
        let mut ledger = ledger();
        ledger.begin(L(100), 1, 0).expect("begin");
        assert!(!ledger.idle(L(500)));
    }

    #[test]
    fn a_keepalive_while_rows_are_in_flight_does_not_move_the_slot() {
        let mut ledger = ledger();
        ledger.begin(L(100), 1, 0).expect("begin");
        row(&mut ledger);
        ledger.commit(L(100), L(110)).expect("commit");
        assert!(!ledger.idle(L(500)));
    }

    #[test]
    fn a_transaction_without_rows_moves_the_stream_as_a_keepalive_does() {
        let mut ledger = ledger();
        ledger.begin(L(100), 1, 0).expect("begin");
        ledger.commit(L(100), L(110)).expect("commit");
        assert!(matches!(ledger.due(), Due::Idle(_, 100)));
    }

    #[test]
    fn rows_that_the_checkpoint_covers_are_passed_over_by_commit_and_ordinal() {
        let mark = Mark {
            commit_lsn: L(100),
            next_ordinal: 2,
            complete: false,
            resume_lsn: L(10),
            xid: 1,
            commit_time: 0,
        };
        let mut ledger = Ledger::new(mark);
        ledger.begin(L(50), 1, 0).expect("an older one is sent again");
        assert!(ledger.place().expect("placed").1);
        ledger.passed_over();
        ledger.commit(L(50), L(60)).expect("commit");
        assert_eq!(ledger.taken(), mark, "what is covered does not move the books");
        ledger.begin(L(100), 1, 0).expect("begin");
        for expected in [true, true, false] {
            assert_eq!(ledger.place().expect("placed").1, expected);
            if expected { ledger.passed_over() } else { ledger.enqueued(1) }
        }
        assert_eq!(ledger.taken().next_ordinal, 3);
    }

    #[test]
    fn messages_in_an_impossible_order_are_violations() {
        let mut ledger = ledger();
        assert_eq!(ledger.place(), Err(Violation::OutsideTransaction));
        assert_eq!(ledger.commit(L(1), L(2)), Err(Violation::OutsideTransaction));
        ledger.begin(L(100), 1, 0).expect("begin");
        assert_eq!(ledger.begin(L(200), 1, 0), Err(Violation::NestedBegin(L(100))));
        assert_eq!(
            ledger.commit(L(101), L(110)),
            Err(Violation::OtherCommit { began: L(100), committed: L(101) })
        );
        ledger.begin(L(200), 1, 0).expect("begin");
        ledger.commit(L(200), L(210)).expect("commit");
        assert_eq!(
            ledger.begin(L(150), 1, 0),
            Err(Violation::Backwards { taken: L(200), came: L(150) })
        );
    }

    #[test]
    fn a_delivery_that_is_not_outstanding_is_a_violation() {
        let mut ledger = ledger();
        assert_eq!(ledger.delivered(0, 1, |_| {}), Err(Violation::UnknownDelivery));
        assert_eq!(ledger.delivered(7, 1, |_| {}), Err(Violation::UnknownDelivery));
        assert_eq!(ledger.checkpoint_delivered(), Err(Violation::UnknownDelivery));
    }

    #[test]
    #[should_panic(expected = "ahead of kafka")]
    fn a_checkpoint_ahead_of_kafka_stops_the_process() {
        let mut ledger = ledger();
        ledger.begin(L(100), 1, 0).expect("begin");
        row(&mut ledger);
        let taken = ledger.taken();
        ledger.checkpoint_enqueued(taken);
    }

    proptest! {
        /// Against a model that remembers every row: whatever the order of reports, the confirmed
        /// position never passes an unconfirmed row, and in the end everything is released.
        #[test]
        fn the_confirmed_position_never_passes_an_unconfirmed_row(
            transactions in prop::collection::vec(1_usize..700, 1..8),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let mut ledger = ledger();
            let mut rows: Vec<(Position, u64, bool)> = Vec::new();
            for (index, count) in transactions.iter().enumerate() {
                let lsn = L(100 + 100 * index as u64);
                ledger.begin(lsn, 1, 0).expect("begin");
                for _ in 0..*count {
                    let (position, covered) = ledger.place().expect("placed");
                    prop_assert!(!covered);
                    rows.push((position, ledger.tag(), false));
                    ledger.enqueued(1_000);
                }
                ledger.commit(lsn, Lsn::new(lsn.as_u64() + 10)).expect("commit");
            }
            let mut report = |ledger: &mut Ledger, at: usize| -> Result<(), TestCaseError> {
                if rows[at].2 {
                    return Ok(());
                }
                rows[at].2 = true;
                ledger.delivered(rows[at].1, 1, |_| {}).expect("outstanding");
                let confirmed = ledger.confirmed();
                for (position, _, reported) in &rows {
                    prop_assert!(*reported || !confirmed.covers(*position));
                }
                Ok(())
            };
            let total = transactions.iter().sum::<usize>();
            for index in order {
                report(&mut ledger, index.index(total))?;
            }
            for at in (0..total).rev() {
                report(&mut ledger, at)?;
            }
            prop_assert_eq!(ledger.confirmed(), ledger.taken());
            prop_assert_eq!((ledger.in_flight_rows(), ledger.in_flight_bytes()), (0, 0));
        }
    }
}
