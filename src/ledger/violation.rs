//! Streams that break the rules of the protocol.

use crate::lsn::Lsn;

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
