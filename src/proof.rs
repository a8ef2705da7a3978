//! The proof that a stream can go on from its checkpoint without a gap.
//!
//! Pure: facts in, verdict out. It is made at each start, under the lock of the slot and before
//! anything is sent, because Postgres does not refuse a wrong position: asked for an older one
//! than the slot's it silently starts later, asked for one in the future it silently leaves out
//! every transaction before it (both measured on Postgres 15; `CreateDecodingContext` in
//! `src/backend/replication/logical/logical.c`).

use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::lsn::Lsn;
use crate::status::HaltCode;

/// A switch to another timeline, from a server's timeline history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The timeline that ended.
    pub timeline: u32,
    /// Where it ended.
    pub switch_point: Lsn,
}

/// What became of the transaction that the checkpoint names last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastTransaction {
    /// The server knows it as committed.
    Committed,
    /// The server knows it as aborted or running, or has not given out its number yet.
    NotCommitted,
    /// Too old for the server to know, or the checkpoint names none.
    Unknown,
}

/// What the servers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Postgres' system identifier.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline: u32,
    /// The timelines before it.
    pub history: Vec<TimelineSwitch>,
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Where the slot stands.
    pub confirmed_flush_lsn: Lsn,
    /// Where the server's log ends.
    pub wal_end: Lsn,
    /// What the publication and its tables look like.
    pub fingerprint: String,
    /// The transaction that the checkpoint names.
    pub last_transaction: LastTransaction,
}

/// Proves that the stream goes on without a gap.
///
/// # Errors
/// The halt that names what is different, what it may have cost, and what to do.
pub fn prove(checkpoint: &Checkpoint, facts: &Facts) -> Result<(), Failure> {
    let halt = |code, message: String| {
        let hint = format!(
            "nothing is sent. Rows committed after {} may be missing in Kafka. Find out what changed; then `walpost checkpoint accept` goes on from the slot's position, after printing the range",
            checkpoint.resume_lsn
        );
        Err(Failure::halt(code, message, hint))
    };
    if checkpoint.system_identifier != facts.system_identifier {
        return halt(
            HaltCode::SystemChanged,
            format!(
                "the checkpoint belongs to the database system {}, but this one is {}",
                checkpoint.system_identifier, facts.system_identifier
            ),
        );
    }
    if checkpoint.cluster_id != facts.cluster_id {
        return halt(
            HaltCode::KafkaChanged,
            format!(
                "the checkpoint was written in the kafka cluster {}, but this one is {}",
                checkpoint.cluster_id, facts.cluster_id
            ),
        );
    }
    if let Some(message) = left_the_timeline(checkpoint, facts) {
        return halt(HaltCode::TimelineChanged, message);
    }
    if facts.confirmed_flush_lsn > checkpoint.resume_lsn {
        return halt(
            HaltCode::SlotAhead,
            format!(
                "the slot {} stands at {}, after the checkpoint's {}: somebody else moved or read it, and the rows in between will not be sent",
                checkpoint.slot, facts.confirmed_flush_lsn, checkpoint.resume_lsn
            ),
        );
    }
    if checkpoint.resume_lsn > facts.wal_end {
        return halt(
            HaltCode::CheckpointAhead,
            format!(
                "the checkpoint stands at {}, after the end of the server's log at {}: the server has lost what was sent, and would leave out new rows up to there",
                checkpoint.resume_lsn, facts.wal_end
            ),
        );
    }
    if facts.last_transaction == LastTransaction::NotCommitted {
        return halt(
            HaltCode::CheckpointAhead,
            format!(
                "transaction {} was sent, but this server does not know it as committed: it was restored from an older state",
                checkpoint.xid
            ),
        );
    }
    if checkpoint.fingerprint != facts.fingerprint {
        return halt(
            changed(&checkpoint.fingerprint, &facts.fingerprint),
            format!(
                "the publication {} or its tables changed while nobody watched: {} became {}",
                checkpoint.publication, checkpoint.fingerprint, facts.fingerprint
            ),
        );
    }
    Ok(())
}

/// Whether the publication or a table differs between two fingerprints, which have the form
/// `publication; table; table…`.
#[must_use]
pub fn changed(before: &str, after: &str) -> HaltCode {
    let publication = |fingerprint: &str| fingerprint.split("; ").next().map(str::to_owned);
    if publication(before) == publication(after) {
        HaltCode::TableChanged
    } else {
        HaltCode::PublicationChanged
    }
}

fn left_the_timeline(checkpoint: &Checkpoint, facts: &Facts) -> Option<String> {
    if facts.timeline == checkpoint.timeline {
        return None;
    }
    let left = facts.history.iter().find(|switch| switch.timeline == checkpoint.timeline);
    match left {
        Some(switch) if checkpoint.resume_lsn <= switch.switch_point => None,
        Some(switch) => Some(format!(
            "the server left timeline {} at {}, before the checkpoint at {}: events were sent that this server never had",
            checkpoint.timeline, switch.switch_point, checkpoint.resume_lsn
        )),
        None => Some(format!(
            "the server is on timeline {}, which did not branch off the checkpoint's timeline {}",
            facts.timeline, checkpoint.timeline
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::checkpoint::{FORMAT, Phase};

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            name: "shop".to_owned(),
            shard: 0,
            generation: 1,
            nonce: "n".to_owned(),
            phase: Phase::Stream,
            system_identifier: "1".to_owned(),
            timeline: 1,
            cluster_id: "c".to_owned(),
            slot: "walpost".to_owned(),
            publication: "walpost".to_owned(),
            fingerprint: "p1; t1".to_owned(),
            commit_lsn: Lsn::new(90),
            next_ordinal: 1,
            complete: true,
            resume_lsn: Lsn::new(100),
            xid: 5,
            commit_time: 0,
            prune_floor: Lsn::new(1),
            unknown: serde_json::Map::new(),
        }
    }

    fn facts() -> Facts {
        Facts {
            system_identifier: "1".to_owned(),
            timeline: 1,
            history: Vec::new(),
            cluster_id: "c".to_owned(),
            confirmed_flush_lsn: Lsn::new(100),
            wal_end: Lsn::new(200),
            fingerprint: "p1; t1".to_owned(),
            last_transaction: LastTransaction::Committed,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), expected: Option<HaltCode>) {
        let mut facts = facts();
        change(&mut facts);
        let code = match prove(&checkpoint(), &facts) {
            Ok(()) => None,
            Err(Failure::Halt { code, message, hint }) => {
                assert!(!message.is_empty() && hint.contains("0/64"), "{message} {hint}");
                Some(code)
            }
            Err(other) => panic!("not a halt: {other:?}"),
        };
        assert_eq!(code, expected, "{facts:?}");
    }

    #[test]
    fn a_stream_goes_on_from_its_checkpoint() {
        check(|_| {}, None);
        check(|facts| facts.confirmed_flush_lsn = Lsn::new(50), None);
        check(|facts| facts.wal_end = Lsn::new(100), None);
        check(|facts| facts.last_transaction = LastTransaction::Unknown, None);
    }

    #[test]
    fn another_system_halts() {
        check(|facts| facts.system_identifier = "2".to_owned(), Some(HaltCode::SystemChanged));
    }

    #[test]
    fn another_kafka_cluster_halts() {
        check(|facts| facts.cluster_id = "d".to_owned(), Some(HaltCode::KafkaChanged));
    }

    #[test]
    fn a_slot_ahead_of_the_checkpoint_halts() {
        check(|facts| facts.confirmed_flush_lsn = Lsn::new(101), Some(HaltCode::SlotAhead));
    }

    #[test]
    fn a_checkpoint_ahead_of_the_server_halts() {
        check(|facts| facts.wal_end = Lsn::new(99), Some(HaltCode::CheckpointAhead));
        check(
            |facts| facts.last_transaction = LastTransaction::NotCommitted,
            Some(HaltCode::CheckpointAhead),
        );
    }

    #[test]
    fn a_changed_publication_or_table_halts_under_its_name() {
        check(|f| f.fingerprint = "p2; t1".to_owned(), Some(HaltCode::PublicationChanged));
        check(|f| f.fingerprint = "p1; t2".to_owned(), Some(HaltCode::TableChanged));
        check(|f| f.fingerprint = "p1".to_owned(), Some(HaltCode::TableChanged));
    }

    #[test]
    fn a_timeline_that_branched_after_the_checkpoint_goes_on() {
        let history = |point| vec![TimelineSwitch { timeline: 1, switch_point: Lsn::new(point) }];
        check(|f| (f.timeline, f.history) = (2, history(100)), None);
        check(|f| (f.timeline, f.history) = (2, history(99)), Some(HaltCode::TimelineChanged));
        check(|f| (f.timeline, f.history) = (2, Vec::new()), Some(HaltCode::TimelineChanged));
    }
}
