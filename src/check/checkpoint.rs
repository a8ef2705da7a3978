//! The stored checkpoint, and whether the stream can go on from it.

use std::time::Duration;

use super::brokers::Cluster;
use super::database::Facts;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::error::{Failure, chain};
use crate::kafka::checkpoint::{Checkpoint, Phase, Unreadable};
use crate::kafka::checkpoint_topic::{self, ReadError};
use crate::kafka::client::auxiliary;
use crate::kafka::inspect::Known;
use crate::lsn::Lsn;
use crate::proof::{self, LastTransaction};
use crate::status::HaltCode;
use crate::supervisor::{fingerprint, last_transaction, of_other_shards, stream_id};

const CHECK: &str = "checkpoint";

/// How long reading the checkpoint may take.
const READ_LIMIT: Duration = Duration::from_secs(15);

/// What is stored of the stream's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Kafka was not reached.
    NotAsked,
    /// No checkpoint of this connector.
    None,
    /// A checkpoint.
    Stored {
        /// The record.
        checkpoint: Box<Checkpoint>,
        /// End of the server's log, read after the record.
        wal_end: Lsn,
        /// What became of its last transaction.
        last_transaction: LastTransaction,
    },
    /// It cannot be told.
    Unreadable {
        /// Why.
        text: String,
        /// How the relay would halt.
        halt: Option<HaltCode>,
    },
}

/// Reads the checkpoint. The slot was read before, so that a relay that works at the same time
/// cannot have moved it past what is read here; the end of the log is read after.
pub(super) async fn ask(config: &Config, facts: &Facts, cluster: &Cluster) -> Position {
    if !matches!(cluster.checkpoint_topic, Known::There(_)) {
        return Position::None;
    }
    let client = auxiliary(&config.kafka, &config.name);
    let (topic, stream) = (config.checkpoint_topic.clone(), stream_id(config));
    let read = tokio::task::spawn_blocking(move || {
        checkpoint_topic::read(client, &topic, &stream, READ_LIMIT)
    });
    let checkpoint = match read.await {
        Ok(Ok(stored)) if stored.other_shards().is_some() => {
            let shards = stored.other_shards().unwrap_or(1);
            let failure = of_other_shards(config, shards);
            let text = failure.message().to_owned();
            return Position::Unreadable { text, halt: Some(HaltCode::NotReady) };
        }
        Ok(Ok(stored)) => match stored.checkpoint {
            Some(checkpoint) => Box::new(checkpoint),
            None => return Position::None,
        },
        Ok(Err(error)) => return unreadable(&error),
        Err(error) => return Position::Unreadable { text: error.to_string(), halt: None },
    };
    let failed = |text: String| Position::Unreadable { text, halt: None };
    let server = match facts.catalog.server().await {
        Ok(server) => server,
        Err(error) => return failed(chain(&error)),
    };
    let last_transaction = match checkpoint.xid {
        0 => LastTransaction::Unknown,
        xid => match last_transaction(&facts.catalog, xid).await {
            Ok(last_transaction) => last_transaction,
            Err(error) => return failed(error.message().to_owned()),
        },
    };
    Position::Stored { checkpoint, wal_end: server.wal_end, last_transaction }
}

fn unreadable(error: &ReadError) -> Position {
    let halt = match error {
        ReadError::Unreadable { cause: Unreadable::Newer(_), .. } => {
            Some(HaltCode::CheckpointNewer)
        }
        ReadError::Unreadable { cause: Unreadable::Malformed(_), .. } => {
            Some(HaltCode::CheckpointLost)
        }
        ReadError::Kafka(_) | ReadError::Slow(_) | ReadError::Open => None,
    };
    Position::Unreadable { text: error.to_string(), halt }
}

/// Findings of the checkpoint.
pub(super) fn findings(
    config: &Config,
    facts: &Facts,
    cluster: &Cluster,
    position: &Position,
) -> Vec<Finding> {
    let topic = &config.checkpoint_topic;
    match position {
        Position::NotAsked => Vec::new(),
        Position::None => match &facts.slot {
            None => vec![Finding::ok(CHECK, "no checkpoint is stored: this is a first start")],
            Some(_) => vec![
                Finding::ok(CHECK, "no checkpoint is stored: walpost takes the slot's position")
                    .because("rows from before the slot are not sent; if there was a checkpoint once, events since then are sent again"),
            ],
        },
        Position::Unreadable { text, halt } => vec![unread(topic, text, *halt)],
        Position::Stored { checkpoint, wal_end, last_transaction } => {
            let Some(facts) = proof_facts(facts, cluster, (*wal_end, *last_transaction)) else {
                // What is missing has a finding of its own.
                let announced = checkpoint.is_announced().then(|| {
                    Finding::ok(CHECK, "a snapshot was begun before its slot was made: the next start is a first start again")
                });
                return announced.into_iter().collect();
            };
            vec![proven(checkpoint, &facts)]
        }
    }
}

fn unread(topic: &str, text: &str, halt: Option<HaltCode>) -> Finding {
    let remedy = match halt {
        Some(HaltCode::CheckpointNewer) => Remedy::note(
            "start the newer walpost again, or move back with `walpost checkpoint set`",
        ),
        Some(HaltCode::NotReady) => Remedy::note(
            "set WALPOST_SHARDS to that number again, or stop walpost and carry the place over with `walpost reshard`",
        ),
        Some(_) => Remedy::note(
            "somebody else wrote to the checkpoint topic: only walpost may. `walpost checkpoint set` writes a good record behind it",
        ),
        None => Remedy::note("walpost needs Read and Describe on its checkpoint topic"),
    };
    let finding = Finding::problem(
        CHECK,
        format!("the checkpoint cannot be read from topic {topic}: {text}"),
        "without it walpost does not know where to go on",
        remedy,
    );
    match halt {
        Some(code) => finding.halts(code),
        None => finding,
    }
}

/// The facts of the proof; `None` where slot, publication or a connection is missing.
fn proof_facts(
    facts: &Facts,
    cluster: &Cluster,
    (wal_end, last_transaction): (Lsn, LastTransaction),
) -> Option<proof::Facts> {
    let (slot, publication) = (facts.slot.as_ref()?, facts.publication.as_ref()?);
    let walsender = facts.walsender.as_ref().ok()?;
    let oids: Option<Vec<u32>> =
        facts.tables.iter().map(|table| Some(table.table.as_ref()?.oid)).collect();
    Some(proof::Facts {
        system_identifier: walsender.identity.system_id.to_string(),
        timeline: walsender.identity.timeline,
        history: walsender.history.clone(),
        cluster_id: cluster.id.clone(),
        confirmed_flush_lsn: slot.confirmed_flush_lsn.unwrap_or(Lsn::INVALID),
        wal_end,
        fingerprint: fingerprint(publication, &oids?),
        last_transaction,
    })
}

fn proven(checkpoint: &Checkpoint, facts: &proof::Facts) -> Finding {
    let checkpoint = &checkpoint.placed(facts.confirmed_flush_lsn);
    match proof::prove(checkpoint, facts) {
        Ok(()) if checkpoint.phase == Phase::Snapshot => Finding::ok(
            CHECK,
            format!(
                "the rows that are in the table are not all sent: a start publishes them, and then the stream from {} on (generation {})",
                checkpoint.resume_lsn, checkpoint.generation
            ),
        ),
        Ok(()) => Finding::ok(
            CHECK,
            format!(
                "the stream goes on after {} without a gap (generation {})",
                checkpoint.resume_lsn, checkpoint.generation
            ),
        ),
        Err(Failure::Halt { code, message, hint }) => Finding::problem(
            CHECK,
            message,
            "rows may be missing in Kafka, so walpost waits for a decision",
            Remedy::note(hint),
        )
        .halts(code),
        Err(Failure::Again { message, .. }) => Finding::problem(
            CHECK,
            message,
            "the stream cannot be proven to go on without a gap",
            Remedy::note("run the check again"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::kafka::checkpoint::FORMAT;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            name: "shop.walpost".to_owned(),
            shard: 0,
            shards: 1,
            generation: 7,
            nonce: "n".to_owned(),
            phase: Phase::Stream,
            system_identifier: "1".to_owned(),
            timeline: 1,
            cluster_id: "c".to_owned(),
            slot: "walpost".to_owned(),
            publication: "walpost".to_owned(),
            fingerprint: "f".to_owned(),
            messages: None,
            commit_lsn: Lsn::new(100),
            next_ordinal: 3,
            complete: true,
            resume_lsn: Lsn::new(90),
            xid: 5,
            commit_time: 0,
            prune_floor: Lsn::new(1),
            seen_lsn: Lsn::INVALID,
            seen_time: 0,
            transactional: false,
            floors: Vec::new(),
            kept: crate::kafka::floor::Kept::default(),
            unknown: serde_json::Map::new(),
        }
    }

    fn facts() -> proof::Facts {
        proof::Facts {
            system_identifier: "1".to_owned(),
            timeline: 1,
            history: Vec::new(),
            cluster_id: "c".to_owned(),
            confirmed_flush_lsn: Lsn::new(80),
            wal_end: Lsn::new(200),
            fingerprint: "f".to_owned(),
            last_transaction: LastTransaction::Committed,
        }
    }

    #[test]
    fn a_failed_proof_is_a_problem_under_its_code() {
        #[track_caller]
        fn check(facts: &proof::Facts, expected: (Level, Option<HaltCode>)) {
            let finding = proven(&checkpoint(), facts);
            assert_eq!((finding.level, finding.halt), expected);
        }
        check(&facts(), (Level::Ok, None));
        let halt = |code| (Level::Problem, Some(code));
        let slot_ahead = proof::Facts { confirmed_flush_lsn: Lsn::new(91), ..facts() };
        check(&slot_ahead, halt(HaltCode::SlotAhead));
        let other_cluster = proof::Facts { cluster_id: "d".to_owned(), ..facts() };
        check(&other_cluster, halt(HaltCode::KafkaChanged));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_a_problem_under_its_code() {
        #[track_caller]
        fn check(error: &ReadError, expected: Option<HaltCode>) {
            let Position::Unreadable { text, halt } = unreadable(error) else {
                panic!("it is unreadable")
            };
            assert_eq!(halt, expected);
            assert_eq!(unread("t", &text, halt).halt, expected);
        }
        let of = |cause| ReadError::Unreadable { offset: 3, cause };
        check(&of(Unreadable::Newer(2)), Some(HaltCode::CheckpointNewer));
        check(&of(Unreadable::Malformed("x".to_owned())), Some(HaltCode::CheckpointLost));
        check(&ReadError::Slow(READ_LIMIT), None);
    }
}
