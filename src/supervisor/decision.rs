//! Decisions of an operator about the stored checkpoint: what is stored, what is there, what a
//! new record would be, and the writing of it.
//!
//! A halt that may have cost rows ends only here. What is written is a record of the next
//! generation, by the same claim that a start makes and under the same lock, the slot.

use std::time::Duration;

use super::claim;
use super::first_start::{self, Unfit, Unsuitable};
use super::prepare::{self, Watched};
use super::prove;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::batch_limits::BATCH_SIZE;
use crate::kafka::checkpoint::Unreadable;
use crate::kafka::checkpoint_topic::Stored;
use crate::kafka::client::{ANSWER_LIMIT, producer_properties};
use crate::kafka::floor::Moment;
use crate::kafka::producer::Producer;
use crate::lsn::Lsn;
use crate::postgres::catalog::{Catalog, Readable, Server, Slot};
use crate::postgres::replication::ReplicationConnection;
use crate::proof::{Facts, LastTransaction, Objection, objections};
use crate::status::HaltCode;

mod plan;
mod write;

pub(crate) use plan::{Action, Missing, Plan, To};
pub(crate) use write::carry_out;

/// How long the decoding of what the slot holds may take.
const DECODE_LIMIT: Duration = Duration::from_secs(600);

/// What is stored and what is there, with the connections to both servers.
pub(crate) struct Survey {
    /// What was found.
    pub(crate) found: Found,
    /// The database.
    pub(crate) catalog: Catalog,
    /// Kafka.
    producer: Producer,
}

/// What is stored and what is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The checkpoint topic.
    pub(crate) stored: Stored,
    /// The slot.
    pub(crate) slot: Option<Slot>,
    /// What the servers say, as a start would compare it.
    pub(crate) facts: Facts,
    watched: Result<Watched, Unfit>,
    /// End of the log and the server's clock, before publication and tables were looked at.
    before: (Lsn, i64),
    /// The same after that.
    after: (Lsn, i64),
    readable: Option<Readable>,
    /// The server's transactions, after publication and tables were looked at.
    moment: Moment,
}

/// Reads the stored checkpoint, also one that cannot be understood. A topic that does not exist
/// stores none.
pub(crate) async fn stored(config: &Config) -> Result<Stored, Failure> {
    match claim::survey(config).await {
        Err(Failure::Again { code: claim::NO_TOPIC, .. }) => Ok(Stored::default()),
        other => other,
    }
}

/// Asks both servers for all that decides.
///
/// `decode` also has the server decode all that the slot holds, which takes as long as there is
/// much of it, to learn whether it can be.
pub(crate) async fn survey(config: &Config, decode: bool) -> Result<Survey, Failure> {
    let survey = survey_any(config, decode).await?;
    match survey.found.stored.other_shards() {
        Some(shards) => Err(claim::of_other_shards(config, shards)),
        None => Ok(survey),
    }
}

/// As [`survey`], also where what is stored is of another number of streams.
pub(crate) async fn survey_any(config: &Config, decode: bool) -> Result<Survey, Failure> {
    let properties = producer_properties(
        &config.kafka,
        &config.name,
        config.events.max_event,
        false,
        BATCH_SIZE,
    );
    let producer = Producer::new(&properties).map_err(|error| {
        Failure::again("kafka_error", format!("failed to make the producer: {error}"))
    })?;
    let handle = producer.handle();
    let cluster = tokio::task::spawn_blocking(move || handle.cluster_id(ANSWER_LIMIT));
    let cluster_id = cluster.await.ok().flatten().ok_or_else(|| Failure::Again {
        code: "kafka_unreachable",
        message: format!(
            "no answer from kafka at {} within {ANSWER_LIMIT:?}",
            config.kafka.bootstrap_servers
        ),
        hint: Some("check KAFKA_BOOTSTRAP_SERVERS and the network".to_owned()),
    })?;
    let catalog = Catalog::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect to the database", &error))?;
    // Before publication and tables are looked at: what was committed by now is judged by them.
    let server = catalog
        .server()
        .await
        .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
    prepare::ready(&server)?;
    let stored = stored(config).await?;
    let slot = catalog
        .slot(&config.slot)
        .await
        .map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))?;
    let watched = watched(config, &catalog).await?;
    let after = catalog
        .server()
        .await
        .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
    let moment = prepare::moment(&after);
    let (before, after) = ((server.wal_end, server.now), (after.wal_end, after.now));
    let readable = match &slot {
        Some(slot) if decode && !slot.active && lost(slot).is_none() && watched.is_ok() => {
            let read =
                catalog.slot_is_readable(&config.slot, &config.publication, DECODE_LIMIT).await;
            match read {
                Ok(readable) => Some(readable),
                // Taken in the same moment.
                Err(error) if error.sqlstate() == Some("55006") => None,
                Err(error) => {
                    let doing = format!("decode what slot {} holds", config.slot);
                    return Err(Failure::postgres(&doing, &error));
                }
            }
        }
        Some(_) | None => None,
    };
    let facts =
        facts(config, (&catalog, &server), (slot.as_ref(), &watched), (&stored, cluster_id))
            .await?;
    let found = Found { stored, slot, facts, watched, before, after, readable, moment };
    Ok(Survey { found, catalog, producer })
}

async fn watched(config: &Config, catalog: &Catalog) -> Result<Result<Watched, Unfit>, Failure> {
    let name = &config.publication;
    let publication = catalog
        .publication(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at publication {name}"), &error))?;
    let Some(publication) = publication else {
        return Ok(Err(Unfit {
            code: HaltCode::PublicationChanged,
            message: format!("publication {name} does not exist"),
            hint: first_start::create_publication_sql(config),
            missing: None,
        }));
    };
    match first_start::examine(config, catalog, &publication).await {
        Ok(watched) => Ok(Ok(watched)),
        Err(Unsuitable::Unfit(unfit)) => Ok(Err(unfit)),
        Err(Unsuitable::Failed(failure)) => Err(failure),
    }
}

async fn facts(
    config: &Config,
    (catalog, server): (&Catalog, &Server),
    (slot, watched): (Option<&Slot>, &Result<Watched, Unfit>),
    (stored, cluster_id): (&Stored, String),
) -> Result<Facts, Failure> {
    let mut connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    let identity = connection
        .identify_system()
        .await
        .map_err(|error| Failure::postgres("identify the system", &error))?;
    let history = prepare::history(&mut connection, identity.timeline).await?;
    connection.close().await;
    let last_transaction = match &stored.checkpoint {
        Some(checkpoint) if checkpoint.xid != 0 => {
            prove::last_transaction(catalog, checkpoint.xid).await?
        }
        _ => LastTransaction::Unknown,
    };
    Ok(Facts {
        system_identifier: identity.system_id.to_string(),
        timeline: identity.timeline,
        history,
        cluster_id,
        confirmed_flush_lsn: slot.and_then(|slot| slot.confirmed_flush_lsn).unwrap_or(Lsn::INVALID),
        // The slot was read later, and is never ahead of the log's end in the same moment.
        wal_end: slot.map_or(server.wal_end, |slot| slot.wal_end),
        fingerprint: watched.as_ref().map(|it| it.fingerprint.clone()).unwrap_or_default(),
        last_transaction,
    })
}

/// Why a slot can no longer be read.
pub(crate) fn lost(slot: &Slot) -> Option<String> {
    let lost = slot.wal_status.as_deref() == Some("lost") || slot.invalidation_reason.is_some();
    let reason = || slot.invalidation_reason.as_deref().unwrap_or("its WAL was removed").to_owned();
    lost.then(reason)
}

impl Found {
    /// Everything that speaks against going on.
    pub(crate) fn objections(&self, config: &Config) -> Vec<Objection> {
        let mut found = Vec::new();
        if let Some(record) = &self.stored.unreadable {
            let code = match record.cause {
                Unreadable::Newer(_) => HaltCode::CheckpointNewer,
                Unreadable::Malformed(_) => HaltCode::CheckpointLost,
            };
            let message = claim::unreadable(config, record).message().to_owned();
            found.push(Objection { code, message });
        }
        let Some(checkpoint) = &self.stored.checkpoint else { return found };
        let name = &config.slot;
        match &self.slot {
            // The slot was to be made after this record; the next start makes it.
            None if checkpoint.is_announced() => return found,
            None => found.push(Objection {
                code: HaltCode::SlotMissing,
                message: format!("replication slot {name} does not exist"),
            }),
            Some(slot) => {
                if let Some(reason) = lost(slot) {
                    let message = format!("replication slot {name} is lost ({reason})");
                    found.push(Objection { code: HaltCode::SlotLost, message });
                }
            }
        }
        let placed = checkpoint.placed(self.facts.confirmed_flush_lsn);
        found.extend(objections(&placed, &self.facts));
        if self.readable == Some(Readable::NoPublication) {
            found.push(Objection {
                code: HaltCode::PublicationChanged,
                message: format!(
                    "slot {name} holds changes from a time at which publication {} did not exist, and this server refuses to decode them",
                    config.publication
                ),
            });
        }
        found
    }
}
