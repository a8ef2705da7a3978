//! What a start finds in the database, and what the first one makes.
//!
//! The order of making is publication, then slot: a slot decodes with the catalog as it was when
//! each row was written, so a publication made after the slot is missing for the rows between
//! (Postgres up to 17 refuses to go on, 18 leaves the rows out with a warning in its own log).
//!
//! Until the slot is there, a session lock of the database keeps a second process from making it
//! too; a slot that is there is taken by one process, whether it is the one that made it or not. Rows that are in the tables before are the matter of [`snapshot`].

use std::time::Duration;

use tokio::time::Instant;

use super::prepare::{Reached, Watched};
use super::{claim, snapshot};
use crate::config::{Config, Snapshot};
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::pipeline::SnapshotWork;
use crate::postgres::catalog::{Catalog, Publication, Slot, create_publication};
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::postgres::replication::{CreatedSlot, ReplicationConnection};
use crate::proof::{self, Facts};
use crate::status::HaltCode;

mod shards;

pub(super) use shards::{divisible, not_late};

/// Counting rows only serves a warning.
const COUNT_LIMIT: Duration = Duration::from_secs(5);

/// Making a slot waits for every transaction that is running to end; this is how long an attempt
/// waits before it says so and begins again.
const SLOT_LIMIT: Duration = Duration::from_secs(60);

/// A process that makes the slot is waited for; how often the lock is asked for.
const LOCK_POLL: Duration = Duration::from_millis(500);

/// How often it is said that another process makes the slot.
const LOCK_SAID: Duration = Duration::from_secs(30);

/// What a start found, or the first one made.
pub(super) struct Begun {
    /// The publication and the tables.
    pub(super) watched: Watched,
    /// The slot that this process has made just now.
    pub(super) made: Option<Made>,
}

/// A slot that was made and is not held yet.
pub(super) struct Made {
    /// The connection that made it, to take it with.
    pub(super) connection: Option<ReplicationConnection>,
    /// The rows before it, which this process alone can read.
    pub(super) snapshot: Option<SnapshotWork>,
}

/// Looks at publication and tables; on a first start makes what is missing, one process at a time.
///
/// `waits` is told while another process does it.
pub(super) async fn prepare(
    config: &Config,
    reached: &mut Reached,
    nonce: &str,
    mut waits: impl FnMut(),
) -> Result<Begun, Failure> {
    let doing = "take the lock of a first start";
    let mut said: Option<Instant> = None;
    loop {
        if let Some(watched) = look(config, &reached.catalog).await? {
            return Ok(Begun { watched, made: None });
        }
        let taken = reached.catalog.begin_first_start(&config.slot).await;
        if taken.map_err(|error| Failure::postgres(doing, &error))? {
            break;
        }
        if said.is_none_or(|at| at.elapsed() >= LOCK_SAID) {
            said = Some(Instant::now());
            tracing::info!(slot = config.slot, "standby: another process is making the slot");
        }
        waits();
        reached.producer.happenings(drop);
        tokio::time::sleep(LOCK_POLL).await;
    }
    // Another process may have been done between the look and the lock.
    if let Some(watched) = look(config, &reached.catalog).await? {
        let over = reached.catalog.first_start_is_over(&config.slot).await;
        over.map_err(|error| Failure::postgres(doing, &error))?;
        return Ok(Begun { watched, made: None });
    }
    make(config, reached, nonce).await
}

/// Publication and tables, where the slot is there and all is as it must be. Anything else is
/// [`prepare`]'s to say.
pub(super) async fn found(config: &Config, catalog: &Catalog) -> Option<Watched> {
    catalog.slot(&config.slot).await.ok()??;
    let publication = catalog.publication(&config.publication).await.ok()??;
    examine(config, catalog, &publication).await.ok()
}

/// Looks at publication and tables; `None` when this is a first start, which is to make the slot.
async fn look(config: &Config, catalog: &Catalog) -> Result<Option<Watched>, Failure> {
    let slot = slot(config, catalog).await?;
    let publication = publication(config, catalog).await?;
    if let (Some(_), Some(publication)) = (&slot, &publication) {
        return match examine(config, catalog, publication).await {
            Ok(watched) => Ok(Some(watched)),
            Err(Unsuitable::Failed(failure)) => Err(failure),
            Err(Unsuitable::Unfit(unfit)) => match claim::read(config).await?.checkpoint {
                Some(checkpoint) => Err(unfit.since(catalog, &checkpoint).await),
                None => Err(unfit.at_first()),
            },
        };
    }
    let stored = claim::read(config).await?;
    match stored.checkpoint {
        Some(checkpoint) if checkpoint.is_announced() && slot.is_none() => {}
        // A slot is made before its checkpoint is stored. So one that is missing when the checkpoint has
        // been read is gone; one that was missing before may have been made since, by another process.
        Some(_) if slot.is_none() && self::slot(config, catalog).await?.is_some() => {
            return Box::pin(look(config, catalog)).await;
        }
        Some(checkpoint) => {
            return Err(missing_with_checkpoint(config, slot.is_none(), &checkpoint));
        }
        None => {}
    }
    if slot.is_some() {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!("slot {} exists, but publication {} does not", config.slot, config.publication),
            "a publication must be older than the slot that reads it: drop the slot with SELECT pg_drop_replication_slot(…), and walpost makes both in order",
        ));
    }
    if !config.create {
        if config.shard.is_some() {
            return Err(Failure::halt(
                HaltCode::NotReady,
                format!("slot {} does not exist, and WALPOST_CREATE is false", config.slot),
                "`walpost setup --slot` prints the statements that make the publications and slots of all shards",
            ));
        }
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!("slot {} does not exist, and WALPOST_CREATE is false", config.slot),
            format!(
                "{}; then SELECT pg_create_logical_replication_slot('{}', 'pgoutput')",
                create_publication_sql(config),
                config.slot
            ),
        ));
    }
    Ok(None)
}

/// Makes publication and slot, under the lock of a first start.
async fn make(config: &Config, reached: &mut Reached, nonce: &str) -> Result<Begun, Failure> {
    // Messages of before the slot are nowhere to be read.
    let with_snapshot = config.snapshot == Snapshot::Initial && !config.tables.is_empty();
    if with_snapshot {
        snapshot::readable(config, reached).await?;
    }
    let catalog = &reached.catalog;
    let publication = match publication(config, catalog).await? {
        Some(publication) => publication,
        None => make_publication(config, catalog).await?,
    };
    crash::at(Point::PublicationCreated);
    let watched = examine(config, catalog, &publication).await.map_err(|error| match error {
        Unsuitable::Failed(failure) => failure,
        Unsuitable::Unfit(unfit) => unfit.at_first(),
    })?;
    if with_snapshot {
        snapshot::announce(config, reached, &watched, nonce).await?;
        crash::at(Point::SnapshotAnnounced);
    }
    let (connection, created) = make_slot(config).await?;
    crash::at(Point::SlotCreated);
    // From here on the slot is the lock.
    let over = reached.catalog.first_start_is_over(&config.slot).await;
    over.map_err(|error| Failure::postgres("give the lock of a first start back", &error))?;
    crash::at(Point::FirstStartOver);
    let snapshot = if with_snapshot {
        let slot = (&created, created.consistent_point);
        Some(snapshot::import(config, &reached.catalog, slot).await?)
    } else {
        say_what_is_not_sent(config, &reached.catalog).await;
        None
    };
    let made = Made { connection: Some(connection), snapshot };
    Ok(Begun { watched, made: Some(made) })
}

fn missing_with_checkpoint(config: &Config, slot_missing: bool, stored: &Checkpoint) -> Failure {
    if slot_missing {
        return Failure::halt(
            HaltCode::SlotMissing,
            format!(
                "replication slot {} does not exist, but the checkpoint stands at {}",
                config.slot, stored.resume_lsn
            ),
            "rows committed after the checkpoint may be missing in Kafka. If the server failed over, the slot did not come along. `walpost checkpoint accept` prints the range, and makes a new slot with --yes",
        );
    }
    Failure::halt(
        HaltCode::PublicationChanged,
        format!("publication {} does not exist any more", config.publication),
        format!(
            "rows committed after {} may be missing in Kafka. Create the publication again: {}; then `walpost checkpoint accept` prints the range, and goes on with --yes",
            proof::place(proof::unseen_from(stored)),
            create_publication_sql(config),
        ),
    )
}

/// The statement that makes the publication as walpost would.
pub(super) fn create_publication_sql(config: &Config) -> String {
    if config.shard.is_some() {
        return "`walpost setup` prints the statement, with its row filter".to_owned();
    }
    let quoted = |name: &TableName| {
        quote_qualified(&name.schema, &name.table).unwrap_or_else(|_| name.to_string())
    };
    let tables: Vec<_> = config.tables.iter().map(quoted).collect();
    let name = quote_identifier(&config.publication).unwrap_or_else(|_| config.publication.clone());
    create_publication(&name, &tables.join(", "))
}

/// Makes the publication where there is none, and looks at it as a start would.
pub(super) async fn published(config: &Config, catalog: &Catalog) -> Result<Watched, Unsuitable> {
    let found = match publication(config, catalog).await? {
        Some(publication) => publication,
        None => make_publication(config, catalog).await?,
    };
    examine(config, catalog, &found).await
}

async fn slot(config: &Config, catalog: &Catalog) -> Result<Option<Slot>, Failure> {
    let slot = catalog.slot(&config.slot).await;
    slot.map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))
}

async fn publication(config: &Config, catalog: &Catalog) -> Result<Option<Publication>, Failure> {
    catalog.publication(&config.publication).await.map_err(|error| {
        Failure::postgres(&format!("look at publication {}", config.publication), &error)
    })
}

async fn make_publication(config: &Config, catalog: &Catalog) -> Result<Publication, Failure> {
    for name in &config.tables {
        table_oid(catalog, name).await?;
    }
    let filters = shards::filters(config, catalog).await.map_err(|error| match error {
        Unsuitable::Failed(failure) => failure,
        Unsuitable::Unfit(unfit) => unfit.at_first(),
    })?;
    let filters = filters.iter().map(Option::as_deref);
    let tables: Vec<_> = config
        .tables
        .iter()
        .zip(filters)
        .map(|(name, filter)| (name.schema.as_str(), name.table.as_str(), filter))
        .collect();
    catalog.create_publication(&config.publication, &tables).await.map_err(|error| {
        Failure::postgres(&format!("create publication {}", config.publication), &error)
    })?;
    tracing::info!(publication = config.publication, "publication created");
    publication(config, catalog).await?.ok_or_else(|| {
        Failure::again("postgres_error", "the publication that was made is not there")
    })
}

async fn find_table(catalog: &Catalog, name: &TableName) -> Result<Option<u32>, Failure> {
    let table = catalog
        .table(&name.schema, &name.table)
        .await
        .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
    Ok(table.map(|table| table.oid))
}

async fn table_oid(catalog: &Catalog, name: &TableName) -> Result<u32, Failure> {
    let oid = find_table(catalog, name).await?;
    oid.ok_or_else(|| Unfit::no_table(name).at_first())
}

/// Why publication and tables cannot be followed.
#[derive(Clone, Debug)]
pub(crate) struct Unfit {
    /// The word for it once there is a checkpoint.
    pub(super) code: HaltCode,
    pub(super) message: String,
    /// What mends it.
    pub(super) hint: String,
    /// The table that has no object of its name.
    pub(super) missing: Option<TableName>,
}

/// What ends an examination.
#[derive(Clone, Debug)]
pub(super) enum Unsuitable {
    /// Publication and tables are not as they must be.
    Unfit(Unfit),
    /// They could not be looked at.
    Failed(Failure),
}

impl From<Failure> for Unsuitable {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Unfit {
    fn no_table(name: &TableName) -> Self {
        Self {
            code: HaltCode::TableChanged,
            message: format!("table {name} does not exist"),
            hint: "create the outbox table, or name another one in WALPOST_TABLE".to_owned(),
            missing: Some(name.clone()),
        }
    }

    /// At a first start: nothing can be missing, and the work begins when the cause is gone.
    pub(super) fn at_first(self) -> Failure {
        Failure::halt(HaltCode::NotReady, self.message, self.hint)
    }

    /// When a checkpoint says that the stream was at work before.
    async fn since(self, catalog: &Catalog, stored: &Checkpoint) -> Failure {
        if let Some(missing) = &self.missing {
            for oid in proof::table_oids(&stored.fingerprint) {
                match catalog.table_name(oid).await {
                    Ok(Some((schema, table))) => {
                        let now = TableName { schema, table };
                        return renamed(missing, &now);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        return Failure::postgres(&format!("look for table {missing}"), &error);
                    }
                }
            }
        }
        let hint = format!(
            "{}. Rows committed after {} may be missing in Kafka; then `walpost checkpoint accept` prints the range, and goes on with --yes",
            self.hint,
            proof::place(proof::unseen_from(stored)),
        );
        Failure::halt(self.code, self.message, hint)
    }
}

/// A table that is followed by its object id and no longer has the name of the configuration.
pub(super) fn renamed(before: &TableName, now: &TableName) -> Failure {
    Failure::halt(
        HaltCode::TableChanged,
        format!("table {before} is called {now} now"),
        format!(
            "nothing is missing: its rows are still published. Set WALPOST_TABLE to {now} and start walpost again; the events' source changes with the name, unless WALPOST_CE_SOURCE is set"
        ),
    )
}

/// Checks that the publication sends what is needed, and takes its fingerprint.
pub(super) async fn examine(
    config: &Config,
    catalog: &Catalog,
    publication: &Publication,
) -> Result<Watched, Unsuitable> {
    let mut table_oids = Vec::with_capacity(config.tables.len());
    for table in &config.tables {
        match find_table(catalog, table).await? {
            Some(oid) => table_oids.push(oid),
            None => return Err(Unsuitable::Unfit(Unfit::no_table(table))),
        }
    }
    let watched = examine_tables(config, publication, table_oids)?;
    shards::examine(config, catalog, publication).await?;
    Ok(watched)
}

/// As [`examine`], for tables whose object ids are known.
pub(super) fn examine_tables(
    config: &Config,
    publication: &Publication,
    table_oids: Vec<u32>,
) -> Result<Watched, Unsuitable> {
    let name = &config.publication;
    let unfit =
        |code, message, hint| Err(Unsuitable::Unfit(Unfit { code, message, hint, missing: None }));
    if !publication.insert {
        return unfit(
            HaltCode::PublicationChanged,
            format!("publication {name} does not publish inserts"),
            format!("ALTER PUBLICATION {name} SET (publish = 'insert')"),
        );
    }
    for (table, oid) in config.tables.iter().zip(&table_oids) {
        if !publication.tables.iter().any(|published| published.oid == *oid) {
            let mends = if publication.via_partition_root {
                format!("ALTER PUBLICATION {name} ADD TABLE {table}")
            } else {
                format!(
                    "ALTER PUBLICATION {name} ADD TABLE {table}; for a partitioned table also ALTER PUBLICATION {name} SET (publish_via_partition_root = true)"
                )
            };
            return unfit(
                HaltCode::TableChanged,
                format!("publication {name} does not contain table {table}"),
                mends,
            );
        }
    }
    if !publication.via_partition_root {
        tracing::warn!(
            publication = name,
            "publish_via_partition_root is off: rows of a partitioned outbox would come under the names of its partitions"
        );
    }
    Ok(Watched { fingerprint: fingerprint(publication, &table_oids), table_oids })
}

/// Object ids and row versions of the publication and of the tables' membership in it. A row
/// version (`xmin`) changes with every `ALTER`, also with one that was taken back.
pub(crate) fn fingerprint(publication: &Publication, table_oids: &[u32]) -> String {
    use std::fmt::Write as _;
    let mut text = format!("publication {}/{}", publication.oid, publication.xmin);
    for schema in &publication.schemas {
        let written = write!(text, ", schema {}/{}", schema.oid, schema.xmin);
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    for oid in table_oids {
        let member = publication
            .tables
            .iter()
            .find(|published| published.oid == *oid)
            .and_then(|published| published.membership.as_ref());
        let member = member
            .map_or_else(|| "-".to_owned(), |member| format!("{}/{}", member.oid, member.xmin));
        let written = write!(text, "; table {oid} {member}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text
}

pub(super) async fn make_slot(
    config: &Config,
) -> Result<(ReplicationConnection, CreatedSlot), Failure> {
    let doing = format!("create slot {}", config.slot);
    let mut connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    let created = tokio::time::timeout(SLOT_LIMIT, connection.create_slot(&config.slot, true));
    match created.await {
        Ok(Ok(created)) => {
            tracing::info!(slot = config.slot, consistent_point = %created.consistent_point, "slot created");
            Ok((connection, created))
        }
        Ok(Err(error)) => Err(Failure::postgres(&doing, &error)),
        Err(_) => Err(create_slot_waits(&doing, SLOT_LIMIT)),
    }
}

/// The server did not make a slot in time.
pub(super) fn create_slot_waits(doing: &str, limit: Duration) -> Failure {
    Failure::Again {
        code: "slot_creation_waits",
        message: format!("failed to {doing} within {limit:?}: it waits for running transactions to end"),
        hint: Some("`walpost check` names those that it may see, with the statement that ends each; or SELECT pid, xact_start FROM pg_stat_activity ORDER BY xact_start, and SELECT gid, prepared, database FROM pg_prepared_xacts".to_owned()),
    }
}

/// Rows that were committed before the slot's position are not in the stream. Which of the table's
/// rows those are, the table does not tell.
pub(super) async fn say_what_is_not_sent(config: &Config, catalog: &Catalog) {
    if let Some(prefix) = &config.messages {
        tracing::info!(
            prefix,
            "messages are sent from the slot's position on; those that were committed before it are not"
        );
    }
    for table in &config.tables {
        let replay = replay(config, catalog, table).await;
        match catalog.count_rows(&table.schema, &table.table, COUNT_LIMIT).await {
            Ok(Some(0)) => {}
            Ok(Some(rows)) => tracing::warn!(
                table = %table,
                rows,
                replay,
                "rows that were committed before the slot's position are not sent; the table holds so many rows in all, which `replay` sends"
            ),
            Ok(None) => tracing::warn!(
                table = %table,
                replay,
                "rows that were committed before the slot's position are not sent; the table holds too many to count; `replay` sends them all"
            ),
            Err(error) => tracing::warn!(
                table = %table,
                error = %crate::error::chain(&error),
                "rows that were committed before the slot's position are not sent; the table's rows cannot be counted"
            ),
        }
    }
}

/// The halt of exactly-once for a slot that was there, without any checkpoint: to go on from the
/// slot's position may send again what was sent.
pub(super) fn nothing_stored(config: &Config, facts: &Facts) -> Failure {
    Failure::halt(
        HaltCode::CheckpointLost,
        format!(
            "no checkpoint is stored for {}, but slot {} is there, at {}: what was sent from it before, if anything, cannot be told",
            config.name, config.slot, facts.confirmed_flush_lsn
        ),
        format!(
            "if nothing was ever sent from this slot, `walpost checkpoint set --resume-lsn {} --yes` begins where it stands; a slot that walpost makes itself needs no such step",
            facts.confirmed_flush_lsn
        ),
    )
}

/// The command that sends the rows that are there now: up to this moment, where the table tells.
async fn replay(config: &Config, catalog: &Catalog, name: &TableName) -> String {
    let found = catalog.table(&name.schema, &name.table).await.ok().flatten();
    let timed = found.is_some_and(|table| {
        Present::of(name, &table, &config.events).is_ok_and(|present| present.time().is_some())
    });
    let rows = match timed {
        true => format!("--until={}", jiff::Timestamp::now()),
        false => "--all".to_owned(),
    };
    format!("walpost replay {rows} --same-topic")
}

/// There is a slot and no checkpoint: the stream begins where the slot stands, which is never
/// ahead of a checkpoint that was lost.
pub(super) async fn adopt(
    config: &Config,
    catalog: &Catalog,
    facts: &Facts,
    watched: &Watched,
) -> Checkpoint {
    tracing::warn!(
        slot = config.slot,
        confirmed_flush_lsn = %facts.confirmed_flush_lsn,
        "no checkpoint is stored for this connector: taking the slot's position. If there was one, events since then are sent again"
    );
    say_what_is_not_sent(config, catalog).await;
    claim::beginning(config, facts, watched)
}
