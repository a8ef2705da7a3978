//! A place in the stream.

use crate::lsn::{Lsn, Position};

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
