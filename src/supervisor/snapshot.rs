//! The beginning of a first start with a snapshot: what is made, in which order, under which lock.
//!
//! ```text
//!   lock of a first start ─► checkpoint "snapshot" ─► publication ─► slot, exporting its snapshot
//!        ─► the snapshot imported in a transaction ─► START_REPLICATION (the slot is the lock from here)
//!        ─► claim ─► lock of a first start given back ─► rows (the pipeline's)
//! ```
//!
//! The record comes before the slot, so that no start can find the slot and believe that the rows
//! before it were sent. A start that finds such a record drops the slot and begins again: rows are
//! repeated, and none that is in the table is left out.
//!
//! Until the slot is held, a session lock of the database keeps a second process from making, or
//! dropping, what this one makes.

use std::sync::Arc;
use std::time::Duration;

use super::claim;
use super::first_start::{self, SLOT_LIMIT, Unsuitable};
use super::prepare::{Reached, Watched};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::kafka::producer::TopicId;
use crate::lsn::Lsn;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::pipeline::SnapshotWork;
use crate::postgres::catalog::{Catalog, Order, SnapshotQuery, SnapshotSession};
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::postgres::replication::{CreatedSlot, ReplicationConnection};
use crate::proof::{Facts, LastTransaction};
use crate::status::HaltCode;

/// Counting rows only serves the progress that is shown.
const COUNT_LIMIT: Duration = Duration::from_secs(2);

/// A first start that has its slot and sees its snapshot, but does not hold the slot yet.
pub(super) struct Begun {
    pub(super) watched: Watched,
    /// The connection that made the slot.
    pub(super) connection: ReplicationConnection,
    pub(super) work: SnapshotWork,
    facts: Facts,
}

/// Does everything up to the import of the snapshot. The lock of the first start is held by the
/// catalog's session when this returns well, and given back with that session otherwise.
pub(super) async fn begin(
    config: &Config,
    reached: &mut Reached,
    nonce: &str,
) -> Result<Begun, Failure> {
    let taken = reached.catalog.begin_first_start(&config.slot).await;
    if !taken.map_err(|error| Failure::postgres("take the lock of a first start", &error))? {
        return Err(Failure::again(
            "first_start_elsewhere",
            format!("another process is making slot {}", config.slot),
        ));
    }
    for table in &config.tables {
        readable(&reached.catalog, table, &reached.server.role.name).await?;
    }
    let mut connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    let identity = connection
        .identify_system()
        .await
        .map_err(|error| Failure::postgres("identify the system", &error))?;
    let mut facts = Facts {
        system_identifier: identity.system_id.to_string(),
        timeline: identity.timeline,
        history: Vec::new(),
        cluster_id: reached.cluster_id.clone(),
        confirmed_flush_lsn: Lsn::INVALID,
        wal_end: identity.xlogpos,
        fingerprint: String::new(),
        last_transaction: LastTransaction::Unknown,
    };
    drop_interrupted(config, &reached.catalog, &mut connection, &facts).await?;
    announce(config, reached, &facts, nonce).await?;
    let publication = match first_start::publication(config, &reached.catalog).await? {
        Some(publication) => publication,
        None => first_start::make_publication(config, &reached.catalog).await?,
    };
    let examined = first_start::examine(config, &reached.catalog, &publication).await;
    let watched = examined.map_err(|error| match error {
        Unsuitable::Failed(failure) => failure,
        Unsuitable::Unfit(unfit) => unfit.at_first(),
    })?;
    let created = create_slot(config, &mut connection).await?;
    facts.confirmed_flush_lsn = created.consistent_point;
    facts.fingerprint.clone_from(&watched.fingerprint);
    let work = import(config, &reached.catalog, &created).await?;
    Ok(Begun { watched, connection, work, facts })
}

/// Claims the checkpoint under the lock of the slot, and gives the other lock back.
pub(super) async fn claim(
    config: &Config,
    reached: &mut Reached,
    (facts, watched, nonce): (&Facts, &Watched, &str),
) -> Result<(Checkpoint, TopicId), Failure> {
    let stored = claim::read(config).await?;
    let ours = stored
        .checkpoint
        .as_ref()
        .is_some_and(|found| found.phase == Phase::Snapshot && found.nonce == nonce);
    if !ours {
        return Err(Failure::again(
            "first_start_elsewhere",
            "another process has written the checkpoint since this one began the snapshot",
        ));
    }
    let base = Checkpoint {
        phase: Phase::Snapshot,
        ..claim::beginning(config, facts, watched)
    };
    let claimed =
        claim::claim(config, &mut reached.producer, base, (&stored, facts, nonce)).await?;
    let over = reached.catalog.first_start_is_over(&config.slot).await;
    over.map_err(|error| Failure::postgres("give the lock of a first start back", &error))?;
    Ok(claimed)
}

impl Begun {
    /// What is known of both servers now that the slot is there.
    pub(super) fn facts(&self) -> Facts {
        self.facts.clone()
    }
}

/// The rows of the table can be read: all of them.
async fn readable(catalog: &Catalog, name: &TableName, role: &str) -> Result<(), Failure> {
    let doing = |error| Failure::postgres(&format!("look at table {name}"), &error);
    let Some(table) = catalog.table(&name.schema, &name.table).await.map_err(doing)? else {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!("table {name} does not exist"),
            "create the outbox table, or name another one in WALPOST_TABLE",
        ));
    };
    let quoted = |name: &str| quote_identifier(name).unwrap_or_else(|_| name.to_owned());
    let or = "or set WALPOST_SNAPSHOT=never to send only what is inserted from now on";
    if let Some(rights) = catalog.privileges(table.oid).await.map_err(doing)?
        && !(rights.select && rights.schema_usage)
    {
        let mut grants = Vec::new();
        if !rights.schema_usage {
            grants.push(format!(
                "GRANT USAGE ON SCHEMA {} TO {}",
                quoted(&name.schema),
                quoted(role)
            ));
        }
        if !rights.select {
            let table = quote_qualified(&name.schema, &name.table)
                .unwrap_or_else(|_| name.to_string());
            grants.push(format!("GRANT SELECT ON {table} TO {}", quoted(role)));
        }
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!("role {role} may not read the rows that are in table {name}"),
            format!("{}; {or}", grants.join("; ")),
        ));
    }
    if table.row_security {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!(
                "row-level security of table {name} may hide rows from role {role}, and they would be left out without a word"
            ),
            format!("ALTER ROLE {} BYPASSRLS; {or}", quoted(role)),
        ));
    }
    Ok(())
}

/// Drops the slot of a snapshot that was begun and not finished. What is there must be just that.
async fn drop_interrupted(
    config: &Config,
    catalog: &Catalog,
    connection: &mut ReplicationConnection,
    facts: &Facts,
) -> Result<(), Failure> {
    let name = &config.slot;
    let slot = catalog
        .slot(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at slot {name}"), &error))?;
    // After the look at the slot: whoever writes a record of the stream holds the slot before.
    let stored = claim::read(config).await?.checkpoint;
    let changed = |message: String| Err(Failure::again("first_start_elsewhere", message));
    match (&stored, &slot) {
        (None, None) => return Ok(()),
        (Some(Checkpoint { phase: Phase::Snapshot, .. }), None) => {
            tracing::warn!(
                "a snapshot was begun and not finished; it begins again, and its rows are repeated"
            );
            return Ok(());
        }
        (Some(Checkpoint { phase: Phase::Stream, .. }), _) | (None, Some(_)) => {
            return changed(format!("slot {name} or its checkpoint was made meanwhile"));
        }
        (Some(Checkpoint { phase: Phase::Snapshot, .. }), Some(slot)) if slot.active => {
            return changed(format!("slot {name} was taken meanwhile"));
        }
        (Some(Checkpoint { phase: Phase::Snapshot, .. }), Some(_)) => {}
    }
    if let Some(stored) = &stored
        && (stored.slot != *name || stored.system_identifier != facts.system_identifier)
    {
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!(
                "slot {name} is not the one that the unfinished snapshot of {} belongs to",
                config.name
            ),
            format!(
                "if nobody needs it, SELECT pg_drop_replication_slot('{name}'), and walpost makes its own; else set WALPOST_SLOT to another name"
            ),
        ));
    }
    tracing::warn!(
        slot = name,
        "a snapshot was begun and not finished; its slot is dropped and it begins again: its rows are repeated"
    );
    match connection.drop_slot(name).await {
        Ok(()) => Ok(()),
        Err(error) if error.sqlstate() == Some("42704") => Ok(()),
        Err(error) => Err(Failure::postgres(&format!("drop slot {name}"), &error)),
    }
}

/// Writes that a snapshot begins, before there is anything that it could be mistaken for.
async fn announce(
    config: &Config,
    reached: &mut Reached,
    facts: &Facts,
    nonce: &str,
) -> Result<(), Failure> {
    let stored = claim::read(config).await?;
    let nothing = Watched { fingerprint: String::new(), table_oids: Vec::new() };
    let base = Checkpoint {
        phase: Phase::Snapshot,
        ..claim::beginning(config, facts, &nothing)
    };
    claim::claim(config, &mut reached.producer, base, (&stored, facts, nonce)).await.map(drop)
}

/// Makes the slot, within a limit; its snapshot is exported until the connection's next command.
pub(super) async fn create_slot(
    config: &Config,
    connection: &mut ReplicationConnection,
) -> Result<CreatedSlot, Failure> {
    let doing = format!("create slot {}", config.slot);
    match tokio::time::timeout(SLOT_LIMIT, connection.create_slot(&config.slot, true)).await {
        Ok(Ok(created)) => {
            tracing::info!(slot = config.slot, consistent_point = %created.consistent_point, "slot created");
            Ok(created)
        }
        Ok(Err(error)) => Err(Failure::postgres(&doing, &error)),
        Err(_) => Err(Failure::Again {
            code: "slot_creation_waits",
            message: format!(
                "failed to {doing} within {SLOT_LIMIT:?}: it waits for running transactions to end"
            ),
            hint: Some("SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start; and pg_prepared_xacts: end the oldest".to_owned()),
        }),
    }
}

/// Imports the snapshot, and begins to read its rows.
async fn import(
    config: &Config,
    catalog: &Catalog,
    created: &CreatedSlot,
) -> Result<SnapshotWork, Failure> {
    let doing = "import the slot's snapshot";
    let name = created.snapshot_name.as_deref().ok_or_else(|| {
        Failure::again("postgres_protocol", "the server made a slot without a snapshot")
    })?;
    let session = SnapshotSession::import(&config.database, name)
        .await
        .map_err(|error| Failure::postgres(doing, &error))?;
    let (mut tables, mut queries) = (Vec::new(), Vec::new());
    let mut estimated = Some(0);
    for name in &config.tables {
        let place = (name.schema.as_str(), name.table.as_str());
        let found = session
            .table(place, &config.publication)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        let found = found.ok_or_else(|| {
            Failure::again("first_start_elsewhere", format!("table {name} is gone"))
        })?;
        let present = Present::of(name, &found.table, &config.events).map_err(|error| {
            Failure::halt(
                HaltCode::NotReady,
                error.to_string(),
                "alter the table, or set the variable that the message names; nothing was sent",
            )
        })?;
        let columns: Vec<_> = present.columns.iter().map(|column| column.name.as_str()).collect();
        let order = match present.time() {
            Some((column, _)) => Order::Column(&column.name),
            None => Order::Place,
        };
        let query = SnapshotQuery::new(place, &found, &columns, order)
            .map_err(|error| Failure::postgres(&format!("read table {name}"), &error))?;
        estimated = match (estimated, estimate(catalog, name, found.table.oid).await) {
            (Some(sum), Some(rows)) => Some(sum + rows),
            (Some(_) | None, _) => None,
        };
        queries.push(query);
        tables.push(Arc::new(present.mapping));
    }
    Ok(SnapshotWork {
        taken_at: session.taken_at(),
        rows: session.read(queries),
        tables,
        estimated,
        consistent_point: created.consistent_point,
        alone: None,
    })
}

/// About how many rows a table has: counted, where that is quick, else as last analyzed.
async fn estimate(catalog: &Catalog, name: &TableName, oid: u32) -> Option<u64> {
    match catalog.count_rows(&name.schema, &name.table, COUNT_LIMIT).await {
        Ok(Some(rows)) => Some(rows),
        Ok(None) | Err(_) => catalog.table_size(oid).await.ok()??.rows_estimate,
    }
}
