//! Another number of streams: from one to several, or from several to one, while nothing is at work.
//!
//! ```text
//!   new publications ─► new slots ─► C, a place behind all of them
//!     ─► each old stream works up to C: all whose commit begins before it, nothing else
//!     ─► each old record says C ─► each new record says C ─► old slots and publications dropped
//! ```
//!
//! *Why nothing is missing.* C is where a record of the log begins, so a commit is before it or
//! not. A new slot stands before C, so it has all that is not. What committed before C the old
//! streams have sent, each the rows of its shard, which together are all.
//!
//! *Why nothing comes twice.* No old stream sends what commits at C or later: it stops at the first
//! transaction that does. The new streams read from before C, and leave out what their records
//! cover.
//!
//! *Why order stays.* Everything before C is confirmed before anything behind it is sent, by whichever
//! stream.
//!
//! *When it is interrupted.* Before the first new record, the old set is as it was and may go on; the
//! new slots are found there the next time. From the first new record on, the old set is refused,
//! since a record of another number of streams is newer, and so is a new stream without a record.
//! All old records say C then, so a second run knows it and writes what is missing.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::decision::{self, Survey, To};
use super::first_start::{self, Unsuitable};
use super::{Ended, Supervisor, claim};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::lsn::Lsn;
use crate::metrics::{ConfigInfo, Metrics};
use crate::postgres::catalog::Catalog;
use crate::postgres::replication::ReplicationConnection;
use crate::shard::Shard;
use crate::status::{State, Status};

/// How often it is looked at how far an old stream is.
const LOOK: Duration = Duration::from_millis(500);

/// How long an old stream may be without success before that is an error.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The streams that there are.
    pub(crate) old: Vec<Config>,
    /// Those that are to be.
    pub(crate) new: Vec<Config>,
    /// An earlier run has begun to write the new records, all of which stand here.
    pub(crate) interrupted_at: Option<Lsn>,
    /// The highest generation of the old set.
    generation: u64,
}

fn refused(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::Again { code: "refused", message: message.into(), hint: Some(hint.into()) }
}

/// The configuration for another number of streams.
fn with_shards(config: &Config, shards: u32) -> Config {
    Config { shards, shard: None::<Shard>, ..config.clone() }
}

/// Looks whether the streams may be divided anew, and changes nothing.
///
/// # Errors
/// They may not, with what to do first; or a server cannot be asked.
pub(crate) async fn plan(config: &Config, to: u32) -> Result<Plan, Failure> {
    if to > 1 && config.messages.is_some() {
        return Err(refused(
            "WALPOST_MESSAGES is set, and messages have no row that a filter could divide",
            "give them a walpost of their own, with another WALPOST_NAME and WALPOST_SLOT; nothing was changed",
        ));
    }
    let from = present(config, to).await?;
    if from == to {
        return Err(refused(
            format!("what is stored is the place of {to} already"),
            format!("set WALPOST_SHARDS={to} and start walpost; nothing was changed"),
        ));
    }
    if from > 1 && to > 1 {
        return Err(refused(
            format!(
                "from {from} to {to} goes by way of one stream, since both would have a slot of the same name"
            ),
            format!(
                "`walpost reshard 1 --yes`, then with WALPOST_SHARDS=1 `walpost reshard {to} --yes`"
            ),
        ));
    }
    let old = with_shards(config, from).streams();
    let new = with_shards(config, to).streams();
    let (mut generation, mut records) = (0, Vec::new());
    for stream in &old {
        let survey = decision::survey_any(stream, false).await?;
        let record = fit(stream, &survey, to)?;
        generation = generation.max(record.generation);
        records.push((record, survey.found.stored.other_shards()));
    }
    let interrupted = records.iter().any(|(_, other)| *other == Some(to));
    let at = records.first().map_or(Lsn::INVALID, |(record, _)| record.resume_lsn);
    let agree = records.iter().all(|(record, _)| record.mark() == To::Resume(at).mark());
    if interrupted && !agree {
        return Err(refused(
            "records of both numbers of streams are stored, and the old ones do not stand at one place",
            "somebody else wrote to the checkpoint topic: only walpost may. `walpost checkpoint show` has the records",
        ));
    }
    Ok(Plan { old, new, interrupted_at: interrupted.then_some(at), generation })
}

/// How many streams there are: as is set, or as is stored where what is set is what is wanted.
async fn present(config: &Config, to: u32) -> Result<u32, Failure> {
    let stream = config.stream(0).unwrap_or_else(|| config.clone());
    let stored = decision::stored(&stream).await?;
    Ok(match stored.other_shards() {
        Some(other) if config.shards == to => other,
        Some(_) | None => config.shards,
    })
}

/// An old stream can go on, and nobody is at work on it.
fn fit(stream: &Config, survey: &Survey, to: u32) -> Result<Checkpoint, Failure> {
    let found = &survey.found;
    let slot = &stream.slot;
    // An earlier run may have dropped some of the old slots already, and none is read any more.
    let interrupted = found.stored.other_shards() == Some(to);
    let objections = if interrupted { Vec::new() } else { found.objections(stream) };
    if let Some(objection) = objections.into_iter().next() {
        return Err(refused(
            format!("slot {slot}: {}", objection.message),
            "first `walpost checkpoint accept`, which says what may be missing; nothing was changed",
        ));
    }
    let Some(record) = found.stored.checkpoint.clone() else {
        return Err(refused(
            format!("no place is stored for slot {slot}"),
            "there is nothing to carry over: set WALPOST_SHARDS before the first start. Nothing was changed",
        ));
    };
    if record.phase == Phase::Snapshot {
        return Err(refused(
            "the rows of the first start are not all sent",
            "let walpost finish that first; nothing was changed",
        ));
    }
    if found.slot.as_ref().is_some_and(|slot| slot.active) {
        return Err(refused(
            format!("slot {slot} is in use: a walpost is at work"),
            "stop every instance first; nothing was changed",
        ));
    }
    match found.stored.other_shards() {
        Some(other) if other != to => Err(claim::of_other_shards(stream, other)),
        Some(_) | None => Ok(record),
    }
}

/// Does it; `say` is told each step.
///
/// # Errors
/// A server refuses or is gone. Running it again goes on, or begins again where nothing is lost.
pub(crate) async fn carry_out(plan: &Plan, mut say: impl FnMut(String)) -> Result<Lsn, Failure> {
    let at = match plan.interrupted_at {
        Some(at) => at,
        None => {
            let at = make(plan, &mut say).await?;
            for stream in &plan.old {
                work_up_to(stream, at, &mut say).await?;
            }
            for stream in &plan.old {
                write(stream, at, 0).await?;
            }
            at
        }
    };
    // Those that were just written are newer than those of the plan.
    let mut generation = plan.generation;
    for stream in &plan.old {
        let stored = decision::stored(stream).await?.checkpoint;
        generation = generation.max(stored.map_or(0, |record| record.generation));
    }
    for stream in &plan.new {
        let stored = decision::stored(stream).await?.checkpoint;
        // Written by a run before, and maybe at work since.
        if stored.is_some_and(|record| record.generation > generation) {
            continue;
        }
        write(stream, at, generation).await?;
        say(format!("slot {} begins behind {at}", stream.slot));
    }
    for stream in &plan.old {
        remove(stream).await?;
        say(format!("slot {} and publication {} are dropped", stream.slot, stream.publication));
    }
    Ok(at)
}

/// Makes publications and slots of the new set, and gives back a place behind all of them, with
/// something behind it.
async fn make(plan: &Plan, say: &mut impl FnMut(String)) -> Result<Lsn, Failure> {
    let first = plan.new.first().ok_or_else(|| Failure::again("internal", "no stream"))?;
    let catalog = connect(first).await?;
    for stream in &plan.new {
        first_start::published(stream, &catalog).await.map_err(|error| match error {
            Unsuitable::Failed(failure) => failure,
            Unsuitable::Unfit(unfit) => unfit.at_first(),
        })?;
    }
    for stream in &plan.new {
        let doing = format!("look at slot {}", stream.slot);
        let found = catalog.slot(&stream.slot).await;
        match found.map_err(|error| Failure::postgres(&doing, &error))? {
            Some(slot) if slot.active => {
                return Err(refused(
                    format!("slot {} is in use", stream.slot),
                    "stop who reads it",
                ));
            }
            Some(_) => {
                if !is_older(stream, &catalog).await? {
                    return Err(refused(
                        format!(
                            "slot {} is there, and publication {} is not known to be older",
                            stream.slot, stream.publication
                        ),
                        format!(
                            "SELECT pg_drop_replication_slot('{}'), then run this again",
                            stream.slot
                        ),
                    ));
                }
            }
            None => {
                let (connection, _) = first_start::make_slot(stream).await?;
                connection.close().await;
                say(format!("slot {} is made", stream.slot));
            }
        }
    }
    // A record of the log behind the place, so that an idle stream passes it.
    let (rows, _) = catalog
        .statements(
            "SELECT pg_current_wal_insert_lsn()::text; \
             SELECT pg_logical_emit_message(true, 'walpost.reshard', '')",
        )
        .await
        .map_err(|error| Failure::postgres("ask for the end of the log", &error))?;
    let at = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    at.ok_or_else(|| {
        Failure::again("postgres_protocol", "the server does not say where its log ends")
    })
}

async fn is_older(stream: &Config, catalog: &Catalog) -> Result<bool, Failure> {
    let older = catalog.is_older(&stream.publication, &stream.slot).await;
    older.map_err(|error| Failure::postgres("compare publication and slot", &error))
}

async fn connect(config: &Config) -> Result<Catalog, Failure> {
    let catalog = Catalog::connect(&config.database).await;
    catalog.map_err(|error| Failure::postgres("connect to the database", &error))
}

/// Lets an old stream send all that committed before this place.
async fn work_up_to(stream: &Config, at: Lsn, say: &mut impl FnMut(String)) -> Result<(), Failure> {
    let status = Status::new(&stream.name, &stream.slot);
    let metrics = Metrics::new(&status, &ConfigInfo::default());
    let again = stream.clone();
    let load = move || Ok(again.clone());
    let mut supervisor = Supervisor::new(stream.clone(), load, (status.clone(), metrics));
    supervisor.stop_before = Some(at);
    // Nobody drains it: it stops by itself.
    let (_drain, drained) = watch::channel(false);
    let work = Box::pin(supervisor.run(drained));
    tokio::select! {
        ended = work => match ended {
            Ended::Drained => {
                let events = status.snapshot().counts.events;
                say(format!("slot {} is read up to {at}: {events} events sent", stream.slot));
                Ok(())
            }
            Ended::Unsettled(events) => Err(Failure::again(
                "kafka_unreachable",
                format!("kafka has not confirmed {events} events of slot {}", stream.slot),
            )),
            Ended::SnapshotInterrupted => {
                Err(Failure::again("internal", "a snapshot was begun, and should not have been"))
            }
        },
        failure = stuck(&status, &stream.slot) => Err(failure),
    }
}

/// Says why a stream does not get on, once it is halted or has not worked for a while.
async fn stuck(status: &Status, slot: &str) -> Failure {
    let mut worked = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let snapshot = status.snapshot();
        if let Some(halt) = snapshot.halt {
            return Failure::halt(halt.code, format!("slot {slot}: {}", halt.message), halt.hint);
        }
        let works =
            matches!(snapshot.state, State::Streaming | State::Backpressured | State::Draining);
        if works {
            worked = Instant::now();
        }
        if worked.elapsed() >= PATIENCE {
            return Failure::again(
                "stalled",
                format!("slot {slot} cannot be read: {}", snapshot.verdict),
            );
        }
    }
}

/// Writes that everything that was complete at this place is sent.
async fn write(stream: &Config, at: Lsn, generation: u64) -> Result<(), Failure> {
    let survey = decision::survey_any(stream, false).await?;
    let mut plan = survey.found.set(stream, To::Resume(at))?;
    plan.record.generation = plan.record.generation.max(generation);
    decision::carry_out(stream, survey, &plan).await.map(drop)
}

/// Drops slot and publication. The publication may be somebody else's, and then stays.
async fn remove(stream: &Config) -> Result<(), Failure> {
    let mut connection = ReplicationConnection::connect(&stream.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    match connection.drop_slot(&stream.slot).await {
        Ok(()) => {}
        // Gone already.
        Err(error) if error.sqlstate() == Some("42704") => {}
        Err(error) => {
            return Err(Failure::postgres(&format!("drop slot {}", stream.slot), &error));
        }
    }
    connection.close().await;
    let catalog = connect(stream).await?;
    match catalog.drop_publication(&stream.publication).await {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.sqlstate(), Some("42704" | "42501")) => Ok(()),
        Err(error) => {
            Err(Failure::postgres(&format!("drop publication {}", stream.publication), &error))
        }
    }
}
