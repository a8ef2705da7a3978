//! From nothing to a slot that is held, and what the pipeline works with.

use std::sync::Arc;
use std::time::Duration;

use super::first_start::Made;
use super::prove::Identity;
use super::watcher::{self, Watching};
use super::{Supervisor, claim, first_start, standby};
use crate::config::{Config, Delivery};
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::batch_limits::{self, BatchLimits};
use crate::kafka::checkpoint_reader::CheckpointReader;
use crate::kafka::client::{ANSWER_LIMIT, auxiliary, producer_properties};
use crate::kafka::floor::Moment;
use crate::kafka::librdkafka::ClientError;
use crate::kafka::producer::Producer;
use crate::kafka::teardown::dismiss;
use crate::kafka::topics::Topics;
use crate::lsn::Lsn;
use crate::mutant::{self, Mutant};
use crate::pipeline::{Generation, KnownTopics, RowSettings, Settings, TopicMaker};
use crate::postgres::catalog::{Catalog, Server, Slot};
use crate::postgres::replication::{ReplicationConnection, ReplicationStream, StatusUpdate};
use crate::proof;
use crate::status::{HaltCode, State};

/// How often a standby looks whether the slot is free.
const STANDBY_POLL: Duration = Duration::from_millis(50);

/// How often a standby asks Kafka whether it is there.
const STANDBY_KAFKA_POLL: Duration = Duration::from_secs(10);

/// How often the server hears from us while the proof is made.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// A moment of the server, for the floors of its tables.
pub(super) fn moment(server: &Server) -> Moment {
    Moment { settled_xid: server.settled_xid, next_xid: server.next_xid, time: server.now }
}

/// The publication and the tables as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    /// Object ids and row versions, as text.
    pub(super) fingerprint: String,
    /// Object ids of the outbox tables.
    pub(super) table_oids: Vec<u32>,
}

/// All that the pipeline needs.
pub(super) struct Prepared {
    pub(super) generation: Generation,
    pub(super) settings: Settings,
    pub(super) watching: Watching,
}

/// The two servers, reached.
pub(super) struct Reached {
    pub(super) catalog: Catalog,
    pub(super) server: Server,
    pub(super) producer: Producer,
    pub(super) reader: Arc<CheckpointReader>,
    pub(super) cluster_id: String,
    /// How large the producer's batches get.
    pub(super) batch_size: usize,
}

impl<L: FnMut() -> Result<Config, String>> Supervisor<L> {
    pub(super) async fn prepare(&mut self) -> Result<Prepared, Failure> {
        if !self.teller.is_halted() {
            self.teller.status.set_state(State::Starting);
        }
        let config = self.config.clone();
        self.read_doubted_limits(&config).await;
        let reached = self.reach(&config).await?;
        let reader = Arc::clone(&reached.reader);
        let topics = Topics::new(&auxiliary(&config.kafka, &config.name)).map_err(|error| {
            Failure::again("kafka_error", format!("failed to make a kafka client: {error}"))
        })?;
        let prepared = Box::pin(self.prepare_with(config, &topics, reached)).await;
        dismiss((topics, reader));
        prepared
    }

    async fn prepare_with(
        &mut self,
        config: Config,
        topics: &Topics,
        mut reached: Reached,
    ) -> Result<Prepared, Failure> {
        // What was made before is all there, as a rule: both servers are asked at once.
        let (ensured, found) = tokio::join!(
            claim::ensure_topic(&config, topics),
            first_start::found(&config, &reached.catalog)
        );
        ensured?;
        crash::at(Point::OwnTopicsMade);
        get_ready(&reached.reader);
        let first_start::Begun { watched, mut made } = match found {
            Some(watched) => first_start::Begun { watched, made: None },
            None => {
                let waits = || {
                    self.heartbeat.beat();
                    self.teller.status.set_state(State::Standby);
                    self.teller.kafka_contact();
                };
                first_start::prepare(&config, &mut reached, &self.nonce, waits).await?
            }
        };
        self.made_slot |= made.is_some();
        if mutant::is(Mutant::InitOnStandby) {
            let taken = reached.producer.init().await;
            taken.map_err(|error| Failure::kafka("take over the transactional.id", &error))?;
        }
        let (mut stream, identity) = self.take_slot(&config, &mut reached, &mut made).await?;
        crash::at(Point::SlotTaken);
        let claimed = {
            let proof = self.prove_and_claim(&config, &mut reached, (&watched, &identity), made);
            under_heartbeat(&mut stream, proof).await?
        };
        self.refusals.forget(&claimed.checkpoint.mark(), claimed.snapshot.is_some());
        let shared = (self.known_topics.clone(), self.batch_limits.clone(), reached.batch_size);
        let mut settings = settings(&config, &reached.server, &watched, shared);
        settings.rows.schemas.clone_from(&self.schemas);
        settings.stop_before = self.stop_before;
        let seen = (reached.server.wal_end, reached.server.now);
        let watching =
            watcher::watch(reached.catalog, Arc::new(config), watched, self.teller.clone(), seen);
        let generation = Generation {
            stream,
            producer: reached.producer,
            checkpoint: claimed.checkpoint,
            checkpoint_topic: claimed.checkpoint_topic,
            refusals: self.refusals.clone(),
            snapshot: claimed.snapshot,
        };
        Ok(Prepared { generation, settings, watching })
    }

    /// Waits until nobody holds the slot, and takes it, which is the lock. The process that has
    /// made it does so on the connection that it made it with.
    async fn take_slot(
        &self,
        config: &Config,
        reached: &mut Reached,
        made: &mut Option<Made>,
    ) -> Result<(ReplicationStream, Identity), Failure> {
        let mut maker = made.as_mut().and_then(|made| made.connection.take());
        loop {
            let mut connection = match maker.take() {
                Some(maker) => maker,
                None => {
                    self.wait_for_slot(config, reached).await?;
                    ReplicationConnection::connect(&config.database)
                        .await
                        .map_err(|error| Failure::postgres("connect for replication", &error))?
                }
            };
            let identity = connection
                .identify_system()
                .await
                .map_err(|error| Failure::postgres("identify the system", &error))?;
            let history = history(&mut connection, identity.timeline).await?;
            let publications = [config.publication.as_str()];
            let messages = config.messages.is_some();
            let started =
                connection.start_replication(&config.slot, Lsn::INVALID, &publications, messages);
            match started.await {
                Ok(stream) => {
                    // The steps of a takeover have a line each, so that a slow one is seen in the log.
                    tracing::info!(
                        slot = config.slot,
                        "holding the slot; what was stored is read next"
                    );
                    let identity = Identity {
                        system_identifier: identity.system_id.to_string(),
                        timeline: identity.timeline,
                        history,
                    };
                    return Ok((stream, identity));
                }
                Err(error) if error.sqlstate() == Some("55006") => {
                    tracing::debug!("the slot was taken by another in the same moment");
                    tokio::time::sleep(STANDBY_POLL).await;
                }
                Err(error) => return Err(self.not_started(config, reached, &error).await),
            }
        }
    }

    /// Connects to both servers, side by side.
    async fn reach(&self, config: &Config) -> Result<Reached, Failure> {
        let create_topics = config.topic_partitions.is_none();
        let batch_size = self.batch_limits.batch_size(batch_limits::configured(&config.kafka));
        let mut producer = producer(config, create_topics, batch_size).map_err(|error| {
            Failure::again("kafka_error", format!("failed to make the producer: {error}"))
        })?;
        let handle = producer.handle();
        let kafka = async {
            let id = tokio::task::spawn_blocking(move || handle.cluster_id(ANSWER_LIMIT));
            match id.await {
                Ok(Some(id)) => {
                    self.teller.kafka_contact();
                    self.teller.kafka_certificate(producer.certificate_expiry());
                    Ok(id)
                }
                Ok(None) | Err(_) => Err(self.kafka_unreachable(config, &mut producer)),
            }
        };
        let postgres = async {
            let catalog = Catalog::connect(&config.database)
                .await
                .map_err(|error| Failure::postgres("connect to the database", &error))?;
            let server = catalog
                .server()
                .await
                .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
            self.teller.clock_skew(&server);
            self.teller.postgres_contact(&server);
            self.teller.postgres_certificate(catalog.certificate_not_after());
            Ok((catalog, server))
        };
        let (kafka, postgres): (Result<String, Failure>, Result<_, Failure>) =
            tokio::join!(kafka, postgres);
        let (catalog, server) = postgres?;
        let cluster_id = kafka?;
        ready(&server)?;
        first_start::divisible(config, &server)?;
        let reader = claim::reader(config)?;
        Ok(Reached { catalog, server, producer, reader, cluster_id, batch_size })
    }

    /// Says why no broker answered, from what librdkafka reported meanwhile.
    fn kafka_unreachable(&self, config: &Config, producer: &mut Producer) -> Failure {
        use crate::kafka::librdkafka::Happening;
        use crate::kafka::producer::is_authentication;
        let mut last = None;
        producer.happenings(|happening| {
            if let Happening::Notice(error) | Happening::Fatal(error) = happening {
                let worse = is_authentication(&error);
                if last.is_none() || worse {
                    last = Some(error);
                }
            }
        });
        let servers = &config.kafka.bootstrap_servers;
        match last {
            Some(error) if is_authentication(&error) => Failure::kafka_authentication(&error),
            Some(error) => Failure::Again {
                code: "kafka_unreachable",
                message: format!("no answer from kafka at {servers}: {error}"),
                hint: Some(
                    "check KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and the network"
                        .to_owned(),
                ),
            },
            None => Failure::Again {
                code: "kafka_unreachable",
                message: format!("no answer from kafka at {servers} within {ANSWER_LIMIT:?}"),
                hint: Some("check KAFKA_BOOTSTRAP_SERVERS and the network".to_owned()),
            },
        }
    }

    /// Waits until nobody holds the slot.
    async fn wait_for_slot(&self, config: &Config, reached: &mut Reached) -> Result<(), Failure> {
        let mut asked_kafka = tokio::time::Instant::now();
        let mut waiting = false;
        loop {
            self.heartbeat.beat();
            let asked = tokio::time::Instant::now();
            let slot = slot(config, &reached.catalog).await?;
            usable(config, &slot)?;
            if !slot.active {
                if waiting {
                    tracing::info!(slot = config.slot, "standby: the slot is free, taking it");
                }
                return Ok(());
            }
            if !waiting {
                standby::could_take_over(config, reached).await?;
                waiting = true;
                tracing::info!(
                    slot = config.slot,
                    holder_pid = slot.active_pid,
                    "standby: another holds the slot"
                );
                self.teller.status.set_state(State::Standby);
            }
            // The producer is told of troubles, and of statistics where somebody asks for them, also when
            // it does nothing.
            reached.producer.happenings(drop);
            self.teller.standby(&reached.server, &slot, asked);
            self.teller.postgres_contact(&reached.server);
            if asked_kafka.elapsed() >= STANDBY_KAFKA_POLL {
                asked_kafka = tokio::time::Instant::now();
                get_ready(&reached.reader);
                let handle = reached.producer.handle();
                let teller = self.teller.clone();
                tokio::task::spawn_blocking(move || {
                    if handle.answers(ANSWER_LIMIT) {
                        teller.kafka_contact();
                    }
                });
            }
            tokio::time::sleep(STANDBY_POLL).await;
        }
    }

    /// `START_REPLICATION` was refused: says why, by what the catalog knows. One SQLSTATE stands
    /// for a missing slot and a missing publication alike.
    async fn not_started(
        &self,
        config: &Config,
        reached: &Reached,
        error: &crate::postgres::error::Error,
    ) -> Failure {
        match slot(config, &reached.catalog).await.and_then(|slot| usable(config, &slot)) {
            Ok(()) => {
                Failure::postgres(&format!("start replication from slot {}", config.slot), error)
            }
            Err(failure) => failure,
        }
    }
}

/// Lets the reader connect, beside what else is done.
fn get_ready(reader: &Arc<CheckpointReader>) {
    let reader = Arc::clone(reader);
    tokio::task::spawn_blocking(move || reader.get_ready(ANSWER_LIMIT));
}

/// A producer for this way of delivery.
fn producer(
    config: &Config,
    create_topics: bool,
    batch_size: usize,
) -> Result<Producer, ClientError> {
    match config.delivery {
        Delivery::AtLeastOnce => Producer::new(&producer_properties(
            &config.kafka,
            &config.name,
            config.events.max_event,
            create_topics,
            batch_size,
        )),
        Delivery::ExactlyOnce => {
            let properties = claim::transactional_properties(config, create_topics, batch_size);
            Producer::transactional(properties)
        }
    }
}

/// The server can be followed.
pub(super) fn ready(server: &Server) -> Result<(), Failure> {
    let not_ready =
        |message: String, hint: &str| Err(Failure::halt(HaltCode::NotReady, message, hint));
    if server.version_num < 140_000 {
        return not_ready(
            format!(
                "the server is Postgres {}; 14 is the oldest that walpost follows",
                server.version()
            ),
            "upgrade the server",
        );
    }
    if server.wal_level != "logical" {
        return not_ready(
            format!("wal_level is {}", server.wal_level),
            "ALTER SYSTEM SET wal_level = 'logical'; then restart the server",
        );
    }
    if server.in_recovery {
        return not_ready(
            "the server is a standby".to_owned(),
            "connect to the primary; PGTARGETSESSIONATTRS=read-write picks it among several hosts",
        );
    }
    Ok(())
}

pub(super) async fn slot(config: &Config, catalog: &Catalog) -> Result<Slot, Failure> {
    let slot = catalog
        .slot(&config.slot)
        .await
        .map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))?;
    slot.ok_or_else(|| {
        Failure::halt(
            HaltCode::SlotMissing,
            format!("replication slot {} does not exist, but a checkpoint does", config.slot),
            "rows committed since the checkpoint may be missing in Kafka. If the server failed over, the slot did not come along. `walpost checkpoint accept` prints the range, and makes a new slot with --yes",
        )
    })
}

/// The slot is one that walpost can read, and has lost nothing.
fn usable(config: &Config, slot: &Slot) -> Result<(), Failure> {
    let name = &config.slot;
    if slot.plugin.as_deref() != Some("pgoutput") {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!("replication slot {name} is not a logical slot of pgoutput"),
            "set WALPOST_SLOT to another name; walpost makes a slot of its own",
        ));
    }
    if slot.database.as_deref() != Some(config.database.database.as_str()) {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!("replication slot {name} belongs to another database"),
            "set WALPOST_SLOT to another name: slot names are one namespace for all databases of a server",
        ));
    }
    let lost = slot.wal_status.as_deref() == Some("lost") || slot.invalidation_reason.is_some();
    if lost {
        let reason = slot.invalidation_reason.as_deref().unwrap_or("its WAL was removed");
        return Err(Failure::halt(
            HaltCode::SlotLost,
            format!("replication slot {name} is lost ({reason})"),
            format!(
                "rows committed after {} may be missing in Kafka, up to {}. Raise max_slot_wal_keep_size; `walpost checkpoint accept` prints the range, and makes a new slot with --yes",
                slot.confirmed_flush_lsn.unwrap_or(Lsn::INVALID),
                slot.wal_end
            ),
        ));
    }
    Ok(())
}

pub(super) async fn history(
    connection: &mut ReplicationConnection,
    timeline: u32,
) -> Result<Vec<proof::TimelineSwitch>, Failure> {
    if timeline <= 1 {
        return Ok(Vec::new());
    }
    let switches = connection
        .timeline_history(timeline)
        .await
        .map_err(|error| Failure::postgres("read the timeline history", &error))?;
    Ok(switches
        .into_iter()
        .map(|switch| proof::TimelineSwitch {
            timeline: switch.timeline,
            switch_point: switch.switch_point,
        })
        .collect())
}

/// Does `work` while the server hears from us, with a flush position of 0/0, which says nothing.
/// The socket stays unread.
pub(super) async fn under_heartbeat<T>(
    stream: &mut ReplicationStream,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let mut timer = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = timer.tick() => {
                let nothing = StatusUpdate {
                    write: Lsn::INVALID,
                    flush: Lsn::INVALID,
                    apply: Lsn::INVALID,
                    reply_requested: false,
                };
                stream
                    .send_status(nothing)
                    .await
                    .map_err(|error| Failure::postgres("send a status update", &error))?;
            }
        }
    }
}

fn settings(
    config: &Config,
    server: &Server,
    watched: &Watched,
    (known_topics, batch_limits, batch_size): (KnownTopics, BatchLimits, usize),
) -> Settings {
    let rows = RowSettings {
        connector: config.name.clone(),
        messages: config.messages.clone(),
        tables: config.tables.clone(),
        table_oids: watched.table_oids.clone(),
        events: config.events.clone(),
        on_bad_row: config.on_bad_row,
        dlq_topic: config.dlq_topic.clone(),
        schemas: None,
    };
    let topic_maker = config.topic_partitions.map(|partitions| TopicMaker {
        client: auxiliary(&config.kafka, &config.name),
        partitions,
        replication: config.topic_replication.unwrap_or(-1),
    });
    Settings {
        rows,
        max_in_flight: config.max_in_flight,
        transaction_interval: config.transaction_interval,
        // The server gives up after its time-out; three chances before that.
        status_interval: (config.database.wal_sender_timeout / 3).min(Duration::from_secs(10)),
        shutdown_timeout: config.shutdown_timeout,
        topic_maker,
        checkpoint_topic: config.checkpoint_topic.clone(),
        known_topics,
        batch_limits,
        batch_size,
        server_said: (server.now, server.answered_at),
        stop_before: None,
    }
}
