//! The query that lists the rows of a range, and the command that sends them again, for a table
//! with a time column.

use std::time::Duration;

use crate::config::Config;
use crate::error::Failure;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::outbox::selection::Selection;
use crate::postgres::catalog::{Catalog, Table};
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::supervisor::decision::Missing;

/// The time column is mostly filled before the commit, when a row or its transaction begins; so
/// much before the range is listed too.
const MARGIN: Duration = Duration::from_secs(300);

/// For each table a comment or a query; and the command that sends the rows of all queries again.
pub(super) async fn queries(
    config: &Config,
    catalog: &Catalog,
    missing: &Missing,
) -> Result<(Vec<String>, Option<String>), Failure> {
    let (mut queries, mut some) = (Vec::new(), false);
    let selection = selection(missing);
    for name in &config.tables {
        let table = catalog
            .table(&name.schema, &name.table)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        queries.push(match table {
            Some(table) => match query(config, name, &table, &selection) {
                Ok(query) => {
                    some = true;
                    query
                }
                Err(why) => {
                    format!("-- {name}: {why}; compare its rows with the topics by their id")
                }
            },
            None => format!("-- table {name} does not exist"),
        });
    }
    Ok((queries, some.then(|| command(&selection))))
}

fn selection(missing: &Missing) -> Selection {
    let margin = i64::try_from(MARGIN.as_micros()).unwrap_or(0);
    let known = |micros: i64| (micros != 0).then_some(micros);
    Selection {
        since: known(missing.from_time).map(|micros| micros.saturating_sub(margin)),
        until: known(missing.to_time),
        ..Selection::default()
    }
}

/// `walpost replay` of the same rows.
fn command(selection: &Selection) -> String {
    let bound = |name: &str, micros: Option<i64>| {
        let time = jiff::Timestamp::from_microsecond(micros?).ok()?;
        Some(format!(" {name} {time}"))
    };
    let bounds = [bound("--since", selection.since), bound("--until", selection.until)];
    let bounds: String = bounds.into_iter().flatten().collect();
    let selected = if bounds.is_empty() { " --all" } else { &bounds };
    format!("walpost replay{selected} --same-topic")
}

fn query(
    config: &Config,
    name: &TableName,
    table: &Table,
    selection: &Selection,
) -> Result<String, String> {
    let present = Present::of(name, table, &config.events).map_err(|error| error.to_string())?;
    let unquotable = |_| "it has a name that cannot be quoted".to_owned();
    let (column, _) = present.time().ok_or("it has no time column")?;
    let condition = selection.condition(&present, &config.events)?;
    let condition = condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
    let column = quote_identifier(&column.name).map_err(unquotable)?;
    let table = quote_qualified(&name.schema, &name.table).map_err(unquotable)?;
    Ok(format!("SELECT * FROM {table}{condition} ORDER BY {column};"))
}
