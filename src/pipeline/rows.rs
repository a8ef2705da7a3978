//! The way of one row, from a logical message to a record in the producer's queue.
//!
//! Nothing here waits and nothing allocates in the steady state. A message that cannot be taken
//! yet, because its topic must be asked for or something is halted, is left in the buffer and
//! offered again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::keys::Keys;
use super::messages::Messages;
use super::refusal::{Alone, Place, Refusals, Sent, SnapshotRowDigest, Way};
use super::tell::Teller;
use crate::cloudevent::{BadRow, Encoder, Event, Reason, Unencoded};
use crate::config::OnBadRow;
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::batch_limits::alone;
use crate::kafka::librdkafka::ClientError;
use crate::kafka::producer::{Meaning, Producer, TOPIC_LIMIT, TopicId, meaning};
use crate::ledger::{Ledger, Violation};
use crate::lsn::{Lsn, Position};
use crate::outbox::column::TypeNames;
use crate::outbox::mapping::{Mapping, MappingError};
use crate::outbox::role::{Role, TableName};
use crate::outbox::row::{OutboxRow, RowScratch};
use crate::pgoutput::{LogicalMessage, Relation, Tuple};
use crate::postgres::snapshot::SnapshotRow;
use crate::postgres::timestamp::PgTimestamp;
use crate::registry::schemas::Schemas;
use crate::status::HaltCode;

/// Weight of an event beside its bytes: librdkafka's structures, and the ledger's entry. With its headers
/// a small event takes about 1,200 bytes (measured: 12.5 MB for 10,600 events of 100 bytes with 7 headers),
/// and is counted with 1,672: what is counted too high sends a little less ahead, what is counted too low
/// breaks the promise of 20 MB and 1.5 times `WALPOST_MAX_IN_FLIGHT`, most of all over TLS, whose code
/// takes 4 MB besides.
const EVENT_OVERHEAD: u64 = 1024;

/// Weight of a header beside its bytes: librdkafka allocates each by itself, 40 bytes and what the
/// allocator adds (`rd_kafka_header_t`, 2.12.1), and keeps a list of them.
const HEADER_OVERHEAD: u64 = 64;

/// Relations that a stream may announce. A publication of an outbox has one or a few; a
/// publication for all tables could send any number.
const RELATIONS_MAX: usize = 10_000;

/// Unknown topics that are remembered: names come from rows, so their number must have an end.
const UNKNOWN_MAX: usize = 10_000;

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was dealt with.
    Done,
    /// It waits for this topic to be asked for.
    NeedsTopic(String),
    /// It waits for the schema of this subject to be asked for.
    NeedsSchema(String),
    /// librdkafka has no room; a delivery makes some.
    QueueFull,
    /// The producer broke before this was enqueued; a report that is still to come tells why.
    Broken(ClientError),
    /// It cannot be dealt with, but the stream is kept: the message is offered again later.
    Held(Failure),
    /// It ends the generation as soon as what comes before it is stored.
    Ending(Failure),
    /// Its record is sent alone, so waits for those before it.
    Later(Until),
    /// It was enqueued and must stay alone until Kafka has answered.
    Alone(Alone),
}

/// What a record waits for that is to be sent alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Nothing is in flight.
    Confirmed,
    /// Nothing is in flight and all rows before are stored.
    Stored,
}

impl Until {
    pub(super) fn is_met(self, ledger: &Ledger) -> bool {
        match self {
            Self::Confirmed => ledger.in_flight_rows() == 0,
            Self::Stored => ledger.rows_are_covered(),
        }
    }
}

/// A relation that the stream has announced.
#[derive(Debug)]
pub(super) enum Watched {
    /// An outbox table.
    Outbox(Arc<Mapping>),
    /// An outbox table that cannot be read as one under this configuration. It halts at its first
    /// row that is not sent yet, and not before: what comes first may be rows of before the
    /// change that were sent, or nothing at all.
    Unfit(Box<MappingError>),
    /// A table that the publication has and the configuration has not.
    Other,
}

/// What rows are turned into, as far as it does not change within a generation.
#[derive(Clone, Debug)]
pub(crate) struct RowSettings {
    /// The connector's name.
    pub(crate) connector: String,
    /// Prefix of the messages that are outbox rows.
    pub(crate) messages: Option<String>,
    /// The outbox tables.
    pub(crate) tables: Vec<TableName>,
    /// Object ids of the outbox tables, so that a renamed table is still one.
    pub(crate) table_oids: Vec<u32>,
    /// How rows become events.
    pub(crate) events: crate::cloudevent::options::EventOptions,
    /// Policy for bad rows.
    pub(crate) on_bad_row: OnBadRow,
    /// Where dead letters go.
    pub(crate) dlq_topic: String,
    /// The schemas that payloads have to fit.
    pub(crate) schemas: Option<Schemas>,
}

/// A row that was passed and that Kafka does not have whole.
#[derive(Clone, Debug)]
pub(super) struct KeptRow {
    /// Its id, as Postgres prints it; `None` for a row without.
    pub(super) printed_id: Option<Vec<u8>>,
    /// Where its transaction commits.
    pub(super) commit_lsn: Lsn,
}

/// The owner of a generation's books, producer and encoder.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) ledger: Ledger,
    pub(super) producer: Producer,
    pub(super) teller: Teller,
    pub(super) settings: RowSettings,
    pub(super) encoder: Encoder,
    pub(super) scratch: RowScratch,
    /// Messages that are outbox rows.
    pub(super) messages: Option<Box<Messages>>,
    types: TypeNames,
    pub(super) relations: HashMap<u32, Watched>,
    /// Topics that the brokers do not know, and until when that is believed.
    pub(super) unknown_topics: HashMap<String, Instant>,
    /// Topics that did not appear in time; the next question for one is short.
    unknown_before: HashSet<String>,
    pub(super) refusals: Refusals,
    /// The registry does not take who we are.
    pub(super) registry_refuses: Option<Failure>,
    /// Rows that Kafka does not have, since this was last looked at.
    pub(super) kept: Vec<KeptRow>,
    /// How much of a topic one key has.
    pub(super) keys: Keys,
    pub(super) commit_time: PgTimestamp,
    warned_of_other_changes: bool,
    warned_of_left_out_headers: bool,
}

impl Rows {
    pub(super) fn new(
        settings: RowSettings,
        (ledger, producer): (Ledger, Producer),
        refusals: Refusals,
        teller: Teller,
    ) -> Result<Self, Failure> {
        let encoder = Encoder::new(&settings.events).map_err(|error| {
            Failure::halt(
                HaltCode::NotReady,
                format!("the events cannot be encoded: {error}"),
                "correct the variable that the message names",
            )
        })?;
        let encoder = encoder.with_schemas(&settings.events, settings.schemas.clone());
        let messages = Messages::of(settings.messages.as_deref(), &settings.events)?;
        Ok(Self {
            ledger,
            producer,
            teller,
            settings,
            encoder,
            scratch: RowScratch::new(),
            messages,
            types: TypeNames::new(),
            relations: HashMap::new(),
            unknown_topics: HashMap::new(),
            unknown_before: HashSet::new(),
            refusals,
            registry_refuses: None,
            kept: Vec::new(),
            keys: Keys::new(),
            commit_time: PgTimestamp::default(),
            warned_of_other_changes: false,
            warned_of_left_out_headers: false,
        })
    }

    /// What follows are rows of a snapshot, of which those without a time have this one.
    pub(super) fn begin_snapshot(&mut self, taken_at: PgTimestamp) {
        self.commit_time = taken_at;
    }

    /// Deals with one message of the stream.
    pub(super) fn take(&mut self, message: &LogicalMessage<'_>) -> Result<Taken, Failure> {
        match message {
            LogicalMessage::Insert { relation_oid, tuple } => {
                return self.insert(*relation_oid, *tuple);
            }
            LogicalMessage::Begin(begin) => {
                self.commit_time = begin.commit_time;
                self.ledger
                    .begin(begin.final_lsn, begin.xid, begin.commit_time.to_unix_micros())
                    .map_err(|violation| broken(&violation))?;
            }
            LogicalMessage::Commit(commit) => {
                self.ledger
                    .commit(commit.commit_lsn, commit.end_lsn)
                    .map_err(|violation| broken(&violation))?;
                self.teller.transaction();
                crash::at(Point::CommitTaken);
            }
            LogicalMessage::Relation(relation) => self.relation(relation)?,
            LogicalMessage::Type(message) => self.types.learn(message),
            LogicalMessage::Message(message) => return self.message(message),
            LogicalMessage::Origin { .. } => {}
            LogicalMessage::Update { .. }
            | LogicalMessage::Delete { .. }
            | LogicalMessage::Truncate => {
                if !self.warned_of_other_changes {
                    self.warned_of_other_changes = true;
                    tracing::warn!(
                        "the publication sends updates, deletes or truncates, which are not events; \
                         set it to publish = 'insert' to spare the database the work"
                    );
                }
            }
        }
        Ok(Taken::Done)
    }

    fn relation(&mut self, relation: &Relation<'_>) -> Result<(), Failure> {
        if self.relations.len() >= RELATIONS_MAX && !self.relations.contains_key(&relation.oid) {
            return Err(Failure::halt(
                HaltCode::PublicationChanged,
                format!("the publication sends more than {RELATIONS_MAX} tables"),
                "restrict the publication to the outbox table",
            ));
        }
        let name =
            TableName { schema: relation.namespace.to_owned(), table: relation.name.to_owned() };
        let outbox = self.settings.table_oids.contains(&relation.oid)
            || self.settings.tables.contains(&name);
        let watched = if outbox {
            match Mapping::new(relation, &self.types, &self.settings.events) {
                Ok(mapping) => Watched::Outbox(Arc::new(mapping)),
                Err(error) => Watched::Unfit(Box::new(error)),
            }
        } else {
            tracing::warn!(table = %name, "the publication sends a table that WALPOST_TABLE does not list; its rows are left out");
            Watched::Other
        };
        if let (Some(Watched::Outbox(before)), Watched::Outbox(now)) =
            (self.relations.get(&relation.oid), &watched)
            && before != now
        {
            tracing::info!(table = %name, "the table was altered; rows are read by its new columns from here on");
        }
        self.relations.insert(relation.oid, watched);
        Ok(())
    }

    fn insert(&mut self, relation_oid: u32, tuple: Tuple<'_>) -> Result<Taken, Failure> {
        let (position, covered) = self.ledger.place().map_err(|violation| broken(&violation))?;
        let Some(watched) = self.relations.get(&relation_oid) else {
            return Err(Failure::again(
                "postgres_protocol",
                format!("a row came for relation {relation_oid} that was not announced"),
            ));
        };
        let mapping = match watched {
            Watched::Other => return Ok(Taken::Done),
            Watched::Outbox(_) | Watched::Unfit(_) if covered => {
                self.ledger.passed_over();
                self.teller.duplicate_suppressed();
                return Ok(Taken::Done);
            }
            Watched::Unfit(error) => return unfit(&self.ledger, error, position),
            Watched::Outbox(mapping) => Arc::clone(mapping),
        };
        // Moves a few words and no row: the row borrows its scratch, and not the whole of this.
        let mut scratch = std::mem::take(&mut self.scratch);
        let taken = match mapping.row(&mut scratch, tuple) {
            Ok(row) => self.offer(&mapping, &row, Place::Stream(position)),
            Err(error) => Err(Failure::again(
                "postgres_protocol",
                format!("row {position} cannot be read: {error}"),
            )),
        };
        self.scratch = scratch;
        taken
    }

    /// Deals with one row of the snapshot, which has the columns of `mapping`.
    pub(super) fn take_snapshot_row(
        &mut self,
        mapping: &Mapping,
        printed: &SnapshotRow,
    ) -> Result<Taken, Failure> {
        let (position, _) = self.ledger.place().map_err(|violation| broken(&violation))?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let row = scratch.copy_of(printed.texts());
        // There is hardly ever a refused row, so the digest is only made when there is one.
        let known = self.refusals.know_of_a_snapshot().then(|| digest(mapping, printed));
        let mut taken = self.offer(mapping, &row, Place::Snapshot(position, known));
        if let Ok(Taken::Alone(alone)) = &mut taken {
            alone.place = Place::Snapshot(position, Some(digest(mapping, printed)));
        }
        self.scratch = scratch;
        match taken {
            // Nothing of a snapshot is stored before its end, so there is nothing to wait for.
            Ok(Taken::Ending(failure)) => Err(failure),
            taken => taken,
        }
    }

    /// The way of every row: to an event and into the producer's queue, or, as a bad row, where
    /// the policy says.
    pub(super) fn offer(
        &mut self,
        mapping: &Mapping,
        row: &OutboxRow<'_>,
        place: Place,
    ) -> Result<Taken, Failure> {
        let position = place.position();
        let Self { encoder, producer, ledger, refusals, keys, .. } = self;
        let encoded = match refusals.of(place) {
            Some(said) => Err(BadRow::new("payload", Reason::RefusedByBroker, said).into()),
            None => encoder.encode(mapping, row, self.commit_time),
        };
        let bad = match encoded {
            Ok(event) => match producer.topic(event.topic) {
                Some(topic) => {
                    crash::at(Point::BeforeEnqueue);
                    let fits = fits(producer, topic, &event);
                    let way = refusals.way(event.topic, place, fits);
                    if let Some(until) = waits(way, ledger) {
                        return Ok(Taken::Later(until));
                    }
                    return match send(producer, topic, &event, ledger.tag()) {
                        Ok(weight) => {
                            crash::at(Point::AfterEnqueue);
                            if event.left_out_headers > 0 && !self.warned_of_left_out_headers {
                                self.warned_of_left_out_headers = true;
                                tracing::warn!(%position, "the headers column has names that would override the event's own; they are left out, here and in later rows");
                            }
                            keys.note(topic, event.key);
                            ledger.enqueued(weight);
                            Ok(taken(way, Alone { place, sent: Sent::Event }))
                        }
                        Err(error) => refused_by_client(&error, event.topic),
                    };
                }
                None if is_unknown(&mut self.unknown_topics, event.topic) => BadRow::new(
                    "topic",
                    Reason::UnknownTopic,
                    "is unknown to the brokers, and they have not created it",
                ),
                None => return Ok(Taken::NeedsTopic(event.topic.to_owned())),
            },
            Err(Unencoded::Bad(bad)) => bad,
            Err(Unencoded::NeedsSchema(subject)) => {
                return match self.registry_refuses.clone() {
                    None => Ok(Taken::NeedsSchema(subject)),
                    Some(failure) => end_when_stored(&self.ledger, failure),
                };
            }
        };
        self.bad_row(mapping, row, place, &bad)
    }

    /// Remembers a row that is in the table and nowhere else; one that came as a message is in none.
    pub(super) fn keep(&mut self, mapping: &Mapping, row: &OutboxRow<'_>, position: Position) {
        if mapping.table().is_of_messages() {
            return;
        }
        let id = mapping.role(Role::Id).and_then(|field| row.printed(field));
        let printed_id = id.map(<[u8]>::to_vec);
        self.kept.push(KeptRow { printed_id, commit_lsn: position.commit_lsn });
    }

    /// How long a topic may take to appear: not as long again when it did not the last time.
    pub(super) fn patience(&self, topic: &str) -> Duration {
        if self.unknown_before.contains(topic) { Duration::ZERO } else { TOPIC_LIMIT }
    }

    /// Believes for a while that a topic does not exist.
    pub(super) fn topic_is_unknown(&mut self, topic: String) {
        if self.unknown_before.len() >= UNKNOWN_MAX {
            self.unknown_before.clear();
            self.unknown_topics.clear();
        }
        self.unknown_before.insert(topic.clone());
        self.unknown_topics.insert(topic, Instant::now() + TOPIC_LIMIT);
    }
}

fn digest(mapping: &Mapping, printed: &SnapshotRow) -> SnapshotRowDigest {
    let mut digest = Sha256::new_with_prefix(mapping.table_text());
    for text in printed.texts() {
        // Length and presence first, so that no two rows read the same.
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        digest.update(length.to_be_bytes());
        digest.update(text.unwrap_or_default());
    }
    digest.finalize().into()
}

pub(super) fn is_unknown(unknown: &mut HashMap<String, Instant>, topic: &str) -> bool {
    match unknown.get(topic) {
        Some(until) if *until > Instant::now() => true,
        Some(_) => {
            unknown.remove(topic);
            false
        }
        None => false,
    }
}

/// Enqueues an event; what it weighs as long as it is in flight.
pub(super) fn send(
    producer: &mut Producer,
    topic: TopicId,
    event: &Event<'_>,
    tag: u64,
) -> Result<u64, ClientError> {
    producer.enqueue(topic, event.key, event.value, event.headers.iter(), tag)?;
    let headers = HEADER_OVERHEAD * event.headers.len() as u64;
    let bytes = event.byte_size() as u64;
    // Twice, for the batch that it is sent in is a copy.
    Ok(2 * bytes + headers + EVENT_OVERHEAD)
}

/// Whether a topic takes this event in a batch of its own, even if it does not shrink.
pub(super) fn fits(producer: &Producer, topic: TopicId, event: &Event<'_>) -> bool {
    alone(event.byte_size(), event.headers.len()) <= producer.limit_of(topic)
}

/// What a record that goes this way still waits for.
pub(super) fn waits(way: Way, ledger: &Ledger) -> Option<Until> {
    let until = match way {
        Way::Batched => return None,
        Way::AloneAfterConfirmed => Until::Confirmed,
        Way::AloneAfterStored => Until::Stored,
    };
    (!until.is_met(ledger)).then_some(until)
}

/// A record was enqueued, and went this way.
pub(super) fn taken(way: Way, alone: Alone) -> Taken {
    match way {
        Way::Batched => Taken::Done,
        Way::AloneAfterConfirmed | Way::AloneAfterStored => Taken::Alone(alone),
    }
}

pub(super) fn refused_by_client(error: &ClientError, topic: &str) -> Result<Taken, Failure> {
    if error.code == rdkafka::types::RDKafkaErrorCode::QueueFull {
        return Ok(Taken::QueueFull);
    }
    if meaning(error.code) == Meaning::Secondary {
        return Ok(Taken::Broken(error.clone()));
    }
    Err(Failure::kafka(&format!("enqueue a record for topic {topic}"), error))
}

/// Ends the generation at a row that cannot be read; but first what comes before it is stored, so
/// that no row of the columns of before is read again under a configuration for those of after.
fn unfit(ledger: &Ledger, error: &MappingError, position: Position) -> Result<Taken, Failure> {
    let failure = Failure::halt(
        HaltCode::TableChanged,
        format!("row {position}: {error}"),
        format!(
            "nothing was skipped. Set the variable that the message names, or alter the table back; rows that were written in between then still halt, and `walpost checkpoint set --commit-lsn {} --yes` skips those of this transaction",
            position.commit_lsn
        ),
    );
    end_when_stored(ledger, failure)
}

/// Ends the generation with this failure, as soon as what comes before the row is stored.
fn end_when_stored(ledger: &Ledger, failure: Failure) -> Result<Taken, Failure> {
    if ledger.rows_are_stored() {
        return Err(failure);
    }
    Ok(Taken::Ending(failure))
}

pub(super) fn broken(violation: &Violation) -> Failure {
    Failure::again("postgres_protocol", format!("the stream breaks its own rules: {violation}"))
}

/// The wall clock, microseconds since 1970.
pub(super) fn now_unix_micros() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_micros()).ok())
        .unwrap_or(0)
}
