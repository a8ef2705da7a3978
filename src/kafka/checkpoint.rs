//! The checkpoint record: what is stored of a stream's progress, and how it is read back.

use serde::{Deserialize, Serialize};

use super::floor::{Floor, Kept};
use crate::ledger::Mark;
use crate::lsn::Lsn;

/// Format of the record. A reader refuses a higher one, because it cannot know what it would
/// lose; fields that it does not know within the same version it keeps.
pub const FORMAT: u32 = 1;

/// Whether the rows of a first start or the stream were being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The rows that were in the table before the slot. A start that finds this begins again.
    Snapshot,
    /// The stream.
    Stream,
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(shards: &u32) -> bool {
    *shards == 1
}

/// Which stream of which connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The connector's name.
    pub name: String,
    /// Its number, from 0.
    pub shard: u32,
    /// How many streams the connector has.
    pub shards: u32,
}

/// One record of the checkpoint topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// The connector's name.
    pub name: String,
    /// Which stream of the connector; 0 where there is one.
    pub shard: u32,
    /// How many streams the connector had. One is not written, so that a record of one stream is
    /// as it always was.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards: u32,
    /// Counts the takeovers: each start claims the next one before it sends anything.
    pub generation: u64,
    /// A random number of the process that wrote it, so that two that claim one generation know
    /// each other apart.
    pub nonce: String,
    /// Snapshot or stream.
    pub phase: Phase,
    /// Postgres' system identifier.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline: u32,
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// What the publication and its tables looked like: object ids and row versions.
    pub fingerprint: String,
    /// Prefix of the messages that were taken as rows. They are counted in
    /// [`Self::next_ordinal`], so it means something else under another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// See [`Mark::commit_lsn`].
    pub commit_lsn: Lsn,
    /// See [`Mark::next_ordinal`].
    pub next_ordinal: u64,
    /// See [`Mark::complete`].
    pub complete: bool,
    /// See [`Mark::resume_lsn`].
    pub resume_lsn: Lsn,
    /// See [`Mark::xid`].
    pub xid: u32,
    /// See [`Mark::commit_time`].
    pub commit_time: i64,
    /// No row that was committed before this was ever delivered by the stream.
    pub prune_floor: Lsn,
    /// End of the server's log when the publication and its tables were last seen as the
    /// fingerprint has them. What committed after this may be missing once they differ, even when
    /// [`Self::resume_lsn`] is later: the stream does not tell what it leaves out. `0/0` is
    /// unknown.
    #[serde(default)]
    pub seen_lsn: Lsn,
    /// The server's clock then, microseconds since 1970.
    #[serde(default)]
    pub seen_time: i64,
    /// It was written in a transaction. One more may have been left open, which must be ended
    /// before anybody goes on from here, in whichever way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transactional: bool,
    /// From where on the rows of each table are in Kafka; see [`Self::floor`].
    #[serde(default)]
    pub floors: Vec<Floor>,
    /// Rows that were passed and are not in Kafka.
    #[serde(default)]
    pub kept: Kept,
    /// Fields of a later program of the same format, written back as they came.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

impl Checkpoint {
    /// The place in the stream.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            commit_lsn: self.commit_lsn,
            next_ordinal: self.next_ordinal,
            complete: self.complete,
            resume_lsn: self.resume_lsn,
            xid: self.xid,
            commit_time: self.commit_time,
        }
    }

    /// A snapshot was to begin, and the slot that was to be made for it may not be there yet: the
    /// record has no place.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.phase == Phase::Snapshot && self.resume_lsn == Lsn::INVALID
    }

    /// The record as it is compared with what the servers say: an announced snapshot has the place
    /// of the slot that was made after it, wherever that stands.
    #[must_use]
    pub fn placed(&self, slot_at: Lsn) -> Self {
        if self.is_announced() { self.at(Mark::start(slot_at)) } else { self.clone() }
    }

    /// The same record at another place.
    #[must_use]
    pub fn at(&self, mark: Mark) -> Self {
        Self {
            commit_lsn: mark.commit_lsn,
            next_ordinal: mark.next_ordinal,
            complete: mark.complete,
            resume_lsn: mark.resume_lsn,
            xid: mark.xid,
            commit_time: mark.commit_time,
            ..self.clone()
        }
    }

    /// The record's key: shard and generation, so that a late write of a predecessor can never
    /// replace a newer record in compaction.
    #[must_use]
    pub fn key(shard: u32, generation: u64) -> String {
        format!("{shard}/{generation}")
    }

    /// The record's value.
    ///
    /// # Panics
    /// Never: every field is a plain number or text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts are always representable")
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// It is no checkpoint, or one of a newer format.
    pub fn decode(value: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_slice(value)
            .map_err(|error| Unreadable::Malformed(error.to_string()))?;
        if format > FORMAT {
            return Err(Unreadable::Newer(format));
        }
        serde_json::from_slice(value).map_err(|error| Unreadable::Malformed(error.to_string()))
    }
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Written by a later program with a format that this one does not know.
    Newer(u32),
    /// No checkpoint at all.
    Malformed(String),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(format) => {
                write!(f, "the checkpoint has format {format}; this program knows up to {FORMAT}")
            }
            Self::Malformed(what) => write!(f, "the record is no checkpoint: {what}"),
        }
    }
}

impl std::error::Error for Unreadable {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Any checkpoint.
    pub(crate) fn checkpoint() -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            name: "shop.walpost".to_owned(),
            shard: 0,
            shards: 1,
            generation: 7,
            nonce: "n".to_owned(),
            phase: Phase::Stream,
            system_identifier: "7400000000000000001".to_owned(),
            timeline: 1,
            cluster_id: "c".to_owned(),
            slot: "walpost".to_owned(),
            publication: "walpost".to_owned(),
            fingerprint: "f".to_owned(),
            messages: None,
            commit_lsn: Lsn::new(100),
            next_ordinal: 3,
            complete: false,
            resume_lsn: Lsn::new(90),
            xid: 5,
            commit_time: 1_700_000_000_000_000,
            prune_floor: Lsn::new(1),
            seen_lsn: Lsn::new(95),
            seen_time: 1_700_000_000_000_000,
            transactional: false,
            floors: Vec::new(),
            kept: Kept::default(),
            unknown: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_checkpoint_is_read_back_as_it_was_written() {
        let written = checkpoint();
        assert_eq!(Checkpoint::decode(&written.encode()), Ok(written));
    }

    #[test]
    fn a_record_of_one_stream_does_not_tell_how_many_there_are() {
        let text = |shards| {
            let record = Checkpoint { shards, ..checkpoint() };
            assert_eq!(Checkpoint::decode(&record.encode()).as_ref(), Ok(&record));
            String::from_utf8(record.encode()).expect("json is text")
        };
        assert!(!text(1).contains("shards"));
        assert!(text(2).contains("\"shards\":2"));
    }

    #[test]
    fn a_field_of_a_later_program_is_kept() {
        let mut value: serde_json::Value =
            serde_json::from_slice(&checkpoint().encode()).expect("json");
        value["later"] = serde_json::json!({"x": 1});
        let read = Checkpoint::decode(value.to_string().as_bytes()).expect("readable");
        let again: serde_json::Value = serde_json::from_slice(&read.encode()).expect("json");
        assert_eq!(again["later"], serde_json::json!({"x": 1}));
    }

    #[test]
    fn a_record_without_the_place_last_seen_is_read() {
        let mut value: serde_json::Value =
            serde_json::from_slice(&checkpoint().encode()).expect("json");
        let object = value.as_object_mut().expect("an object");
        assert!(object.remove("seen_lsn").is_some() && object.remove("seen_time").is_some());
        let read = Checkpoint::decode(value.to_string().as_bytes()).expect("readable");
        assert_eq!((read.seen_lsn, read.seen_time), (Lsn::INVALID, 0));
    }

    #[test]
    fn a_newer_format_is_refused_whatever_else_it_holds() {
        assert_eq!(Checkpoint::decode(br#"{"format":2,"odd":[]}"#), Err(Unreadable::Newer(2)));
    }

    #[test]
    fn every_prefix_of_a_checkpoint_is_refused() {
        let whole = checkpoint().encode();
        for length in 0..whole.len() {
            let read = Checkpoint::decode(&whole[..length]);
            assert!(matches!(read, Err(Unreadable::Malformed(_))), "{length}");
        }
    }
}
