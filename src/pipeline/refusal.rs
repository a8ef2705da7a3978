//! What Kafka refused, and what is done to refuse no row that it would take.
//!
//! A refusal concerns a batch. What is learned from it outlives the generation that it ended: the
//! supervisor keeps it and gives it to the next one.
//!
//! - A record that alone is larger than its topic's limit may still be taken, since the limit
//!   counts compressed bytes; only the broker knows. It is sent when everything before it is
//!   stored, and nothing is sent until Kafka has answered. So its refusal repeats no row.
//! - The other rows of a refused batch are *suspects*, as long as the topic's limit does not
//!   explain the refusal: sent one at a time, they show which of them Kafka means.
//! - Only a record that was refused alone makes a bad row.

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

/// Rows of which Kafka refused one, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspects {
    /// Where they went.
    pub(crate) topic: String,
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
    pub(crate) position: Position,
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
    rows: BTreeMap<Position, String>,
    /// Rows whose dead letter was refused alone.
    letters: BTreeSet<Position>,
    suspects: Vec<Suspects>,
    /// When a dead letter could not be written, and why.
    letter_failed: Option<(Instant, String)>,
}

impl Refusals {
    /// What Kafka said of this row, if it was refused alone.
    pub(super) fn of(&self, position: Position) -> Option<&str> {
        self.rows.get(&position).map(String::as_str)
    }

    /// The row's dead letter was refused alone, so goes without its payload.
    pub(super) fn letter_of(&self, position: Position) -> bool {
        self.letters.contains(&position)
    }

    /// Why no dead letter can be written for now.
    pub(super) fn letters_held(&self) -> Option<&str> {
        let (at, said) = self.letter_failed.as_ref()?;
        (at.elapsed() < LETTER_PAUSE).then_some(said)
    }

    /// How the event of this row is to be sent; `fits` when its topic takes it uncompressed.
    pub(super) fn way(&self, topic: &str, position: Position, fits: bool) -> Way {
        if !fits {
            return Way::AloneAfterStored;
        }
        let suspect = self.suspects.iter().any(|suspects| {
            suspects.topic == topic
                && suspects.until.covers(position)
                && !suspects.after.covers(position)
        });
        if suspect { Way::AloneAfterConfirmed } else { Way::Batched }
    }

    /// How a dead letter is to be sent: alone too when the last one could not be written.
    pub(super) fn letters_way(&self, topic: &str, position: Position, fits: bool) -> Way {
        self.way(topic, position, fits && self.letter_failed.is_none())
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
        match alone.sent {
            Sent::Event => {
                if self.rows.len() >= REFUSED_MAX {
                    self.rows.pop_first();
                }
                self.rows.insert(alone.position, said);
            }
            Sent::Letter => {
                if self.letters.len() >= REFUSED_MAX {
                    self.letters.pop_first();
                }
                self.letters.insert(alone.position);
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

    /// Forgets what the checkpoint covers: those rows do not come again.
    pub(crate) fn forget(&mut self, stored: &Mark) {
        self.rows.retain(|position, _| !stored.covers(*position));
        self.letters.retain(|position| !stored.covers(*position));
        self.suspects.retain(|suspects| !suspects.until.at_or_before(stored));
    }
}
