//! What a start asks of the publications and slots of several streams, beside all that it asks of
//! one.
//!
//! No stream waits for another, at a first start either. Shard k makes its publication and then its
//! slot, reads the rows of its filter that are there at the slot's place, and then the stream from
//! that place on: for the rows of its filter that is what one stream does for all rows, so there is
//! no gap between its rows and its stream, wherever the other slots stand. As each row is of one
//! shard, the rows of all shards together are all rows, each once. What has to be the same for all
//! is the *filter*: it follows from the columns of the key and their types, and a start that finds
//! another one than it would write refuses to go on. The server in turn does not let the type of a
//! column be changed that a filter uses.

use super::{Unfit, Unsuitable};
use crate::config::Config;
use crate::error::Failure;
use crate::postgres::catalog::{Catalog, Publication, Server};
use crate::shard::{self, FilterError};
use crate::status::HaltCode;

/// The server can filter rows.
pub(in super::super) fn divisible(config: &Config, server: &Server) -> Result<(), Failure> {
    if config.shard.is_none() || server.version_num >= shard::OLDEST {
        return Ok(());
    }
    Err(Failure::halt(
        HaltCode::NotReady,
        format!(
            "WALPOST_SHARDS is {}, and the server is Postgres {}, whose publications cannot filter rows",
            config.shards,
            server.version()
        ),
        "set WALPOST_SHARDS=1, or upgrade the server to Postgres 15 or newer",
    ))
}

/// The row filters of the tables, in their order; of one stream none.
pub(crate) async fn filters(
    config: &Config,
    catalog: &Catalog,
) -> Result<Vec<Option<String>>, Unsuitable> {
    let mut filters = Vec::with_capacity(config.tables.len());
    for name in &config.tables {
        let Some(shard) = config.shard else {
            filters.push(None);
            continue;
        };
        let table = catalog
            .table(&name.schema, &name.table)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        let Some(table) = table else { return Err(Unsuitable::Unfit(Unfit::no_table(name))) };
        let alone = config.tables.len() == 1;
        let filter = shard::filter(shard, (name, &table), &config.events, alone, catalog).await;
        filters.push(Some(filter.map_err(|error| unfit(name, error))?));
    }
    Ok(filters)
}

fn unfit(name: &crate::outbox::role::TableName, error: FilterError) -> Unsuitable {
    let hint = match error {
        FilterError::Postgres(error) => {
            return Failure::postgres(&format!("look at table {name}"), &error).into();
        }
        FilterError::Mapping(_) => "alter the table, or set the variable that the message names",
        FilterError::Key(ref error) => error.hint,
    };
    Unsuitable::Unfit(Unfit {
        code: HaltCode::TableChanged,
        message: error.to_string(),
        hint: hint.to_owned(),
        missing: None,
    })
}

/// The publication sends the rows of its shard, all of them and no others: its filters are those
/// that walpost would write.
pub(super) async fn examine(
    config: &Config,
    catalog: &Catalog,
    publication: &Publication,
) -> Result<(), Unsuitable> {
    let Some(shard) = config.shard else { return Ok(()) };
    let name = &config.publication;
    let unfit = |message| {
        Err(Unsuitable::Unfit(Unfit {
            code: HaltCode::PublicationChanged,
            message,
            hint: format!(
                "rows would be in two shards, or in none. `walpost setup` prints the publications of {} shards; where another number was meant, set WALPOST_SHARDS to it",
                config.shards
            ),
            missing: None,
        }))
    };
    if !publication.via_partition_root {
        return unfit(format!(
            "publication {name} has publish_via_partition_root = false, so the filter of a partitioned table would not be that of its partitions"
        ));
    }
    let expected = filters(config, catalog).await?;
    for (table, expected) in config.tables.iter().zip(expected) {
        let place = (table.schema.as_str(), table.table.as_str());
        let published = catalog
            .published_rows(place, name)
            .await
            .map_err(|error| Failure::postgres(&format!("look at publication {name}"), &error))?;
        if published.row_filter != expected {
            let found = published.row_filter.map_or_else(
                || "no row filter".to_owned(),
                |filter| format!("the row filter {filter}"),
            );
            return unfit(format!(
                "publication {name} has {found} for table {table}; that of {shard} is {}",
                expected.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// The publication is older than a slot that was made by others and was never read. With one
/// stream a server finds out while it decodes; where rows are filtered, those of before the filter
/// would be left out without a word.
pub(in super::super) async fn not_late(config: &Config, catalog: &Catalog) -> Result<(), Failure> {
    if config.shard.is_none() {
        return Ok(());
    }
    let (slot, publication) = (&config.slot, &config.publication);
    let older = catalog
        .is_older(publication, slot)
        .await
        .map_err(|error| Failure::postgres("compare publication and slot", &error))?;
    if older {
        return Ok(());
    }
    Err(Failure::halt(
        HaltCode::NotReady,
        format!(
            "publication {publication} is not known to be older than slot {slot}, and nothing was sent from it yet: rows that were committed between the two would be in no shard"
        ),
        format!(
            "drop the slot with SELECT pg_drop_replication_slot('{slot}') and walpost makes it, with the rows that are in the table; or make it again with the same name when no transaction is open that is older than the publication"
        ),
    ))
}
