//! The rows that were in the tables before the slot: who reads them, from which snapshot, and what
//! a start does that finds them half sent.
//!
//! ```text
//!   lock of a first start ─► publication ─► checkpoint "snapshot" ─► slot, exporting its snapshot
//!        ─► lock of a first start given back ─► the snapshot imported in a transaction
//!        ─► START_REPLICATION (the slot is the lock) ─► claim: checkpoint "snapshot" at the slot's place
//!        ─► rows (the pipeline's) ─► checkpoint "stream" at the slot's place ─► the stream
//! ```
//!
//! The first record comes before the slot, so that no start can find the slot and believe that the
//! rows before it were sent. It has no place yet: a start that finds it without a slot is a first
//! start again. The second one has the slot's place; if that slot is gone later, so may be rows.
//!
//! # A snapshot that was interrupted
//!
//! It cannot be continued, since the transaction that saw it ended with its process. The slot is
//! *kept*, a new snapshot is taken that is later than the slot's place, all its rows are published,
//! and then the stream begins at the slot's place. A row that committed before that place and is
//! still there is in the new snapshot; one that committed after it is in the stream, even when it
//! was deleted since. So there is no gap, but rows that committed between the slot's place and the
//! new snapshot come twice.
//!
//! To drop the slot and make another one would be simpler and repeat less, and would lose every row
//! that was inserted and deleted between the two slots: the pattern in which an application deletes
//! its outbox row in the transaction that inserted it, so that the table stays empty. To leave out
//! of the new snapshot what is also in the stream is not possible, because a row does not tell when
//! it was inserted: after an update its version (`xmin`) is a later one.
//!
//! Two things follow that no program could avoid. A row that was deleted between the slot's place
//! and the new snapshot, was inserted before the slot and was not sent yet, is gone: while a
//! snapshot runs, nothing should be deleted from the table. And a row that was inserted and deleted
//! in between comes with the stream, after younger rows of its key that the new snapshot had; those
//! then come a second time, behind it and in the order of commits.
//!
//! The new snapshot is exported by a temporary slot, and not taken by a plain transaction. A plain
//! one does not see a transaction whose commit is in the log, before the place of our slot, but that
//! still waits for a synchronous standby. The server makes a slot only when those are done.

use std::sync::Arc;
use std::time::Duration;

use super::claim;
use super::first_start::create_slot_waits;
use super::prepare::{Reached, Watched};
use crate::config::Config;
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::lsn::Lsn;
use crate::mutant::{self, Mutant};
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::pipeline::SnapshotWork;
use crate::postgres::catalog::{Catalog, Table};
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::postgres::replication::{CreatedSlot, ReplicationConnection};
use crate::postgres::snapshot::{Order, SnapshotQuery, SnapshotSession};
use crate::proof::{Facts, LastTransaction};
use crate::status::HaltCode;

/// Counting rows only serves the progress that is shown.
const COUNT_LIMIT: Duration = Duration::from_secs(2);

/// Making a slot waits for every transaction that is running to end.
const EXPORT_LIMIT: Duration = Duration::from_secs(60);

/// All rows of all tables can be read: asked before anything is made.
pub(super) async fn readable(config: &Config, reached: &Reached) -> Result<(), Failure> {
    for name in &config.tables {
        let found = table(&reached.catalog, name).await?;
        table_readable(&reached.catalog, (name, &found), &reached.server.role.name).await?;
        present(config, name, &found)?;
    }
    Ok(())
}

async fn table(catalog: &Catalog, name: &TableName) -> Result<Table, Failure> {
    let found = catalog
        .table(&name.schema, &name.table)
        .await
        .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
    found.ok_or_else(|| {
        Failure::halt(
            HaltCode::NotReady,
            format!("table {name} does not exist"),
            "create the outbox table, or name another one in WALPOST_TABLE",
        )
    })
}

async fn table_readable(
    catalog: &Catalog,
    (name, table): (&TableName, &Table),
    role: &str,
) -> Result<(), Failure> {
    let rights = catalog
        .privileges(table.oid)
        .await
        .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
    let quoted = |name: &str| quote_identifier(name).unwrap_or_else(|_| name.to_owned());
    let or = "or set WALPOST_SNAPSHOT=never to send only what is inserted from now on";
    if let Some(rights) = rights
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
            let table =
                quote_qualified(&name.schema, &name.table).unwrap_or_else(|_| name.to_string());
            grants.push(format!("GRANT SELECT ON {table} TO {}", quoted(role)));
        }
        return Err(Failure::halt(
            HaltCode::NotReady,
            format!(
                "role {role} may not read table {name}, whose rows are to be sent before the stream"
            ),
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

fn present<'a>(
    config: &Config,
    name: &TableName,
    table: &'a Table,
) -> Result<Present<'a>, Failure> {
    Present::of(name, table, &config.events).map_err(|error| {
        Failure::halt(
            HaltCode::NotReady,
            error.to_string(),
            "alter the table, or set the variable that the message names; nothing was sent",
        )
    })
}

/// Writes that a snapshot begins, before there is a slot that it could be mistaken for.
pub(super) async fn announce(
    config: &Config,
    reached: &mut Reached,
    watched: &Watched,
    nonce: &str,
) -> Result<(), Failure> {
    if mutant::is(Mutant::PhaseNotRecorded) {
        return Ok(());
    }
    let mut connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    let identity = connection
        .identify_system()
        .await
        .map_err(|error| Failure::postgres("identify the system", &error))?;
    connection.close().await;
    let stored = claim::take_over(config, &mut reached.producer, &reached.reader).await?;
    let facts = Facts {
        system_identifier: identity.system_id.to_string(),
        timeline: identity.timeline,
        history: Vec::new(),
        cluster_id: reached.cluster_id.clone(),
        confirmed_flush_lsn: Lsn::INVALID,
        wal_end: identity.xlogpos,
        fingerprint: watched.fingerprint.clone(),
        last_transaction: LastTransaction::Unknown,
    };
    let base = Checkpoint { phase: Phase::Snapshot, ..claim::beginning(config, &facts, watched) };
    claim::claim(config, (&mut reached.producer, &reached.reader), base, (&stored, &facts, nonce))
        .await
        .map(drop)
}

/// Reads the rows anew for a snapshot that was interrupted.
pub(super) async fn again(
    config: &Config,
    catalog: &Catalog,
    slot_at: Lsn,
) -> Result<SnapshotWork, Failure> {
    tracing::warn!(
        slot = config.slot,
        %slot_at,
        "a snapshot was begun and not finished: it begins again, and its rows are repeated"
    );
    let mut connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    // One at a time has this number, so the name is free.
    let name = format!("walpost_snapshot_{}", connection.backend_pid());
    let export = tokio::time::timeout(EXPORT_LIMIT, connection.export_snapshot(&name)).await;
    let created = export
        .map_err(|_| create_slot_waits("export a snapshot", EXPORT_LIMIT))?
        .map_err(|error| Failure::postgres("export a snapshot", &error))?;
    let work = import(config, catalog, (&created, slot_at)).await?;
    // Ends the temporary slot.
    connection.close().await;
    Ok(work)
}

/// Imports the snapshot, and begins to read its rows.
pub(super) async fn import(
    config: &Config,
    catalog: &Catalog,
    (created, slot_at): (&CreatedSlot, Lsn),
) -> Result<SnapshotWork, Failure> {
    let name = created.snapshot_name.as_deref().ok_or_else(|| {
        Failure::again("postgres_protocol", "the server made a slot without a snapshot")
    })?;
    let session = SnapshotSession::import(&config.database, name)
        .await
        .map_err(|error| Failure::postgres("import the slot's snapshot", &error))?;
    let (mut tables, mut queries) = (Vec::new(), Vec::new());
    let mut estimated = Some(0);
    for name in &config.tables {
        let place = (name.schema.as_str(), name.table.as_str());
        let mut found = table(catalog, name).await?;
        let published = catalog
            .published_rows(place, &config.publication)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        if let Some(columns) = &published.columns {
            found.columns.retain(|column| columns.contains(&column.name));
        }
        let present = present(config, name, &found)?;
        let columns: Vec<_> = present.columns.iter().map(|column| column.name.as_str()).collect();
        let order = match present.time() {
            Some((column, _)) => Order::Column(&column.name),
            None => Order::Place,
        };
        let query = SnapshotQuery::new(place, (&found, &published), &columns, order)
            .map_err(|error| Failure::postgres(&format!("read table {name}"), &error))?;
        estimated = match (estimated, estimate(catalog, name, found.oid).await) {
            (Some(sum), Some(rows)) => Some(sum + rows),
            (Some(_) | None, _) => None,
        };
        queries.push(query);
        tables.push(Arc::new(present.mapping));
    }
    crash::at(Point::SnapshotImported);
    let time = session.taken_at();
    let rows = session.read(queries);
    Ok(SnapshotWork { rows, tables, estimated, time, slot_at })
}

/// About how many rows a table has: counted, where that is quick, else as last analyzed.
async fn estimate(catalog: &Catalog, name: &TableName, oid: u32) -> Option<u64> {
    match catalog.count_rows(&name.schema, &name.table, COUNT_LIMIT).await {
        Ok(Some(rows)) => Some(rows),
        Ok(None) | Err(_) => catalog.table_size(oid).await.ok()??.rows_estimate,
    }
}
