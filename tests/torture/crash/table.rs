//! What is tried of each crash point.

use walpost::crash::Point;

use crate::scene::Mode;

/// What goes on when the process is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    /// Rows lie in the table, and nothing else is there.
    FirstStart,
    /// Rows come in.
    Stream,
    /// As `Stream`, while the server ends the connection again and again.
    Generations,
    /// As `Stream`, and every other row is bad.
    BadRows,
    /// As `Stream`, and a stop is asked for.
    Stop,
}

/// How often the point is passed within one life of the process, and why not more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Often,
    Rarely(&'static str),
    Once(&'static str),
}

/// What is tried of one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) during: During,
    pub(super) passed: Passed,
    /// The only way of delivery that has this point, and why.
    pub(super) only: Option<(Mode, &'static str)>,
}

const STARTS: Passed = Passed::Rarely("once a generation, and a thousand generations take hours");
const FIRST: Passed = Passed::Once("a first start happens once");
const STOPS: Passed = Passed::Once("a process stops once");
const ONCE: Option<(Mode, &str)> =
    Some((Mode::ExactlyOnce, "at-least-once has no Kafka transactions"));

/// The table. A point that is missing here does not compile.
pub(super) fn trial(point: Point) -> Trial {
    use During::{BadRows, FirstStart, Generations, Stop, Stream};
    use Passed::{Often, Once, Rarely};
    let (during, passed, only) = match point {
        Point::OwnTopicsMade
        | Point::SlotTaken
        | Point::CheckpointRead
        | Point::ClaimWritten
        | Point::ClaimReadBack
        | Point::OlderRemoved
        | Point::GenerationEnded => (Generations, STARTS, None),
        Point::IdTakenOver => (Generations, STARTS, ONCE),
        Point::PublicationCreated
        | Point::SnapshotAnnounced
        | Point::SlotCreated
        | Point::FirstStartOver
        | Point::SnapshotImported => (FirstStart, FIRST, None),
        Point::SnapshotRowEnqueued => (FirstStart, Often, None),
        Point::SnapshotAllRead | Point::SnapshotConfirmed | Point::StreamRecordEnqueued => {
            (FirstStart, Once("a snapshot ends once"), None)
        }
        Point::TransactionBegun
        | Point::BeforeCommit
        | Point::CommitAnswered
        | Point::TransactionConfirmed => (Stream, Often, ONCE),
        Point::BeforeEnqueue
        | Point::AfterEnqueue
        | Point::CommitTaken
        | Point::BeforeReport
        | Point::AfterReport
        | Point::BeforeCheckpoint
        | Point::CheckpointEnqueued
        | Point::CheckpointConfirmed
        | Point::BeforeStatus
        | Point::AfterStatus => (Stream, Often, None),
        Point::KeepaliveTaken => {
            (Stream, Rarely("only while nothing is in flight, a few times a second at most"), None)
        }
        Point::DeadLetterEnqueued => (BadRows, Often, None),
        Point::DrainBegun | Point::Drained | Point::StreamClosed => (Stop, STOPS, None),
    };
    Trial { during, passed, only }
}

/// One death.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) point: Point,
    pub(super) hit: u64,
    pub(super) mode: Mode,
    pub(super) during: During,
}

/// Every point × first, second and thousandth time × both ways of delivery, less what the table
/// says cannot be.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for point in Point::ALL.iter().copied() {
        let Trial { during, passed, only } = trial(point);
        let hits: &[u64] = match passed {
            Passed::Often => &[1, 2, 1_000],
            Passed::Rarely(_) => &[1, 2],
            Passed::Once(_) => &[1],
        };
        for mode in Mode::ALL.into_iter().filter(|mode| only.is_none_or(|(it, _)| it == *mode)) {
            cases.extend(hits.iter().map(|hit| Case { point, hit: *hit, mode, during }));
        }
    }
    cases
}
