//! Places at which a test ends the process, as a power failure would.
//!
//! A promise such as "nothing is lost, whenever walpost dies" is only as good as the moments at
//! which it was made to die. A kill from outside hits the moments that last long; those between two
//! lines of code it hits once in a million. So each such moment has a name here, stands in the code
//! as `crash::at(Point::…)`, and is tried by `tests/torture`, one after the other.
//!
//! Only with the cargo feature `crash-points`, which no release has, does this do anything:
//! `WALPOST_CRASH_AT=after_enqueue:2` then ends the process the second time that it passes that
//! place. Without the feature [`at`] is empty, and neither the names nor the variable are in the
//! program.

/// Defines the points: the name in code, the name outside, what has just happened there.
macro_rules! points {
    ($($point:ident $name:literal $what:literal;)*) => {
        /// A moment between two steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $(
                #[doc = $what]
                $point,
            )*
        }

        #[cfg(feature = "crash-points")]
        impl Point {
            /// All of them, in the order in which a first start passes them.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// The name outside the program.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    OwnTopicsMade "own_topics_made" "Checkpoint topic and dead letter topic are there.";
    PublicationCreated "publication_created" "A first start has made the publication.";
    SnapshotAnnounced "snapshot_announced" "The record that a snapshot begins is stored; there is no slot.";
    SlotCreated "slot_created" "A first start has made the slot.";
    FirstStartOver "first_start_over" "The lock of a first start is given back; the slot is not held yet.";
    SnapshotImported "snapshot_imported" "The snapshot is open, and the slot is not held yet.";
    SlotTaken "slot_taken" "The slot is held: the lock.";
    IdTakenOver "id_taken_over" "The `transactional.id` is taken over; the checkpoint is not read yet.";
    CheckpointRead "checkpoint_read" "The checkpoint is read; nothing is proven or claimed.";
    ClaimWritten "claim_written" "The record of the next generation is stored, and not read back.";
    ClaimReadBack "claim_read_back" "The generation is ours; older records are still there.";
    OlderRemoved "older_removed" "A record of an older generation is removed.";
    SnapshotRowEnqueued "snapshot_row_enqueued" "A row of the snapshot is in the producer's queue.";
    SnapshotAllRead "snapshot_all_read" "The last row of the snapshot was read.";
    SnapshotConfirmed "snapshot_confirmed" "Every row of the snapshot is confirmed; the record still says snapshot.";
    StreamRecordEnqueued "stream_record_enqueued" "The record that says stream is enqueued, and not confirmed.";
    TransactionBegun "transaction_begun" "A Kafka transaction is open, without a record.";
    BeforeEnqueue "before_enqueue" "A row has become an event.";
    AfterEnqueue "after_enqueue" "The event is in the producer's queue, and not in the books.";
    DeadLetterEnqueued "dead_letter_enqueued" "A dead letter is in the producer's queue, and not in the books.";
    CommitTaken "commit_taken" "The end of a transaction of Postgres was read.";
    KeepaliveTaken "keepalive_taken" "An idle stream's place has become that of a keepalive.";
    BeforeReport "before_report" "A delivery report is taken from librdkafka, and not in the books.";
    AfterReport "after_report" "A delivery report is in the books.";
    BeforeCheckpoint "before_checkpoint" "A checkpoint is due.";
    CheckpointEnqueued "checkpoint_enqueued" "The checkpoint record is in the producer's queue.";
    BeforeCommit "before_commit" "All records of a transaction are written; the request to commit was not sent.";
    CommitAnswered "commit_answered" "The transaction is committed; the loop does not know.";
    TransactionConfirmed "transaction_confirmed" "The loop knows of the commit; the books do not.";
    CheckpointConfirmed "checkpoint_confirmed" "The checkpoint record is confirmed; the slot was not told.";
    BeforeStatus "before_status" "A status update with a new flush position is about to be sent.";
    AfterStatus "after_status" "A status update with a new flush position was sent.";
    GenerationEnded "generation_ended" "The producer is abandoned; the next attempt has not begun.";
    DrainBegun "drain_begun" "A stop was asked for; rows are in flight.";
    Drained "drained" "Everything is confirmed and stored; the server does not know of the stop.";
    StreamClosed "stream_closed" "The stream is over; the process is about to end.";
}

/// Ends the process if the test has chosen this point.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn at(_: Point) {}

/// Whether this is the variable that chooses a point, which is not one of the configuration.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
#[must_use]
pub const fn is_variable(_: &str) -> bool {
    false
}

#[cfg(feature = "crash-points")]
pub use plan::{at, is_variable};

#[cfg(feature = "crash-points")]
mod plan {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Point;

    /// The point that was chosen, and how often it is still passed.
    static CHOSEN: OnceLock<Option<(Point, AtomicU64)>> = OnceLock::new();

    const VARIABLE: &str = "WALPOST_CRASH_AT";

    /// Whether this is the variable that chooses a point, which is not one of the configuration.
    #[must_use]
    pub fn is_variable(name: &str) -> bool {
        name == VARIABLE
    }

    /// Ends the process if the test has chosen this point.
    ///
    /// By `abort`, which like SIGKILL runs nothing of ours any more: no destructor, no thread of
    /// librdkafka's, no last word to a server.
    pub fn at(point: Point) {
        let Some((chosen, left)) = CHOSEN.get_or_init(choice) else { return };
        if *chosen == point && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            drop(writeln!(std::io::stderr(), "crash point {} is reached", point.name()));
            std::process::abort();
        }
    }

    /// # Panics
    /// The variable says something else than a point and a number.
    #[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
    fn choice() -> Option<(Point, AtomicU64)> {
        let text = std::env::var(VARIABLE).ok()?;
        let chosen = text.split_once(':').and_then(|(name, hit)| {
            let point = Point::ALL.iter().find(|point| point.name() == name)?;
            Some((*point, AtomicU64::new(hit.parse().ok()?)))
        });
        Some(chosen.expect("WALPOST_CRASH_AT is the name of a point, a colon, and a number"))
    }
}
