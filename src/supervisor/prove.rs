//! What is done under the lock of the slot before anything is sent: the proof, and the claim.

use super::first_start::Made;
use super::prepare::{Reached, Watched, moment, slot};
use super::{Supervisor, claim, first_start, snapshot};
use crate::config::{Config, Delivery, Snapshot};
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::kafka::producer::TopicId;
use crate::lsn::Lsn;
use crate::pipeline::SnapshotWork;
use crate::postgres::catalog::{Catalog, XactStatus};
use crate::postgres::timestamp::PgTimestamp;
use crate::proof::{self, Facts, LastTransaction};
use crate::status::HaltCode;

/// What the servers said on the connection that holds the slot.
pub(super) struct Identity {
    pub(super) system_identifier: String,
    pub(super) timeline: u32,
    pub(super) history: Vec<proof::TimelineSwitch>,
}

/// What was proven and claimed under the lock of the slot.
pub(super) struct Claimed {
    pub(super) checkpoint: Checkpoint,
    pub(super) checkpoint_topic: TopicId,
    pub(super) snapshot: Option<SnapshotWork>,
}

impl<L: FnMut() -> Result<Config, String>> Supervisor<L> {
    /// Proves that the stream can go on from what is stored, and claims the next generation.
    pub(super) async fn prove_and_claim(
        &self,
        config: &Config,
        reached: &mut Reached,
        (watched, identity): (&Watched, &Identity),
        made: Option<Made>,
    ) -> Result<Claimed, Failure> {
        let stored = claim::take_over(config, &mut reached.producer, &reached.reader).await?;
        crash::at(Point::CheckpointRead);
        let slot = slot(config, &reached.catalog).await?;
        let last_transaction = match &stored.checkpoint {
            Some(checkpoint) if checkpoint.xid != 0 => {
                last_transaction(&reached.catalog, checkpoint.xid).await?
            }
            _ => LastTransaction::Unknown,
        };
        let facts = Facts {
            system_identifier: identity.system_identifier.clone(),
            timeline: identity.timeline,
            history: identity.history.clone(),
            cluster_id: reached.cluster_id.clone(),
            confirmed_flush_lsn: slot.confirmed_flush_lsn.unwrap_or(Lsn::INVALID),
            wal_end: slot.wal_end,
            fingerprint: watched.fingerprint.clone(),
            last_transaction,
        };
        if stored.checkpoint.is_none() && made.is_none() {
            first_start::not_late(config, &reached.catalog).await?;
        }
        let mut work = None;
        let base = match (&stored.checkpoint, made) {
            (Some(checkpoint), made) if checkpoint.phase == Phase::Snapshot => {
                let checkpoint = checkpoint.placed(facts.confirmed_flush_lsn);
                proof::prove(&checkpoint, &facts)?;
                let made = made.and_then(|made| made.snapshot);
                let (base, found) = self.snapshot(config, reached, checkpoint, made).await?;
                work = found;
                base
            }
            (Some(checkpoint), _) => {
                proof::prove(checkpoint, &facts)?;
                same_messages(checkpoint, config.messages.as_deref())?;
                say_promoted(checkpoint, &facts);
                say_added(config, watched, checkpoint);
                checkpoint.clone()
            }
            (None, Some(Made { snapshot: None, .. })) => claim::beginning(config, &facts, watched),
            (None, Some(Made { snapshot: Some(_), .. })) => {
                return Err(Failure::again(
                    "kafka_error",
                    "the checkpoint that was written a moment ago is not there",
                ));
            }
            (None, None) if config.delivery == Delivery::ExactlyOnce && !self.made_slot => {
                return Err(first_start::nothing_stored(config, &facts));
            }
            (None, None) => first_start::adopt(config, &reached.catalog, &facts, watched).await,
        };
        // Asked now that the slot is held: what is written from here on is in its stream.
        let now = reached
            .catalog
            .server()
            .await
            .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
        let before = moment(&reached.server);
        let given_up = stored.checkpoint.as_ref().is_some_and(|it| it.phase == Phase::Snapshot);
        let base = match (&work, given_up) {
            // All rows are sent: those of before with the snapshot, the others with the stream.
            (Some(_), _) => base.with_everything(&watched.table_oids, before),
            (None, true) => base.with_floors(&watched.table_oids, moment(&now)),
            (None, false) => base.with_missing_floors(&watched.table_oids, moment(&now)),
        };
        let claim = (&stored, &facts, self.nonce.as_str());
        let (checkpoint, checkpoint_topic) =
            claim::claim(config, (&mut reached.producer, &reached.reader), base, claim).await?;
        Ok(Claimed { checkpoint, checkpoint_topic, snapshot: work })
    }

    /// The rows before the stream, and the record under which they are sent.
    async fn snapshot(
        &self,
        config: &Config,
        reached: &Reached,
        checkpoint: Checkpoint,
        made: Option<SnapshotWork>,
    ) -> Result<(Checkpoint, Option<SnapshotWork>), Failure> {
        if config.snapshot == Snapshot::Never {
            tracing::warn!(
                "a snapshot was begun and not finished; WALPOST_SNAPSHOT=never gives it up"
            );
            first_start::say_what_is_not_sent(config, &reached.catalog).await;
            return Ok((Checkpoint { phase: Phase::Stream, ..checkpoint }, None));
        }
        let slot_at = checkpoint.resume_lsn;
        let mut work = match made {
            // Nobody has moved the slot since this process made it.
            Some(work) if work.slot_at == slot_at => work,
            Some(_) | None => snapshot::again(config, &reached.catalog, slot_at).await?,
        };
        // Rows that are repeated have the time that they had.
        if checkpoint.commit_time != 0 {
            work.time = PgTimestamp::from_unix_micros(checkpoint.commit_time);
        }
        let commit_time = work.time.to_unix_micros();
        Ok((Checkpoint { commit_time, ..checkpoint }, Some(work)))
    }
}

/// A failover that lost nothing is still worth a line: who reads the log at three in the morning
/// looks for it.
fn say_promoted(checkpoint: &Checkpoint, facts: &Facts) {
    let left = facts.history.iter().find(|switch| switch.timeline == checkpoint.timeline);
    if let (true, Some(switch)) = (checkpoint.timeline != facts.timeline, left) {
        tracing::info!(
            left = checkpoint.timeline,
            at = %switch.switch_point,
            timeline = facts.timeline,
            checkpoint = %checkpoint.resume_lsn,
            "a standby was promoted, and has everything that was sent"
        );
    }
}

/// Another prefix is a decision, and worth a line. But not while a transaction is half sent: its
/// rows and messages are counted together, and under another prefix the count would leave out some.
fn same_messages(checkpoint: &Checkpoint, now: Option<&str>) -> Result<(), Failure> {
    let before = checkpoint.messages.as_deref();
    if before == now {
        return Ok(());
    }
    let written =
        |prefix: Option<&str>| prefix.map_or_else(|| "unset".to_owned(), |it| format!("{it:?}"));
    let (before, now) = (written(before), written(now));
    if !checkpoint.complete && checkpoint.next_ordinal > 0 {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!(
                "WALPOST_MESSAGES was {before} and is {now}, and transaction {} is half sent: its rows are counted by the old one",
                checkpoint.commit_lsn
            ),
            format!(
                "start with WALPOST_MESSAGES {before} until walpost has caught up, and change it then; nothing was skipped"
            ),
        ));
    }
    tracing::warn!(
        before,
        now,
        after = %checkpoint.resume_lsn,
        "WALPOST_MESSAGES was changed: from here on messages with the new prefix are sent; those with the old one that were not sent yet are not sent any more"
    );
    Ok(())
}

/// Tables that were added to publication and configuration since the checkpoint are followed from
/// here on.
fn say_added(config: &Config, watched: &Watched, checkpoint: &Checkpoint) {
    let proof::Difference::Added(added) =
        proof::compare(&checkpoint.fingerprint, &watched.fingerprint)
    else {
        return;
    };
    for (table, oid) in config.tables.iter().zip(&watched.table_oids) {
        if added.contains(oid) {
            tracing::warn!(
                table = %table,
                after = %checkpoint.resume_lsn,
                "a table was added: its rows are sent from here on, not those that were committed before"
            );
        }
    }
}

/// What became of the transaction with this number. Numbers are sent without their epoch; the
/// last one that the server has given out tells it.
pub(crate) async fn last_transaction(
    catalog: &Catalog,
    xid: u32,
) -> Result<LastTransaction, Failure> {
    let doing = "ask for the last transaction";
    let next = catalog.next_xid().await.map_err(|error| Failure::postgres(doing, &error))?;
    let epoch = next & !u64::from(u32::MAX);
    let full = match epoch + u64::from(xid) {
        full if full < next => full,
        ahead => match ahead.checked_sub(1 << 32) {
            Some(before) => before,
            None => return Ok(LastTransaction::NotCommitted),
        },
    };
    let status =
        catalog.xact_status(full).await.map_err(|error| Failure::postgres(doing, &error))?;
    Ok(match status {
        XactStatus::Committed => LastTransaction::Committed,
        XactStatus::Aborted | XactStatus::Future => LastTransaction::NotCommitted,
        // A commit that waits for a synchronous standby is in the log, and was sent, but is not
        // visible yet.
        XactStatus::InProgress | XactStatus::TooOld => LastTransaction::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::checkpoint::tests::checkpoint;

    #[track_caller]
    fn check(before: Option<&str>, now: Option<&str>, half_sent: bool, expected: bool) {
        let stored = Checkpoint {
            messages: before.map(str::to_owned),
            complete: !half_sent,
            next_ordinal: 3,
            ..checkpoint()
        };
        assert_eq!(same_messages(&stored, now).is_ok(), expected, "{before:?} {now:?}");
    }

    #[test]
    fn the_prefix_of_messages_is_not_changed_inside_of_a_transaction() {
        check(Some("a"), Some("a"), true, true);
        check(Some("a"), Some("b"), false, true);
        check(Some("a"), Some("b"), true, false);
        check(None, Some("b"), true, false);
        check(Some("a"), None, true, false);
        check(None, None, true, true);
    }
}
