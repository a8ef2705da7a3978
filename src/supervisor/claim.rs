//! The checkpoint at a start: read, and claimed for the next generation.
//!
//! A claim is a record of the next generation, written and then read back: if a record of that
//! generation or a higher one is there that is not ours, another process claimed it, and this one
//! releases the slot. Under the slot's lock that happens only when a frozen process wakes up.

use std::sync::Arc;
use std::time::Duration;

use super::prepare::Watched;
use crate::config::Config;
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::batch_limits::BATCH_SIZE;
use crate::kafka::checkpoint::{Checkpoint, FORMAT, Phase, StreamId, Unreadable};
use crate::kafka::checkpoint_reader::CheckpointReader;
use crate::kafka::checkpoint_topic::{self, ReadError, Stored, UnreadableRecord};
use crate::kafka::client::{Properties, auxiliary, producer_properties, transactional};
use crate::kafka::producer::{Producer, Resolution, TOPIC_LIMIT, TopicId};
use crate::kafka::topics::{CHECKPOINT_CONFIG, DEAD_LETTER_CONFIG, Made, Topics, Wanted};
use crate::kafka::transaction;
use crate::mutant::{self, Mutant};
use crate::proof::Facts;
use crate::status::HaltCode;

/// How long reading the checkpoint may take.
const READ_LIMIT: Duration = Duration::from_secs(15);

/// The word for a checkpoint topic to which a transaction writes that has not ended.
const OPEN: &str = "checkpoint_open";

/// The word for a checkpoint topic that does not exist.
pub(super) const NO_TOPIC: &str = "checkpoint_topic_missing";

/// Makes walpost's own topics where that is allowed, and checks the checkpoint topic's cleanup.
pub(super) async fn ensure_topic(config: &Config, topics: &Topics) -> Result<(), Failure> {
    let topic = &config.checkpoint_topic;
    if config.create {
        let replication = config.topic_replication.unwrap_or(-1);
        let checkpoint =
            Wanted { name: topic, partitions: 1, replication, config: CHECKPOINT_CONFIG };
        let letters = Wanted {
            name: &config.dlq_topic,
            partitions: 1,
            replication,
            config: DEAD_LETTER_CONFIG,
        };
        for wanted in [checkpoint, letters] {
            match topics.ensure(wanted).await {
                Ok(Made::Created) => tracing::info!(topic = wanted.name, "topic created"),
                Ok(Made::Existed) => {}
                // It may be there all the same; what needs it says so if it is not.
                Err(error) => {
                    tracing::warn!(topic = wanted.name, %error, "the topic could not be created");
                }
            }
        }
    }
    match topics.config(topic, "cleanup.policy").await {
        Ok(Some(policy)) if policy != "compact" => Err(Failure::halt(
            HaltCode::NotReady,
            format!(
                "the checkpoint topic {topic} has cleanup.policy={policy}, which would delete the checkpoint"
            ),
            format!("set cleanup.policy=compact for topic {topic}"),
        )),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(topic, %error, "the checkpoint topic's configuration cannot be read");
            Ok(())
        }
    }
}

/// Reads the newest checkpoint.
pub(super) async fn read(config: &Config) -> Result<Stored, Failure> {
    readable(config, survey(config).await?)
}

/// Reads the newest checkpoint under the lock of the slot, when nothing can come behind it any
/// more: whoever wrote in a transaction and left it open is fenced before.
///
/// In exactly-once that is done first and always. In at-least-once only after a change of
/// `WALPOST_DELIVERY`, since it needs rights that this mode does not.
pub(super) async fn take_over(
    config: &Config,
    producer: &mut Producer,
    reader: &Arc<CheckpointReader>,
) -> Result<Stored, Failure> {
    if producer.is_transactional() {
        let doing = format!(
            "take over the transactional.id {}",
            transaction::id(&config.transactional_name())
        );
        if mutant::is(Mutant::ReadBeforeInit) {
            let stored = readable(config, read_to_the_end(config, reader, READ_LIMIT).await?);
            producer.init().await.map_err(|error| Failure::kafka(&doing, &error))?;
            return stored;
        }
        producer.init().await.map_err(|error| Failure::kafka(&doing, &error))?;
        crash::at(Point::IdTakenOver);
    } else {
        match read_to_the_end(config, reader, Duration::ZERO).await {
            Ok(stored) if !stored.checkpoint.as_ref().is_some_and(|it| it.transactional) => {
                return readable(config, stored);
            }
            Err(failure) if failure.code() != OPEN => return Err(failure),
            Ok(_) | Err(_) => fence(config).await?,
        }
    }
    readable(config, read_to_the_end(config, reader, READ_LIMIT).await?)
}

/// Ends what an exactly-once of before has left open, and keeps it from going on.
pub(super) async fn fence(config: &Config) -> Result<(), Failure> {
    tracing::info!("the last checkpoint stands in a transaction: ending what may be left open");
    let properties = transactional_properties(config, false, BATCH_SIZE);
    let fenced = tokio::runtime::Handle::current();
    let fenced = tokio::task::spawn_blocking(move || {
        let _inside = fenced.enter();
        transaction::fence(&properties)
    });
    let doing =
        format!("take over the transactional.id {}", transaction::id(&config.transactional_name()));
    fenced
        .await
        .map_err(|error| Failure::again("internal", error.to_string()))?
        .map_err(|error| Failure::kafka(&doing, &error))
}

/// The properties of the producer of exactly-once.
pub(super) fn transactional_properties(
    config: &Config,
    create_topics: bool,
    batch_size: usize,
) -> Properties {
    let (kafka, name) = (&config.kafka, &config.name);
    let properties =
        producer_properties(kafka, name, config.events.max_event, create_topics, batch_size);
    transactional(properties, &config.transactional_name(), config.transaction_interval)
}

fn readable(config: &Config, stored: Stored) -> Result<Stored, Failure> {
    if let Some(record) = &stored.unreadable {
        return Err(unreadable(config, record));
    }
    match stored.other_shards() {
        Some(shards) => Err(of_other_shards(config, shards)),
        None => Ok(stored),
    }
}

/// The halt for a checkpoint of another number of streams.
pub(crate) fn of_other_shards(config: &Config, stored: u32) -> Failure {
    Failure::halt(
        HaltCode::NotReady,
        format!(
            "what is stored for {} is the place of {}, and WALPOST_SHARDS is {}",
            config.name,
            if stored == 1 { "one stream".to_owned() } else { format!("{stored} streams") },
            config.shards
        ),
        format!(
            "nothing is sent, and nothing is missing. Set WALPOST_SHARDS={stored} again; or stop walpost, and `walpost reshard {} --yes` carries the place over",
            config.shards
        ),
    )
}

/// Which stream's records these are.
pub(crate) fn stream_id(config: &Config) -> StreamId {
    StreamId { name: config.name.clone(), shard: config.shard_index(), shards: config.shards }
}

/// Reads the newest checkpoint; a record that cannot be read is part of the answer.
pub(super) async fn survey(config: &Config) -> Result<Stored, Failure> {
    let client = auxiliary(&config.kafka, &config.name);
    let (topic, stream) = (config.checkpoint_topic.clone(), stream_id(config));
    let read = tokio::task::spawn_blocking(move || {
        checkpoint_topic::survey(client, &topic, &stream, READ_LIMIT)
    });
    answered(config, read.await)
}

/// Who reads the checkpoint before a claim, and reads it back after.
pub(super) fn reader(config: &Config) -> Result<Arc<CheckpointReader>, Failure> {
    let client = auxiliary(&config.kafka, &config.name);
    let reader = CheckpointReader::new(&client, &config.checkpoint_topic, stream_id(config));
    reader.map(Arc::new).map_err(|error| {
        Failure::again("kafka_error", format!("failed to make a kafka client: {error}"))
    })
}

async fn read_to_the_end(
    config: &Config,
    reader: &Arc<CheckpointReader>,
    patience: Duration,
) -> Result<Stored, Failure> {
    let reader = Arc::clone(reader);
    let read = tokio::task::spawn_blocking(move || reader.survey(patience, READ_LIMIT));
    answered(config, read.await)
}

fn answered(
    config: &Config,
    answer: Result<Result<Stored, ReadError>, tokio::task::JoinError>,
) -> Result<Stored, Failure> {
    match answer {
        Ok(Ok(stored)) => Ok(stored),
        Ok(Err(error)) => {
            use rdkafka::types::RDKafkaErrorCode as Code;
            let unknown = match &error {
                ReadError::Kafka(error) => matches!(
                    error.rdkafka_error_code(),
                    Some(
                        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition
                    )
                ),
                ReadError::Slow(_) | ReadError::Open | ReadError::Unreadable { .. } => false,
            };
            let topic = &config.checkpoint_topic;
            let code = match &error {
                ReadError::Open => OPEN,
                ReadError::Kafka(_) if unknown => NO_TOPIC,
                ReadError::Kafka(_) | ReadError::Slow(_) | ReadError::Unreadable { .. } => {
                    "kafka_error"
                }
            };
            Err(Failure::again(
                code,
                format!("failed to read the checkpoint from topic {topic}: {error}"),
            ))
        }
        Err(error) => Err(Failure::again("internal", error.to_string())),
    }
}

/// The halt for a record that cannot be read.
pub(super) fn unreadable(config: &Config, record: &UnreadableRecord) -> Failure {
    let UnreadableRecord { offset, cause, .. } = record;
    let message = format!("topic {}, offset {offset}: {cause}", config.checkpoint_topic);
    match cause {
        Unreadable::Newer(_) => Failure::halt(
            HaltCode::CheckpointNewer,
            message,
            "start the newer walpost again, or go back to a place of your choice with `walpost checkpoint set`",
        ),
        Unreadable::Malformed(_) => Failure::halt(
            HaltCode::CheckpointLost,
            message,
            "somebody else wrote to the checkpoint topic: only walpost may. `walpost checkpoint accept` writes a good record behind it with --yes, after printing the range",
        ),
    }
}

/// Claims the next generation, starting at the place of `base`.
pub(super) async fn claim(
    config: &Config,
    (producer, reader): (&mut Producer, &Arc<CheckpointReader>),
    base: Checkpoint,
    (stored, facts, nonce): (&Stored, &Facts, &str),
) -> Result<(Checkpoint, TopicId), Failure> {
    let topic = own_topic(config, producer).await?;
    let highest = stored.generations.last().copied().unwrap_or(0).max(base.generation);
    let record = Checkpoint {
        format: FORMAT,
        generation: highest + 1,
        nonce: nonce.to_owned(),
        timeline: facts.timeline,
        // The proof lets pass what has a table more.
        fingerprint: facts.fingerprint.clone(),
        messages: config.messages.clone(),
        transactional: producer.is_transactional(),
        ..base
    };
    let key = Checkpoint::key(record.shard, record.generation);
    let doing = "claim the checkpoint";
    producer
        .deliver(topic, key.as_bytes(), Some(&record.encode()))
        .await
        .map_err(|error| Failure::kafka(doing, &error))?;
    crash::at(Point::ClaimWritten);
    let again = readable(config, read_to_the_end(config, reader, READ_LIMIT).await?)?;
    let ours = again
        .checkpoint
        .as_ref()
        .is_some_and(|found| found.generation == record.generation && found.nonce == record.nonce);
    if !ours {
        return Err(Failure::halt(
            HaltCode::Fenced,
            format!(
                "another process has claimed the checkpoint of {} in the same moment",
                config.name
            ),
            "two databases may have one WALPOST_NAME; else walpost goes on by itself",
        ));
    }
    crash::at(Point::ClaimReadBack);
    for generation in stored.generations.iter().filter(|older| **older < record.generation) {
        let key = Checkpoint::key(record.shard, *generation);
        producer
            .deliver(topic, key.as_bytes(), None)
            .await
            .map_err(|error| Failure::kafka("remove an older checkpoint", &error))?;
        crash::at(Point::OlderRemoved);
    }
    if record.phase == Phase::Snapshot {
        tracing::debug!(
            generation = record.generation,
            slot_at = %record.resume_lsn,
            "a snapshot is not complete: its record is stored"
        );
        return Ok((record, topic));
    }
    tracing::info!(
        generation = record.generation,
        commit_lsn = %record.commit_lsn,
        next_ordinal = record.next_ordinal,
        resume_lsn = %record.resume_lsn,
        "going on from the checkpoint"
    );
    Ok((record, topic))
}

async fn own_topic(config: &Config, producer: &mut Producer) -> Result<TopicId, Failure> {
    let name = &config.checkpoint_topic;
    let doing = format!("look up topic {name}");
    let question =
        producer.question(name, TOPIC_LIMIT).map_err(|error| Failure::kafka(&doing, &error))?;
    let answer = tokio::task::spawn_blocking(question)
        .await
        .map_err(|error| Failure::again("internal", error.to_string()))?;
    match answer {
        Resolution::Known { topic, partitions: 1 } => Ok(producer.learn(name, topic, 1)),
        Resolution::Known { partitions, .. } => Err(Failure::halt(
            HaltCode::NotReady,
            format!("the checkpoint topic {name} has {partitions} partitions; it must have one"),
            format!(
                "delete topic {name} if it is not a checkpoint topic of walpost's, or set WALPOST_CHECKPOINT_TOPIC"
            ),
        )),
        Resolution::Unknown => Err(Failure::halt(
            HaltCode::NotReady,
            format!("the checkpoint topic {name} does not exist"),
            "create it with one partition and cleanup.policy=compact, or let walpost do it with WALPOST_CREATE=true",
        )),
        Resolution::Forbidden(error) | Resolution::Unanswered(error) => {
            Err(Failure::kafka(&doing, &error))
        }
    }
}

/// The first record of a stream that begins where the slot stands.
pub(super) fn beginning(config: &Config, facts: &Facts, watched: &Watched) -> Checkpoint {
    Checkpoint {
        format: FORMAT,
        name: config.name.clone(),
        shard: config.shard_index(),
        shards: config.shards,
        generation: 0,
        nonce: String::new(),
        phase: Phase::Stream,
        system_identifier: facts.system_identifier.clone(),
        timeline: facts.timeline,
        cluster_id: facts.cluster_id.clone(),
        slot: config.slot.clone(),
        publication: config.publication.clone(),
        fingerprint: watched.fingerprint.clone(),
        messages: config.messages.clone(),
        commit_lsn: crate::lsn::Lsn::INVALID,
        next_ordinal: 0,
        complete: true,
        resume_lsn: facts.confirmed_flush_lsn,
        xid: 0,
        commit_time: 0,
        prune_floor: facts.confirmed_flush_lsn,
        seen_lsn: crate::lsn::Lsn::INVALID,
        seen_time: 0,
        transactional: false,
        floors: Vec::new(),
        kept: crate::kafka::floor::Kept::default(),
        unknown: serde_json::Map::new(),
    }
}
