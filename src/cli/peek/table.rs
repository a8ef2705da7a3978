//! The events of the newest rows of a table.

use super::Shown;
use crate::cli::command::Stopped;
use crate::cli::readable::{self, unfit};
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
    let table = readable::table(config, catalog, name).await?;
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
    let mut shown = Vec::with_capacity(read.len());
    for row in &read {
        let row = scratch.copy_of(row.iter().map(Option::as_deref));
        let row = (&present.mapping, &row);
        shown.push(Shown::of_row(config, encoder, row, None, now).await?);
    }
    Ok(shown)
}
