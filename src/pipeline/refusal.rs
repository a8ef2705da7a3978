//! What Kafka refused, and what is done to refuse no row that it would take.
//!
//! A refusal concerns a batch. What is learned from it outlives the generation that it ended: the
//! supervisor keeps it and gives it to the next one.
//!
//! - A record that alone is larger than its topic's limit may still be taken, since the limit
//!   counts compressed bytes; only the broker knows. It is sent when everything before it is
//!   stored, and nothing is sent until Kafka has answered. So its refusal repeats no row.
//! - The other rows of a refused batch are *suspects*, as long as the topic's limit does not
//!   explain the refusal: sent in that same way, they show which of them Kafka means.
//! - Only a record that was refused alone makes a bad row. Its dead letter is sent in that way too,
//!   and stored before the next row, so that a refusal that follows does not write it again.
//!
//! In exactly-once a record that is sent alone has a transaction of its own. What was refused with
//! others was never committed, so consumers of committed records see no repeat.
//!
//! # In the snapshot of a first start
//!
//! Nothing of a snapshot is ever stored, so each refusal in it, also of a record that was sent
//! alone, begins it again and repeats the rows that were sent of it. A row may then have another
//! place, so refused rows and letters are known by what is in them. Suspects are known by their
//! places: where those have moved, one more refusal finds them. While no dead letter can be
//! written, each attempt to write one that fails begins the snapshot again as well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::Mark;
use crate::lsn::Position;

/// Refused rows, and letters, that are remembered at most. A forgotten one is refused again.
const REFUSED_MAX: usize = 10_000;

/// Ranges of suspects that are remembered at most.
const SUSPECTS_MAX: usize = 1_000;

/// After a dead letter could not be written, the next attempt is made this much later.
const LETTER_PAUSE: Duration = Duration::from_secs(30);

/// What tells a row of the snapshot from others: SHA-256 of its table and all its values.
pub(crate) type SnapshotRowDigest = [u8; 32];

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the stream.
    Stream(Position),
    /// In this run of the snapshot; with what is in it, if that is asked for.
    Snapshot(Position, Option<SnapshotRowDigest>),
}

impl Place {
    /// The place in the books.
    pub(crate) fn position(self) -> Position {
        match self {
            Self::Stream(position) | Self::Snapshot(position, _) => position,
        }
    }

    /// Whether it is a row of the snapshot.
    pub(crate) fn is_in_snapshot(self) -> bool {
        matches!(self, Self::Snapshot(..))
    }

    fn row(self) -> Option<Row> {
        match self {
            Self::Stream(position) => Some(Row::Stream(position)),
            Self::Snapshot(_, digest) => digest.map(Row::Snapshot),
        }
    }
}

/// What a row is known by in another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Stream(Position),
    Snapshot(SnapshotRowDigest),
}

/// Rows of which Kafka refused one, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspects {
    /// Where they went.
    pub(crate) topic: String,
    /// They are rows of the snapshot, whose places are counted by themselves.
    pub(crate) in_snapshot: bool,
    /// The first is after this…
    pub(crate) after: Mark,
    /// …and the last is before this.
    pub(crate) until: Mark,
}

/// What a record was that was sent alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A row's event.
    Event,
    /// A row's dead letter.
    Letter,
    /// A dead letter without the payload, which was too large for the topic.
    LetterWithoutPayload,
}

/// A record that was sent alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    /// The row's place.
    pub(crate) place: Place,
    /// What it became.
    pub(crate) sent: Sent,
}

/// How a record is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// With others.
    Batched,
    /// Alone, when nothing else is in flight.
    AloneAfterConfirmed,
    /// Alone, when all before it is stored, so that a refusal repeats nothing.
    AloneAfterStored,
}

/// What was refused, as far as it still matters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    /// Rows that were refused alone, and what Kafka said.
    rows: BTreeMap<Row, String>,
    /// Rows whose dead letter was refused alone.
    letters: BTreeSet<Row>,
    suspects: Vec<Suspects>,
    /// When a dead letter could not be written, and why.
    letter_failed: Option<(Instant, String)>,
}

impl Refusals {
    /// What Kafka said of this row, if it was refused alone.
    pub(super) fn of(&self, place: Place) -> Option<&str> {
        self.rows.get(&place.row()?).map(String::as_str)
    }

    /// The row's dead letter was refused alone, so goes without its payload.
    pub(super) fn letter_of(&self, place: Place) -> bool {
        place.row().is_some_and(|row| self.letters.contains(&row))
    }

    /// Whether a row of a snapshot was refused alone.
    pub(super) fn know_of_a_snapshot(&self) -> bool {
        // Rows of the snapshot are the last in order.
        let of_snapshot = |row: Option<&Row>| matches!(row, Some(Row::Snapshot(_)));
        of_snapshot(self.rows.last_key_value().map(|(row, _)| row))
            || of_snapshot(self.letters.last())
    }

    /// Why no dead letter can be written for now.
    pub(super) fn letters_held(&self) -> Option<&str> {
        let (at, said) = self.letter_failed.as_ref()?;
        (at.elapsed() < LETTER_PAUSE).then_some(said)
    }

    /// How the event of this row is to be sent; `fits` when its topic takes it uncompressed.
    pub(super) fn way(&self, topic: &str, place: Place, fits: bool) -> Way {
        let position = place.position();
        let suspect = self.suspects.iter().any(|suspects| {
            suspects.topic == topic
                && suspects.in_snapshot == place.is_in_snapshot()
                && suspects.until.covers(position)
                && !suspects.after.covers(position)
        });
        match (fits && !suspect, place) {
            (true, _) => Way::Batched,
            (false, Place::Stream(_)) => Way::AloneAfterStored,
            // Of a snapshot nothing is ever stored.
            (false, Place::Snapshot(..)) => Way::AloneAfterConfirmed,
        }
    }

    /// How a dead letter is to be sent: alone too when the last one could not be written, and when
    /// its row was refused.
    pub(super) fn letters_way(&self, topic: &str, place: Place, fits: bool) -> Way {
        let ordinary = self.letter_failed.is_none() && self.of(place).is_none();
        self.way(topic, place, fits && ordinary)
    }

    /// A dead letter was enqueued that is not sent alone, or was written.
    pub(super) fn letter_written(&mut self) {
        self.letter_failed = None;
    }

    /// No dead letter can be written, because of this.
    pub(crate) fn letter_failed(&mut self, said: String) {
        self.letter_failed = Some((Instant::now(), said));
    }

    /// Kafka refused a record that was sent alone.
    pub(crate) fn refused(&mut self, alone: Alone, said: String) {
        let Some(row) = alone.place.row() else { return };
        match alone.sent {
            Sent::Event => {
                if self.rows.len() >= REFUSED_MAX {
                    self.rows.pop_first();
                }
                self.rows.insert(row, said);
            }
            Sent::Letter => {
                if self.letters.len() >= REFUSED_MAX {
                    self.letters.pop_first();
                }
                self.letters.insert(row);
            }
            Sent::LetterWithoutPayload => self.letter_failed(said),
        }
    }

    /// Kafka refused a batch of these.
    pub(crate) fn suspect(&mut self, suspects: Vec<Suspects>) {
        self.suspects.extend(suspects);
        let over = self.suspects.len().saturating_sub(SUSPECTS_MAX);
        self.suspects.drain(..over);
    }

    /// The topic's limit explains the refusal: its rows need not be sent one at a time.
    pub(crate) fn explained(&mut self, topic: &str) {
        self.suspects.retain(|suspects| suspects.topic != topic);
    }

    /// Forgets what the checkpoint covers, and the snapshot unless one is under way: those rows do
    /// not come again.
    pub(crate) fn forget(&mut self, stored: &Mark, snapshot: bool) {
        let comes_again = |row: &Row| match row {
            Row::Stream(position) => !stored.covers(*position),
            Row::Snapshot(_) => snapshot,
        };
        self.rows.retain(|row, _| comes_again(row));
        self.letters.retain(comes_again);
        self.suspects.retain(|suspects| {
            if suspects.in_snapshot { snapshot } else { !suspects.until.at_or_before(stored) }
        });
    }
}
