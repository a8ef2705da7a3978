//! The events of the newest rows of a table.

use super::{Shown, unfit};
use crate::cli::command::{Stopped, refused};
use crate::cloudevent::Encoder;
use crate::config::Config;
use crate::error::Failure;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::outbox::row::RowScratch;
use crate::postgres::catalog::{Catalog, Newest};
use crate::postgres::timestamp::PgTimestamp;

/// The newest `rows` of a table as events, the oldest of them first.
///
/// An event without a time of its own shows the present as its time, where the relay writes the
/// commit time, which the table does not tell.
pub(super) async fn events(
    config: &Config,
    catalog: &Catalog,
    encoder: &mut Encoder,
    (name, rows): (&TableName, u32),
) -> Result<Vec<Shown>, Stopped> {
    let table = catalog
        .table(&name.schema, &name.table)
        .await
        .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
    let table = table.ok_or_else(|| {
        refused(
            format!("table {name} does not exist"),
            "create the outbox table, or name another one in WALPOST_TABLE",
        )
    })?;
    let privileges = catalog
        .privileges(table.oid)
        .await
        .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
    if !privileges.is_some_and(|may| may.schema_usage && may.select) {
        return Err(refused(
            format!("the role {} may not read table {name}", config.database.user),
            format!(
                "the relay needs that right only for a snapshot at its first start, this command does: GRANT USAGE ON SCHEMA {} TO …; GRANT SELECT ON {name} TO …; or run it as another role",
                name.schema
            ),
        ));
    }
    let present = Present::of(name, &table, &config.events).map_err(|error| unfit(&error))?;
    let newest = present.time().map_or(Newest::Place, |(column, _)| Newest::Column(&column.name));
    let names: Vec<_> = present.columns.iter().map(|column| column.name.as_str()).collect();
    let mut read = catalog
        .newest_rows((&name.schema, &name.table), &names, newest, rows)
        .await
        .map_err(|error| Failure::postgres(&format!("read table {name}"), &error))?;
    read.reverse();
    let now = PgTimestamp::now();
    let mut scratch = RowScratch::new();
    Ok(read
        .iter()
        .map(|row| {
            let row = scratch.copy_of(row.iter().map(Option::as_deref));
            Shown::of_row(config, encoder, (&present.mapping, &row), None, now)
        })
        .collect())
}
