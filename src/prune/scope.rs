//! Which tables can be pruned, and which of their partitions.

use serde::Serialize;

use super::Wanted;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::kafka::floor::Floor;
use crate::outbox::bound::TimeColumn;
use crate::outbox::present::Present;
use crate::outbox::role::{Role, TableName};
use crate::postgres::catalog::{Catalog, Publication};
use crate::postgres::identifier::{quote_identifier, quote_qualified};

/// A table of which rows may be deleted.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Its name.
    pub(crate) name: TableName,
    /// The same in SQL.
    pub(super) quoted: String,
    /// Its object id.
    pub(super) oid: u32,
    pub(super) time: Option<TimeColumn>,
    /// The column of the id, in SQL.
    pub(super) id: String,
    pub(super) floor: Floor,
    /// Ids of rows that Kafka does not have.
    pub(super) kept: Vec<String>,
    /// Of a partitioned table.
    pub(super) leaves: Option<Vec<Leaf>>,
}

/// A partition that holds rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) oid: u32,
    pub(super) name: TableName,
    /// Its rows came through the stream; else why that is not known.
    pub(super) streamed: Result<(), &'static str>,
    /// It came to be in these transactions. What they wrote to it themselves may be older than its
    /// being a partition.
    pub(super) made_by: Vec<u32>,
}

/// Why nothing of a table, or of a partition, is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Obstacle {
    /// The table or partition.
    pub(crate) table: String,
    /// Why.
    pub(crate) why: String,
}

/// Works out what can be pruned.
///
/// # Errors
/// The connection or a query fails.
pub(crate) async fn scopes(
    config: &Config,
    catalog: &Catalog,
    (checkpoint, publication): (&Checkpoint, &Publication),
    wanted: &Wanted,
) -> Result<(Vec<Scope>, Vec<Obstacle>), Failure> {
    let (mut scopes, mut obstacles) = (Vec::new(), Vec::new());
    for name in &config.tables {
        match scope(config, (catalog, name), (checkpoint, publication), wanted).await? {
            Ok(scope) => {
                for leaf in scope.leaves.iter().flatten() {
                    if let (Err(why), false) = (leaf.streamed, wanted.including_undelivered) {
                        obstacles
                            .push(Obstacle { table: leaf.name.to_string(), why: why.to_owned() });
                    }
                }
                scopes.push(scope);
            }
            Err(why) => obstacles.push(Obstacle { table: name.to_string(), why }),
        }
    }
    Ok((scopes, obstacles))
}

/// A table's scope, or why nothing of it can be deleted.
async fn scope(
    config: &Config,
    (catalog, name): (&Catalog, &TableName),
    (checkpoint, publication): (&Checkpoint, &Publication),
    wanted: &Wanted,
) -> Result<Result<Scope, String>, Failure> {
    let doing = format!("look at table {name}");
    let failed = |error| Failure::postgres(&doing, &error);
    let Some(table) = catalog.table(&name.schema, &name.table).await.map_err(failed)? else {
        return Ok(Err("it does not exist".to_owned()));
    };
    let may = catalog.privileges(table.oid).await.map_err(failed)?;
    if !may.is_some_and(|may| may.schema_usage && may.select && may.delete) {
        return Ok(Err(format!(
            "the role {} may not read it and delete from it: GRANT SELECT, DELETE ON {name} TO …, as `walpost setup --prune` prints it",
            config.database.user
        )));
    }
    let present = match Present::of(name, &table, &config.events) {
        Ok(present) => present,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if !matches!(table.relkind, 'r' | 'p') {
        return Ok(Err("it is no table".to_owned()));
    }
    if let Some(why) = unseen(publication, (table.oid, table.relkind)) {
        return Ok(Err(why.to_owned()));
    }
    let Some(floor) = checkpoint.floor(table.oid).cloned() else {
        return Ok(Err("the checkpoint does not say since when its rows are delivered; the next start of walpost notes it".to_owned()));
    };
    let time = present
        .time()
        .and_then(|(column, column_type)| TimeColumn::of(column, column_type, &config.events));
    if time.is_none() && !wanted.older_than.is_zero() {
        return Ok(Err(
            "it has no time column, so the age of a row is not known; only rows of any age can be deleted (0)"
                .to_owned(),
        ));
    }
    if time.is_none() && !floor.is_everything() && !wanted.including_undelivered {
        return Ok(Err(
            "it has no time column, so rows of before the stream's beginning cannot be told from later ones for certain"
                .to_owned(),
        ));
    }
    let id = present.mapping.role(Role::Id).and_then(|field| present.columns.get(field.index));
    let id = id.and_then(|column| quote_identifier(&column.name).ok());
    let (Some(id), Ok(quoted)) = (id, quote_qualified(&name.schema, &name.table)) else {
        return Ok(Err("it has a name that cannot be quoted".to_owned()));
    };
    let leaves = match table.relkind {
        'p' => Some(leaves(catalog, table.oid, &floor).await?),
        _ => None,
    };
    let kept = checkpoint.kept.ids.clone();
    Ok(Ok(Scope { name: name.clone(), quoted, oid: table.oid, time, id, floor, kept, leaves }))
}

/// Why some of a table's rows may not be in the stream although nothing has changed.
fn unseen(publication: &Publication, (oid, relkind): (u32, char)) -> Option<&'static str> {
    let published = publication.tables.iter().find(|published| published.oid == oid)?;
    match &published.membership {
        Some(membership) if membership.row_filter => {
            Some("the publication leaves out some of its rows by a condition")
        }
        None if !publication.all_tables => Some(
            "the publication has it by its schema only: whether it was in that schema all the time is not known. ALTER PUBLICATION … ADD TABLE …",
        ),
        Some(_) | None if relkind == 'p' && !publication.via_partition_root => {
            Some("the publication has publish_via_partition_root = false")
        }
        Some(_) | None => None,
    }
}

/// Each table below a partitioned one with the transaction that attached it, and the one that made
/// it: the entries of system columns are never written again.
fn tree_query(oid: u32) -> String {
    format!(
        "SELECT t.relid::oid::text, t.parentrelid::oid::text, t.isleaf::text, s.nspname, c.relname,
            c.relkind::text, c.relpersistence::text, i.xmin::text, a.xmin::text,
            i.inhdetachpending::text, pg_snapshot_xmax(pg_current_snapshot())::text
        FROM pg_partition_tree({oid}) t
        JOIN pg_class c ON c.oid = t.relid
        JOIN pg_namespace s ON s.oid = c.relnamespace
        JOIN pg_inherits i ON i.inhrelid = t.relid AND i.inhparent = t.parentrelid
        JOIN pg_attribute a ON a.attrelid = t.relid AND a.attname = 'tableoid'
        ORDER BY t.level"
    )
}

/// A link of the tree: child, parent, and whether rows of the child came through the stream.
struct Link {
    child: u32,
    streamed: Result<(), &'static str>,
    made_by: Vec<u32>,
}

async fn leaves(catalog: &Catalog, oid: u32, floor: &Floor) -> Result<Vec<Leaf>, Failure> {
    let (rows, _) = catalog
        .statements(&tree_query(oid))
        .await
        .map_err(|error| Failure::postgres("read the table's partitions", &error))?;
    let mut links: Vec<Link> = Vec::new();
    let mut leaves = Vec::new();
    for row in &rows {
        let text = |column: usize| row.get(column).and_then(Option::as_deref).unwrap_or_default();
        let number = |column: usize| text(column).parse::<u32>().unwrap_or(0);
        let (attached, made) = (number(7), number(8));
        let next = text(10).parse::<u64>().unwrap_or(0);
        let attached_early = full_xid(attached, next) < floor.settled_xid;
        let mut streamed = match () {
            () if text(9) == "true" => Err("it is being detached"),
            // Made as a partition, or a partition before the stream began.
            () if attached == made || attached_early => Ok(()),
            () => Err(
                "it was attached after it was made: rows that it had before are not in the stream, and cannot be told from later ones",
            ),
        };
        let mut made_by = if attached_early { Vec::new() } else { vec![attached] };
        if let Some(above) = links.iter().find(|link| link.child == number(1)) {
            streamed = above.streamed.and(streamed);
            made_by.extend(&above.made_by);
        }
        if text(2) == "true" {
            let streamed = match (text(5), text(6)) {
                ("r", "p") => streamed,
                ("r", _) => Err("it is unlogged, so the stream does not have its rows"),
                _ => Err("it is no table of this server"),
            };
            let name = TableName { schema: text(3).to_owned(), table: text(4).to_owned() };
            leaves.push(Leaf { oid: number(0), name, streamed, made_by: made_by.clone() });
        }
        links.push(Link { child: number(0), streamed, made_by });
    }
    Ok(leaves)
}

/// The number with its epoch of a transaction that is not from the future.
fn full_xid(xid: u32, next: u64) -> u64 {
    let behind = (next.wrapping_sub(u64::from(xid)).wrapping_sub(1) & u64::from(u32::MAX)) + 1;
    next.saturating_sub(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_is_the_newest_that_it_can_be() {
        const EPOCH: u64 = 1 << 32;
        for (xid, next, expected) in [
            (99, 100, 99),
            (3, 100, 3),
            (3, EPOCH + 100, EPOCH + 3),
            (100, EPOCH + 100, 100),
            (u32::MAX, EPOCH + 100, EPOCH - 1),
        ] {
            assert_eq!(full_xid(xid, next), expected, "{xid} before {next}");
        }
    }
}
