//! Deleting rows of the outbox that are proven to be in Kafka.
//!
//! The proof has two steps, and needs no mark in the rows:
//!
//! 1. Take a transaction number below which every transaction of this database has ended, *then* the
//!    end of the server's log: a `Horizon`. Whatever a transaction below that number wrote was
//!    committed before that end, or never.
//! 2. Once the checkpoint has passed that end, and publication and tables are by their row versions
//!    still what the checkpoint was proven with, each such row has been delivered.
//!
//! What the stream was never to deliver is left out by the [`Floor`] of its table, by how its
//! partition came to be one, and by the checkpoint's list of rows that Kafka does not have. What is
//! left is deleted a few pages at a time, each row once and none again: `DELETE` names the pages,
//! and in the same statement all of the conditions, so that nothing rests on what was read before.
//!
//! [`Floor`]: crate::kafka::floor::Floor

mod horizon;
mod partitions;
mod rows;
mod scope;

pub(crate) use horizon::{Horizon, NotPassed, published};
pub(crate) use partitions::{Dropping, drop_partitions};
pub(crate) use rows::{Batch, Batches, Counted, count};
pub(crate) use scope::{Obstacle, Scope, scopes};

use std::time::Duration;

/// What is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Rows with an older time than this much before `now`; zero is any age.
    pub(crate) older_than: Duration,
    /// The server's clock, microseconds since 1970.
    pub(crate) now: i64,
    /// Also rows that are not known to be in Kafka.
    pub(crate) including_undelivered: bool,
}

impl Wanted {
    /// Rows with a time before this are old enough, microseconds since 1970.
    fn cutoff(&self) -> i64 {
        let age = i64::try_from(self.older_than.as_micros()).unwrap_or(i64::MAX);
        self.now.saturating_sub(age)
    }
}
