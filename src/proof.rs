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
    objections(checkpoint, facts).into_iter().next().map_or(Ok(()), |objection| {
        let altered =
            matches!(objection.code, HaltCode::PublicationChanged | HaltCode::TableChanged);
        let from = if altered {
            unseen_from(checkpoint)
        } else {
            (checkpoint.resume_lsn, checkpoint.commit_time)
        };
        let hint = format!(
            "nothing is sent. Rows committed after {} may be missing in Kafka. Find out what changed; then `walpost checkpoint accept` prints the range and what it will do, and goes on with --yes",
            place(from)
        );
        Err(Failure::halt(objection.code, objection.message, hint))
    })
}

/// Something that is not as the checkpoint has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The word for it.
    pub code: HaltCode,
    /// What is different.
    pub message: String,
}

/// Everything that speaks against going on, the gravest first. On another system or cluster
/// positions mean nothing, so they are not compared there.
#[must_use]
pub fn objections(checkpoint: &Checkpoint, facts: &Facts) -> Vec<Objection> {
    let mut objections = Vec::new();
    let mut object = |code, message| objections.push(Objection { code, message });
    if checkpoint.system_identifier != facts.system_identifier {
        object(
            HaltCode::SystemChanged,
            format!(
                "the checkpoint belongs to the database system {}, but this one is {}",
                checkpoint.system_identifier, facts.system_identifier
            ),
        );
    } else {
        positions(checkpoint, facts, &mut object);
    }
    if checkpoint.cluster_id != facts.cluster_id {
        object(
            HaltCode::KafkaChanged,
            format!(
                "the checkpoint was written in the kafka cluster {}, but this one is {}",
                checkpoint.cluster_id, facts.cluster_id
            ),
        );
    }
    match compare(&checkpoint.fingerprint, &facts.fingerprint) {
        Difference::None | Difference::Added(_) => {}
        Difference::Changed(code) => object(
            code,
            format!(
                "the publication {} or its tables changed while nobody watched: {} became {}",
                checkpoint.publication, checkpoint.fingerprint, facts.fingerprint
            ),
        ),
    }
    objections
}

/// Objections to the places, on the same system.
fn positions(checkpoint: &Checkpoint, facts: &Facts, object: &mut impl FnMut(HaltCode, String)) {
    if let Some(message) = left_the_timeline(checkpoint, facts) {
        object(HaltCode::TimelineChanged, message);
        return;
    }
    if facts.confirmed_flush_lsn > checkpoint.resume_lsn {
        object(
            HaltCode::SlotAhead,
            format!(
                "the slot {} stands at {}, after the checkpoint's {}: somebody else moved or read it, and the rows in between will not be sent",
                checkpoint.slot, facts.confirmed_flush_lsn, checkpoint.resume_lsn
            ),
        );
    }
    if checkpoint.resume_lsn > facts.wal_end {
        object(
            HaltCode::CheckpointAhead,
            format!(
                "the checkpoint stands at {}, after the end of the server's log at {}: the server has lost what was sent, and would leave out new rows up to there",
                checkpoint.resume_lsn, facts.wal_end
            ),
        );
    } else if facts.last_transaction == LastTransaction::NotCommitted {
        object(
            HaltCode::CheckpointAhead,
            format!(
                "transaction {} was sent, but this server does not know it as committed: it was restored from an older state",
                checkpoint.xid
            ),
        );
    }
}

/// From where on rows may be missing when the publication or a table differs: place, and
/// microseconds since 1970, 0 where the time is not known.
#[must_use]
pub fn unseen_from(checkpoint: &Checkpoint) -> (Lsn, i64) {
    if checkpoint.seen_lsn == Lsn::INVALID {
        (checkpoint.resume_lsn, checkpoint.commit_time)
    } else {
        (checkpoint.seen_lsn, checkpoint.seen_time)
    }
}

/// A place with its time, for people: `0/15D68C8 (2026-11-21T08:00:00Z)`.
#[must_use]
pub fn place((lsn, unix_micros): (Lsn, i64)) -> String {
    match jiff::Timestamp::from_microsecond(unix_micros) {
        Ok(time) if unix_micros != 0 => format!("{lsn} ({time})"),
        Ok(_) | Err(_) => lsn.to_string(),
    }
}

/// How two fingerprints differ, which have the form `publication; table OID …; table OID …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Not at all; the order of the tables does not count.
    None,
    /// Tables of these object ids are there too. All else is as it was, so nothing of the others
    /// is missing.
    Added(Vec<u32>),
    /// The publication, or a table that was there.
    Changed(HaltCode),
}

/// Compares two fingerprints.
#[must_use]
pub fn compare(before: &str, after: &str) -> Difference {
    let mut tables_before = before.split("; ");
    let mut tables_after = after.split("; ");
    if tables_before.next() != tables_after.next() {
        return Difference::Changed(HaltCode::PublicationChanged);
    }
    let tables_before: Vec<_> = tables_before.collect();
    let tables_after: Vec<_> = tables_after.collect();
    if !tables_before.iter().all(|table| tables_after.contains(table)) {
        return Difference::Changed(HaltCode::TableChanged);
    }
    let added = tables_after.iter().filter(|table| !tables_before.contains(table));
    match added.map(|table| table_oid(table)).collect::<Option<Vec<_>>>() {
        Some(added) if added.is_empty() => Difference::None,
        // A table that is there already, with another membership, has changed.
        Some(added) if added.iter().all(|oid| !table_oids(before).contains(oid)) => {
            Difference::Added(added)
        }
        Some(_) | None => Difference::Changed(HaltCode::TableChanged),
    }
}

/// The object ids of the tables in a fingerprint.
#[must_use]
pub fn table_oids(fingerprint: &str) -> Vec<u32> {
    fingerprint.split("; ").skip(1).filter_map(table_oid).collect()
}

fn table_oid(part: &str) -> Option<u32> {
    part.strip_prefix("table ")?.split(' ').next()?.parse().ok()
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
    use crate::kafka::checkpoint::tests::checkpoint as any_checkpoint;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            system_identifier: "1".to_owned(),
            fingerprint: "p1; table 1 t1".to_owned(),
            commit_lsn: Lsn::new(90),
            complete: true,
            resume_lsn: Lsn::new(100),
            seen_lsn: Lsn::new(80),
            ..any_checkpoint()
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
            fingerprint: "p1; table 1 t1".to_owned(),
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
                assert!(
                    !message.is_empty()
                        && hint.contains(
                            if matches!(code, HaltCode::PublicationChanged | HaltCode::TableChanged)
                            {
                                "0/50"
                            } else {
                                "0/64"
                            }
                        ),
                    "{message} {hint}"
                );
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
        let (publication, table) = (HaltCode::PublicationChanged, HaltCode::TableChanged);
        check(|f| f.fingerprint = "p2; table 1 t1".to_owned(), Some(publication));
        check(|f| f.fingerprint = "p1; table 1 t2".to_owned(), Some(table));
        check(|f| f.fingerprint = "p1; table 2 t1".to_owned(), Some(table));
        check(|f| f.fingerprint = "p1".to_owned(), Some(table));
    }

    #[test]
    fn a_table_that_is_only_added_goes_on() {
        check(|f| f.fingerprint = "p1; table 2 t2; table 1 t1".to_owned(), None);
        #[track_caller]
        fn compared(before: &str, after: &str, expected: &Difference) {
            assert_eq!(&compare(before, after), expected, "{before} became {after}");
        }
        let (a, b, ab) = ("p; table 1 a", "p; table 2 b", "p; table 1 a; table 2 b");
        compared(a, ab, &Difference::Added(vec![2]));
        compared(ab, "p; table 2 b; table 1 a", &Difference::None);
        compared(a, "p; table 1 a; table 1 x", &Difference::Changed(HaltCode::TableChanged));
        compared(ab, b, &Difference::Changed(HaltCode::TableChanged));
        compared(a, "q; table 1 a; table 2 b", &Difference::Changed(HaltCode::PublicationChanged));
    }

    #[test]
    fn another_system_hides_what_its_positions_say() {
        let facts = Facts {
            system_identifier: "2".to_owned(),
            cluster_id: "d".to_owned(),
            wal_end: Lsn::new(1),
            ..facts()
        };
        let codes: Vec<_> =
            objections(&checkpoint(), &facts).iter().map(|objection| objection.code).collect();
        assert_eq!(codes, [HaltCode::SystemChanged, HaltCode::KafkaChanged]);
    }

    #[test]
    fn what_was_not_watched_begins_where_it_was_last_seen() {
        let seen = checkpoint();
        assert_eq!(unseen_from(&seen).0, Lsn::new(80));
        let unknown = Checkpoint { seen_lsn: Lsn::INVALID, ..seen };
        assert_eq!(unseen_from(&unknown).0, Lsn::new(100));
        assert_eq!(place((Lsn::new(100), 0)), "0/64");
        assert_eq!(place((Lsn::new(100), 1_000_000)), "0/64 (1970-01-01T00:00:01Z)");
    }

    #[test]
    fn a_timeline_that_branched_after_the_checkpoint_goes_on() {
        let history = |point| vec![TimelineSwitch { timeline: 1, switch_point: Lsn::new(point) }];
        check(|f| (f.timeline, f.history) = (2, history(100)), None);
        check(|f| (f.timeline, f.history) = (2, history(99)), Some(HaltCode::TimelineChanged));
        check(|f| (f.timeline, f.history) = (2, Vec::new()), Some(HaltCode::TimelineChanged));
    }
}
