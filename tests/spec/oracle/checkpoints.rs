//! The checkpoint topic, read as any consumer would.

use rdkafka::Message;
use serde_json::Value;

use super::super::servers::{Database, Kafka};
use super::Place;
use super::reader::Reader;

/// What a checkpoint record says, of the fields that a test needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Counts the takeovers.
    pub(crate) generation: u64,
    /// The last transaction of which something was confirmed.
    pub(crate) commit_lsn: u64,
    /// How many of its rows.
    pub(crate) next_ordinal: u64,
    /// Whether that is all of it.
    pub(crate) complete: bool,
    /// The slot may not be past this.
    pub(crate) resume_lsn: u64,
}

impl Checkpoint {
    /// Whether the row at `place` is one that a start from here does not send.
    pub(crate) fn covers(&self, place: Place) -> bool {
        place.commit_lsn < self.commit_lsn
            || (place.commit_lsn == self.commit_lsn
                && (self.complete || place.ordinal < self.next_ordinal))
    }
}

/// All checkpoint records of one connector.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    reader: Reader,
    newest: Option<Checkpoint>,
}

impl Checkpoints {
    /// Those of the walpost that [`super::prepare`] set up.
    pub(crate) fn new(database: &Database, kafka: &Kafka) -> Self {
        let topic = format!("walpost.checkpoint.{}", database.name());
        Self { reader: Reader::new(kafka, vec![topic]), newest: None }
    }

    /// The newest record of the highest generation; panics when a generation went back.
    #[track_caller]
    pub(crate) fn newest(&mut self) -> Option<Checkpoint> {
        let newest = &mut self.newest;
        self.reader.read(|_, message| {
            let Some(value) = message.payload() else { return };
            let next = parse(value);
            let Some(last) = newest else {
                *newest = Some(next);
                return;
            };
            // A frozen process may still write for its own, older generation.
            if next.generation < last.generation {
                return;
            }
            let at = |it: &Checkpoint| (it.commit_lsn, it.complete, it.next_ordinal);
            assert!(
                at(&next) >= at(last) && next.resume_lsn >= last.resume_lsn,
                "a checkpoint went back: {last:?}, then {next:?}"
            );
            *newest = Some(next);
        });
        self.newest.clone()
    }

    /// How many records the topic has had: it stands still when nobody writes.
    #[track_caller]
    pub(crate) fn end(&self) -> i64 {
        self.reader.end()
    }
}

#[track_caller]
fn parse(value: &[u8]) -> Checkpoint {
    let text = String::from_utf8_lossy(value);
    let value: Value =
        serde_json::from_slice(value).unwrap_or_else(|error| panic!("{error}: {text}"));
    let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name}: {text}"));
    let lsn = |name: &str| lsn(value[name].as_str().unwrap_or_else(|| panic!("no {name}: {text}")));
    Checkpoint {
        generation: number("generation"),
        commit_lsn: lsn("commit_lsn"),
        next_ordinal: number("next_ordinal"),
        complete: value["complete"].as_bool().unwrap_or_else(|| panic!("no complete: {text}")),
        resume_lsn: lsn("resume_lsn"),
    }
}

/// The bytes of `16/B374D848`.
#[track_caller]
pub(crate) fn lsn(text: &str) -> u64 {
    let half = |digits| u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{text}"));
    let (high, low) = text.split_once('/').unwrap_or_else(|| panic!("{text} is no LSN"));
    half(high) << 32 | half(low)
}
