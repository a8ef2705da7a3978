//! The writing of a new record, under the lock of the slot.

use std::time::Duration;

use tokio::time::Instant;

use super::super::claim;
use super::super::prepare::{moment, under_heartbeat};
use super::{Action, Plan, Survey};
use crate::config::{Config, Delivery};
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::kafka::client::auxiliary;
use crate::kafka::topics::Topics;
use crate::ledger::Mark;
use crate::lsn::Lsn;
use crate::postgres::replication::{ReplicationConnection, ReplicationStream, StatusUpdate};
use crate::proof::Facts;

/// A halted walpost holds the slot for a moment at each attempt; for so long it is waited for.
const TAKE_LIMIT: Duration = Duration::from_secs(5);

/// Making a slot waits for every transaction that is running to end.
const MAKE_LIMIT: Duration = Duration::from_secs(60);

/// Does what the plan says, and reads the new record back.
///
/// Each step leaves a state in which a start halts and the decision can be made again: an old slot
/// that is dropped is `slot_missing`, a new slot without its record `slot_ahead`.
///
/// # Errors
/// Another process holds the slot, something changed since the survey, or a server refuses.
pub(crate) async fn carry_out(
    config: &Config,
    mut survey: Survey,
    plan: &Plan,
) -> Result<Checkpoint, Failure> {
    let mut record = plan.record.clone();
    if let Action::NewSlot { drop } = plan.action {
        let made = new_slot(config, drop).await?;
        record = record.at(Mark::start(made));
        record.prune_floor = record.prune_floor.max(made);
        // Asked now that the slot is there: what is written from here on is in its stream.
        let now = survey
            .catalog
            .server()
            .await
            .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
        let tables: Vec<_> = record.floors.iter().map(|floor| floor.table).collect();
        record = record.with_floors(&tables, moment(&now));
        survey.found.facts.confirmed_flush_lsn = made;
    }
    let topics = Topics::new(&auxiliary(&config.kafka, &config.name)).map_err(|error| {
        Failure::again("kafka_error", format!("failed to make a kafka client: {error}"))
    })?;
    claim::ensure_topic(config, &topics).await?;
    let mut stream = take(config).await?;
    let nonce = super::super::nonce();
    let facts = survey.found.facts.clone();
    let written = under_heartbeat(&mut stream, async {
        unchanged(config, &survey, &facts).await?;
        if config.delivery == Delivery::ExactlyOnce
            || survey.found.stored.checkpoint.as_ref().is_some_and(|stored| stored.transactional)
        {
            claim::fence(config).await?;
            // What it left undecided is decided now, and may be more than was looked at.
            unchanged(config, &survey, &facts).await?;
        }
        let reader = claim::reader(config)?;
        claim::claim(
            config,
            (&mut survey.producer, &reader),
            record,
            (&survey.found.stored, &facts, &nonce),
        )
        .await
    })
    .await;
    let nothing = StatusUpdate {
        write: Lsn::INVALID,
        flush: Lsn::INVALID,
        apply: Lsn::INVALID,
        reply_requested: false,
    };
    // The record is written or not whatever becomes of the connection, and its end frees the slot.
    if let Err(error) = stream.shutdown(nothing, Duration::from_secs(2)).await {
        tracing::debug!("the stream did not end well: {error}");
    }
    written.map(|(record, _)| record)
}

/// Takes the slot, which is the lock.
async fn take(config: &Config) -> Result<ReplicationStream, Failure> {
    let deadline = Instant::now() + TAKE_LIMIT;
    loop {
        let connection = ReplicationConnection::connect(&config.database)
            .await
            .map_err(|error| Failure::postgres("connect for replication", &error))?;
        let publications = [config.publication.as_str()];
        let started =
            connection.start_replication(&config.slot, Lsn::INVALID, &publications, false);
        match started.await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.sqlstate() == Some("55006") => {
                if Instant::now() >= deadline {
                    return Err(in_use(config));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(Failure::postgres(&format!("take slot {}", config.slot), &error));
            }
        }
    }
}

fn in_use(config: &Config) -> Failure {
    Failure::Again {
        code: "refused",
        message: format!(
            "slot {} is in use: a walpost is at work, and would be overwritten",
            config.slot
        ),
        hint: Some("stop it first; nothing was changed".to_owned()),
    }
}

/// Drops the slot that cannot be read, and makes a new one; answers where it stands.
async fn new_slot(config: &Config, drop: bool) -> Result<Lsn, Failure> {
    let mut connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    if drop {
        let deadline = Instant::now() + TAKE_LIMIT;
        loop {
            match connection.drop_slot(&config.slot).await {
                Ok(()) => break,
                // Gone meanwhile.
                Err(error) if error.sqlstate() == Some("42704") => break,
                Err(error) if error.sqlstate() == Some("55006") => {
                    if Instant::now() >= deadline {
                        return Err(in_use(config));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    return Err(Failure::postgres(&format!("drop slot {}", config.slot), &error));
                }
            }
        }
    }
    let doing = format!("create slot {}", config.slot);
    match tokio::time::timeout(MAKE_LIMIT, connection.create_slot(&config.slot, true)).await {
        Ok(Ok(made)) => {
            connection.close().await;
            Ok(made.consistent_point)
        }
        Ok(Err(error)) => Err(Failure::postgres(&doing, &error)),
        Err(_) => Err(Failure::Again {
            code: "slot_creation_waits",
            message: format!(
                "failed to {doing} within {MAKE_LIMIT:?}: it waits for running transactions to end"
            ),
            hint: Some("`walpost check` names those that it may see, with the statement that ends each; or SELECT pid, xact_start FROM pg_stat_activity ORDER BY xact_start, and SELECT gid, prepared, database FROM pg_prepared_xacts. Then run this again".to_owned()),
        }),
    }
}

/// Under the lock, stored record and slot are what the plan was made of.
async fn unchanged(config: &Config, survey: &Survey, facts: &Facts) -> Result<(), Failure> {
    let now = claim::survey(config).await?;
    let slot = survey
        .catalog
        .slot(&config.slot)
        .await
        .map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))?;
    let place = slot.and_then(|slot| slot.confirmed_flush_lsn);
    if now.checkpoint == survey.found.stored.checkpoint && place == Some(facts.confirmed_flush_lsn)
    {
        return Ok(());
    }
    Err(Failure::Again {
        code: "refused",
        message: "the checkpoint or the slot has changed since it was looked at".to_owned(),
        hint: Some("run this again; no record was written".to_owned()),
    })
}
